"""What is in memory about the Jobs of an object."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stagecoach.contract.times import timestamp
from stagecoach.kinds.plan import Object
from stagecoach.kinds.view import View
from stagecoach.policies import groups
from stagecoach.policies.attempts import LEAVING_PATIENCE, WAITING_FOR_QUEUE, Waiting
from stagecoach.policies.pods import JobState, PodState, decisive, job_state, pod_state

# So long the name of a Job that has ended protects against a second start by a late writer: the least cleanUpAfter.
NAME_PROTECTS = timedelta(minutes=10)


@dataclass(frozen=True)
class Child:
    """One Job with the pod that decides it, and the last complaint about either."""

    job: JobState | None = None
    pod: PodState | None = None
    warning: str | None = None
    lead: PodState | None = None  # the pod that tells progress: of several, that of index 0
    checkpoint: int | None = None  # the newest of which a pod's last word tells


def pods_of(view: View, owner_uid: str) -> tuple[PodState, ...]:
    """Return the pods of all Jobs, to be read once for whoever asks about them."""
    return tuple(map(pod_state, view.pods(owner_uid)))


def child(
    view: View, owner_uid: str, name: str, pods: Iterable[PodState], nodes: int = 1, *, started: bool = False
) -> Child:
    """Return the Job of this name with its pod, or the one of its pods that speaks, as far as they are there."""
    job = next((job for job in view.jobs(owner_uid) if job["metadata"]["name"] == name), None)
    pods = [pod for pod in pods if pod.job == name]
    pod = decisive(pods) if nodes == 1 else groups.speaker(pods, nodes, started=started)
    uid = pod.uid if pod else job["metadata"]["uid"] if job else None
    saved = [item.report.checkpoint for item in pods if item.report and item.report.checkpoint is not None]
    return Child(
        job=job_state(job) if job else None,
        pod=pod,
        warning=view.warning(uid) if uid else None,
        lead=pod if nodes == 1 else decisive(item for item in pods if not item.index),
        checkpoint=max(saved, default=None),
    )


def unfinished(view: View, owner_uid: str, pods: Iterable[PodState], now: datetime) -> tuple[Object, ...]:
    """Return the Jobs that would go on: neither ended nor being deleted, and with a pod, if any, that goes on.

    The Job controller sees the end of a pod a moment after we do, and ends the other pods of a Job one of which failed;
    once the pod of index 0 has done its work, the others hear of it and have time to end. Such a Job ends by itself and
    is kept for its logs. One with a pod that lingers does not.
    """
    by_job: defaultdict[str, list[PodState]] = defaultdict(list)
    for pod in pods:
        by_job[pod.job].append(pod)
    ended = {job for job, its_pods in by_job.items() if _ends_by_itself(its_pods, now)}
    return tuple(
        job
        for job in view.jobs(owner_uid)
        if job["metadata"]["name"] not in ended
        and not job_state(job).finished
        and "deletionTimestamp" not in job["metadata"]
    )


def without_logs(view: View, owner_uid: str, pods: Iterable[PodState], now: datetime) -> tuple[Object, ...]:
    """Return the Jobs that ended a while ago and show nothing: no pod of theirs ran, or is left."""
    ran = {pod.job for pod in pods if pod.started}
    return tuple(
        job
        for job in view.jobs(owner_uid)
        if job["metadata"]["name"] not in ran
        and "deletionTimestamp" not in job["metadata"]
        and _protects_no_more(job_state(job), now)
    )


def begun(decided: str, started: str, now: datetime) -> str:
    """Return when a pod of an attempt started, which says so by its node's clock: in a time in which it may have."""
    if not started:
        return timestamp(now)
    return timestamp(min(now, max(datetime.fromisoformat(started), datetime.fromisoformat(decided))))


def taken_back(current: Child, seen: Waiting, *, started: bool) -> bool:
    """Whether the pod of an attempt ran, and its Job was suspended, such as by a queue.

    The Job may have been released again before that was seen: then it has another pod. When that one runs already,
    nothing tells it from the first.
    """
    another = current.pod is not None and not (current.pod.started or current.pod.ended)
    return started and (seen.reason == WAITING_FOR_QUEUE or another)


def ending(pods: Iterable[PodState]) -> bool:
    """Whether there is a pod whose trainer has ended and which has not ended as a whole."""
    return any(pod.ended and pod.phase == "Running" for pod in pods)


def _protects_no_more(job: JobState, now: datetime) -> bool:
    return job.finished and bool(job.at) and now - datetime.fromisoformat(job.at) >= NAME_PROTECTS


def _ends_by_itself(pods: list[PodState], now: datetime) -> bool:
    over = [pod for pod in pods if pod.ended and not (pod.lingers and pod.settled(now))]
    if len(over) == len(pods) or any(pod.exit_code != 0 for pod in over):
        return True
    return any(_has_led(pod, now) for pod in pods) and not all(pod.ended for pod in pods)


def _has_led(pod: PodState, now: datetime) -> bool:
    """Whether this is the pod of index 0, which did its work so lately that others may still be ending."""
    if pod.index != 0 or pod.exit_code != 0 or not pod.finished:
        return False
    return now - datetime.fromisoformat(pod.finished) < LEAVING_PATIENCE
