"""Specs by the hundred, valid and broken: each is refused by a field's name, or the operator says what becomes of it.

`make fuzz SPECS=1000 SEED=7` takes as many of each kind. A failure is repeated with the seed that is printed.
"""

import copy
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from stagecoach.api.crds import KINDS, Kind, definition
from tests import builders
from tests.cluster import ControlPlane
from tests.integration.conftest import StartOperator
from tests.integration.kinds import test_admission_approvals as reviews
from tests.integration.kinds import test_admission_deployments as deployments
from tests.integration.kinds import test_admission_gates as admitted
from tests.integration.kinds import test_admission_projects as projects
from tests.integration.kinds import test_admission_runs as runs
from tests.integration.kinds.admission import Change, put, written
from tests.integration.kinds.test_runs import desk
from tests.integration.support.desk import Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.operator import OperatorProcess
from tests.integration.support.specs import ODD, drawn, specs
from tests.kube import Kube, KubeError
from tests.unit.kinds.gates import evaluation

__all__ = ["desk"]

SPECS = int(os.environ.get("FUZZ_SPECS", "150"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
# Of a few objects a second, as on a machine that does other things besides.
SECONDS = 60 + SPECS / 5
BROKEN = json.dumps({"outcome": "BadInput", "problem": {"reason": "UnknownColumn", "message": "There is none."}})

PROJECTS: list[Change] = [
    *(lambda _spec: None, projects.with_web("https://data.example.com/a/", "gs://")),
    *map(projects.writing, projects.WRITING.values()),
    *map(projects.embedding, projects.EMBEDDING.values()),
    *projects.IN_CHUNKS.values(),
    projects.tagging(lambda spec: spec["data"]["sets"][0].update(columns={"tokens": "words"})),
    put("data.sets.0", projects.HUB_WHOLE | {"hub": {"split": "train", "config": "en"}}),
    put("storage.retention", {"runs": 1, "pinned": [{"digest": builders.digest("a"), "reason": "served"}]}),
    put("pods", {"queue": "gpu", "labels": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}),
]
RUNS: list[Change] = [
    *(lambda _spec: None, runs.importing(), put("resources", {"nodes": 2}), put("suspend", True)),
    *(put("method", method) for method in runs.METHODS),
    put("resources", {"gpusPerNode": 2, "sharding": "Full"}),
    lambda spec: spec.update(resources={"cpu": "4", "memory": "16Gi"}, force=True, retries=0, maxDuration="1h"),
]
COMPARING = admitted.AGAINST | {"allowedDrop": {"absolute": 0.03}, "confidence": 0.9, "advisory": False}
# One that is ready, one that was found to be wrong, one that is not there.
OWNERS = ("desk", "desk", "desk", "broken", "none")


def seeds(kind: Kind, namespace: str) -> list[builders.Object]:
    """Return specs that are taken."""
    match kind.model.__name__:
        case "TransformerProject":
            return [written(builders.project, namespace, change)["spec"] for change in PROJECTS]
        case "FineTuneRun":
            return [written(builders.run, namespace, change)["spec"] for change in RUNS]
        case "EvalGate":
            taken = [*admitted.TAKEN, reviews.reviewed(), reviews.WHOLE]
            return [written(builders.gate, namespace, change)["spec"] for change in taken]
        case "Approval":
            return [written(builders.approval, namespace, change)["spec"] for change in reviews.TAKEN]
        case "ModelDeployment":
            return [written(builders.deployment, namespace, change)["spec"] for change in deployments.TAKEN]
        case _:  # as if anybody might write them
            return [evaluation()["spec"], evaluation(criteria=[COMPARING])["spec"]]


def owned(specs: Iterable[builders.Object]) -> list[builders.Object]:
    """Return the same specs of runs, of several projects in turn."""
    return [
        spec | {"project": owner} if spec.get("project") == OWNERS[0] else spec
        for spec, owner in zip(specs, itertools.cycle(OWNERS), strict=False)
    ]


class Answers:
    """What the API server said to what it was sent."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.codes: Counter[int] = Counter()
        self.silent: list[str] = []  # refusals that name no field, or whose rule itself failed

    def send(self, method: str, path: str, body: Any, content: str = "application/json") -> bool:
        """Send something, and return whether it was taken."""
        try:
            self._kube.request(method, f"{path}?fieldValidation=Strict", body, content)
        except KubeError as error:
            self.codes[error.code] += 1
            text = str(error).partition(f": {error.code} ")[2]
            if not (error.code in (400, 422) and _tells(text)):
                self.silent.append(f"{error.code}: {text[:1000]}, to {json.dumps(body)[:1000]}")
            return False
        self.codes[200] += 1
        return True


# A rule that could not be asked; but for a number such as 8.0, which is no integer to a rule.
_BROKEN_RULE = re.compile(r"(?<!got float64) evaluating rule|budget|call cost")


def _tells(text: str) -> bool:
    """Whether a refusal names a field, and is by a rule that could be asked."""
    answer = json.loads(text)
    causes = answer.get("details", {}).get("causes", [])
    named = any(each.get("field", "").startswith("spec") for each in causes) or "spec." in answer["message"]
    return named and not _BROKEN_RULE.search(text)


def said(obj: builders.Object) -> tuple[str, str]:
    """Return why an object is Ready or not, as it is now; nothing when that is not said."""
    for each in obj.get("status", {}).get("conditions", []):
        if each["type"] == "Ready" and each["observedGeneration"] == obj["metadata"]["generation"]:
            return each["reason"], each["message"]
    return "", ""


def lacks_its_job(obj: builders.Object, jobs: set[str]) -> bool:
    """Whether a Job is decided and neither there nor said to be refused."""
    status = obj.get("status", {})
    decided = [status[name] for name in ("resolution", "attempt") if name in status]
    last = [*decided, *reversed(status.get("attempts", [])), {}][0]
    ended = "outcome" in last or obj["spec"].get("suspend")
    return bool(last) and not ended and last["job"] not in jobs and said(obj)[0] in ("Resolving", "Starting")


def settle(kube: Kube, kind: str) -> dict[str, builders.Object]:
    """Return all objects once something true is said of each, and whoever needs a Job has it."""

    def waiting(objects: Iterable[builders.Object]) -> list[str]:
        jobs = {job["metadata"]["name"] for job in kube.select("Job")}
        return [obj["metadata"]["name"] for obj in objects if not all(said(obj)) or lacks_its_job(obj, jobs)]

    def look() -> list[builders.Object]:
        objects = kube.select(kind)
        left = waiting(objects)
        assert not left, f"{len(left)} of {len(objects)}, such as {left[:3]}"
        return objects

    return {obj["metadata"]["name"]: obj for obj in eventually(look, SECONDS, f"every {kind} has a Job or a word", 0.5)}


# A spec that is taken has none of these: what is wrong with it the API server should have said.
FAULTS = ("InvalidSpec", "StatusUnknown", "InternalError", "Invalid", "BadRequest", "Forbidden")


def faults(objects: dict[str, builders.Object]) -> list[str]:
    return [
        f"{name}: {': '.join(said(obj))} of {json.dumps(obj['spec'])[:3000]}"
        for name, obj in objects.items()
        if said(obj)[0] in FAULTS or obj["metadata"].get("finalizers")
    ]


def refused_jobs(control_plane: ControlPlane, namespace: str) -> list[str]:
    """Return what the API server said to Jobs and status writes of the operator that it did not take."""
    return [
        f"{event['verb']} {event['requestURI']}: {event['responseStatus']}"
        for event in control_plane.audit_events()
        if event.get("objectRef", {}).get("namespace") == namespace
        and (event["objectRef"].get("resource") == "jobs" or event["objectRef"].get("subresource") == "status")
        and event.get("responseStatus", {}).get("code", 0) in (400, 403, 413, 422, 500)
    ]


def changes(kind: Kind, taken: dict[str, builders.Object], others: list[builders.Object]) -> list[tuple[str, str, Any]]:
    """Return what is changed of each object: its spec; of every second run `suspend` alone, which may change.

    A deployment's project may not: of every second one it stays.
    """
    values = itertools.cycle([True, False, *ODD])
    found: list[tuple[str, str, Any]] = []
    for number, ((where, spec), other) in enumerate(zip(taken.items(), others, strict=False)):
        match kind.model.__name__, number % 2:
            case "FineTuneRun", 1:
                found.append((where, "/spec/suspend", next(values)))
            case "ModelDeployment", 1:
                found.append((where, "/spec", other | {"project": spec["project"]}))
            case _:
                found.append((where, "/spec", other))
    return found


@pytest.fixture
def operator(start_operator: StartOperator) -> OperatorProcess:
    """The whole operator, installed with all that it may be."""
    images = ("--engine-cpu-image", builders.ENGINE_IMAGE, "--gateway-image", builders.GATEWAY_IMAGE)
    return start_operator(*images).wait_ready().wait_leading()


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short_name)
def test_whatever_is_written_gets_an_answer(
    kind: Kind, kube: Kube, desk: Desk, operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    name = kind.model.__name__
    print(f"\n{SPECS} specs of {name} by seed {SEED}: make fuzz SPECS={SPECS} SEED={SEED}")
    desk.make_ready_project()
    kube.create(builders.project("broken", kube.namespace))
    desk.kubelet.ended(desk.kubelet.pod_of(desk.job_of("TransformerProject", "broken")), 64, BROKEN)
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    given = owned(drawn(specs(schema, seeds(kind, kube.namespace)), 2 * SPECS, SEED))
    first, later = given[:SPECS], given[SPECS:]

    created, patched, taken = Answers(kube), Answers(kube), {}
    for number, spec in enumerate(first):
        metadata = {"name": f"fuzz-{number}"}
        obj = {"apiVersion": "stagecoach.dev/v1alpha1", "kind": name, "metadata": metadata, "spec": copy.deepcopy(spec)}
        if created.send("POST", kube.path(name), obj):
            taken[f"fuzz-{number}"] = spec
    print(f"  created: {dict(created.codes)}")
    objects = settle(kube, name)
    assert set(taken) <= set(objects)
    print(f"  said: {dict(Counter(said(obj)[0] for obj in objects.values()))}")
    wrong = faults(objects)

    for where, path, value in changes(kind, taken, later):
        operation = [{"op": "add", "path": path, "value": value}]
        patched.send("PATCH", kube.path(name, where), operation, "application/json-patch+json")
    print(f"  patched: {dict(patched.codes)}")
    objects = settle(kube, name)
    print(f"  said: {dict(Counter(said(obj)[0] for obj in objects.values()))}")
    wrong += faults(objects)

    for each in objects:
        kube.delete(name, each)
    eventually(lambda: not kube.select(name), 60, "all are gone")
    assert operator.process.poll() is None, "the operator lives"
    wrong += [json.dumps(record) for record in operator.records() if record["level"] in ("ERROR", "CRITICAL")]
    wrong += refused_jobs(control_plane, kube.namespace)
    wrong += created.silent + patched.silent
    assert not wrong, f"{len(wrong)} by seed {SEED}:\n" + "\n".join(wrong[:20])
    assert operator.metric("stagecoach_reconcile_errors_total", cause="InternalError") == 0
    assert not re.search("Observed a panic|panic'd", control_plane.log().read_text(errors="replace"))
    assert len(taken) > SPECS / 4, "enough of them are valid"
    # An Evaluation is written by the operator, and an Approval has few fields: their schemas have few rules.
    least = SPECS / 6 if name in ("Evaluation", "Approval") else SPECS / 4
    assert sum(created.codes.values()) - len(taken) > least, "and enough are not"
