"""Where a suspended run goes on: its status says the step, for machines too."""

import pytest

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from tests import builders
from tests.unit.kinds.world import World


def suspended(checkpoint: int | None = None) -> World:
    """Return a world whose run was training, at this checkpoint, when it was suspended."""
    here = World(CONTROLLER, builders.stored(builders.run()), builders.ready_project())
    here.reconcile()
    here.reconcile()
    here.start_pods()
    here.run_pods()
    here.reconcile()
    here.checkpoint = checkpoint
    here.wait(100)
    here.set_spec(suspend=True)
    here.reconcile()
    here.tell_pods_to_go()
    return here


def deleted(here: World) -> None:
    """Let the operator delete the Job; the pod has a long grace period."""
    pods = dict(here.pod_objects)
    here.reconcile()
    assert not here.job_objects
    here.pod_objects = pods


def told(here: World) -> tuple[int | None, int | None, int | None]:
    """Return the checkpoint of attempt, totals and progress."""
    status = here.status
    return tuple(
        part.get("checkpoint") for part in (status["attempts"][-1], status["totals"], status.get("progress", {}))
    )


def ends(here: World, report: builders.Object | None, code: int = 75) -> None:
    """Let the pod say its last word, with its Job gone."""
    [pod] = here.live_pods()
    here.end_pod(pod, report, code, "Error")
    here.reconcile()


def message(here: World) -> str:
    return str(here.condition("Ready")["message"])


def test_directly_after_suspension_it_is_the_newest_that_the_training_told() -> None:
    here = suspended(12)
    assert told(here) == (12, 12, 12)
    assert here.status["progress"]["step"] == 12
    assert "the newest that is known is of step 12 (status.totals.checkpoint)." in message(here)


def test_it_is_what_the_pod_saved_when_it_was_told_to_stop() -> None:
    here = suspended(12)
    deleted(here)
    writes = here.status_writes
    ends(here, {"outcome": "Preempted", "checkpoint": 345})
    assert told(here) == (345, 345, 345)
    assert (here.status["progress"]["step"], here.status["progress"]["percent"]) == (345, 34)
    assert "the newest that is known is of step 345" in message(here)
    assert here.status["phase"] == "Suspended"
    here.pod_objects = {}
    here.wait(100_000)
    here.reconcile()
    assert told(here) == (345, 345, 345)
    assert here.status_writes == writes + 1, "for the one new number"


@pytest.mark.parametrize(
    "report", [None, {"outcome": "Terminated"}, {"outcome": "Preempted", "checkpoint": 12}], ids=str
)
def test_a_last_word_without_a_newer_checkpoint_is_not_written(report: builders.Object | None) -> None:
    here = suspended(12)
    deleted(here)
    writes = here.status_writes
    ends(here, report)
    assert told(here) == (12, 12, 12)
    assert here.status_writes == writes


def test_before_the_first_progress_nothing_is_known_until_the_pod_says_it() -> None:
    here = suspended()
    assert told(here) == (None, None, None)
    assert "none is known yet (status.totals.checkpoint)." in message(here)
    ends(here, {"outcome": "Preempted", "checkpoint": 3})
    assert told(here) == (3, 3, None)


def test_a_last_word_after_the_run_was_resumed_comes_with_what_is_written_anyway() -> None:
    here = suspended(12)
    deleted(here)
    here.set_spec(suspend=False)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Stopping"
    writes = here.status_writes
    ends(here, {"outcome": "Preempted", "checkpoint": 345})
    assert here.status_writes == writes + 1
    assert [item.get("checkpoint") for item in here.status["attempts"]] == [345, None]
    assert here.status["totals"]["checkpoint"] == 345
    assert message(here) == "Attempt 2 goes on from the newest checkpoint, of step 345 or later."
