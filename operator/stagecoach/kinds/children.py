"""What is in memory about the Jobs of an object."""

from dataclasses import dataclass

from stagecoach.kinds.plan import Object
from stagecoach.kinds.view import View
from stagecoach.policies.pods import JobState, PodState, decisive, job_state, pod_state

JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Child:
    """One Job with the pod that decides it, and the last complaint about either."""

    job: JobState | None = None
    pod: PodState | None = None
    warning: str | None = None


def child(view: View, owner_uid: str, name: str) -> Child:
    """Return the Job of this name with its pod, as far as they are there."""
    job = next((job for job in view.jobs(owner_uid) if job["metadata"]["name"] == name), None)
    pods = (pod for pod in view.pods(owner_uid) if _job_of(pod) == name)
    pod = decisive(map(pod_state, pods))
    uid = pod.uid if pod else job["metadata"]["uid"] if job else None
    return Child(job=job_state(job) if job else None, pod=pod, warning=view.warning(uid) if uid else None)


def unfinished(view: View, owner_uid: str) -> tuple[Object, ...]:
    """Return the Jobs that would go on: neither ended nor being deleted, and without a pod that has ended.

    The Job controller sees the end of a pod a moment after we do; such a Job ends by itself and is kept for its logs.
    """
    ended = {_job_of(pod) for pod in view.pods(owner_uid) if pod_state(pod).ended}
    return tuple(
        job
        for job in view.jobs(owner_uid)
        if job["metadata"]["name"] not in ended
        and not job_state(job).finished
        and "deletionTimestamp" not in job["metadata"]
    )


def _job_of(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get(JOB_NAME, ""))
