"""What an Evaluation needs next. Pure: everything that counts is in its status, its Job and its pod."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from stagecoach.api.common import duration
from stagecoach.api.evaluation import Evaluation, EvaluationSpec
from stagecoach.api.evaluation_status import Attempt
from stagecoach.api.finetunerun import PROGRESS_DEADLINE
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs
from stagecoach.build.engines import EngineWork
from stagecoach.build.jobs import Demand, threads
from stagecoach.contract.digests import short
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.times import timestamp
from stagecoach.contract.verdicts import EvaluationReport, Verdict
from stagecoach.kinds import claims, small_jobs
from stagecoach.kinds.approval import guard
from stagecoach.kinds.children import begun, taken_back
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.evaluation import attempts, document, reviewing, status
from stagecoach.kinds.evaluation.neighbours import references, wakes
from stagecoach.kinds.evaluation.observe import Observed, observe
from stagecoach.kinds.evaluation.rest import rests
from stagecoach.kinds.invalid import unreadable
from stagecoach.kinds.plan import Event, Object, Plan
from stagecoach.kinds.view import View
from stagecoach.policies import verdicts
from stagecoach.policies.attempts import (
    LEAVING_PATIENCE,
    STARTING,
    WAITING_FOR_QUEUE,
    AttemptOutcome,
    Ended,
    Observation,
    Running,
    Waiting,
    judge,
    other_version,
)
from stagecoach.policies.pods import SETTLING

PATIENCE = 30.0
AGAIN = "To have it judged again: kubectl delete eval {name} -n {namespace}; the gate makes another."
ROWS_LOST = "RowsLost"
TOLD_AGAIN = "Nothing to do: the next pod tells them again, and computes nothing."
NEVER_TOLD = (
    "See that the project's nodes keep the last 1 MiB of a container's log (the kubelet's containerLogMaxSize), and"
    " that the image is of the operator's version."
)
ENDED_WELL = "The evaluator reported success and no verdict."
MADE_ANEW = (
    "It starts by itself once the cluster lets it. After a change of the project's pods: kubectl delete job {job} -n"
    " {namespace}; the operator makes it anew, and counts no retry. After a change of the gate's resources: kubectl"
    " delete eval {name} -n {namespace}; the gate makes another."
)


def reconcile(view: View, raw: Object, now: datetime, settings: Settings) -> Plan:
    """Observe and decide."""
    try:
        observed = observe(view, raw, now)
    except ValidationError as error:
        return unreadable(raw, error, now)
    plan = decide(observed, now, settings)
    return plan.within(SETTLING.total_seconds()) if observed.ending else plan


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Return what to do now. VerdictIsFinal: of one that is decided nothing is asked any more."""
    evaluation = observed.evaluation
    if evaluation.metadata.deletion_timestamp:
        return Plan()  # the Jobs are owned by the Evaluation and go with it
    if evaluation.status.verdict is not None:
        again = PATIENCE if observed.stopping else None
        told = status.ended(evaluation, now)
        return Plan(status=told, delete=attempts.left_over(observed), requeue_after=again)
    question, review = reviewing.question(evaluation), evaluation.status.review
    if question is not None and review is not None:
        plan = reviewing.decide(observed, question, review, now)
        return plan.within(PATIENCE) if observed.stopping else plan
    attempt = evaluation.status.attempt
    if attempt is None:
        return _first(observed, now)
    if attempt.end is None:
        return _follow(observed, attempt, now, settings)
    return _again(observed, attempt, now)


def _first(observed: Observed, now: datetime) -> Plan:
    """Decide the first attempt; the Job is made when that is seen in the status."""
    evaluation = observed.evaluation
    if observed.elder is not None:
        message = (
            f"Waits for Evaluation {observed.elder!r}, which asks the same release, or the one that is served, to use"
            " the answers that it stores. If nothing will come of it: kubectl delete eval"
            f" {observed.elder} -n {evaluation.metadata.namespace}."
        )
        return Plan(status=status.pending(evaluation, "SameRelease", message, now))
    changes = {"attempt": attempts.decided(evaluation, 1, now), "start_time": timestamp(now)}
    return Plan(status=status.pending(evaluation, STARTING, "The first attempt is decided.", now, **changes))


def _follow(observed: Observed, attempt: Attempt, now: datetime, settings: Settings) -> Plan:
    """See how the current attempt is getting on."""
    evaluation, child = observed.evaluation, observed.current
    seen = judge(Observation(child.job, child.pod, child.warning, started=attempt.start is not None, now=now))
    if isinstance(seen, Ended):
        return _ended(observed, attempt, seen, now)
    if isinstance(seen, Running):
        return _running(observed, attempt, seen, now)
    if child.job is None:
        return _create(observed, attempt, seen, now, settings)
    changes: dict[str, Any] = {}
    if taken_back(child, seen, started=attempt.start is not None):
        changes = attempts.waits_again(evaluation, attempt, now)
        if changes["interruptions"] > attempts.MAX_INTERRUPTIONS:
            lost = Ended(AttemptOutcome.POD_LOST, f"Job {attempt.job} was suspended while its pod ran.")
            return _ended(observed, attempt, lost, now)
    told = _waiting(observed, attempt, seen, now, **changes)
    events = (Event(WAITING_FOR_QUEUE, f"Job {attempt.job} was suspended while its pod ran."),) if changes else ()
    return Plan(status=told, events=events, delete=attempts.left_over(observed), requeue_after=PATIENCE)


def _create(observed: Observed, attempt: Attempt, seen: Waiting, now: datetime, settings: Settings) -> Plan:
    """Make the Job of an attempt that stands in the observed status."""
    evaluation, project = observed.evaluation, observed.project
    if project is None:
        message = (
            f"spec.project: TransformerProject {evaluation.spec.project!r} is gone or not valid. Bring it back as it"
            " was: its pods and credentials are needed."
        )
        return Plan(status=status.pending(evaluation, "ProjectMissing", message, now))
    try:
        told = document.job(evaluation, project, threads(evaluation.spec.resources.cpu))
        job = jobs.job(evaluation, _work(evaluation, project, attempt, told, now, settings))
    except document.Changed as changed:
        message = (
            f"The project changed after this was decided: {changed}. Bring it back as it was. {_again_by(evaluation)}"
        )
        return _given_up(evaluation, "ProjectChanged", message, now)
    except jobs.TooLarge as error:
        return _given_up(evaluation, "SpecTooLarge", f"{error} {_again_by(evaluation)}", now)
    waiting = _waiting(observed, attempt, seen, now)
    return Plan(status=waiting, create=(job,), delete=attempts.left_over(observed))


def _work(
    evaluation: Evaluation,
    project: TransformerProject,
    attempt: Attempt,
    told: EvaluateJob,
    now: datetime,
    settings: Settings,
) -> jobs.Work:
    spec = evaluation.spec
    asked = spec.resources
    work = small_jobs.work(
        project,
        settings,
        name=attempt.job,
        document=told,
        image=spec.image,
        seconds=max(1, int(attempts.remaining(evaluation, now).total_seconds())),
        storage=spec.storage,
        sources=(*_bases(told), *(item.uri for item in (*told.datasets, *told.trained_on))),
        keep_seconds=int(duration(spec.clean_up_after).total_seconds()),
    )
    return replace(
        work,
        pull_policy=settings.evaluator_pull_policy,
        demand=Demand(cpu=asked.cpu, memory=asked.memory, gpu_resource=asked.gpu_resource, gpus=asked.gpus),
        engine=_engine(spec, told, settings),
        progress_deadline=int(duration(PROGRESS_DEADLINE).total_seconds()),
    )


def _engine(spec: EvaluationSpec, told: EvaluateJob, settings: Settings) -> EngineWork | None:
    if spec.engine_image is None:
        return None
    asked = spec.resources
    policy = settings.engine(asked.gpus).pull_policy
    return EngineWork(spec.engine_image, policy, _bases(told), threads(asked.cpu), on_a_gpu=asked.gpus > 0)


def _bases(told: EvaluateJob) -> tuple[str, ...]:
    """Return where the base models are of all that may have to be asked."""
    served = [told.incumbent.base.uri] if told.incumbent and told.incumbent.base else []
    return tuple(dict.fromkeys((told.base.uri, *served)))


def _waiting(observed: Observed, attempt: Attempt, seen: Waiting, now: datetime, **changes: Any) -> Object | None:
    """Return the status of a pod that does not run yet; the ordinary steps of a start are not worth a write each."""
    evaluation = observed.evaluation
    if seen.reason == STARTING:
        known = status.says(evaluation, STARTING) and not changes
        return None if known else status.pending(evaluation, STARTING, seen.message, now, **changes)
    where = claims.named_by(seen.claim, claims.places(observed.project.spec)) if observed.project else ""
    metadata = evaluation.metadata
    made_anew = MADE_ANEW.format(job=attempt.job, name=metadata.name, namespace=metadata.namespace)
    words = " ".join(filter(None, (seen.message, where, made_anew)))
    return status.pending(evaluation, seen.reason, words, now, **changes)


def _running(observed: Observed, attempt: Attempt, seen: Running, now: datetime) -> Plan:
    evaluation = observed.evaluation
    # The kubelet ends the first pod of a Job in time. Another pod of the same Job would get all of the time again.
    left = (attempts.remaining(evaluation, now) + LEAVING_PATIENCE).total_seconds()
    if left <= 0:
        late = Ended(AttemptOutcome.DEADLINE_EXCEEDED, "The time of maxDuration is used up.")
        return _ended(observed, attempt, late, now)
    running = attempt.model_copy(update={"start": attempt.start or begun(attempt.decided, seen.pod.started, now)})
    return Plan(
        status=status.running(evaluation, seen.leaving, now, attempt=running),
        delete=attempts.left_over(observed),
        requeue_after=min(left, PATIENCE) if seen.leaving else left,
    )


def _ended(observed: Observed, attempt: Attempt, end: Ended, now: datetime) -> Plan:
    """Close the attempt: there is a verdict, or another try, or none any more."""
    evaluation = observed.evaluation
    ways_out = advice(evaluation.spec)
    words = end.words(ways_out | {AttemptOutcome.POD_LOST: TOLD_AGAIN} if end.reason == ROWS_LOST else ways_out)
    changes = attempts.closed(evaluation, attempt, end, words, now)
    if end.outcome is AttemptOutcome.SUCCEEDED:
        found = end.report.evaluation if end.report else None
        if found is not None and _is_to_review(evaluation, found):
            return _shown(observed, attempt, end, found, now)
        return _reported(evaluation, found, now, **changes)
    reason = end.reason or str(end.outcome)
    if not end.retried:
        return _given_up(evaluation, reason, f"{words} {_again_by(evaluation)}", now, **changes)
    if changes["failures"] > evaluation.spec.retries:
        used_up = f"{words} All {evaluation.spec.retries} retries are used up. {_again_by(evaluation)}"
        return _given_up(evaluation, reason, used_up, now, **changes)
    if changes["interruptions"] > attempts.MAX_INTERRUPTIONS and reason == ROWS_LOST:
        message = f"{end.message} {NEVER_TOLD} {_again_by(evaluation)}"
        return _given_up(evaluation, "RowsLost", message, now, **changes)
    if changes["interruptions"] > attempts.MAX_INTERRUPTIONS:
        often = f"{end.message} It was interrupted {changes['interruptions']} times. Give the project's pods a priority"
        message = f"{often} class that is not preempted. {_again_by(evaluation)}"
        return _given_up(evaluation, "NoProgress", message, now, **changes)
    due = attempts.due(changes["attempt"], changes["failures"] + changes["interruptions"], now)
    told = status.pending(evaluation, "Retrying", _follows(attempt.number, reason, words, due), now, **changes)
    return Plan(status=told, events=(Event(reason, f"Attempt {attempt.number}: {words}", warning=True),))


def advice(spec: EvaluationSpec) -> dict[AttemptOutcome, str]:
    """Return what to do where the advice for runs does not fit."""
    memory = f"spec.resources.memory ({spec.resources.memory}) of EvalGate {spec.gate!r}"
    time = f"spec.maxDuration ({spec.max_duration}) of EvalGate {spec.gate!r}"
    return {
        AttemptOutcome.OUT_OF_MEMORY: f"The same work would need the same memory: raise {memory}.",
        AttemptOutcome.DEADLINE_EXCEEDED: f"Raise {time}, or give its pods more CPUs or a GPU.",
        AttemptOutcome.BAD_IMAGE: "Whoever installed the operator sets the image right in the chart.",
        AttemptOutcome.REPORT_UNKNOWN: other_version(spec.image, "evaluator"),
    }


def _is_to_review(evaluation: Evaluation, found: EvaluationReport) -> bool:
    """Whether people have to look at it, and can: the report is believed."""
    wanted = evaluation.spec.review is not None and found.verdict is Verdict.PASSED
    return wanted and verdicts.inconsistency(found, document.asked(evaluation.spec)) is None


def _shown(observed: Observed, attempt: Attempt, end: Ended, found: EvaluationReport, now: datetime) -> Plan:
    """Ask people, with the rows in the pod's log. Without these another pod tells them again: nothing is computed."""
    evaluation, pod, rows = observed.evaluation, observed.current.pod, observed.canary
    review = evaluation.spec.review
    if pod is None or review is None:
        raise AssertionError("a report is that of a pod, and somebody is asked")
    if rows is None or observed.guarded is None:
        return Plan(read=(pod.name, pod.uid) if rows is None else None, prove=observed.guarded is None)
    if not observed.guarded:
        # What is approved from when it is asked on counts: so nobody is asked before that is in their own name.
        told = status.pending(evaluation, "PolicyMissing", guard.MISSING, now)
        return Plan(status=told, requeue_after=PATIENCE)
    if not rows.rows or rows.digest != found.canary:
        lost = Ended(
            AttemptOutcome.POD_LOST,
            f"The rows to review are not in the log of {pod.title}, as its report has them.",
            reason=ROWS_LOST,
            started=end.started,
            finished=end.finished,
        )
        return _ended(observed, attempt, lost, now)
    changes = attempts.closed(evaluation, attempt, end, "", now)
    words = reviewing.asks(evaluation, review)
    event = Event("AwaitingReview", f"Release {short(evaluation.spec.release.digest)}: {words}")
    # Approvals that came right before the policy could be in any name, and clocks differ.
    since = now + reviewing.SETTLED if status.waits_for(evaluation, "PolicyMissing") else now
    told = status.asked(evaluation, found, rows, words, now, since=since, **changes)
    return Plan(status=told, events=(event,))


def _reported(evaluation: Evaluation, found: EvaluationReport | None, now: datetime, **changes: Any) -> Plan:
    """The Job did its work; a report that is missing, or does not fit what was asked, is no verdict."""
    image = evaluation.spec.image
    if found is None:
        message = f"{ENDED_WELL} {other_version(image, 'evaluator')} {_again_by(evaluation)}"
        return _given_up(evaluation, "VerdictMissing", message, now, **changes)
    if wrong := verdicts.inconsistency(found, document.asked(evaluation.spec)):
        message = f"The evaluator's report is not believed: {wrong}. {other_version(image, 'evaluator')}"
        return _given_up(evaluation, "ReportInconsistent", f"{message} {_again_by(evaluation)}", now, **changes)
    told = status.measured(evaluation, found, now, **changes)
    release = short(evaluation.spec.release.digest)
    words = f"Release {release} of {evaluation.spec.named}: {told['message']}"
    event = Event(str(found.verdict), words, warning=found.verdict is not Verdict.PASSED)
    return Plan(status=told, events=(event,))


def _given_up(evaluation: Evaluation, reason: str, message: str, now: datetime, **changes: Any) -> Plan:
    told = status.failed(evaluation, reason, message, now, **changes)
    return Plan(status=told, events=(Event(reason, message, warning=True),))


def _again(observed: Observed, last: Attempt, now: datetime) -> Plan:
    """Decide the next attempt once its delay is over, and the pod before it had time to end."""
    evaluation = observed.evaluation
    end = datetime.fromisoformat(last.end or timestamp(now))
    due = attempts.due(last, evaluation.status.failures + evaluation.status.interruptions, now)
    if now < due:
        message = _follows(last.number, last.outcome or "", last.message or "", due)
        told = None if status.says(evaluation, "Retrying") else status.pending(evaluation, "Retrying", message, now)
        wait = (due - now).total_seconds()
        return Plan(status=told, delete=attempts.left_over(observed), requeue_after=wait)
    if attempts.remaining(evaluation, now) <= timedelta(0):
        way_out = advice(evaluation.spec)[AttemptOutcome.DEADLINE_EXCEEDED]
        used_up = f"The time of maxDuration is used up. {way_out}"
        return _given_up(evaluation, "DeadlineExceeded", f"{used_up} {_again_by(evaluation)}", now)
    if observed.stopping and now < end + LEAVING_PATIENCE:
        told = status.pending(
            evaluation, "Stopping", f"The pod of attempt {last.number} is given the time to end.", now
        )
        return Plan(status=told, delete=attempts.left_over(observed), requeue_after=PATIENCE)
    following = attempts.decided(evaluation, last.number + 1, now)
    message = f"Attempt {following.number} is decided, after {last.outcome}: {last.message or ''}"
    told = status.pending(evaluation, STARTING, message, now, attempt=following)
    return Plan(status=told, delete=attempts.left_over(observed))


def _follows(number: int, reason: str, words: str, due: datetime) -> str:
    return f"Attempt {number} ended with {reason}: {words} Attempt {number + 1} follows at {timestamp(due)}."


def _again_by(evaluation: Evaluation) -> str:
    return AGAIN.format(name=evaluation.metadata.name, namespace=evaluation.metadata.namespace)


CONTROLLER = Controller(
    kind="Evaluation",
    plural="evaluations",
    references=references,
    wakes=wakes,
    reconcile=reconcile,
    rests=rests,
)
