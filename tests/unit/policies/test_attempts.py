"""One case a row of the table of outcomes, and the words that people get."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stagecoach.policies.attempts import (
    MAX_RETRY_DELAY,
    TABLE,
    AttemptOutcome,
    Ended,
    Observation,
    Running,
    Waiting,
    judge,
    retry_at,
)
from stagecoach.policies.pods import JobState, decisive, job_state, pod_state
from tests.remedies import speaks

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = JobState("run-abc-1", finished=False)


def pod(phase: str, created: datetime = NOW, node: str = "node-1", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "run-abc-1-x", "uid": "u", "creationTimestamp": created.isoformat()},
        "spec": {"nodeName": node},
        "status": {"phase": phase} | status,
    }


def terminated(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    state = {"exitCode": code, "reason": reason, "message": message, "startedAt": "2026-01-02T03:00:00Z"}
    return {"containerStatuses": [{"name": "trainer", "state": {"terminated": state}}]}


def report(outcome: str, reason: str = "SomeReason") -> str:
    problem = {"field": "spec.x", "value": "s3://lake", "message": "It is wrong.", "remedy": "Mend it."}
    return json.dumps({"outcome": outcome, "problem": problem | {"reason": reason}})


def leaving(raw: dict[str, Any], at: datetime) -> dict[str, Any]:
    raw["metadata"]["deletionTimestamp"] = at.isoformat()
    return raw


def waiting(reason: str, message: str = "words") -> dict[str, Any]:
    return {"containerStatuses": [{"name": "trainer", "state": {"waiting": {"reason": reason, "message": message}}}]}


def condition(kind: str, status: str, message: str, at: datetime | None = None) -> dict[str, Any]:
    since = {"lastTransitionTime": at.isoformat()} if at else {}
    return {"conditions": [{"type": kind, "status": status, "reason": "R", "message": message} | since]}


RUNS: dict[str, Any] = {
    "containerStatuses": [{"name": "trainer", "state": {"running": {"startedAt": "2026-01-02T03:00:00Z"}}}]
}


def observe(
    raw: dict[str, Any] | None,
    job: JobState | None = JOB,
    warning: str | None = None,
    started: bool = False,
    now: datetime = NOW,
) -> Observation:
    return Observation(job=job, pod=pod_state(raw) if raw else None, warning=warning, started=started, now=now)


def deleted(raw: dict[str, Any]) -> dict[str, Any]:
    raw["metadata"]["deletionTimestamp"] = NOW.isoformat()
    return raw


def never_started() -> dict[str, Any]:
    """What the kubelet says of a pod that is deleted before its container started."""
    state = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    return {"containerStatuses": [{"name": "trainer", "state": {"terminated": state}}]}


DONE = json.dumps({"outcome": "Done"})
SAVED = json.dumps({"outcome": "Preempted", "checkpoint": 40})
# The kubelet's words.
DISK_FULL = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 900Mi. "
DISK_LIMIT = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
LONG_AGO = NOW - timedelta(minutes=11)
QUEUED = JobState("run-abc-1", finished=False, queue="gpu")
HELD = JobState("run-abc-1", finished=False, suspended=True, queue="gpu")

ENDED = [
    ("done", observe(pod("Succeeded", **terminated(0, "Completed", DONE))), AttemptOutcome.SUCCEEDED, False),
    ("done beats lost", observe(pod("Failed", reason="Evicted", **terminated(0, message=DONE))), AttemptOutcome.SUCCEEDED, False),
    ("bad input", observe(pod("Failed", **terminated(64, message=report("BadInput")))), AttemptOutcome.BAD_INPUT, False),
    ("service", observe(pod("Failed", **terminated(69, message=report("ServiceFailed")))), AttemptOutcome.SERVICE_FAILED, True),
    ("service away", observe(pod("Failed", **terminated(69, message=report("ServiceFailed", "StorageStale")))), AttemptOutcome.SERVICE_AWAY, True),
    ("service full", observe(pod("Failed", **terminated(69, message=report("ServiceFailed", "ScratchFull")))), AttemptOutcome.SERVICE_FAILED, True),
    ("input of one that is away", observe(pod("Failed", **terminated(64, message=report("BadInput", "ServerFailed")))), AttemptOutcome.BAD_INPUT, False),
    ("oom of the child", observe(pod("Failed", **terminated(70, message=report("OutOfMemory")))), AttemptOutcome.OUT_OF_MEMORY, False),
    ("oom of all", observe(pod("Failed", **terminated(137, "OOMKilled"))), AttemptOutcome.OUT_OF_MEMORY, False),
    ("deadline", observe(pod("Failed", reason="DeadlineExceeded", **terminated(143, message=report("Terminated")))), AttemptOutcome.DEADLINE_EXCEEDED, False),
    ("nan loss", observe(pod("Failed", **terminated(70, message=report("Failed", "LossNotFinite")))), AttemptOutcome.HOPELESS, False),
    ("crash", observe(pod("Failed", **terminated(70, message=report("Failed")))), AttemptOutcome.PROGRAM_FAILED, True),
    ("no report", observe(pod("Failed", **terminated(1))), AttemptOutcome.PROGRAM_FAILED, True),
    ("zero without report", observe(pod("Succeeded", **terminated(0, "Completed"))), AttemptOutcome.PROGRAM_FAILED, True),
    ("broken report", observe(pod("Failed", **terminated(0, message='{"outcome": "Done"'))), AttemptOutcome.PROGRAM_FAILED, True),
    ("unknown report", observe(pod("Failed", **terminated(0, message='{"outcome": "Great"}'))), AttemptOutcome.REPORT_UNKNOWN, False),
    ("unknown report of a pod whose queue took it", observe(pod("Failed", **terminated(1, message='{"outcome": "Great"}')), HELD), AttemptOutcome.REPORT_UNKNOWN, False),
    ("preempted", observe(pod("Failed", **terminated(75, message=SAVED))), AttemptOutcome.PREEMPTED, True),
    ("evicted and saved", observe(pod("Failed", reason="Evicted", **terminated(75, message=SAVED))), AttemptOutcome.PREEMPTED, True),
    ("deadline though saved", observe(pod("Failed", reason="DeadlineExceeded", **terminated(75, message=SAVED))), AttemptOutcome.DEADLINE_EXCEEDED, False),
    ("told to stop", observe(pod("Failed", **terminated(143, message=report("Terminated")))), AttemptOutcome.POD_LOST, True),
    ("evicted", observe(pod("Failed", reason="Evicted", message="disk")), AttemptOutcome.POD_LOST, True),
    ("disrupted before it ran", observe(pod("Pending", **condition("DisruptionTarget", "True", "preempted"))), AttemptOutcome.POD_LOST, True),
    ("disrupted for long", observe(pod("Running", **RUNS, **condition("DisruptionTarget", "True", "preempted", LONG_AGO))), AttemptOutcome.POD_LOST, True),
    ("deleted on a dead node", observe(leaving(pod("Running", **RUNS), LONG_AGO)), AttemptOutcome.POD_LOST, True),
    ("failed before the queue took it", observe(pod("Failed", **terminated(64, message=report("BadInput"))), HELD), AttemptOutcome.BAD_INPUT, False),
    ("done before the queue took it", observe(pod("Succeeded", **terminated(0, message=DONE)), HELD), AttemptOutcome.SUCCEEDED, False),
    ("evicted for the disk", observe(pod("Failed", reason="Evicted", message=DISK_FULL, **terminated(143, message=report("Terminated")))), AttemptOutcome.NODE_DISK_FULL, True),
    ("evicted for its use of the disk", observe(pod("Failed", reason="Evicted", message=DISK_LIMIT)), AttemptOutcome.NODE_DISK_FULL, True),
    ("pod gone", observe(None, JobState("j", finished=True, message="BackoffLimitExceeded")), AttemptOutcome.POD_LOST, True),
    ("job gone", observe(None, None, started=True), AttemptOutcome.POD_LOST, True),
    ("pod deleted before it started", observe(deleted(pod("Failed", **never_started())), JobState("j", finished=True, message="BackoffLimitExceeded")), AttemptOutcome.POD_LOST, True),
    ("pod deleted while it ran", observe(deleted(pod("Failed", **never_started())), None, started=True), AttemptOutcome.PROGRAM_FAILED, True),
    ("bad image", observe(pod("Pending", **waiting("InvalidImageName"))), AttemptOutcome.BAD_IMAGE, False),
    ("image pull for long", observe(pod("Pending", LONG_AGO, **waiting("ImagePullBackOff"))), AttemptOutcome.IMAGE_PULL_FAILED, True),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "outcome", "retried"), [row[1:] for row in ENDED], ids=[row[0] for row in ENDED])
def test_an_end_is_classified(seen: Observation, outcome: AttemptOutcome, retried: bool) -> None:
    end = judge(seen)
    assert isinstance(end, Ended)
    assert (end.outcome, end.retried) == (outcome, retried)
    assert outcome is AttemptOutcome.SUCCEEDED or speaks(end.outcome, end.words()), end.words()
    interrupted = outcome in (AttemptOutcome.POD_LOST, AttemptOutcome.PREEMPTED)
    assert end.counted == (retried and not interrupted)


def test_every_row_of_the_table_has_a_case() -> None:
    told_by_the_spec = {AttemptOutcome.SUSPENDED}
    assert {row[2] for row in ENDED} | told_by_the_spec == set(AttemptOutcome) == set(TABLE)
    assert not Ended(AttemptOutcome.SUSPENDED, "").counted


LEAVING = [
    ("disrupted", observe(pod("Running", **RUNS, **condition("DisruptionTarget", "True", "preempted", NOW))), "preempted"),
    ("deleted", observe(leaving(pod("Running", **RUNS), NOW + timedelta(seconds=120))), "it was deleted"),
    ("suspended", observe(leaving(pod("Running", **RUNS), NOW), HELD), "it was deleted"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "why"), [row[1:] for row in LEAVING], ids=[row[0] for row in LEAVING])
def test_a_pod_that_is_taken_away_is_given_the_time_to_save_itself(seen: Observation, why: str) -> None:
    runs = judge(seen)
    assert isinstance(runs, Running)
    assert why in runs.leaving


def test_a_full_disk_says_whose_room_it_is() -> None:
    end = judge(observe(pod("Failed", reason="Evicted", message=DISK_FULL)))
    assert isinstance(end, Ended)
    assert "available: 900Mi. Base models from s3, gs and hf are copied to the node's disk" in end.words()


WAITING = [
    ("no job", observe(None, None), "Starting", "being made"),
    ("no pod", observe(None), "Starting", "no pod yet"),
    ("job deleted, its pod waits", observe(deleted(pod("Pending", node="", **condition("PodScheduled", "False", "0/1 nodes"))), None), "Starting", "being made"),
    ("job deleted, its pod ends", observe(deleted(pod("Failed", **never_started())), None), "Starting", "being made"),
    ("made again, old pod ends", observe(deleted(pod("Failed", **never_started()))), "Starting", "no pod yet"),
    ("no pod for long", observe(None, JobState("run-abc-1", finished=False, since=LONG_AGO.isoformat())), "PodMissing", "Kubernetes does not say why. See whether other Jobs"),
    ("no pod for long, refused", observe(None, JobState("j", finished=False, since=LONG_AGO.isoformat()), warning="exceeded quota"), "PodRefused", "exceeded quota"),
    ("no pod for long, not admitted", observe(None, JobState("j", finished=False, suspended=True, since=LONG_AGO.isoformat())), "WaitingForQueue", "somebody to release it"),
    ("its pod ran, and is looked for", observe(None, JobState("j", finished=False, since=LONG_AGO.isoformat()), started=True), "Starting", "no pod yet"),
    ("pod refused", observe(None, warning="exceeded quota"), "PodRefused", "exceeded quota"),
    ("unschedulable", observe(pod("Pending", node="", **condition("PodScheduled", "False", "0/1 nodes"))), "Unschedulable", "0/1 nodes"),
    ("a claim that is missing", observe(pod("Pending", node="", **condition("PodScheduled", "False", 'persistentvolumeclaim "models" not found.'))), "Unschedulable", '"models" not found. Create the claim \'models\', or correct the URI'),
    ("a claim that is missing, as told twice", observe(pod("Pending", node="", **condition("PodScheduled", "False", '0/1 nodes are available: persistentvolumeclaim "models" not found. not found.'))), "Unschedulable", 'available: persistentvolumeclaim "models" not found. Create'),
    ("a claim without a volume", observe(pod("Pending", node="", **condition("PodScheduled", "False", "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."))), "Unschedulable", "See to the claim"),
    ("image pull", observe(pod("Pending", **waiting("ErrImagePull", "no such host"))), "ImagePullFailed", "no such host"),
    ("mount", observe(pod("Pending"), warning='configmap "x" not found'), "PodNotStarting", 'configmap "x" not found'),
    ("not admitted", observe(None, HELD), "WaitingForQueue", "queue 'gpu' to admit it: see kubectl get workloads,localqueues. If there is no such LocalQueue, create it, or correct the project's spec.pods.queue"),
    ("held by hand", observe(None, JobState("j", finished=False, suspended=True)), "WaitingForQueue", "somebody to release it"),
    ("evicted by its queue", observe(pod("Failed", **terminated(75, message=SAVED)), HELD), "WaitingForQueue", "queue 'gpu'"),
    ("evicted and killed", observe(pod("Failed", **terminated(137)), HELD), "WaitingForQueue", "queue 'gpu'"),
    ("admitted again", observe(leaving(pod("Failed", **terminated(75, message=SAVED)), NOW), QUEUED), "Starting", "no pod yet"),
    ("starting", observe(pod("Pending", **waiting("ContainerCreating"))), "Starting", "starting"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "reason", "words"), [row[1:] for row in WAITING], ids=[row[0] for row in WAITING])
def test_a_wait_says_for_what(seen: Observation, reason: str, words: str) -> None:
    waits = judge(seen)
    assert isinstance(waits, Waiting)
    assert waits.reason == reason
    assert words in waits.message
    assert speaks(waits.reason, waits.message)
    assert waits.message.endswith(".")
    assert not waits.message.endswith("..")


def test_a_running_pod_is_running() -> None:
    raw = pod(
        "Running", containerStatuses=[{"name": "trainer", "state": {"running": {"startedAt": "2026-01-02T03:00:00Z"}}}]
    )
    seen = judge(observe(raw))
    assert isinstance(seen, Running)
    assert seen.pod.started == "2026-01-02T03:00:00Z"


def test_the_programs_own_words_and_reason_are_kept() -> None:
    end = judge(observe(pod("Failed", **terminated(64, message=report("BadInput", "UnknownColumn")))))
    assert isinstance(end, Ended)
    assert (end.reason, end.words()) == ("UnknownColumn", "spec.x (s3://lake): It is wrong. Mend it.")


def test_of_several_pods_the_one_that_is_done_decides() -> None:
    old = pod_state(pod("Succeeded", LONG_AGO, **terminated(0, message=DONE)))
    new = pod_state(pod("Running"))
    assert decisive([new, old]) is old
    assert decisive([]) is None


def test_a_job_is_finished_by_its_conditions() -> None:
    job = {"metadata": {"name": "j"}, "status": {"conditions": [{"type": "Failed", "status": "True", "message": "m"}]}}
    assert job_state(job) == JobState("j", finished=True, message="m")
    assert not job_state({"metadata": {"name": "j"}}).finished


def test_a_time_that_a_condition_leaves_open_is_none() -> None:
    raw = pod("Running", **RUNS)
    raw["status"] |= condition("DisruptionTarget", "True", "preempting")
    raw["status"]["conditions"][0]["lastTransitionTime"] = None
    assert pod_state(raw).leaves == ""
    assert isinstance(judge(Observation(JOB, pod_state(raw), None, started=True, now=NOW)), Ended)
    open_times: list[dict[str, Any]] = [
        {"type": kind, "status": status, "message": "m", "lastTransitionTime": None}
        for kind, status in (("Suspended", "False"), ("Failed", "True"))
    ]
    made = {"metadata": {"name": "j", "creationTimestamp": "2026-01-02T03:00:00Z"}}
    assert job_state(made | {"status": {"conditions": open_times[:1]}}).since == "2026-01-02T03:00:00Z"
    assert job_state(made | {"status": {"conditions": open_times}}) == JobState("j", finished=True, message="m")


def test_a_job_may_have_a_pod_since_it_was_made_or_released() -> None:
    made = {"metadata": {"name": "j", "creationTimestamp": "2026-01-02T03:00:00Z"}}
    assert job_state(made).since == "2026-01-02T03:00:00Z"
    released = {"type": "Suspended", "status": "False", "lastTransitionTime": "2026-01-02T05:00:00Z"}
    assert job_state(made | {"status": {"conditions": [released]}}).since == "2026-01-02T05:00:00Z"


def test_retries_wait_longer_each_time_and_not_for_ever() -> None:
    waits = [retry_at(NOW, failures) - NOW for failures in (*range(1, 12), 44, 1000, 10**9)]
    assert waits == sorted(waits)
    assert waits[0] == timedelta(seconds=10)
    assert waits[-1] == MAX_RETRY_DELAY


def test_attempts_that_are_few_outlast_a_service_that_is_away_for_minutes() -> None:
    waits = [retry_at(NOW, failures, AttemptOutcome.SERVICE_AWAY) - NOW for failures in (1, 2, 3, 1000)]
    assert [wait // timedelta(minutes=1) for wait in waits] == [3, 6, 10, 10]
    for outcome in set(AttemptOutcome) - {AttemptOutcome.SERVICE_AWAY}:
        assert retry_at(NOW, 1, outcome) - NOW == timedelta(seconds=10)
