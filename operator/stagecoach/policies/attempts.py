"""What an attempt came to: the one table from which retries, counts and words follow."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from stagecoach.contract import serving
from stagecoach.contract.reports import Outcome, Problem, Report
from stagecoach.policies.pods import JobState, PodState

# A registry that is away may come back; a typing error in a name will not.
IMAGE_PULL_PATIENCE = timedelta(minutes=10)
# The Job controller makes a pod within seconds, or writes an Event that says why it cannot.
JOB_PATIENCE = timedelta(minutes=10)
# Jobs and pods are watched apart: the end of a Job may be seen before that of its pod.
POD_PATIENCE = timedelta(seconds=60)
# A pod that is taken away gets its grace period to save itself; what has not ended by then has lost its node.
LEAVING_PATIENCE = timedelta(seconds=150)
# Interruptions in a row, each without a newer checkpoint than the one before, after which a run gives up.
MAX_IDLE_INTERRUPTIONS = 3
# How long the next attempt waits at first, and at most.
RETRY_DELAY, MAX_RETRY_DELAY = timedelta(seconds=10), timedelta(minutes=5)
# Where attempts are few: an outage of minutes must not take them all.
OUTAGE_DELAY, MAX_OUTAGE_DELAY = timedelta(minutes=3), timedelta(minutes=10)

STARTING = "Starting"
WAITING_FOR_QUEUE = "WaitingForQueue"
IMAGE_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"}
BAD_IMAGE_REASONS = {"InvalidImageName", "ErrImageNeverPull"}
# What a pod says that was asked to stop, as everybody may ask it.
INTERRUPTED = {Outcome.TERMINATED, Outcome.PREEMPTED, Outcome.PEER_LOST}
# The numbers of what went wrong would be the same again.
HOPELESS_FAILURES = {"LossNotFinite"}
# Of a service that is away, whoever asks it. What else it refuses has a cause of its own, or does better at once.
OUTAGES = {"EndpointUnreachable", "ServerFailed", "StorageFailed", "StorageStale"}
# What to do about what keeps a pod from its start, whoever says it.
MEET_THE_RULE = "Raise the quota, or meet the rule, that it names."
MAKE_ROOM = "See to the claim, if it speaks of one; else make room on nodes that the project's pods may use."
CREATE_CLAIM = "Create the claim {claim!r}, or correct the URI that names it."
CREATE = "Create what it names, if that is missing."
# Kueue may put Jobs that name no queue into one of its own.
SEE_TO_THE_QUEUE = (
    "see kubectl get workloads,localqueues. If there is no such LocalQueue, create it, or correct the project's"
    " spec.pods.queue, which names it unless Kueue does; without Kueue, leave that out"
)
SEE_TO_THE_CONTROLLER = (
    "See whether other Jobs get pods: if none does, see to the cluster's kube-controller-manager; else delete this Job."
)


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "Succeeded"
    BAD_INPUT = "BadInput"
    REPORT_UNKNOWN = "ReportUnknown"
    OUT_OF_MEMORY = "OutOfMemory"
    BAD_IMAGE = "BadImage"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_LOST = "PodLost"
    PREEMPTED = "Preempted"
    SUSPENDED = "Suspended"
    NODE_DISK_FULL = "NodeDiskFull"
    SERVICE_FAILED = "ServiceFailed"
    SERVICE_AWAY = "ServiceAway"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    HOPELESS = "TrainingFailed"
    PROGRAM_FAILED = "ProgramFailed"


@dataclass(frozen=True)
class Row:
    """A row of the table: whether another attempt may do better, and what to tell the person whose training it was.

    What is retried counts against `retries`, unless the attempt was interrupted through no fault of its own. The
    program's own remedy knows more of some outcomes: then the advice is for where it has none.
    """

    retried: bool
    advice: str
    counted: bool = True
    own_remedy: bool = False


def other_version(image: str = "", program: str = "trainer") -> str:
    """Return what to do when a program says, or leaves out, what one of the operator's version would not."""
    which = f", {image}," if image else ""
    return (
        f"The {program} image{which} is not of the operator's version: whoever installed the operator sets all images"
        " of the chart to one version."
    )


TABLE = {
    AttemptOutcome.SUCCEEDED: Row(retried=False, advice=""),
    AttemptOutcome.BAD_INPUT: Row(retried=False, advice="Correct what it names.", own_remedy=True),
    AttemptOutcome.REPORT_UNKNOWN: Row(retried=False, advice=other_version()),
    AttemptOutcome.OUT_OF_MEMORY: Row(
        retried=False,
        advice="The same work would need the same memory: raise resources.memory, use a larger GPU, or lower"
        " perDeviceBatchSize or maxLength, in a new run.",
    ),
    AttemptOutcome.BAD_IMAGE: Row(
        retried=False, advice="Whoever installed the operator sets its trainer image right in the chart."
    ),
    AttemptOutcome.IMAGE_PULL_FAILED: Row(
        retried=True, advice="See that the image exists and that the project's pods.imagePullSecrets may pull it."
    ),
    AttemptOutcome.POD_LOST: Row(
        retried=True, counted=False, advice="Nothing to do: nodes drain and pods get evicted."
    ),
    AttemptOutcome.PREEMPTED: Row(
        retried=True, counted=False, advice="Nothing to do: the next attempt goes on from there."
    ),
    AttemptOutcome.SUSPENDED: Row(retried=True, counted=False, advice="Set spec.suspend to false to go on."),
    AttemptOutcome.NODE_DISK_FULL: Row(
        retried=True,
        advice="Base models from s3, gs and hf are copied to the node's disk, and checkpoints and the finished model"
        " are written there first: let the project's pods.nodeSelector choose nodes with more room, put the base model"
        " on a claim, or raise the namespace's limit of ephemeral-storage if there is one.",
    ),
    AttemptOutcome.SERVICE_FAILED: Row(
        retried=True, advice="See that what it names works, and that pods may use it.", own_remedy=True
    ),
    AttemptOutcome.SERVICE_AWAY: Row(
        retried=True, advice="See that what it names is up, and that pods may reach it.", own_remedy=True
    ),
    AttemptOutcome.DEADLINE_EXCEEDED: Row(
        retried=False, advice="Raise maxDuration, or train fewer steps, in a new run."
    ),
    AttemptOutcome.HOPELESS: Row(
        retried=False,
        advice="Lower hyperparameters.learningRate, or set precision to float32, in a new run.",
        own_remedy=True,
    ),
    AttemptOutcome.PROGRAM_FAILED: Row(retried=True, advice="See the pod's log.", own_remedy=True),
}


@dataclass(frozen=True)
class Waiting:
    """The pod does not run yet, and it may come to."""

    reason: str
    message: str
    claim: str = ""  # that is missing, where this is why


@dataclass(frozen=True)
class Running:
    """The pod runs. `leaving`: somebody takes it away, and it is given the time to save itself."""

    pod: PodState
    leaving: str = ""


@dataclass(frozen=True)
class Ended:
    """The attempt is over."""

    outcome: AttemptOutcome
    message: str
    report: Report | None = None
    reason: str = ""  # the program's own, more exact word, where it has one
    started: str = ""
    finished: str = ""

    @property
    def retried(self) -> bool:
        """Whether another attempt may do better."""
        return TABLE[self.outcome].retried

    @property
    def counted(self) -> bool:
        """Whether it counts against `retries`."""
        return self.retried and TABLE[self.outcome].counted

    def words(self, advice: Mapping[AttemptOutcome, str] | None = None) -> str:
        """Return what to tell a person: what happened, and what to do; `advice` goes before the table's."""
        row = TABLE[self.outcome]
        if row.own_remedy and self.report and self.report.problem and self.report.problem.remedy:
            return self.message
        return f"{self.message} {(advice or {}).get(self.outcome, row.advice)}".strip()


@dataclass(frozen=True)
class Observation:
    """What is known of an attempt that has been decided and not ended."""

    job: JobState | None
    pod: PodState | None
    warning: str | None  # the kubelet's last complaint
    started: bool  # the status says that its pod once ran
    now: datetime


def judge(seen: Observation) -> Waiting | Running | Ended:
    """Say what an attempt came to, from what Kubernetes shows of it."""
    if seen.pod is None or _never_to_start(seen.pod, seen):
        return _without_pod(seen)
    pod = seen.pod
    if pod.report is not None and pod.report.outcome is Outcome.DONE:
        return Ended(AttemptOutcome.SUCCEEDED, "", pod.report, started=pod.started, finished=pod.finished)
    if _waits_for_queue(pod, seen.job):
        return _without_pod(seen)
    if pod.ended:
        if _may_say_more(pod) and not pod.settled(seen.now):
            return Running(pod, leaving=_taken_away(pod) if pod.leaves else "")
        return replace(_failed(pod), started=pod.started, finished=pod.finished)
    if pod.leaves and pod.started:
        return _leaving(pod, seen.now)
    if pod.disrupted:
        return Ended(AttemptOutcome.POD_LOST, f"{pod.title} was taken away: {pod.disrupted}.")
    if pod.phase == "Running":
        return Running(pod)
    return _not_started(pod, seen)


def retry_at(end: datetime, failures: int, outcome: str | None = None) -> datetime:
    """Return when the next attempt is due after so many failures; computed from status, so it survives restarts.

    `outcome`: that of the last attempt, where their number is bounded.
    """
    away = outcome == AttemptOutcome.SERVICE_AWAY
    first, longest = (OUTAGE_DELAY, MAX_OUTAGE_DELAY) if away else (RETRY_DELAY, MAX_RETRY_DELAY)
    # The exponent is bounded: a project fails as often as it tries, and a timedelta overflows after 44 failures.
    delay: timedelta = first * 2 ** min(max(0, failures - 1), 16)
    return end + min(delay, longest)


def _waits_for_queue(pod: PodState, job: JobState | None) -> bool:
    """Whether this pod is only the last one of a Job that its queue has suspended, and will release again."""
    if job is None or job.finished or not pod.ended:
        return False
    interrupted = pod.report is None or pod.report.outcome in INTERRUPTED
    return interrupted and (job.suspended or bool(job.queue and pod.leaves))


def _leaving(pod: PodState, now: datetime) -> Running | Ended:
    if now - datetime.fromisoformat(pod.leaves) < LEAVING_PATIENCE:
        return Running(pod, leaving=_taken_away(pod))
    message = f"{pod.title} was taken away and did not end in time."
    return Ended(AttemptOutcome.POD_LOST, message, started=pod.started)


def _taken_away(pod: PodState) -> str:
    why = pod.disrupted or "it was deleted"
    return f"{pod.title} is being taken away: {why}. It is given the time to save itself."


def _never_to_start(pod: PodState, seen: Observation) -> bool:
    """Whether the pod is on its way out and did nothing, mostly because its Job was deleted.

    The kubelet ends the container of such a pod with code 137, as if it had run.
    """
    return pod.deleted and not (pod.started or seen.started or pod.disrupted or pod.reason or pod.report)


def _without_pod(seen: Observation) -> Waiting | Ended:
    if seen.job is not None and seen.job.suspended and not seen.job.finished:
        whom = "somebody to release it: whoever suspended it sets its spec.suspend to false"
        if seen.job.queue:
            whom = f"queue {seen.job.queue!r} to admit it: {SEE_TO_THE_QUEUE}"
        return Waiting(WAITING_FOR_QUEUE, f"Job {seen.job.name} is suspended and waits for {whom}.")
    if seen.job is None:
        if seen.started:
            return Ended(AttemptOutcome.POD_LOST, "The Job of this attempt was deleted while it ran.")
        return Waiting(STARTING, "The Job is being made.")
    if seen.job.finished:
        if seen.job.at and seen.now - datetime.fromisoformat(seen.job.at) < POD_PATIENCE:
            return Waiting(STARTING, f"Job {seen.job.name} has ended; its pod is looked for.")
        message = _sentence(f"The pod of Job {seen.job.name} is gone: {seen.job.message}")
        return Ended(AttemptOutcome.POD_LOST, message, finished=seen.job.at)
    if seen.warning:
        return Waiting("PodRefused", f"{_sentence(seen.warning)} {MEET_THE_RULE}")
    if not seen.started and seen.job.since and seen.now - datetime.fromisoformat(seen.job.since) > JOB_PATIENCE:
        message = f"Job {seen.job.name} has no pod after ten minutes, and Kubernetes does not say why."
        return Waiting("PodMissing", f"{message} {SEE_TO_THE_CONTROLLER}")
    return Waiting(STARTING, f"Job {seen.job.name} has no pod yet.")


def _may_say_more(pod: PodState) -> bool:
    """Whether the kubelet still owes the reason: it tells that a container was stopped before it tells why."""
    stopped = pod.report is None or pod.report.outcome in INTERRUPTED
    return stopped and pod.phase == "Running" and not pod.reason and not pod.disrupted and pod.end_reason != "OOMKilled"


def _failed(pod: PodState) -> Ended:
    """Classify a pod that has ended without having done its work."""
    if pod.reason == "DeadlineExceeded":
        return Ended(AttemptOutcome.DEADLINE_EXCEEDED, f"{pod.title} reached its time limit.")
    if pod.end_reason == "OOMKilled":
        return Ended(AttemptOutcome.OUT_OF_MEMORY, f"{pod.title} was killed at its memory limit.")
    if pod.engine_killed and _is_about_the_engine(pod.report):
        return Ended(AttemptOutcome.OUT_OF_MEMORY, f"The engine of {pod.title} was killed at its memory limit.")
    if pod.report is not None and pod.report.outcome is Outcome.PREEMPTED:
        return _preempted(pod, pod.report)
    if pod.report is not None and pod.report.outcome not in INTERRUPTED:
        return _reported(pod, pod.report)
    if pod.reason == "Evicted" and "ephemeral" in pod.message:
        return Ended(AttemptOutcome.NODE_DISK_FULL, f"{pod.title} was evicted: {pod.message.rstrip('. ')}.")
    if pod.disrupted or pod.reason:
        return Ended(
            AttemptOutcome.POD_LOST, f"{pod.title} was taken away: {pod.disrupted or pod.message or pod.reason}."
        )
    if pod.report is not None:
        return _without_a_cause(pod, pod.report)
    code = "without an exit code" if pod.exit_code is None else f"with exit code {pod.exit_code}"
    return Ended(AttemptOutcome.PROGRAM_FAILED, f"{pod.title} ended {code} and without a report.")


def _is_about_the_engine(report: Report | None) -> bool:
    problem = report.problem if report else None
    return problem is not None and problem.reason in (serving.LOST, serving.NOT_READY)


def _preempted(pod: PodState, report: Report) -> Ended:
    why = pod.disrupted or pod.message or pod.reason
    who = pod.title if report.index in (None, pod.index) else f"The pod of index {report.index}"
    message = f"{who} was {f'taken away ({why})' if why else 'told to stop'}"
    return Ended(AttemptOutcome.PREEMPTED, f"{message}, and saved a checkpoint at step {report.checkpoint}.", report)


def _without_a_cause(pod: PodState, report: Report) -> Ended:
    """Say what became of a pod that was told to stop, or of a group one of whose pods went without a word."""
    if report.outcome is Outcome.PEER_LOST and report.problem:
        return Ended(AttemptOutcome.POD_LOST, f"{pod.title} lost another pod: {report.problem.message}")
    if report.index is not None and report.index != pod.index:
        return Ended(AttemptOutcome.POD_LOST, f"The pod of index {report.index} was told to stop.")
    return Ended(AttemptOutcome.POD_LOST, f"{pod.title} was told to stop.")


def _reported(pod: PodState, report: Report) -> Ended:
    problem = report.problem or Problem(reason="Unexplained", message="The program gave no reason.")
    outcome = {
        Outcome.BAD_INPUT: AttemptOutcome.BAD_INPUT,
        Outcome.SERVICE_FAILED: AttemptOutcome.SERVICE_FAILED,
        Outcome.OUT_OF_MEMORY: AttemptOutcome.OUT_OF_MEMORY,
        Outcome.UNKNOWN: AttemptOutcome.REPORT_UNKNOWN,
    }.get(report.outcome, AttemptOutcome.PROGRAM_FAILED)
    if problem.reason in HOPELESS_FAILURES:
        outcome = AttemptOutcome.HOPELESS
    if outcome is AttemptOutcome.SERVICE_FAILED and problem.reason in OUTAGES:
        outcome = AttemptOutcome.SERVICE_AWAY
    where = f"Index {pod.index if report.index is None else report.index}: " if pod.index is not None else ""
    return Ended(outcome, f"{where}{problem.sentence}", report, reason=problem.reason)


def _not_started(pod: PodState, seen: Observation) -> Waiting | Ended:
    if pod.waiting in BAD_IMAGE_REASONS:
        return Ended(AttemptOutcome.BAD_IMAGE, _sentence(f"{pod.waiting}: {pod.waiting_message}"))
    if pod.waiting in IMAGE_PULL_REASONS:
        message = _sentence(f"The image cannot be pulled: {pod.waiting_message or pod.waiting}")
        if seen.now - datetime.fromisoformat(pod.accepted) > IMAGE_PULL_PATIENCE:
            return Ended(AttemptOutcome.IMAGE_PULL_FAILED, message)
        return Waiting("ImagePullFailed", f"{message} {TABLE[AttemptOutcome.IMAGE_PULL_FAILED].advice}")
    if pod.unschedulable:
        return _unschedulable(pod)
    if seen.warning:
        message = _sentence(f"{pod.title} does not start: {seen.warning}")
        return Waiting("PodNotStarting", f"{message} {CREATE}")
    return Waiting(STARTING, f"{pod.title} is starting.")


def _unschedulable(pod: PodState) -> Waiting:
    # Of a claim that is missing, the scheduler ends with these words twice.
    words = re.sub(r"(?: not found\.)+", " not found.", pod.unschedulable)
    missing = re.search(r'persistentvolumeclaim "([^"]+)" not found', words)
    claim = missing[1] if missing else ""
    advice = CREATE_CLAIM.format(claim=claim) if claim else MAKE_ROOM
    return Waiting("Unschedulable", f"{_sentence(f'No node takes pod {pod.name}: {words}')} {advice}", claim)


def _sentence(words: str) -> str:
    """End somebody else's words with one full stop: what to do follows them."""
    return f"{words.rstrip('. :')}."
