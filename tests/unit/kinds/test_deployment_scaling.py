"""Engine pods that follow what waits, and pods that come and go while another release takes over."""

from dataclasses import replace

import pytest

from stagecoach.contract import loading
from stagecoach.contract.loading import State
from stagecoach.contract.times import timestamp
from stagecoach.kinds.modeldeployment import waiting
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import CANARY, canary, with_second
from tests.unit.kinds.deployments import Stage, serving
from tests.unit.kinds.gates import succeeded

ASKED = {"min": 1, "max": 4, "waitingRequests": 4}
EVERY = waiting.EVERY.total_seconds()
# As rarely as what was said is still believed.
RARELY = 25


def wanted(stage: Stage) -> int:
    return int(stage.told_status["autoscaling"]["wanted"])


def reason(stage: Stage) -> str:
    said = stage.said("Autoscaled")
    assert said["status"] == "True" or speaks(said["reason"], said["message"]), said
    return str(said["reason"])


def waits(stage: Stage, waiting: int | None, running: int = 0) -> None:
    """Let so many requests wait for each pod."""
    for loader in stage.loaders.values():
        loader.waiting, loader.running = waiting, running


def engine(stage: Stage) -> int:
    """Return how many pods the engine of what serves is to have."""
    found = stage.children["Deployment", stage.told_status["serving"]["engine"]]
    return int(found["spec"]["replicas"])


def grown(stage: Stage, number: int) -> Stage:
    """Let more wait until there are so many pods, and then nothing."""
    for _ in range(20):
        if wanted(stage) == number:
            break
        waits(stage, 5)
        stage.go_on(EVERY)
    waits(stage, 0, 20)
    stage.until(lambda: len(stage.loaders) == number and reason(stage) == "Enough", EVERY)
    return stage


def test_what_waits_at_two_looks_brings_more_pods_and_the_status_says_so_first() -> None:
    stage = serving(autoscaling=ASKED)
    assert (wanted(stage), engine(stage), reason(stage)) == (1, 1, "Enough")
    waits(stage, 5, 32)
    stage.until(lambda: reason(stage) == "MoreWait", EVERY)
    assert (wanted(stage), engine(stage)) == (1, 1), "once is not enough"
    stage.until(lambda: wanted(stage) == 2, EVERY, rounds=3)
    told = stage.told_status["autoscaling"]
    assert (told["waiting"], stage.said("Autoscaled")["reason"]) == (5, "Scaled")
    assert [words for name, words in stage.events if name == "Scaled"] == [
        "2 engine pods instead of 1: 5 requests wait, and spec.autoscaling.waitingRequests of each pod is 4."
    ]
    stage.until(lambda: len(stage.loaders) == 2)
    waits(stage, 0, 20)
    stage.until(lambda: reason(stage) == "Enough", EVERY)
    assert stage.serves("first")


def test_nothing_that_waits_for_five_minutes_takes_one_pod_and_then_the_next() -> None:
    stage = grown(serving(autoscaling=ASKED), 3)
    waits(stage, 0, 1)
    for left in (2, 1):
        began = stage.now
        stage.until(lambda left=left: wanted(stage) == left, RARELY)  # type: ignore[misc]
        assert (stage.now - began).total_seconds() >= 300
        stage.go_on()
    stage.go_on()
    for _ in range(14):
        stage.go_on(RARELY)
    assert (wanted(stage), engine(stage), len(stage.loaders)) == (1, 1, 1)


def test_what_one_pod_does_not_say_takes_none_away() -> None:
    stage = grown(serving(autoscaling=ASKED), 2)
    waits(stage, 0)
    next(iter(stage.loaders.values())).waiting = None
    for _ in range(14):
        stage.go_on(RARELY)
    assert (wanted(stage), reason(stage)) == (2, "LoadUnknown")
    assert "the engine gave no answer: 500 no" in stage.said("Autoscaled")["message"]
    waits(stage, 0)
    stage.silent = set(stage.loaders)
    for _ in range(14):
        stage.go_on(RARELY)
    assert wanted(stage) == 2


def test_a_pod_that_says_nothing_keeps_none_from_coming() -> None:
    stage = grown(serving(autoscaling=ASKED), 2)
    waits(stage, 50)
    next(iter(stage.loaders.values())).waiting = None
    stage.until(lambda: wanted(stage) > 2, EVERY, rounds=6)


def test_a_loader_of_an_earlier_version_is_said_to_be_one() -> None:
    stage = serving(autoscaling=ASKED)
    [loader] = stage.loaders.values()
    loader._load = lambda now: replace(loader.put(b"{}", now), status=404)  # type: ignore[method-assign]
    stage.until(lambda: reason(stage) == "LoadUnknown", EVERY)
    assert "earlier version" in stage.said("Autoscaled")["message"]


def test_another_process_says_what_was_said_until_it_has_asked() -> None:
    stage = grown(serving(autoscaling=ASKED), 2)
    before = stage.said("Autoscaled")
    stage.forget()
    stage.serve()
    assert stage.said("Autoscaled") == before


def test_nobody_is_asked_where_nothing_follows() -> None:
    stage = serving()
    assert [call.path for call in stage.serve().ask if call.path == loading.LOAD_PATH] == []
    assert (stage.said("Autoscaled"), stage.told_status.get("autoscaling")) == ({}, None)


def test_it_begins_with_as_many_as_there_are_and_ends_with_what_replicas_says() -> None:
    stage = serving(replicas=3)
    waits(stage, 0, 20)
    stage.change("ModelDeployment", "answers", replicas=1, autoscaling=ASKED)
    stage.go_on()
    assert (wanted(stage), engine(stage), len(stage.loaders)) == (3, 3, 3)
    del stage.deployment["spec"]["autoscaling"]
    stage.change("ModelDeployment", "answers", replicas=2)
    stage.go_on()
    stage.go_on()
    assert (engine(stage), stage.told_status.get("autoscaling"), stage.said("Autoscaled")) == (2, None, {})


def test_bounds_hold_at_once() -> None:
    stage = grown(serving(autoscaling=ASKED), 4)
    stage.change("ModelDeployment", "answers", autoscaling=ASKED | {"max": 2})
    stage.go_on()
    assert engine(stage) == 2
    stage.go_on()
    assert (wanted(stage), len(stage.loaders)) == (2, 2)
    stage.change("ModelDeployment", "answers", autoscaling=ASKED | {"min": 3})
    stage.go_on()
    assert engine(stage) == 3


def test_no_pod_goes_while_another_release_takes_over_and_more_may_come() -> None:
    stage = grown(serving(autoscaling=ASKED, rollout=CANARY), 2)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("step") == 0)
    waits(stage, 0)
    for _ in range(14):
        stage.go_on(RARELY)
    assert (wanted(stage), stage.told_status["candidate"]["step"]) == (2, 0)
    waits(stage, 9)
    stage.until(lambda: wanted(stage) == 4, EVERY)


def test_what_waits_for_the_candidates_own_engine_counts_once_it_has_requests() -> None:
    stage = serving(autoscaling=ASKED, rollout={"canary": {"steps": [{"weight": 50, "hold": "1h"}]}})
    with_whole(stage)
    stage.until(lambda: len(stage.loaders) == 2, loads=False)
    other = list(stage.loaders.values())[-1]
    other.waiting = 100
    for _ in range(4):
        stage.go_on(EVERY, loads=False)
    assert wanted(stage) == 1, "nobody asks it yet"
    stage.until(lambda: stage.told_status["candidate"].get("weight"))
    stage.until(lambda: wanted(stage) == 2, EVERY)


def with_whole(stage: Stage) -> None:
    """Let a release be admitted that has an engine of its own."""
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage.put(whole)
    stage.judge()


def test_a_candidate_waits_for_its_pods_while_those_of_what_serves_are_away_for_a_moment() -> None:
    """One pod does not take over what three have answered."""
    stage = grown(serving(autoscaling=ASKED), 3)
    incumbents = list(stage.loaders.values())
    with_whole(stage)
    stage.until(lambda: len(stage.loaders) == 6, loads=False)
    for loader in incumbents[1:]:
        loader.models[loader.base] = State.LOADING
    first = list(stage.loaders.values())[3]
    first.models[first.base] = State.ANSWERS
    for _ in range(20):
        stage.go_on(10, loads=False)
    status = stage.told_status
    assert (status["serving"]["run"], status["candidate"]["run"]) == ("first", "whole")
    assert f"1 of 3 pods of engine {status['candidate']['engine']} are ready" in stage.said("Reconciling")["message"]
    for _ in range(12):
        stage.go_on(10, loads=False)
    assert stage.serves("whole"), "nobody waits for what has not been there for minutes"


@pytest.mark.parametrize("made", [True, False])
def test_a_candidate_need_not_answer_on_pods_that_do_not_start(made: bool) -> None:
    """It takes over where what serves answers; more pods may wait for room all the time."""
    stage = serving(autoscaling=ASKED)
    engine = stage.told_status["serving"]["engine"]
    waits(stage, 50)
    stage.until(lambda: wanted(stage) == 2, EVERY)
    stage.serve()
    if made:
        stage.control()
        del stage.loaders[list(stage.loaders)[1]]
    else:
        refused = {"type": "ReplicaFailure", "status": "True", "lastTransitionTime": timestamp(stage.now)}
        found = stage.children["Deployment", engine]
        stage._store(found | {"status": found["status"] | {"conditions": [refused | {"message": "quota"}]}})
    stage.stuck = {engine: {"phase": "Pending"}}
    with_second(stage)
    for _ in range(6):
        stage.go_on(30)
    assert stage.told_status["candidate"]["run"] == "second", "it may start yet"
    stage.until(lambda: stage.told_status["serving"]["run"] == "second", 30, rounds=10)
    assert (len(stage.loaders), wanted(stage)) == (1, 2)


def test_somebody_scales_in_a_held_step_and_nothing_is_asked_of_a_pod_that_lacks_a_release() -> None:
    """NoUngatedTraffic, IncumbentStays: the step is held until new pods answer with both releases."""
    stage = canary()
    stage.ask(400)
    stage.change("ModelDeployment", "answers", replicas=3, gateway={"replicas": 2})
    for _ in range(8):
        stage.go_on(15, loads=False)
    assert (len(stage.loaders), len(stage.doors)) == (3, 2)
    new = [loader for loader in stage.loaders.values() if not loader.ready]
    assert len(new) == 2
    assert all(len(loader.wanted) == 2 for loader in new), "new pods are told of both"
    for loader in new:
        loader.models[loader.base] = State.ANSWERS
    for _ in range(8):
        stage.go_on(15, loads=False)
    status = stage.told_status
    assert (status["candidate"]["step"], status["candidate"]["weight"], stage.said()["status"]) == (0, 10, "True")
    assert all(routes.candidate and routes.candidate.weight == 10 for routes in stage.routes())
    stage.until(lambda: stage.told_status["candidate"]["step"] == 1)


@pytest.mark.parametrize("number", [0, 5])
def test_a_deployment_that_somebody_else_scales_is_set_back(number: int) -> None:
    stage = serving(gateway={"replicas": 2})
    for name in ("answers-gateway", stage.told_status["serving"]["engine"]):
        found = stage.children["Deployment", name]
        before = found["spec"]["replicas"]
        found["spec"]["replicas"] = number
        stage._store(found)
        stage.serve()
        assert stage.children["Deployment", name]["spec"]["replicas"] == before
