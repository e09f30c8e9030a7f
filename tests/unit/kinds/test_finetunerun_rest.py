"""Which runs that have ended need another look."""

from collections.abc import Callable

import pytest

from stagecoach.kinds.finetunerun.rest import rests
from tests import builders
from tests.unit.kinds.test_finetunerun import fail, start, world
from tests.unit.kinds.world import World


def succeeded() -> World:
    here = world()
    start(here)
    here.end_pods(builders.artifact_report())
    here.reconcile()
    return here


def failed() -> World:
    here = world()
    start(here)
    fail(here, {"outcome": "BadInput", "problem": {"reason": "UnknownColumn", "message": "It is wrong."}}, 64)
    return here


def running() -> World:
    here = world()
    start(here)
    return here


@pytest.mark.parametrize(
    ("made", "phase", "at_rest"),
    [(succeeded, "Succeeded", True), (failed, "Failed", True), (running, "Running", False)],
)
def test_what_has_ended_rests(made: Callable[[], World], phase: str, at_rest: bool) -> None:
    here = made()
    assert here.status["phase"] == phase
    assert rests(here, here.stored) == at_rest


def a_job_goes_on(here: World) -> None:
    [job] = here.job_objects.values()
    del job["status"]


def a_pod_goes_on(here: World) -> None:
    [pod] = here.pod_objects.values()
    pod["status"]["phase"] = "Running"


def a_service_is_left(here: World) -> None:
    here.service_objects["left"] = {"kind": "Service", "metadata": {"name": "left"}}


@pytest.mark.parametrize(
    "happens",
    [World.show_problem, lambda here: here.set_spec(retries=9), a_job_goes_on, a_pod_goes_on, a_service_is_left],
)
@pytest.mark.parametrize("made", [succeeded, failed])
def test_what_has_something_left_to_do_does_not_rest(
    made: Callable[[], World], happens: Callable[[World], None]
) -> None:
    here = made()
    happens(here)
    assert not rests(here, here.stored)
