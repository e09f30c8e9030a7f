"""What was served comes back by the verdicts of then, where it would not be good enough beside what is served now."""

from collections.abc import Callable
from typing import Any

import pytest

from stagecoach.kinds.evalgate import served_before
from tests import builders
from tests.unit.kinds.deployment_cases import CANARY, told
from tests.unit.kinds.deployments import Stage
from tests.unit.kinds.gates import succeeded
from tests.unit.kinds.test_incumbents import COMPARING

Object = builders.Object
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


def gone_on(**rollout: Any) -> Stage:
    """Return a stage that serves the second run, than which the first is judged to be worse."""
    stage = Stage(succeeded("first"), **({"rollout": rollout} if rollout else {}))
    stage.change("EvalGate", "good", **COMPARING)
    stage.judge()
    stage.until(lambda: stage.serves("first"))
    stage.put(succeeded("second", 2))
    stage.judge()
    stage.until(lambda: stage.serves("second"), seconds=31)
    return stage


def named(stage: Stage, model: Object | None = None) -> str:
    """Let the first run be named, and judged beside the second; return what is said of it."""
    stage.change("ModelDeployment", "answers", model=model or {"run": "first"})
    for _ in range(2):
        stage.judge("Failed")
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
