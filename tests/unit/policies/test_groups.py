"""Which pod of several speaks for an attempt: one case a row, and what comes of it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stagecoach.policies.attempts import AttemptOutcome, Ended, Observation, Running, Waiting, judge
from stagecoach.policies.groups import Voice, speaker, voice
from stagecoach.policies.pods import JobState, PodState, pod_state

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = JobState("run-abc-1", finished=False)


def report(outcome: str, **more: Any) -> str:
    problem = {"reason": "SomeReason", "message": f"It is {outcome}.", "remedy": "Mend it."}
    return json.dumps({"outcome": outcome, "problem": problem} | more)


def pod(index: int, phase: str, *, leaves: int | None = None, **status: Any) -> PodState:
    """Return a pod; `leaves`: told to go, and this many seconds left."""
    metadata: dict[str, Any] = {
        "name": f"run-abc-1-{index}-x",
        "uid": f"u{index}",
        "creationTimestamp": NOW.isoformat(),
        "labels": {"batch.kubernetes.io/job-completion-index": str(index)},
    }
    if leaves is not None:
        metadata["deletionTimestamp"] = (NOW + timedelta(seconds=leaves)).isoformat()
    return pod_state({"metadata": metadata, "spec": {"nodeName": "node"}, "status": {"phase": phase} | status})


def ended(index: int, code: int, message: str = "", end: str = "Error", at: int = 0, **more: Any) -> PodState:
    """Return a pod that ended so many seconds ago."""
    times = {"startedAt": "2026-01-02T03:00:00Z", "finishedAt": (NOW - timedelta(seconds=at)).isoformat()}
    state = {"exitCode": code, "reason": end, "message": message} | times
    phase = "Failed" if code else "Succeeded"
    return pod(index, phase, containerStatuses=[{"name": "trainer", "state": {"terminated": state}}], **more)


def runs(index: int, **more: Any) -> PodState:
    state = {"running": {"startedAt": "2026-01-02T03:00:00Z"}}
    return pod(index, "Running", containerStatuses=[{"name": "trainer", "state": state}], **more)


DONE = json.dumps({"outcome": "Done"})
SAVED = json.dumps({"outcome": "Preempted", "checkpoint": 40})
LOST = report("PeerLost")
HELD = JobState("run-abc-1", finished=False, suspended=True, queue="gpu")
UNSCHEDULABLE: dict[str, Any] = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no GPU"}]}

VOICES = [
    ("done", ended(0, 0, DONE), Voice.DONE),
    ("done elsewhere", ended(1, 0), Voice.FINISHED),
    ("done elsewhere before its node goes", ended(1, 0, leaves=100), Voice.FINISHED),
    ("failed", ended(1, 70, report("Failed")), Voice.CAUSE),
    ("bad input", ended(0, 64, report("BadInput")), Voice.CAUSE),
    ("a word that is not known", ended(1, 0, report("Splendid")), Voice.CAUSE),
    ("memory", ended(1, 137, end="OOMKilled"), Voice.CAUSE),
    ("memory though another is missed", ended(1, 137, LOST, end="OOMKilled"), Voice.CAUSE),
    ("deadline", ended(1, 75, SAVED, reason="DeadlineExceeded"), Voice.CAUSE),
    ("crash", ended(1, 139), Voice.SILENT),
    ("no report of the first", ended(0, 0), Voice.SILENT),
    ("saved", ended(1, 75, SAVED), Voice.SAVED),
    ("told to stop", ended(1, 70, report("Terminated")), Voice.STOPPED),
    ("evicted", pod(1, "Failed", reason="Evicted", message="disk"), Voice.STOPPED),
    ("evicted while it missed another", ended(1, 70, LOST, reason="Evicted"), Voice.STOPPED),
    ("killed after its grace", ended(1, 137, leaves=0), Voice.STOPPED),
    ("misses another", ended(0, 70, LOST), Voice.LEFT),
    ("runs", runs(0), Voice.RUNNING),
    ("leaves", runs(0, leaves=100), Voice.LEAVING),
    ("waits", pod(1, "Pending", **UNSCHEDULABLE), Voice.WAITING),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), [row[1:] for row in VOICES], ids=[row[0] for row in VOICES])
def test_a_pod_has_a_voice(seen: PodState, expected: Voice) -> None:
    assert voice(seen) is expected


def test_every_voice_has_a_case() -> None:
    assert {row[2] for row in VOICES} == set(Voice)


SPEAKERS = [
    ("the first is done", [ended(0, 0, DONE), runs(1)], 0),
    ("the first is done, another was killed", [ended(0, 0, DONE), ended(1, 137, end="OOMKilled")], 0),
    ("a cause before its effect", [ended(0, 70, LOST, at=9), ended(1, 70, report("Failed"), at=1)], 1),
    ("memory before its effect", [ended(0, 70, LOST), ended(1, 137, end="OOMKilled")], 1),
    ("a crash before its effect", [ended(0, 70, LOST), ended(1, 139)], 1),
    ("the first of two causes", [ended(0, 70, report("Failed"), at=1), ended(1, 64, report("BadInput"), at=5)], 1),
    ("who goes on may say more", [ended(0, 70, LOST), runs(1)], 1),
    ("who was told to go is waited for", [ended(0, 70, LOST), runs(1, leaves=100)], 1),
    ("who was told to go first", [ended(0, 75, SAVED, leaves=110), ended(1, 75, SAVED, leaves=100)], 1),
    ("who was told to go at all", [ended(0, 75, SAVED), ended(1, 75, SAVED, leaves=100)], 1),
    ("who says nothing but that another is gone", [ended(0, 70, LOST), ended(1, 70, LOST)], 0),
    ("an end before what goes on", [runs(0), ended(1, 64, report("BadInput"))], 1),
    ("who does not run yet", [runs(0), pod(1, "Pending")], 1),
    ("the first, when all run", [runs(1), runs(0)], 0),
    ("one whose part is done is not heard", [runs(0), ended(1, 0)], 0),
    ("one is not there yet", [runs(0)], None),
    ("one is not there, another has failed", [ended(0, 64, report("BadInput"))], 0),
    ("the first is gone, the others did their part", [ended(1, 0)], None),
    ("none", [], None),
]  # fmt: skip


@pytest.mark.parametrize(("pods", "index"), [row[1:] for row in SPEAKERS], ids=[row[0] for row in SPEAKERS])
def test_one_speaks_for_all(pods: list[PodState], index: int | None) -> None:
    found = speaker(pods, 2, started=False)
    assert (found.index if found else None) == index
    assert speaker(list(reversed(pods)), 2, started=False) == found


def test_what_is_left_speaks_once_all_were_there() -> None:
    assert speaker([runs(1)], 2, started=True) == runs(1)


def test_a_pod_that_was_replaced_is_not_heard() -> None:
    old = ended(0, 75, SAVED)
    new = pod_state({"metadata": {"name": "n", "uid": "new", "creationTimestamp": "2026-01-03T00:00:00Z", "labels": {"batch.kubernetes.io/job-completion-index": "0"}}, "status": {"phase": "Running"}})  # fmt: skip
    found = speaker([new, old, runs(1)], 2, started=False)
    assert found is not None
    assert found.uid == "new"


JUDGED = [
    ("a cause", [ended(0, 70, LOST), ended(1, 64, report("BadInput"))], AttemptOutcome.BAD_INPUT, "Index 1: It is BadInput."),
    ("told by another", [ended(0, 70, report("Failed", index=1))], AttemptOutcome.PROGRAM_FAILED, "Index 1: It is Failed."),
    ("memory", [ended(0, 70, LOST), ended(1, 137, end="OOMKilled")], AttemptOutcome.OUT_OF_MEMORY, "(index 1) was killed at its memory limit"),
    ("saved", [ended(0, 75, SAVED), ended(1, 75, SAVED, leaves=9)], AttemptOutcome.PREEMPTED, "(index 1)"),
    ("saved by another's wish", [ended(0, 75, json.dumps({"outcome": "Preempted", "checkpoint": 40, "index": 1}))], AttemptOutcome.PREEMPTED, "The pod of index 1 was told to stop, and saved a checkpoint at step 40"),
    ("stopped", [ended(0, 70, report("Terminated", index=1))], AttemptOutcome.POD_LOST, "index 1 was told to stop"),
    ("gone", [ended(0, 70, LOST)], AttemptOutcome.POD_LOST, "(index 0) lost another pod: It is PeerLost."),
    ("a dead node", [ended(0, 70, LOST), runs(1, leaves=-200)], AttemptOutcome.POD_LOST, "(index 1) was taken away and did not end in time"),
    ("done", [ended(0, 0, DONE), ended(1, 70, LOST)], AttemptOutcome.SUCCEEDED, ""),
]  # fmt: skip


@pytest.mark.parametrize(("pods", "outcome", "words"), [row[1:] for row in JUDGED], ids=[row[0] for row in JUDGED])
def test_an_end_names_the_index(pods: list[PodState], outcome: AttemptOutcome, words: str) -> None:
    end = judge(Observation(JOB, speaker(pods, 2, started=True), None, started=True, now=NOW))
    assert isinstance(end, Ended)
    assert end.outcome is outcome
    assert words in end.message


def test_a_pod_without_a_node_is_told_of_while_the_other_waits_for_it() -> None:
    seen = speaker([runs(0), pod(1, "Pending", **UNSCHEDULABLE)], 2, started=False)
    told = judge(Observation(JOB, seen, None, started=False, now=NOW))
    assert isinstance(told, Waiting)
    assert told.reason == "Unschedulable"


def test_a_queue_that_takes_the_pods_back_ends_nothing() -> None:
    seen = speaker([ended(0, 70, LOST), ended(1, 75, SAVED)], 2, started=True)
    assert isinstance(judge(Observation(HELD, seen, None, started=True, now=NOW)), Waiting)
    seen = speaker([ended(0, 70, LOST)], 2, started=True)
    assert isinstance(judge(Observation(HELD, seen, None, started=True, now=NOW)), Waiting)


def test_all_run() -> None:
    seen = speaker([runs(0), runs(1)], 2, started=False)
    assert isinstance(judge(Observation(JOB, seen, None, started=False, now=NOW)), Running)
