"""A status that a later version of the operator wrote, before it was rolled back to this one."""

import copy
from typing import Any

import pytest

from stagecoach.runtime.merge import merge_patch
from tests import builders
from tests.unit.kinds import gates
from tests.unit.kinds import test_evaluation as evaluations
from tests.unit.kinds import test_finetunerun as runs
from tests.unit.kinds import test_transformerproject as projects
from tests.unit.kinds.gates import world
from tests.unit.kinds.world import World

LATER = {"type": "Evaluated", "status": "True", "observedGeneration": 1, "lastTransitionTime": builders.CREATED}
LATER |= {"reason": "Passed", "message": "All criteria hold.", "severity": "None"}


def rewritten(here: World, **changes: Any) -> None:
    """Let a later version have written a status."""
    here.stored = copy.deepcopy(here.stored)
    here.stored["status"] |= changes
    here.history.append(copy.deepcopy(here.stored))


def lost(before: Any, after: Any, place: str = "status") -> list[str]:
    """Return the fields of a status that are not there any more."""
    if isinstance(before, dict) and isinstance(after, dict):
        gone = [f"{place}.{key}" for key in before.keys() - after.keys()]
        return gone + [each for key in before.keys() & after.keys() for each in lost(before[key], after[key], key)]
    if isinstance(before, list) and isinstance(after, list):
        return [each for pair in zip(before, after, strict=False) for each in lost(*pair, place)]
    return []


def succeeded() -> World:
    here = runs.world()
    runs.start(here)
    here.end_pods(builders.artifact_report())
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
    return here


def running() -> World:
    here = runs.world()
    runs.start(here)
    rewritten(here, **with_more_everywhere(here.status))
    return here


def with_more_everywhere(status: builders.Object) -> builders.Object:
    changed = copy.deepcopy(status)
    for part in (changed, changed["inputs"], changed["inputs"]["train"][0], *changed["attempts"]):
        part["later"] = {"words": ["x"]}
    changed["conditions"].append(copy.deepcopy(LATER))
    return changed


@pytest.mark.parametrize("changes", [{"phase": "Evaluated"}, {"mood": "good"}, {"attempts": [{"number": 1, "intent": "Distil"}]}])  # fmt: skip
@pytest.mark.parametrize("spec", [{}, {"method": {"type": "Distillation"}}])
def test_a_run_that_has_ended_is_left_as_it_is(changes: builders.Object, spec: builders.Object) -> None:
    here = succeeded()
    rewritten(here, **changes, conditions=[*here.status["conditions"], LATER])
    here.stored["spec"] |= spec
    here.history = [copy.deepcopy(here.stored)]
    writes = here.status_writes
    plan = here.reconcile()
    assert here.status_writes == writes
    assert plan.create == ()


def test_what_is_not_known_stays_in_the_status_of_a_run_that_goes_on() -> None:
    here = running()
    before = here.status
    here.tell_pods_to_go()
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Stopping"
    assert lost(before, here.status) == []
    here.end_pods(builders.artifact_report())
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
    assert here.condition("Evaluated") == LATER
    assert here.condition("Reconciling") == {}, "what is known comes and goes"
    for part in (here.status, here.status["inputs"], here.status["inputs"]["train"][0], here.status["attempts"][0]):
        assert part["later"] == {"words": ["x"]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"phase": "Evaluating"}, "status.phase: 'Evaluating'"),
        ({"attempts": [{"number": 1, "intent": "Distil", "job": "j", "decided": builders.CREATED}]}, "'Distil'"),
        ({"inputs": "in another form"}, "status.inputs"),
    ],
)
def test_a_run_that_has_not_ended_waits_for_an_operator_that_knows_its_words(
    changes: builders.Object, words: str
) -> None:
    here = running()
    rewritten(here, **changes)
    before = here.status
    jobs, writes = set(here.creations), here.status_writes
    for _ in range(3):
        here.wait(400)
        here.reconcile()
    told = here.condition("Ready")
    assert (told["status"], told["reason"]) == ("False", "StatusUnknown")
    assert words in told["message"]
    assert "Upgrade the operator" in told["message"]
    assert here.condition("InputsResolved")["status"] == "True"
    assert here.condition("Evaluated") == LATER
    assert merge_patch(before, here.status).keys() == {"conditions"}
    assert set(here.creations) == jobs, "no work is begun again"
    assert here.status_writes == writes + 1, "it is said once"


def test_a_spec_that_is_not_known_leaves_the_other_conditions() -> None:
    here = running()
    here.set_spec(method={"type": "Distillation"})
    here.reconcile()
    assert here.condition("Ready")["reason"] == "InvalidSpec"
    assert here.status["observedGeneration"] == here.stored["metadata"]["generation"]
    assert here.condition("Servable")["status"] == "True"
    assert here.condition("Evaluated") == LATER
    assert here.condition("Reconciling") == {}


def test_a_run_that_asks_for_what_is_not_known_yet_is_not_trained_without_it() -> None:
    here = runs.world()
    here.stored["spec"]["resources"] = {"later": "Full"}
    here.history = [copy.deepcopy(here.stored)]
    for _ in range(3):
        here.reconcile()
    told = here.condition("Ready")
    assert told["reason"] == "InvalidSpec"
    assert "spec.resources.later is not known to this version of the operator" in told["message"]
    assert "inputs" not in here.status
    assert not here.creations
    del here.stored["spec"]["resources"]["later"]  # as if the operator that knows it had come
    here.history = [copy.deepcopy(here.stored)]
    runs.start(here)
    assert here.condition("Stalled") == {}


def test_a_run_that_ended_in_a_later_way_holds_up_no_other() -> None:
    ended = succeeded()
    rewritten(ended, phase="Evaluated")
    here = runs.world(builders.run("second"))
    here.stored["metadata"]["uid"] = "22222222-2222-3333-4444-555555555555"
    here.history = [copy.deepcopy(here.stored)]
    here.twins = (ended,)
    here.reconcile()
    here.reconcile()
    assert here.condition("Ready")["reason"] != "SameInputs"


def resolved() -> World:
    here = projects.world()
    projects.resolve(here)
    assert here.status["phase"] == "Ready"
    return here


def test_an_outcome_that_is_not_known_is_followed_by_another_resolution() -> None:
    here = resolved()
    rewritten(here, resolution=here.status["resolution"] | {"outcome": "TooPolite"}, phase="Auditing")
    projects.resolve(here)
    assert here.status["phase"] == "Ready"
    assert here.status["resolution"]["number"] == 2


def test_a_finding_that_is_not_known_blocks_with_what_to_do() -> None:
    finding = {"code": "TooPolite", "message": "All customers say please."}
    here = projects.world()
    projects.resolve(here, {"outcome": "Done", "resolution": builders.resolution() | {"findings": [finding]}})
    for _ in range(2):
        told = here.condition("Ready")
        assert (here.status["phase"], told["reason"]) == ("Incomplete", "TooPolite")
        for words in ("say please.", "upgrade the operator", "stagecoach.dev/requested-at"):
            assert words in told["message"]
        projects.edit(here, owner={"name": "others"})
        here.reconcile()
    assert len(here.creations) == 1


def test_what_is_not_known_stays_in_the_status_of_a_project() -> None:
    here = resolved()
    changed = copy.deepcopy(here.status) | {"phase": "Baselining"}
    for part in (changed, changed["resolution"], changed["datasets"][0], changed["candidates"][0], changed["labels"]):
        part["later"] = [1]
    changed["conditions"].append(copy.deepcopy(LATER))
    rewritten(here, **changed)
    before = here.status
    projects.edit(here, owner={"name": "others"})
    here.reconcile()
    assert here.status["phase"] == "Ready"
    assert lost(before, here.status) == []
    assert here.condition("Evaluated") == LATER


def judging() -> World:
    here = world()
    evaluations.start(here)
    return here


def judged() -> World:
    here = judging()
    evaluations.end(here, builders.evaluation_report("Failed"))
    return here


@pytest.mark.parametrize("changes", [{"phase": "Overridden"}, {"verdict": "Overridden"}, {"mood": "good"}])
def test_an_evaluation_that_is_decided_is_left_as_it_is(changes: builders.Object) -> None:
    here = judged()
    rewritten(here, **changes, conditions=[*here.status["conditions"], LATER])
    writes = here.status_writes
    plan = here.reconcile()
    assert here.status_writes == writes
    assert plan.create == ()


@pytest.mark.parametrize("changes", [{"phase": "Overridden"}, {"verdict": "Overridden"}, {"attempt": "odd"}])
def test_an_evaluation_that_is_not_waits_for_an_operator_that_knows_its_words(changes: builders.Object) -> None:
    here = judging()
    rewritten(here, **changes)
    jobs = set(here.creations)
    for _ in range(3):
        here.wait(400)
        here.reconcile()
    assert here.condition("Ready")["reason"] == "StatusUnknown"
    assert "Upgrade the operator" in here.condition("Ready")["message"]
    assert set(here.creations) == jobs, "no work is begun again"


def test_what_is_not_known_stays_in_the_status_of_an_evaluation() -> None:
    here = judging()
    changed = copy.deepcopy(here.status)
    for part in (changed, changed["attempt"]):
        part["later"] = [1]
    changed["conditions"].append(copy.deepcopy(LATER))
    rewritten(here, **changed)
    before = here.status
    evaluations.end(here, builders.evaluation_report())
    assert here.status["verdict"] == "Passed"
    assert lost(before, here.status) == []
    assert here.condition("Evaluated") == LATER


def test_an_evaluation_that_asks_for_what_is_not_known_yet_is_not_judged_without_it() -> None:
    made = gates.evaluation()
    made["spec"]["criteria"][0]["later"] = "Skip"
    here = world(made)
    for _ in range(3):
        here.reconcile()
    assert here.condition("Ready")["reason"] == "InvalidSpec"
    assert "spec.criteria.0.later is not known to this version" in here.condition("Ready")["message"]
    assert not here.creations


def test_what_is_not_known_stays_in_the_status_of_a_review() -> None:
    here = gates.reviewed_world()
    evaluations.start(here)
    evaluations.end(here, gates.canary_report())
    here.reconcile()
    changed = copy.deepcopy(here.status)
    for part in (changed, changed["review"], changed["review"]["rows"][0]):
        part["later"] = [1]
    rewritten(here, **changed)
    gates.approval(here)
    before = here.status
    here.reconcile()
    assert here.status["verdict"] == "Passed"
    assert lost(before, here.status) == []


def test_an_approval_that_says_what_is_not_known_yet_lets_nothing_pass() -> None:
    here = gates.reviewed_world()
    evaluations.start(here)
    evaluations.end(here, gates.canary_report())
    here.reconcile()
    gates.approval(here, conditions=["after the holidays"])
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert "verdict" not in here.status


def test_what_is_not_known_stays_in_the_status_of_a_gate() -> None:
    hall = gates.Hall(gates.succeeded())
    hall.look()
    changed = copy.deepcopy(hall.status) | {"phase": "Overridden", "later": [1]}
    changed["conditions"].append(copy.deepcopy(LATER))
    changed["verdicts"]["later"] = 1
    hall.put(hall.gate | {"status": changed})
    hall.decide(hall.evaluations[0]["metadata"]["name"])
    hall.look()
    assert hall.status["phase"] == "Idle"
    assert hall.status["later"] == [1]
    assert hall.condition("Evaluated") == LATER


def test_a_verdict_that_is_not_known_admits_nothing_and_holds_up_no_other() -> None:
    hall = gates.Hall(gates.succeeded("first", 1), gates.succeeded("second", 2))
    hall.look()
    hall.decide(hall.evaluations[0]["metadata"]["name"], "Overridden")
    hall.look()
    assert len(hall.evaluations) == 2
    assert hall.status["verdicts"] == {"passed": 0, "failed": 0, "inconclusive": 0, "error": 0}
