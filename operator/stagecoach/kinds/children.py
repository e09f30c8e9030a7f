"""What is in memory about the Jobs of an object."""

from collections.abc import Callable, Sequence
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
    pods = (pod for pod in view.pods(owner_uid) if pod["metadata"].get("labels", {}).get(JOB_NAME) == name)
    pod = decisive(map(pod_state, pods))
    uid = pod.uid if pod else job["metadata"]["uid"] if job else None
    return Child(job=job_state(job) if job else None, pod=pod, warning=view.warning(uid) if uid else None)


def unfinished(jobs: Sequence[Object], chosen: Callable[[str], bool]) -> tuple[Object, ...]:
    """Return the Jobs, chosen by name, that neither have ended nor are being deleted."""
    return tuple(
        job
        for job in jobs
        if chosen(job["metadata"]["name"])
        and not job_state(job).finished
        and "deletionTimestamp" not in job["metadata"]
    )
