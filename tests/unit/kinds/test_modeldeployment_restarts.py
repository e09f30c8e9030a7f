"""What a process that begins does not know yet is held against nobody: neither what serves nor a candidate."""

import pytest

from stagecoach.contract.digests import hex_of
from stagecoach.contract.loading import State
from tests.remedies import speaks
from tests.unit.kinds.deployment_scenes import CANARY
from tests.unit.kinds.deployments import Stage, serving
from tests.unit.kinds.gates import succeeded


def test_who_begins_to_lead_says_of_what_serves_what_was_said_until_it_has_asked() -> None:
    stage = serving()
    for _ in range(9):
        stage.go_on(15)
    before = stage.told_status
    stage.forget()
    stage.serve()
    assert stage.told_status == before
    stage.go_on()
    stage.go_on()
    assert stage.told_status == before


def test_what_was_not_well_is_so_until_somebody_has_asked() -> None:
    stage = serving()
    stage.silent = set(stage.loaders)
    stage.until(lambda: stage.phase == "Unavailable", 15)
    before = stage.told_status["conditions"]
    stage.forget()
    stage.serve()
    assert stage.phase == "Unavailable"
    assert [each["reason"] for each in stage.told_status["conditions"]] == [each["reason"] for each in before]


def test_what_does_not_answer_after_all_is_told() -> None:
    stage = serving()
    stage.forget()
    stage.silent = set(stage.loaders)
    stage.until(lambda: stage.phase == "Unavailable")


@pytest.mark.parametrize("rounds", range(4))
def test_a_candidate_has_its_time_after_the_operator_was_away(rounds: int) -> None:
    stage = serving()
    stage.put(succeeded("second", 2))
    stage.judge()
    for _ in range(rounds):
        stage.go_on(loads=False)
    stage.wait(7200)
    stage.forget()
    stage.until(lambda: stage.serves("second"))
    assert not stage.told_status["rejected"]


@pytest.mark.parametrize("rounds", range(5))
def test_a_first_candidate_has_its_time_after_the_operator_was_away(rounds: int) -> None:
    stage = Stage()
    stage.judge()
    for _ in range(rounds):
        stage.go_on(loads=False)
    stage.wait(7200)
    stage.forget()
    stage.until(lambda: stage.serves("first"))
    assert not stage.told_status["rejected"]


def test_its_time_ends_for_whom_nobody_answers() -> None:
    stage = Stage()
    stage.judge()
    stage.until(lambda: stage.loaders, loads=False)
    stage.silent = set(stage.loaders)
    stage.until(lambda: stage.told_status["rejected"], 15, 200, loads=False)
    assert stage.told_status["rejected"][0]["reason"] == "EngineNotReady"


def with_requests() -> Stage:
    stage = serving(rollout=CANARY)
    stage.put(succeeded("second", 2))
    stage.judge()
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    return stage


def test_a_candidate_that_nobody_answers_for_any_more_goes_when_its_weight_runs_out() -> None:
    stage = with_requests()
    for loader in stage.loaders.values():
        loader.models[hex_of(stage.told_status["candidate"]["artifact"])] = State.LOADING
    stage.until(lambda: stage.told_status["rejected"], 15, loads=False)
    [rejected] = stage.told_status["rejected"]
    assert rejected["run"] == "second"
    assert speaks(rejected["reason"], rejected["message"])
    assert stage.told_status["serving"]["run"] == "first"


def test_a_candidate_whose_weight_ran_out_while_nobody_was_there_goes_on() -> None:
    stage = with_requests()
    stage.wait(3600)
    stage.forget()
    stage.until(lambda: stage.told_status["candidate"]["step"] == 0 and len(stage.told) > 0)
    assert not stage.told_status["rejected"]
    for _ in range(20):
        stage.ask()
        stage.go_on(31)
    stage.until(lambda: stage.serves("second"))
