"""What a Job and its pod say about an attempt, read from their raw status."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stagecoach.contract import serving
from stagecoach.contract.reports import Outcome, Report

CONTAINER = "trainer"
# Kubernetes' labels of a Job's pod, and of that of an Indexed Job.
JOB_NAME = "batch.kubernetes.io/job-name"
INDEX = "batch.kubernetes.io/job-completion-index"
# Kueue's label of a Job: the queue that decides when it may start.
QUEUE = "kueue.x-k8s.io/queue-name"
# After its trainer a pod gets this time to end as a whole, and its kubelet to say why. What was injected beside the
# trainer mostly ends when it is told to; some of it would go on for ever, and keep the pod's GPUs.
SETTLING = timedelta(seconds=20)


@dataclass(frozen=True)
class PodState:
    """One pod of a Job, as far as an attempt's outcome depends on it."""

    name: str
    uid: str
    created: str
    accepted: str  # when a node took it; when it was created, before that
    phase: str  # Pending, Running, Succeeded, Failed or Unknown
    job: str = ""  # the name of its Job
    reason: str = ""  # of the pod: Evicted, DeadlineExceeded, NodeLost, …
    message: str = ""
    node: str = ""
    deleted: bool = False  # somebody asked for its deletion
    unschedulable: str = ""  # the scheduler's words
    disrupted: str = ""  # why the pod was taken away, from the DisruptionTarget condition
    leaves: str = ""  # when it was told to go, or has to be gone; empty while nobody takes it away
    waiting: str = ""  # why the container does not start
    waiting_message: str = ""
    started: str = ""  # when the container started
    finished: str = ""  # when it ended
    exit_code: int | None = None  # None while the container has not ended
    end_reason: str = ""  # OOMKilled, Error, Completed, …
    report: Report | None = None
    index: int | None = None  # of an Indexed Job's pod
    engine_killed: bool = False  # that beside an evaluator: at its memory limit, this time or the one before
    accompanied: bool = False  # a container that was injected beside the trainer's has not ended

    @property
    def title(self) -> str:
        """How it is called in sentences."""
        return f"Pod {self.name}" if self.index is None else f"Pod {self.name} (index {self.index})"

    @property
    def taken_away(self) -> bool:
        """Whether somebody or something outside of it ended it, or is about to."""
        return bool(self.leaves or self.disrupted or self.reason)

    @property
    def ended(self) -> bool:
        """Whether its container has ended; the kubelet says so before it gives the pod its last phase."""
        return self.phase in ("Succeeded", "Failed") or self.exit_code is not None

    @property
    def lingers(self) -> bool:
        """Whether it goes on although its trainer has ended, because of what was injected beside it."""
        return self.ended and self.accompanied

    def settled(self, now: datetime) -> bool:
        """Whether its trainer ended so long ago that nothing more can be waited for."""
        return bool(self.finished) and now - datetime.fromisoformat(self.finished) >= SETTLING


@dataclass(frozen=True)
class JobState:
    """A Job of ours."""

    name: str
    finished: bool
    message: str = ""  # of the condition that finished it
    at: str = ""  # when it did, or was suspended
    suspended: bool = False  # by a queue, or by a person: it has no pod until it is released
    queue: str = ""  # the queue that decides when it may have a pod
    since: str = ""  # from when on it may have one: when it was created, or released


def pod_state(pod: Mapping[str, Any]) -> PodState:
    """Read a pod's raw form; of its containers only ours count."""
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    containers: list[dict[str, Any]] = status.get("containerStatuses", [])
    # By name: what a mesh injects beside it is not ours to judge.
    labels = metadata.get("labels", {})
    state: dict[str, Any] = next((item.get("state", {}) for item in containers if item.get("name") == CONTAINER), {})
    waiting, running, ended = state.get("waiting", {}), state.get("running", {}), state.get("terminated", {})
    beside: list[dict[str, Any]] = status.get("initContainerStatuses", [])
    engine: dict[str, Any] = next((item for item in beside if item.get("name") == serving.CONTAINER), {})
    if not (running or ended):
        # It starts first: what keeps it from that keeps the pod.
        waiting = engine.get("state", {}).get("waiting") or waiting
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        created=metadata.get("creationTimestamp", ""),
        accepted=status.get("startTime") or metadata.get("creationTimestamp", ""),
        phase=status.get("phase", "Pending"),
        job=labels.get(JOB_NAME, ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        node=spec.get("nodeName", ""),
        deleted="deletionTimestamp" in metadata,
        unschedulable=_message(conditions.get("PodScheduled"), "False"),
        disrupted=_message(conditions.get("DisruptionTarget"), "True"),
        leaves=metadata.get("deletionTimestamp") or _since(conditions.get("DisruptionTarget")),
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        started=running.get("startedAt") or ended.get("startedAt") or "",
        finished=ended.get("finishedAt") or "",
        exit_code=ended.get("exitCode"),
        end_reason=ended.get("reason", ""),
        report=Report.parse(ended.get("message")),
        index=int(index) if (index := labels.get(INDEX)) else None,
        engine_killed=any(map(_out_of_memory, (engine.get("state", {}), engine.get("lastState", {})))),
        accompanied=status.get("phase") == "Running" and any(map(_goes_on, containers)),
    )


def _out_of_memory(state: Mapping[str, Any]) -> bool:
    return bool(state.get("terminated", {}).get("reason") == "OOMKilled")


def _goes_on(container: Mapping[str, Any]) -> bool:
    return container.get("name") != CONTAINER and "terminated" not in container.get("state", {})


def _message(condition: Mapping[str, Any] | None, status: str) -> str:
    if condition is None or condition.get("status") != status:
        return ""
    return condition.get("message") or condition.get("reason") or "no reason given"


def _since(condition: Mapping[str, Any] | None) -> str:
    return _at(condition) if condition and condition.get("status") == "True" else ""


def _at(condition: Mapping[str, Any]) -> str:
    """Return since when a condition is as it is; whoever wrote it may have left that open, as null."""
    return condition.get("lastTransitionTime") or ""


def job_state(job: Mapping[str, Any]) -> JobState:
    """Read a Job's raw form."""
    name = job["metadata"]["name"]
    conditions = job.get("status", {}).get("conditions", ())
    true = {each["type"]: each for each in conditions if each["status"] == "True"}
    if finished := true.get("Complete") or true.get("Failed"):
        at = _at(finished)
        return JobState(name, finished=True, message=finished.get("message", ""), at=at)
    queue = job["metadata"].get("labels", {}).get(QUEUE, "")
    suspended = bool(job.get("spec", {}).get("suspend"))
    at = _at(true.get("Suspended", {})) if suspended else ""
    released = (_at(each) for each in conditions if each["type"] == "Suspended")
    since = max([job["metadata"].get("creationTimestamp", ""), *released])
    return JobState(name, finished=False, at=at, suspended=suspended, queue=queue, since=since)


def decisive(pods: Iterable[PodState]) -> PodState | None:
    """Return the pod that decides an attempt: one whose work is done, else the newest."""
    ranked = sorted(pods, key=lambda pod: (_done(pod), pod.created, pod.name))
    return ranked[-1] if ranked else None


def _done(pod: PodState) -> bool:
    return pod.report is not None and pod.report.outcome is Outcome.DONE
