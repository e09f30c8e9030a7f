"""Where a suspended run goes on: its status says the step, for machines too."""

import copy
import json
from datetime import datetime

import pytest

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from tests import builders
from tests.unit.kinds.world import World


def started(project: builders.Object | None = None) -> World:
    """Return a world whose pod runs, which was not looked at yet."""
    here = World(CONTROLLER, builders.stored(builders.run()), project or builders.ready_project())
    here.reconcile()
    here.reconcile()
    here.admit(True)
    here.start_pods()
    here.run_pods()
    return here


def suspended(checkpoint: int | None = None, loss: float | None = None) -> World:
    """Return a world whose run was training, at this checkpoint, when it was suspended."""
    here = started()
    here.reconcile()
    here.checkpoint, here.loss = checkpoint, loss
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


def test_a_pod_whose_start_was_not_written_yet_is_told_of_and_counted() -> None:
    here = started()
    began = here.now
    here.wait(100)
    here.checkpoint = 12
    here.set_spec(suspend=True)
    here.reconcile()
    [attempt] = here.status["attempts"]
    assert datetime.fromisoformat(attempt["start"]) == began
    assert here.status["totals"]["seconds"] == 100
    assert "the newest that is known is of step 12 (status.totals.checkpoint)." in message(here)
    here.tell_pods_to_go()
    ends(here, {"outcome": "Preempted", "checkpoint": 345})
    assert told(here) == (345, 345, 345)
    assert "the newest that is known is of step 345" in message(here)


def test_an_attempt_that_never_started_tells_of_the_checkpoint_before_it() -> None:
    here = suspended(12)
    here.reconcile()
    here.set_spec(suspend=False)
    here.reconcile()
    here.reconcile()
    here.checkpoint = None
    here.set_spec(suspend=True)
    here.reconcile()
    assert [(item["outcome"], "start" in item) for item in here.status["attempts"]] == [
        ("Suspended", True),
        ("Suspended", False),
    ]
    assert here.status["totals"]["seconds"] == 100
    assert "the newest that is known is of step 12 (status.totals.checkpoint)." in message(here)


def test_of_a_first_attempt_that_never_started_there_is_nothing_to_tell() -> None:
    here = World(CONTROLLER, builders.stored(builders.run()), builders.ready_project())
    here.reconcile()
    here.reconcile()
    here.set_spec(suspend=True)
    here.reconcile()
    assert message(here) == "Attempt 1 is stopped. Set spec.suspend to false to go on."


def test_the_time_of_a_pod_that_a_queue_took_back_is_counted_once() -> None:
    project = builders.ready_project()
    project["spec"]["pods"] = {"queue": "gpu"}
    here = started(project)
    here.reconcile()
    here.wait(100)
    pods = copy.deepcopy(here.pod_objects)
    here.admit(False)
    here.pod_objects = pods  # it has ended, and is still there
    here.tell_pods_to_go()
    [pod] = here.live_pods()
    [container] = pod["status"]["containerStatuses"]
    began = container["state"]["running"]["startedAt"]
    report = json.dumps({"outcome": "Preempted", "checkpoint": 7})
    ended = {"exitCode": 75, "reason": "Error", "startedAt": began, "finishedAt": here.now.isoformat()}
    container["state"] = {"terminated": ended | {"message": report}}
    pod["status"]["phase"] = "Failed"
    here.reconcile()
    assert here.condition("Ready")["reason"] == "WaitingForQueue"
    assert here.status["totals"]["seconds"] == 100
    here.set_spec(suspend=True)
    here.reconcile()
    assert here.status["phase"] == "Suspended"
    assert here.status["totals"]["seconds"] == 100
    assert "the newest that is known is of step 7" in message(here)


def test_the_loss_that_was_told_last_stands_in_both_places() -> None:
    here = suspended(12, loss=0.5)
    progress = here.status["progress"]
    assert (here.status["loss"], progress["loss"], progress["step"]) == (0.5, 0.5, 12)
    assert datetime.fromisoformat(progress["at"]) == here.now


def test_a_loss_of_an_earlier_step_than_the_last_word_is_dropped() -> None:
    here = suspended(12, loss=0.5)
    deleted(here)
    here.wait(20)
    ends(here, {"outcome": "Preempted", "checkpoint": 345})
    progress = here.status["progress"]
    assert "loss" not in here.status
    assert not {"loss", "remainingSeconds"} & progress.keys()
    assert datetime.fromisoformat(progress["at"]) == here.now
    seen = dict(here.status)
    here.wait(20)
    here.reconcile()
    assert here.status == seen, "and that is all"
