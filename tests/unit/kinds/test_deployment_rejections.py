"""What was tried and went back is not tried again, however many were: not all of them are told in the status."""

import copy
from datetime import UTC, datetime

import pytest

from stagecoach.api.deployment_status import Served
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.loading import State
from stagecoach.kinds.modeldeployment import rejections
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployments import Stage, serving
from tests.unit.kinds.gates import succeeded

ROOM = 3
STARTED = datetime(2026, 1, 3, tzinfo=UTC)
CANDIDATE = Served.model_validate(
    {
        "release": builders.digest("d"),
        "short": "d" * 12,
        "run": "d",
        "runCreated": "2026-01-02T00:00:03Z",
        "admitted": "answers-r-0",
        "engine": "answers-e-01234567",
        "engineImage": builders.ENGINE_IMAGE,
        "loaderImage": builders.EVALUATOR_IMAGE,
        "gates": [{"gate": "good", "evaluation": "good-0", "key": builders.digest("e")}],
        "since": builders.CREATED,
    }
)


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MAX_REJECTED", ROOM)


def fails(stage: Stage) -> list[str]:
    """Let whatever is tried fail, until nothing is; return the runs that were, in their order."""
    for _ in range(8):
        stage.judge()
    begun, quiet = len(stage.events), 0
    while quiet < 3:
        stage.turn(State.FAILED)
        stage.go_on(loads=False)
        quiet = 0 if "candidate" in stage.told_status else quiet + 1
        assert len(stage.told_status["rejected"]) <= ROOM
        assert len(stage.events) - begun < 40, "it goes on for ever"
    return [message.split()[1] for reason, message in stage.events[begun:] if reason == "Rejected"]


@pytest.mark.parametrize("at_once", [True, False])
def test_no_run_is_tried_twice_by_latest(*, at_once: bool) -> None:
    stage, names = serving(), [f"run-{number}" for number in range(2, 8)]
    tried: list[str] = []
    for number, name in enumerate(names, 2):
        stage.put(succeeded(name, number))
        if not at_once:
            tried += fails(stage)
    tried += fails(stage)
    # Of many at once the newest come first, and when there is no room any more, the rest is not tried.
    assert tried == (names[: -ROOM - 2 : -1] if at_once else names)
    assert stage.told_status["serving"]["run"] == "first"
    assert (stage.phase, stage.said("Stalled")["reason"]) == ("Degraded", "Rejected")


def with_some_passed_over() -> Stage:
    stage = serving()
    for number in range(2, 7):
        stage.put(succeeded(f"run-{number}", number))
    fails(stage)
    assert (
        stage.told_status["passedOver"]["runCreated"]
        == stage.get("FineTuneRun", "run-3")["metadata"]["creationTimestamp"]
    )
    return stage


def test_what_is_passed_over_is_told_when_nothing_newer_is_there() -> None:
    stage = with_some_passed_over()
    for number in (4, 5, 6):
        stage.remove("FineTuneRun", f"run-{number}")
    stage.go_on()
    told = stage.said("Stalled")
    assert told["reason"] == "Rejected"
    assert told["message"].startswith("Run run-3 cannot be served: it may have been tried")
    assert speaks(told["reason"], told["message"])


def test_what_is_newer_is_tried_and_what_is_passed_over_when_it_is_named_or_the_spec_is_another() -> None:
    stage = with_some_passed_over()
    stage.change("ModelDeployment", "answers", model={"run": "run-2"})
    stage.until(lambda: stage.serves("run-2"))
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    stage.put(succeeded("newest", 9))
    stage.judge()
    stage.until(lambda: stage.serves("newest"))


NOW, BEFORE, UNDATED, ITSELF = "now", "before", "undated", "a base itself"


def created(letter: str) -> str:
    return f"2026-01-02T00:00:0{'abcdef'.index(letter)}Z"


def with_rejected(listed: dict[str, str], served: str, mark: str) -> ModelDeployment:
    """Return a deployment with what was rejected, and passed over, under the spec of now or of before."""
    raw = copy.deepcopy(Stage().deployment)
    now = rejections.identity(ModelDeployment.model_validate(raw))
    told = {"reason": "TooManyErrors", "message": "It failed.", "engine": "answers-e-01234567"}
    history = [{"release": builders.digest(each), "run": each, "since": builders.CREATED} for each in served]
    rejected = [
        told
        | {"release": builders.digest(each), "spec": builders.digest("0") if of == BEFORE else now}
        | {"base" if of == ITSELF else "run": each}
        | {"at": f"2026-01-02T00:01:{59 - number}Z"}
        | ({} if of in (UNDATED, ITSELF) else {"runCreated": created(each)})
        for number, (each, of) in enumerate(listed.items())
    ]
    over = {"passedOver": {"runCreated": created(mark), "spec": now}} if mark else {}
    return ModelDeployment.model_validate(raw | {"status": {"history": history, "rejected": rejected} | over})


@pytest.mark.parametrize(
    ("listed", "served", "mark", "left", "over"),
    [
        ({"b": NOW, "a": NOW}, "", "", "dba", ""),
        # What the oldest run has made goes, whenever it was rejected.
        ({"b": NOW, "a": NOW, "c": NOW}, "", "", "dbc", "a"),
        ({"e": NOW, "f": NOW, "c": NOW}, "", "a", "def", "c"),
        ({"e": NOW, "f": NOW, "c": NOW}, "", "e", "def", "e"),
        # That one itself.
        ({"e": NOW, "f": NOW, "d": NOW}, "", "", "def", ""),
        # Of another spec first, and nothing is passed over by that.
        ({"c": BEFORE, "a": NOW, "b": NOW}, "", "", "dab", ""),
        # What was served may come back, or go to another engine.
        ({"a": NOW, "b": NOW, "c": NOW}, "a", "", "dac", "b"),
        # Of before there was such a time.
        ({"e": UNDATED, "a": NOW, "c": NOW}, "", "", "dac", ""),
        ({"e": UNDATED, "a": UNDATED, "c": UNDATED}, "", "", "dea", ""),
        # Of a base itself nobody could pass over what was rejected.
        ({"e": ITSELF, "a": NOW, "c": NOW}, "", "", "dec", "a"),
    ],
)
def test_what_goes_when_there_is_no_room(listed: dict[str, str], served: str, mark: str, left: str, over: str) -> None:
    deployment = with_rejected(listed, served, mark)
    told, passed_over = rejections.rejected(deployment, CANDIDATE, "TooManyErrors", "It failed.", STARTED)
    assert {each.release for each in told} == {builders.digest(each) for each in left}
    assert (passed_over.run_created if passed_over else "") == (created(over) if over else "")
