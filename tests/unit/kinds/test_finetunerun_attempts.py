"""Attempts of a run: which are retried, what counts, and which Jobs go."""

import copy
import json
from datetime import timedelta

import pytest

from stagecoach.contract.progress import DEADLINE_VARIABLE
from stagecoach.contract.times import timestamp
from tests import builders
from tests.unit.kinds.test_finetunerun import SERVICE_AWAY, SERVICE_FAILED, env_of, fail, numbers, preempt, start, world
from tests.unit.kinds.world import World


def test_failures_that_may_pass_are_retried_after_a_delay_and_not_for_ever() -> None:
    here = world(builders.run(retries=1))
    start(here)
    fail(here, SERVICE_FAILED)
    assert here.condition("Ready")["reason"] == "Retrying"
    assert "StorageAway" in here.condition("Ready")["message"]
    assert here.reconcile().requeue_after == 10
    here.wait(11)
    start(here)
    assert [attempt["number"] for attempt in here.status["attempts"]] == [1, 2]
    fail(here, SERVICE_FAILED)
    assert here.status["phase"] == "Failed"
    assert "All 1 retries are used up" in here.condition("Ready")["message"]


def test_an_outage_of_minutes_does_not_take_all_retries() -> None:
    here = world(builders.run(retries=2))
    for minutes in (3, 6):
        start(here)
        fail(here, SERVICE_AWAY)
        due = timestamp(here.now + timedelta(minutes=minutes))
        assert here.condition("Ready")["message"].endswith(f" follows at {due}.")
        assert here.reconcile().requeue_after == 60 * minutes
        here.wait(60 * minutes)
    start(here)
    fail(here, SERVICE_AWAY)
    assert [attempt["outcome"] for attempt in here.status["attempts"]] == ["ServiceAway"] * 3
    assert here.condition("Ready")["reason"] == "EndpointUnreachable"


@pytest.mark.parametrize("hours", [1, -1])
def test_a_node_whose_clock_is_wrong_neither_holds_up_a_run_nor_ends_it(hours: int) -> None:
    here = world(builders.run(retries=1, maxDuration="1h"))
    here.node_is_off = timedelta(hours=hours)
    start(here)
    here.wait(60)
    here.reconcile()
    assert here.status["phase"] == "Running"
    fail(here, SERVICE_FAILED)
    assert here.status["totals"]["seconds"] <= 60
    here.wait(11)
    start(here)
    assert numbers(here) == [1, 2]
    assert here.status["phase"] == "Running"


def test_bad_input_is_not_retried() -> None:
    here = world()
    start(here)
    problem = {"reason": "UnknownColumn", "field": "data", "message": "No column.", "remedy": "Name another."}
    fail(here, {"outcome": "BadInput", "problem": problem}, 64)
    assert here.status["phase"] == "Failed"
    assert here.condition("Ready")["reason"] == "UnknownColumn"
    assert here.condition("Ready")["message"] == "data: No column. Name another."
    assert here.status["attempts"][0]["counted"] is False


STALLED = {
    "outcome": "Failed",
    "problem": {"reason": "ProgressDeadlineExceeded", "message": "No progress for 30 minutes."},
}


def deadlines(here: World) -> list[str | None]:
    """Return what the pods of each attempt are told of progressDeadline, in seconds."""
    pods = [job["spec"]["template"]["spec"]["containers"][0]["env"] for job in here.job_objects.values()]
    return [next((item["value"] for item in env if item["name"] == DEADLINE_VARIABLE), None) for env in pods]


def test_an_attempt_that_hangs_counts_and_is_made_again() -> None:
    here = world(builders.run(retries=1))
    start(here)
    fail(here, STALLED, 70)
    assert here.condition("Ready")["reason"] == "Retrying"
    assert "ended with ProgressDeadlineExceeded: No progress for 30 minutes." in here.condition("Ready")["message"]
    assert (here.status["attempts"][0]["counted"], here.status["totals"]["failures"]) == (True, 1)
    here.wait(11)
    start(here)
    fail(here, STALLED, 70)
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Failed", "ProgressDeadlineExceeded")


def test_how_long_an_attempt_may_hang_is_told_beside_a_document_that_is_as_ever() -> None:
    here = world()
    start(here)
    assert deadlines(here) == ["1800"]
    assert "rogressDeadline" not in env_of(next(iter(here.job_objects.values())))
    given = world(builders.run(progressDeadline="2h"))
    start(given)
    assert deadlines(given) == ["7200"]


def test_a_lookup_has_no_such_deadline() -> None:
    here = world(project=builders.ready_project(records=True))
    start(here)
    assert deadlines(here) == [None]


def test_a_success_without_an_artifact_is_a_failure() -> None:
    here = world()
    start(here)
    here.end_pods({"outcome": "Done"})
    here.reconcile()
    ready = here.condition("Ready")
    assert ready["reason"] == "ArtifactMissing"
    assert here.status["inputs"]["image"] in ready["message"]
    assert "sets all images of the chart to one version. Then create another run." in ready["message"]
    assert here.status["phase"] == "Failed"


def test_the_time_of_all_attempts_counts() -> None:
    here = world(builders.run(maxDuration="1h"))
    start(here)
    [first] = here.job_objects.values()
    assert first["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 3600
    here.wait(1800)
    fail(here, SERVICE_FAILED)
    here.wait(11)
    start(here)
    second = list(here.job_objects.values())[-1]
    assert second["spec"]["template"]["spec"]["activeDeadlineSeconds"] == pytest.approx(1800, abs=2)


def test_time_that_is_used_up_between_two_attempts_is_told_by_an_event_too() -> None:
    here = world(builders.run(maxDuration="1h"))
    start(here)
    here.wait(3601)
    fail(here, {"outcome": "Preempted", "checkpoint": 7}, 75)
    assert here.condition("Ready")["reason"] == "Retrying"
    here.wait(11)
    [event] = here.reconcile().events
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Failed", "DeadlineExceeded")
    assert (event.reason, event.message, event.warning) == (
        "DeadlineExceeded",
        here.condition("Ready")["message"],
        True,
    )


def test_a_project_that_changed_before_a_retry_ends_the_run() -> None:
    here = world()
    start(here)
    fail(here, SERVICE_FAILED)
    here.wait(11)
    here.reconcile()
    changed = copy.deepcopy(builders.ready_project())
    changed["spec"]["tokenization"]["maxLength"] = 64
    here.project = changed
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ProjectChanged"
    assert here.status["phase"] == "Failed"


def test_a_project_that_is_made_again_before_a_retry_goes_on() -> None:
    here = world()
    start(here)
    fail(here, SERVICE_FAILED)
    here.wait(11)
    here.project = None
    here.reconcile()
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ProjectMissing"
    here.project = builders.stored(builders.project())  # not resolved yet
    here.reconcile()
    assert len(here.job_objects) == 2
    assert here.status["phase"] == "Queued"


def test_the_kubelet_is_given_time_to_say_that_the_deadline_passed() -> None:
    here = world()
    start(here)
    [pod] = here.pod_objects.values()
    stopped = {"exitCode": 143, "reason": "Error", "message": json.dumps({"outcome": "Terminated"})}
    pod["status"] = {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": {"terminated": stopped}}]}
    here.reconcile()
    assert here.status["phase"] == "Running"
    pod["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded"}
    here.reconcile()
    assert here.status["phase"] == "Failed"
    assert here.condition("Ready")["reason"] == "DeadlineExceeded"


def test_a_job_of_an_attempt_that_has_ended_is_deleted_at_sight() -> None:
    here = world()
    start(here)
    fail(here, SERVICE_FAILED)
    late = copy.deepcopy(next(iter(here.job_objects.values())))
    late.pop("status")
    here.job_objects = {late["metadata"]["name"]: late}
    here.pod_objects.clear()  # cleaned up with the first Job of this name
    here.reconcile()
    assert not here.job_objects


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_job_that_a_person_copied_is_left_alone(succeeds: bool) -> None:
    here = world(builders.run(retries=0))
    start(here)
    [(job, original)] = here.job_objects.items()
    copied = copy.deepcopy(original)
    copied["metadata"]["name"] = f"{job}-debug"
    here.job_objects[f"{job}-debug"] = copied
    if succeeds:
        here.end_pods(builders.artifact_report())
    else:
        here.end_pods(SERVICE_FAILED, 69, "Error")
    for _ in range(2):
        here.reconcile()
    assert here.status["phase"] == ("Succeeded" if succeeds else "Failed")
    assert f"{job}-debug" in here.job_objects


def test_a_job_whose_pod_has_done_its_work_is_kept_though_the_job_controller_has_not_seen_it() -> None:
    here = world()
    start(here)
    here.end_pods(builders.artifact_report())
    for job in here.job_objects.values():
        job.pop("status")
    for pod in here.pod_objects.values():
        pod["status"]["phase"] = "Running"  # as the kubelet has it for a moment
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
    here.reconcile()
    assert len(here.job_objects) == 1, "its logs are kept"


def test_failures_count_though_their_attempts_are_no_longer_listed() -> None:
    here = world(builders.run(retries=1))
    start(here)
    fail(here, SERVICE_FAILED)
    here.wait(400)
    for step in range(1, 13):
        preempt(here, step)
    start(here)
    assert numbers(here)[0] > 1
    fail(here, SERVICE_FAILED)
    assert "All 1 retries are used up" in here.condition("Ready")["message"]


def test_a_job_of_an_attempt_that_is_no_longer_listed_is_deleted_at_sight() -> None:
    here = world()
    start(here)
    [late] = copy.deepcopy(list(here.job_objects.values()))
    here.end_pods({"outcome": "Preempted", "checkpoint": 1}, 75, "Error")
    here.reconcile()
    here.wait(400)
    for step in range(2, 14):
        preempt(here, step)
    start(here)
    name = late["metadata"]["name"]
    here.remove_job(name)
    here.job_objects[name] = late
    here.reconcile()
    assert name not in here.job_objects


def test_the_time_of_attempts_that_are_no_longer_listed_counts() -> None:
    here = world(builders.run(maxDuration="2h"))
    for step in range(1, 13):
        start(here)
        here.wait(400)
        here.end_pods({"outcome": "Preempted", "checkpoint": step}, 75, "Error")
        here.reconcile()
        here.wait(20)
    assert here.status["totals"]["seconds"] == 12 * 400
    start(here)
    job = list(here.job_objects.values())[-1]
    assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 7200 - 4800
