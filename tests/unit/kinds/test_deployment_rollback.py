"""What was served comes back by the verdicts of then, where it would not be good enough beside what is served now."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stagecoach.kinds.evalgate import served_before
from tests import builders
from tests.unit.kinds.deployment_cases import CANARY, told
from tests.unit.kinds.deployments import Stage
from tests.unit.kinds.gates import project_with_canary, reviewed_spec, succeeded
from tests.unit.kinds.test_incumbents import COMPARING, GOOD, NO_WORSE

Object = builders.Object
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
        (asking(1, {"run": "a"}), "a", A, None),
        (asking(2, {"run": "a"}), "a", A, A),
        (asking(1, {"latest": {}}), "b", B, None),
        (asking(1, {"follow": {"deployment": "staging", "soak": "1h"}}), "b", B, None),
        (asking(1, {"run": "a"}), "b", B, None),
        (asking(1), "b", D, None),  # the run makes another release by now
        (asking(1, {"latest": {}}), "c", C, C),  # what serves
        # Different releases are counted; of each, the last time counts.
        (asking(1, None, C, entry(C), entry(A), entry(C), entry(B)), "b", B, None),
        (asking(2, None, C, entry(C), entry(A), entry(C), entry(B)), "b", B, B),
        (asking(1, None, C, entry(C), entry(B, override={}), entry(B)), "b", B, None),
        (asking(1, None, C, entry(C), entry(B, gates=[])), "b", B, None),
        (asking(1, None, C, entry(C), {"release": B}), "b", B, None),  # of an operator that did not write them down
    ],
)
def test_by_which_verdict_a_release_may_come_back(
    deployment: Object, run: str, release: str, found: str | None
) -> None:
    assert served_before.key(deployment, "good", run, release) == (f"key of {found}" if found else "")
    assert served_before.key(deployment, "other", run, release) == ""


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


def pairs(stage: Stage) -> dict[tuple[str, str | None], str]:
    """Return the verdicts, by what was judged, and beside what."""
    judged = [(each["spec"], each["status"]["verdict"]) for each in stage.evaluations]
    return {(spec["run"], spec.get("incumbent", {}).get("run")): verdict for spec, verdict in judged}


def test_without_a_window_what_was_served_is_compared_like_any_other() -> None:
    stage = gone_on()
    assert named(stage) == "GateFailed"
    assert pairs(stage)["first", "second"] == "Failed"
    assert stage.told_status["serving"]["run"] == "second"


@pytest.mark.parametrize("by", ["run", "release"])
def test_what_was_served_comes_back_by_its_verdict_of_then(by: str) -> None:
    """NoUngatedTraffic: beside what was served when it was admitted."""
    stage = gone_on(rollbackWindow=1)
    before = stage.told_status["history"][1]
    assert named(stage, {by: before[by]}) == "Admitted"
    stage.until(lambda: stage.serves("first"))
    assert pairs(stage)["first", "second"] == "Failed"
    assert stage.told_status["serving"]["gates"] == before["gates"] == stage.told_status["history"][0]["gates"]
    assert told(stage) == ("Available", "Serving", "True")
    assert stage.said("Gated")["reason"] == "Passed"
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


def the_verdict_is_deleted(stage: Stage) -> None:
    [name] = [each["metadata"]["name"] for each in stage.evaluations if each["spec"]["run"] == "first"]
    stage.remove("Evaluation", name)


def another_gate_is_named(stage: Stage) -> None:
    stage.put(builders.stored(builders.gate("better", **COMPARING), uid="uid-better"))
    stage.change("ModelDeployment", "answers", gates=[{"name": "good"}, {"name": "better"}])


def it_is_revoked(stage: Stage) -> None:
    stage.change("ModelDeployment", "answers", approvers=[{"user": "qa@example.com"}])
    stage.decided("Revoke", stage.told_status["history"][1]["release"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (the_gate_asks_for_more, "GateFailed"),
        (the_verdict_is_deleted, "GateFailed"),
        (another_gate_is_named, "Judging"),
        (it_is_revoked, "Revoked"),
    ],
)
def test_it_does_not_come_back_by_what_says_nothing_any_more(change: Callable[[Stage], None], reason: str) -> None:
    """NoUngatedTraffic."""
    stage = gone_on(rollbackWindow=1)
    change(stage)
    assert named(stage) == reason
    assert stage.told_status["serving"]["run"] == "second"
    assert "candidate" not in stage.told_status


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
    assert "candidate" not in stage.told_status
