"""Ready says again what is true once nothing stands in the way: out of the status alone, in a process that knew nothing."""

from collections.abc import Callable

import pytest

from tests import builders
from tests.unit.kinds import test_finetunerun as runs
from tests.unit.kinds import test_finetunerun_twins as twins
from tests.unit.kinds import test_transformerproject as projects
from tests.unit.kinds.world import World

BAD_INPUT = {"outcome": "BadInput", "problem": {"reason": "EmptyLabel", "message": "Row 3 has no label."}}


def succeeded() -> World:
    here = running()
    here.end_pods(builders.artifact_report())
    return here


def adopted() -> World:
    here = looking()
    here.end_pods(builders.artifact_report(adopted=True))
    return here


def failed() -> World:
    here = running()
    here.end_pods(BAD_INPUT, 64, "Error")
    return here


def never_started() -> World:
    return runs.world(builders.run(data={"train": [{"name": "test"}]}))


def running() -> World:
    here = runs.world()
    runs.start(here)
    return here


def looking() -> World:
    here = runs.world(project=builders.ready_project(records=True))
    runs.start(here)
    return here


def starting() -> World:
    here = runs.world()
    here.reconcile()
    here.reconcile()
    return here


def retrying() -> World:
    here = running()
    runs.fail(here, runs.SERVICE_FAILED)
    return here


def stopped() -> World:
    here = running()
    here.set_spec(suspend=True)
    return here


def made_suspended() -> World:
    return runs.world(builders.run(suspend=True))


def refused() -> World:
    here = projects.world()
    projects.resolve(here, BAD_INPUT, 64)
    return here


def again() -> World:
    here = projects.world()
    projects.resolve(here, runs.SERVICE_FAILED, 69)
    return here


def resolved() -> World:
    here = projects.world()
    projects.resolve(here)
    return here


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (succeeded, "Trained"),
        (adopted, "Adopted"),
        (failed, "EmptyLabel"),
        (never_started, "TestSplitUsed"),
        (running, "Running"),
        (looking, "Starting"),
        (starting, "Starting"),
        (retrying, "Retrying"),
        (stopped, "Suspended"),
        (made_suspended, "Suspended"),
        (refused, "EmptyLabel"),
        (again, "StorageAway"),
        (resolved, "Resolved"),
    ],
)
def test_what_is_true_is_said_again(state: Callable[[], World], reason: str) -> None:
    here = state()
    here.reconcile()
    before, writes = here.status, here.status_writes
    assert here.condition("Ready")["reason"] == reason
    here.reconcile()
    assert here.status_writes == writes, "nothing new, nothing written"
    here.show_problem()
    assert here.condition("Ready")["reason"] == "InternalError"
    here.reconcile()
    ready = here.condition("Ready")
    assert (ready["reason"], here.status["phase"]) == (reason, before["phase"])
    assert ready["message"]
    types = [[each["type"] for each in status["conditions"]] for status in (before, here.status)]
    assert types[0] == types[1]
    here.reconcile()
    assert here.status_writes == writes + 1


@pytest.mark.parametrize("state", [succeeded, failed, stopped])
def test_what_does_not_go_on_says_the_same_of_an_edited_spec(state: Callable[[], World]) -> None:
    here = state()
    here.reconcile()
    before = here.condition("Ready")
    here.set_spec(suspend=bool(here.stored["spec"].get("suspend")))
    plan = here.reconcile()
    assert here.status["observedGeneration"] == here.stored["metadata"]["generation"]
    assert {each["observedGeneration"] for each in here.status["conditions"]} == {here.status["observedGeneration"]}
    assert here.condition("Ready") == before | {"observedGeneration": here.status["observedGeneration"]}
    assert plan.events == ()
    writes = here.status_writes
    here.reconcile()
    assert here.status_writes == writes


def test_a_problem_of_a_run_that_waits_does_not_make_its_old_job_one_to_wait_for() -> None:
    elder, younger, youngest = worlds = twins.siblings()
    youngest.set_spec(suspend=True)
    elder.set_spec(suspend=True)
    twins.all_look(worlds)
    younger.start_pods()
    runs.fail(younger, runs.SERVICE_FAILED)
    younger.set_spec(suspend=True)
    twins.all_look([younger])
    assert younger.job_objects, "its first attempt's Job keeps the log"
    elder.set_spec(suspend=False)
    younger.set_spec(suspend=False)
    for world in worlds:
        world.wait(100)
    elder.reconcile()
    younger.reconcile()
    assert younger.condition("Ready")["reason"] == "SameInputs"
    younger.show_problem()
    elder.reconcile()
    assert twins.intents(elder) == ["Train"]
