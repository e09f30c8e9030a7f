"""What GitOps tools make of our objects, in every state that these come to."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from stagecoach.api import deployment_status, evaluation_status, gate_status, resolved, run_status
from stagecoach.api.common import Enum
from stagecoach.api.crds import KINDS, UNSEEN
from stagecoach.kinds.registry import CONTROLLERS
from stagecoach.policies.attempts import AttemptOutcome
from tests import builders
from tests.gitops import ARGOCD, Answer, GitOps
from tests.integration.chart.tools import Cluster
from tests.kube import Kube
from tests.unit.kinds import deployment_scenes, gate_scenes, scenes
from tests.unit.kinds.gates import evaluation
from tests.unit.kinds.world import World


@dataclass(frozen=True)
class Verdict:
    """What an object has to be taken for."""

    kstatus: str
    argocd: str | None
    suspended: bool = False  # current to Flux, for who says so


GOES_ON = Verdict("InProgress", "Progressing")
SUSPENDED = Verdict("InProgress", "Suspended", suspended=True)
CURRENT = Verdict("Current", "Healthy")
FAILED = Verdict("Failed", "Degraded")
DELETED = Verdict("Terminating", None)


@dataclass(frozen=True)
class Case:
    """A kind: its phases, what a status of it means to others, and how to come to all of its states."""

    phases: type[Enum]
    means: Callable[[builders.Object], Verdict]
    scenes: Mapping[str, scenes.Scene]


OF_PROJECTS = {"Resolving": GOES_ON, "Incomplete": FAILED, "Ready": CURRENT}
OF_RUNS = {
    "Blocked": GOES_ON,
    "Queued": GOES_ON,
    "Running": GOES_ON,
    "Suspended": SUSPENDED,
    "Succeeded": CURRENT,
    "Failed": FAILED,
}
# One that can judge is as it should be, whatever the verdicts are.
OF_GATES = {
    "Blocked": GOES_ON,
    "Incomplete": FAILED,
    "Judging": CURRENT,
    "AwaitingReview": CURRENT,
    "Idle": CURRENT,
}


def of_an_evaluation(status: builders.Object) -> Verdict:
    """Only one that passed is well."""
    if status["phase"] != "Decided":
        return GOES_ON
    return CURRENT if status["verdict"] == "Passed" else FAILED


class NoPhase(Enum):
    """A decision is not in a phase: its reason says what became of it."""


def of_an_approval(status: builders.Object) -> Verdict:
    """One that counts for nothing needs somebody, unless all is decided; one that is not weighed yet waits."""
    told = {each["type"] for each in status.get("conditions", ())}
    return FAILED if "Stalled" in told else GOES_ON if "Reconciling" in told else CURRENT


def of_a_deployment(status: builders.Object) -> Verdict:
    """Gates take nothing out of service; a candidate is waited for, and what is asked for and does not come is told."""
    told = {each["type"] for each in status["conditions"]}
    if told & {"Stalled", "Reconciling"}:
        return FAILED if "Stalled" in told else GOES_ON
    assert status["phase"] in ("Available", "Degraded")
    return CURRENT


CASES = {
    "TransformerProject": Case(resolved.Phase, lambda status: OF_PROJECTS[status["phase"]], scenes.PROJECTS),
    "FineTuneRun": Case(run_status.Phase, lambda status: OF_RUNS[status["phase"]], scenes.RUNS),
    "EvalGate": Case(gate_status.GatePhase, lambda status: OF_GATES[status["phase"]], gate_scenes.OF_GATES),
    "Evaluation": Case(evaluation_status.EvaluationPhase, of_an_evaluation, gate_scenes.EVALUATIONS),
    "Approval": Case(NoPhase, of_an_approval, {**gate_scenes.OF_APPROVALS, **deployment_scenes.OF_DECISIONS}),
    "ModelDeployment": Case(deployment_status.DeploymentPhase, of_a_deployment, deployment_scenes.OF_DEPLOYMENTS),
}
# What an operator says of an object that it cannot read, whatever the phase.
UNREAD = {"InvalidSpec", "StatusUnknown"}


@pytest.fixture(scope="session")
def gitops() -> GitOps:
    """Builds the program once."""
    return GitOps()


@pytest.fixture(scope="module")
def worlds() -> dict[str, dict[str, World]]:
    """All scenes of all kinds, played."""
    return {kind: {name: scene() for name, scene in case.scenes.items()} for kind, case in CASES.items()}


def shown(stored: builders.Object) -> builders.Object:
    """Return an object as the API server shows it."""
    return {"status": UNSEEN} | stored


def reason(stored: builders.Object) -> str:
    conditions = stored["status"].get("conditions", ())
    return next((str(each["reason"]) for each in conditions if each["type"] == "Ready"), "")


def due(stored: builders.Object) -> Verdict:
    """Return what an object has to be taken for, by what its status means."""
    status = stored["status"]
    if status["observedGeneration"] != stored["metadata"]["generation"]:
        return GOES_ON
    if reason(stored) in UNREAD:
        return FAILED
    verdict = CASES[stored["kind"]].means(status)
    return GOES_ON if verdict is CURRENT and reason(stored) == "InternalError" else verdict


def check(gitops: GitOps, objects: Iterable[builders.Object], verdict: Verdict | None = None) -> list[Answer]:
    """Ask about all objects, and compare."""
    asked = list(objects)
    answers = gitops.ask(asked)
    for stored, answer in zip(asked, answers, strict=True):
        expected = verdict or due(stored)
        assert (answer.kstatus, answer.argocd) == (expected.kstatus, expected.argocd), stored
        if stored["kind"] in gitops.expressions and expected is not DELETED:
            assert answer.flux == ("Current" if expected.suspended else expected.kstatus), stored
    return answers


def finals(worlds: dict[str, dict[str, World]]) -> Iterator[builders.Object]:
    for of_kind in worlds.values():
        yield from (copy.deepcopy(world.stored) for world in of_kind.values())


def test_every_kind_is_here_and_has_a_health_check(gitops: GitOps) -> None:
    names = {kind.model.__name__ for kind in KINDS}
    assert CASES.keys() == gitops.scripts.keys() == {each.kind for each in CONTROLLERS} == names


@pytest.mark.parametrize("kind", CASES)
def test_a_scene_ends_as_it_is_called(worlds: dict[str, dict[str, World]], kind: str) -> None:
    told = {name: reason(world.stored) for name, world in worlds[kind].items()}
    assert told == {name: name.partition(" ")[0] for name in told}
    reached = {world.stored["status"].get("phase") for world in worlds[kind].values()}
    assert {str(phase) for phase in CASES[kind].phases} - reached == set()


def test_runs_end_in_every_way(worlds: dict[str, dict[str, World]]) -> None:
    attempts = [item for world in worlds["FineTuneRun"].values() for item in world.status.get("attempts", ())]
    assert {item["outcome"] for item in attempts if "outcome" in item} == set(AttemptOutcome) - {"ReportUnknown"}


def test_every_state_is_taken_for_what_it_is(gitops: GitOps, worlds: dict[str, dict[str, World]]) -> None:
    states = [shown(stored) for of_kind in worlds.values() for world in of_kind.values() for stored in world.history]
    for state, answer in zip(states, check(gitops, states), strict=True):
        if reason(state) and state["status"]["observedGeneration"] == state["metadata"]["generation"]:
            assert answer.shown.startswith(f"{reason(state)}: ")


def test_a_problem_of_the_operator_is_waited_for(gitops: GitOps, worlds: dict[str, dict[str, World]]) -> None:
    played = [copy.deepcopy(world) for of_kind in worlds.values() for world in of_kind.values()]
    for world in played:
        world.show_problem()
    states = [
        world.stored for world in played if UNREAD.isdisjoint(each["reason"] for each in world.status["conditions"])
    ]
    check(gitops, states)


@pytest.mark.parametrize("kind", CASES)
def test_a_problem_before_anything_is_decided_is_shown(
    gitops: GitOps, worlds: dict[str, dict[str, World]], kind: str
) -> None:
    states = []
    for played in worlds[kind].values():
        world = copy.deepcopy(played)
        world.set_spec()
        world.show_problem()
        states.append(world.stored)
    world.stored = shown(world.history[0])
    world.show_problem()
    for answer in check(gitops, [*states, world.stored], GOES_ON):
        assert answer.shown == "InternalError: This is a bug."


def test_an_edit_that_nobody_has_looked_at_is_waited_for(gitops: GitOps, worlds: dict[str, dict[str, World]]) -> None:
    states = list(finals(worlds))
    for state in states:
        state["metadata"]["generation"] += 1
    for answer in check(gitops, states, GOES_ON):
        assert answer.shown == "The operator has not looked at this spec yet."


def test_what_is_being_deleted_goes(gitops: GitOps, worlds: dict[str, dict[str, World]]) -> None:
    states = list(finals(worlds))
    for state in states:
        state["metadata"]["deletionTimestamp"] = builders.CREATED
    check(gitops, states, DELETED)


@pytest.mark.parametrize(
    "written",
    [builders.project(), builders.run(), builders.gate(), evaluation(), builders.approval(), builders.deployment()],
    ids=lambda each: each["kind"],
)
def test_a_new_object_is_waited_for(gitops: GitOps, kube: Kube, written: builders.Object) -> None:
    """No operator runs here."""
    written["metadata"] = {"name": written["metadata"]["name"], "namespace": kube.namespace}
    kube.create(written)
    [answer] = check(gitops, [kube.get(written["kind"], written["metadata"]["name"])], GOES_ON)
    assert "latest observed generation is -1" in answer.message


def test_argo_cds_settings_take_the_health_checks(gitops: GitOps, kube: Kube) -> None:
    kept = {"resource.customizations": "others' own"}
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": kept})
    patch = ("patch", "configmap", "argocd-cm", "-n", kube.namespace, "--type=merge", f"--patch-file={ARGOCD}")
    Cluster(kube.kubeconfig).kubectl(*patch)
    data = kube.get("ConfigMap", "argocd-cm")["data"]
    assert data.items() >= kept.items()
    assert len(data) == 1 + len(gitops.scripts)
