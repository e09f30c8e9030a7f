"""What was served comes back by the verdicts of then, where it would not be good enough beside what is served now."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stagecoach.kinds.evalgate import served_before
from stagecoach.policies.admission import OF_THEN
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import CANARY, told
from tests.unit.kinds.deployments import Stage
from tests.unit.kinds.gates import project_with_canary, reviewed_spec, succeeded
from tests.unit.kinds.test_incumbents import COMPARING, GOOD, NO_WORSE

Object = builders.Object
NOON = "2026-01-04T12:00:00Z"
GOOD_ENOUGH: Object = {"criterion": GOOD["name"], "outcome": "Passed"}
NOT_GOOD = GOOD_ENOUGH | {"outcome": "Failed"}
WORSE: Object = {"criterion": NO_WORSE["name"], "outcome": "Failed"}
NO_WORSE_NOW = WORSE | {"outcome": "Passed"}
REVIEWED = COMPARING | reviewed_spec()
A, B, C, D = (builders.digest(letter) for letter in "abcd")


def entry(release: str, **more: Any) -> Object:
    return {"release": release, "gates": [{"gate": "good", "evaluation": "good-1", "key": f"key of {release}"}]} | more


def asking(window: int | None = 1, model: Object | None = None, serving: str = C, *history: Object) -> Object:
    spec: Object = {"model": model or {"run": "b"}} | ({"rollout": {"rollbackWindow": window}} if window else {})
    told = list(history) or [entry(C), entry(B), entry(A)]
    return {"spec": spec, "status": {"serving": {"release": serving}, "history": told}}


@pytest.mark.parametrize(
    ("deployment", "run", "release", "found"),
    [
        (asking(), "b", B, B),
        (asking(1, {"release": B}), "other", B, B),
        (asking(2, {"run": "a"}), "a", A, A),
        (asking(1, {"latest": {}}), "b", B, None),
        (asking(1, {"follow": {"deployment": "staging", "soak": "1h"}}), "b", B, None),
        (asking(1, {"run": "a"}), "b", B, None),
        (asking(1), "b", D, None),  # the run makes another release by now
        (asking(1, {"latest": {}}), "c", C, C),  # what serves
        # Different releases are counted; of each, the last time counts.
        (asking(2, None, C, entry(C), entry(A), entry(C), entry(B)), "b", B, B),
    ],
)
def test_by_which_verdict_a_release_may_come_back(
    deployment: Object, run: str, release: str, found: str | None
) -> None:
    verdict = served_before.verdict(deployment, "good", {"run": run}, release)
    assert (verdict and verdict["key"]) == (f"key of {found}" if found else None)


OVERRIDE = {"approval": "so-be-it"}
OLDER = [entry(builders.digest(str(each))) for each in range(10)]


@pytest.mark.parametrize(
    ("deployment", "run", "release", "why"),
    [
        (asking(None), "b", B, "for that spec.rollout.rollbackWindow has to be 1 at least"),
        (asking(1, {"run": "a"}), "a", A, "for that spec.rollout.rollbackWindow has to be 2 at least"),
        (asking(1, None, C, entry(C), entry(A), entry(C), entry(B)), "b", B, "has to be 2 at least"),
        (asking(10, None, C, entry(C), *OLDER, entry(B)), "b", B, "further back than spec.rollout.rollbackWindow"),
        (asking(1, None, C, entry(C), entry(B, override=OVERRIDE), entry(B)), "b", B, "let in by Override so-be-it"),
        (asking(1, None, C, entry(C), entry(B, gates=[])), "b", B, "status.history names no verdict of gate good"),
        (asking(1, None, C, entry(C), {"release": B}), "b", B, "names no verdict"),  # nobody wrote it down then
    ],
)
def test_why_a_release_does_not_come_back(deployment: Object, run: str, release: str, why: str) -> None:
    with pytest.raises(served_before.NoWayBack, match=why):
        served_before.verdict(deployment, "good", {"run": run}, release)


def gone_on(*, gate: Object = COMPARING, **rollout: Any) -> Stage:
    """Return a stage that serves the second run, than which the first is judged to be worse."""
    stage = Stage(succeeded("first"), **({"rollout": rollout} if rollout else {}))
    read = project_with_canary()
    shown = stage.get("TransformerProject", "desk")
    shown["spec"]["data"], shown["status"]["datasets"] = read["spec"]["data"], read["status"]["datasets"]
    stage.put(shown)
    stage.change("EvalGate", "good", **gate)
    stage.judge()
    stage.until(lambda: stage.serves("first"))
    stage.put(succeeded("second", 2))
    stage.judge()
    stage.until(lambda: stage.serves("second"), seconds=31)
    return stage


def named(stage: Stage, model: Object | None = None, results: Sequence[Object] = (GOOD_ENOUGH, WORSE)) -> str:
    """Let the first run be named, and judged beside the second; return what is said of it."""
    stage.change("ModelDeployment", "answers", model=model or {"run": "first"})
    for _ in range(2):
        stage.look()
        for each in stage.evaluations:
            if "verdict" not in each.get("status", {}):
                stage.fail(each["metadata"]["name"], *results)
    return rests(stage)


def rests(stage: Stage) -> str:
    """Let all go on; return what is said of what is wanted."""
    for _ in range(5):
        stage.go_on()
    return str(stage.said("CandidateAdmitted")["reason"])


def message(stage: Stage) -> str:
    """Return what is said of what is wanted, in words."""
    said = stage.said("CandidateAdmitted")
    assert said["status"] == "True" or speaks(said["reason"], said["message"]), said
    return str(said["message"])


def pairs(stage: Stage) -> dict[tuple[str, str | None], str]:
    """Return the verdicts, by what was judged, and beside what."""
    judged = [(each["spec"], each["status"]["verdict"]) for each in stage.evaluations]
    return {(spec["run"], spec.get("incumbent", {}).get("run")): verdict for spec, verdict in judged}


def test_without_a_window_what_was_served_is_compared_like_any_other() -> None:
    stage = gone_on()
    assert named(stage) == "GateFailed"
    assert pairs(stage)["first", "second"] == "Failed"
    assert stage.told_status["serving"]["run"] == "second"
    assert "for that spec.rollout.rollbackWindow has to be 1 at least" in message(stage)


@pytest.mark.parametrize("by", ["run", "release"])
def test_what_was_served_comes_back_by_its_verdict_of_then(by: str) -> None:
    """NoUngatedTraffic: beside what was served when it was admitted."""
    stage = gone_on(rollbackWindow=1)
    before = stage.told_status["history"][1]
    assert named(stage, {by: before[by]}) == "Admitted"
    assert OF_THEN in message(stage)
    assert any(reason == "Admitted" and OF_THEN in words for reason, words in stage.events)
    stage.until(lambda: stage.serves("first"))
    assert pairs(stage)["first", "second"] == "Failed"
    assert stage.told_status["serving"]["gates"] == before["gates"] == stage.told_status["history"][0]["gates"]
    assert told(stage) == ("Available", "Serving", "True")
    gated = stage.said("Gated")
    assert (gated["reason"], OF_THEN in gated["message"]) == ("Passed", True)
    stage.put(succeeded("third", 3))
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    stage.judge()
    stage.until(lambda: stage.serves("third"))
    assert pairs(stage)["third", "first"] == "Passed", "what comes next is compared with it"


def test_it_comes_back_by_the_steps_of_any_other() -> None:
    stage = gone_on(rollbackWindow=1)
    stage.change("ModelDeployment", "answers", rollout=CANARY | {"rollbackWindow": 1})
    assert named(stage) == "Admitted"
    assert stage.told_status["candidate"]["weight"] == 10
    assert stage.told_status["serving"]["run"] == "second"


def the_gate_asks_for_more(stage: Stage) -> None:
    stage.change("EvalGate", "good", minScored=0.9)


def the_gate_has_another_suite(stage: Stage) -> None:
    [suite] = stage.gate["spec"]["suites"]
    stage.change("EvalGate", "good", suites=[suite, suite | {"name": "again"}])


def a_suite_has_other_rows(stage: Stage) -> None:
    changed = copy.deepcopy(stage.get("TransformerProject", "desk"))
    judged = stage.gate["spec"]["suites"][0]["dataset"]
    next(each for each in changed["status"]["datasets"] if each["name"] == judged)["digest"] = builders.digest("e")
    stage.put(changed)


def the_run_makes_another_release(stage: Stage) -> None:
    changed = copy.deepcopy(stage.get("TransformerProject", "desk"))
    changed["spec"]["inference"]["precision"] = "bfloat16"
    stage.put(changed)


def the_verdict_is_deleted(stage: Stage) -> None:
    stage.remove("Evaluation", beside(stage, "first", None))


def another_gate_is_named(stage: Stage) -> None:
    stage.put(builders.stored(builders.gate("better", **COMPARING), uid="uid-better"))
    stage.change("ModelDeployment", "answers", gates=[{"name": "good"}, {"name": "better"}])


def it_is_revoked(stage: Stage) -> None:
    stage.change("ModelDeployment", "answers", approvers=[{"user": "qa@example.com"}])
    stage.decided("Revoke", stage.told_status["history"][1]["release"])


def an_override_let_it_in(stage: Stage) -> None:
    status = copy.deepcopy(stage.told_status)
    by = {"approval": "so-be-it", "uid": "u", "reviewer": "qa@example.com", "reason": "It has to.", "until": NOON}
    status["history"][1] |= {"gates": [], "override": by}
    stage.put(stage.deployment | {"status": status})


@pytest.mark.parametrize(
    ("change", "reason", "why"),
    [
        (the_gate_asks_for_more, "GateFailed", "gate good asks for something else now than Evaluation good-"),
        (the_gate_has_another_suite, "GateFailed", "asks for something else now"),
        (a_suite_has_other_rows, "GateFailed", "asks for something else now"),
        (the_run_makes_another_release, "GateFailed", ""),
        (the_verdict_is_deleted, "GateFailed", "is gone"),
        (another_gate_is_named, "Judging", ""),
        (it_is_revoked, "Revoked", ""),
        (an_override_let_it_in, "GateFailed", "it was let in by Override so-be-it"),
    ],
)
def test_it_does_not_come_back_by_what_says_nothing_any_more(
    change: Callable[[Stage], None], reason: str, why: str
) -> None:
    """NoUngatedTraffic, EveryFailureSpeaks."""
    stage = gone_on(rollbackWindow=1)
    change(stage)
    assert named(stage) == reason
    assert why in message(stage)
    assert stage.told_status["serving"]["run"] == "second"
    assert "candidate" not in stage.told_status


def test_what_was_rejected_since_it_was_named_does_not_come_back() -> None:
    """IncumbentStays."""
    stage = gone_on(rollbackWindow=1)
    stage.change("ModelDeployment", "answers", rollout=CANARY | {"rollbackWindow": 1})
    assert named(stage) == "Admitted"
    stage.ask(1000, failing=True)
    stage.until(lambda: stage.told_status.get("rejected"))
    assert rests(stage) == "Rejected"
    assert stage.told_status["serving"]["run"] == "second"


def test_what_is_named_when_nothing_is_served_any_more_comes_back_at_once() -> None:
    """NoUngatedTraffic: by the verdict of then, though it was compared with something else."""
    stage = gone_on(rollbackWindow=1)
    stage.put(succeeded("third", 3))
    stage.judge()
    stage.until(lambda: stage.serves("third"))
    stage.change("ModelDeployment", "answers", approvers=[{"user": "qa@example.com"}], model={"run": "second"})
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.until(lambda: stage.serves("second"))
    assert stage.told_status["serving"]["gates"][0]["evaluation"] == beside(stage, "second", "first")


def test_what_an_operator_let_in_that_noted_no_verdicts_in_history_comes_back() -> None:
    stage = gone_on(rollbackWindow=1)
    told = copy.deepcopy(stage.told_status)
    for each in told["history"]:
        del each["gates"]
    stage.put(stage.deployment | {"status": told})
    stage.put(succeeded("third", 3))
    stage.judge()
    stage.until(lambda: stage.serves("third"))
    assert [bool(each.get("gates")) for each in stage.told_status["history"]] == [True, True, False]


def test_what_is_not_good_enough_by_itself_does_not_come_back() -> None:
    """NoUngatedTraffic: of what it is compared with alone it is not asked."""
    stage = gone_on(rollbackWindow=1)
    assert named(stage, results=(NOT_GOOD, WORSE)) == "GateFailed"
    assert stage.told_status["serving"]["run"] == "second"
    assert "candidate" not in stage.told_status


def beside(stage: Stage, run: str, other: str | None) -> str:
    """Return the name of the Evaluation of a run beside another."""
    found = [each for each in stage.evaluations if each["spec"]["run"] == run]
    [made] = [each for each in found if each["spec"].get("incumbent", {}).get("run") == other]
    return str(made["metadata"]["name"])


def awaits_review(stage: Stage) -> str:
    """Let the first run be named, and await review beside the second; return its Evaluation."""
    stage.change("ModelDeployment", "answers", model={"run": "first"}, rollout=CANARY | {"rollbackWindow": 2})
    stage.look()
    name = beside(stage, "first", "second")
    told = {"phase": "AwaitingReview", "review": {"asked": builders.CREATED, "rows": []}}
    stage.put(stage.get("Evaluation", name) | {"status": told})
    assert rests(stage) == "Admitted", "nobody waits for it"
    assert stage.told_status["candidate"]["run"] == "first"
    return name


REJECTED = "Rejected", (GOOD_ENOUGH, NO_WORSE_NOW)
TOO_LOW = "ScoreTooLow", (GOOD_ENOUGH, NO_WORSE_NOW, {"criterion": "human/tone", "outcome": "Failed"})


@pytest.mark.parametrize(("reason", "results"), [REJECTED, TOO_LOW])
def test_what_people_reject_since_then_does_not_come_back(reason: str, results: Sequence[Object]) -> None:
    """NoUngatedTraffic: nor beside something else, where they are not asked any more."""
    stage = gone_on(gate=REVIEWED, rollbackWindow=2)
    stage.fail(awaits_review(stage), *results, reason=reason)
    assert rests(stage) == "GateFailed"
    assert "candidate" not in stage.told_status
    assert stage.told_status["serving"]["run"] == "second"
    stage.put(succeeded("third", 3))
    stage.change("ModelDeployment", "answers", model={"run": "third"}, rollout={"rollbackWindow": 2})
    stage.judge()
    stage.until(lambda: stage.serves("third"))
    assert named(stage) == "GateFailed"
    assert pairs(stage)["first", "third"] == "Failed"
    assert "candidate" not in stage.told_status


def test_a_reject_outlives_the_evaluation_that_it_is_about() -> None:
    """NoUngatedTraffic."""
    stage = gone_on(gate=REVIEWED, rollbackWindow=2)
    gone = {"kind": "Evaluation", "name": "good-0123456789ab"}
    stage.say("Reject", stage.told_status["history"][1]["release"], name="no", subject=gone, reviewer="qa@example.com")
    assert named(stage) == "GateFailed"
    assert "Approval no of qa@example.com rejects it" in message(stage)
    assert "candidate" not in stage.told_status
