"""What may leave the project's storage: one small Job now and then, beside all else that the project does.

It is made only while the project is Ready, and it says nothing about that.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from stagecoach.api.common import duration
from stagecoach.api.resolved import Phase, RetentionStatus
from stagecoach.api.transformerproject import Retention, TransformerProject
from stagecoach.build import jobs
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.jobs import RetainJob
from stagecoach.contract.reports import RetentionReport
from stagecoach.contract.times import timestamp
from stagecoach.kinds import contracts, small_jobs
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.plan import Event, Object, Plan
from stagecoach.kinds.transformerproject.observe import Observed
from stagecoach.policies import retention as policy
from stagecoach.policies.attempts import (
    STARTING,
    TABLE,
    AttemptOutcome,
    Ended,
    Observation,
    Running,
    judge,
    other_version,
    retry_at,
)

SECONDS = 2 * 3600
PATIENCE = 30.0
CANCELLED = "Cancelled"
TOO_MANY = (
    "What the cluster's objects name does not fit into a Job, so nothing is removed. Delete FineTuneRuns and"
    " Evaluations that nobody needs."
)
ADVICE = {
    AttemptOutcome.OUT_OF_MEMORY: (
        "The storage holds more records than can be looked through: give new projects a storage.uri of their own."
    ),
    AttemptOutcome.DEADLINE_EXCEEDED: f"Nothing to do: it may take {SECONDS // 3600} hours, and goes on where it was.",
}
FAILED = "The storage could not be looked through: {words} It is tried again."


def beside(observed: Observed, plan: Plan, now: datetime, settings: Settings) -> Plan:
    """Return the plan for the project with what is to be done about its storage."""
    project = observed.project
    told = project.status.retention
    wanted = project.spec.storage.retention
    if plan.status is None:
        return plan
    if wanted is None or plan.status.get("phase") != Phase.READY.value:
        return _stopped(observed, plan, told if wanted else None, now)
    if told is None or told.completion_time is not None:
        return _next(observed, plan, told, now, settings)
    if told.asked != _asked(project):
        return _stopped(observed, plan, told, now)
    return _follow(observed, plan, wanted, told, now, settings)


def _stopped(observed: Observed, plan: Plan, told: RetentionStatus | None, now: datetime) -> Plan:
    """See that no Job goes on. It may stop at any point: the next one finishes what it began."""
    if told is not None and told.completion_time is None:
        message = "It was stopped: the project was changed, or is not Ready. Nothing to do: the next one goes on."
        told = _closed(told, CANCELLED, message, now)
    return _with(plan, told, delete=observed.passes)


def _next(observed: Observed, plan: Plan, told: RetentionStatus | None, now: datetime, settings: Settings) -> Plan:
    """Decide the next Job when it is due; it is made when the decision is seen in the status."""
    project = observed.project
    due = _due(observed, told) if told else now
    if due is None or (told is None and not observed.has_succeeded_run):
        return _with(plan, told, delete=observed.passes)
    if now < due:
        return _with(plan, told, delete=observed.passes).within((due - now).total_seconds())
    # Of a retention that was taken away and is back, the ended Job of before is no answer.
    number, asked = max(told.number if told else 0, observed.last_pass) + 1, _asked(project)
    begun = RetentionStatus(
        number=number,
        job=jobs.job_name(project, f"k{number}"),
        image=settings.trainer_image,
        asked=asked,
        made=observed.made,
        failures=told.failures if told and told.asked == asked else 0,
        start_time=timestamp(now),
    )
    if told and told.asked == asked:  # what the last look came to is still said, unless it was at another storage
        facts = {name: getattr(begun, name) for name in (*begun.model_fields_set, "completion_time", "outcome")}
        begun = told.model_copy(update=facts)
    return _with(plan, begun, delete=observed.passes)


def _due(observed: Observed, told: RetentionStatus) -> datetime | None:
    end = datetime.fromisoformat(told.completion_time or told.start_time)
    known = told.outcome in set(AttemptOutcome)
    retried = known and TABLE[AttemptOutcome(told.outcome or "")].retried
    return policy.due(
        policy.Look(
            end=end,
            succeeded=told.outcome == AttemptOutcome.SUCCEEDED,
            # Cancelled, or a word of a later version: as if it had not been.
            retry_at=retry_at(end, told.failures) if retried or not known else None,
            asked_anew=told.asked != _asked(observed.project),
            made_anew=told.made != observed.made,
            again=datetime.fromisoformat(told.again) if told.again else None,
        )
    )


def _follow(
    observed: Observed, plan: Plan, wanted: Retention, told: RetentionStatus, now: datetime, settings: Settings
) -> Plan:
    """See how the Job is getting on."""
    child = observed.current_pass
    seen = judge(Observation(child.job, child.pod, child.warning, started=False, now=now))
    if isinstance(seen, Ended):
        return _ended(plan, told, seen, now)
    if not isinstance(seen, Running) and seen.reason != STARTING:
        told = told.model_copy(update={"message": seen.message[:2048]})
    left_over = tuple(job for job in observed.passes if job["metadata"]["name"] != told.job)
    if child.job is not None:
        return _with(plan, told, delete=left_over).within(PATIENCE)
    try:
        job = jobs.job(observed.project, _work(observed, wanted, told, now, settings))
    except jobs.TooLarge:
        event = Event("SpecTooLarge", TOO_MANY, warning=True)
        return _with(plan, _closed(told, AttemptOutcome.BAD_INPUT, TOO_MANY, now), delete=left_over, events=(event,))
    return _with(plan, told, create=(job,), delete=left_over)


def _work(observed: Observed, wanted: Retention, told: RetentionStatus, now: datetime, settings: Settings) -> jobs.Work:
    project = observed.project
    return small_jobs.work(
        project,
        settings,
        name=told.job,
        document=RetainJob(
            subject=contracts.subject(project),
            runs=wanted.runs,
            keep_seconds=int(duration(wanted.keep_for).total_seconds()),
            notice_seconds=int(policy.NOTICE.total_seconds()),
            # As the lists are now, and not as they were when the Job was decided.
            decided=timestamp(now),
            protected=observed.named,
            known_runs=observed.run_uids,
        ),
        image=told.image,
        seconds=SECONDS,
    )


def _ended(plan: Plan, told: RetentionStatus, end: Ended, now: datetime) -> Plan:
    found = end.report.retention if end.report else None
    if end.outcome is AttemptOutcome.SUCCEEDED and found is not None:
        closed = _closed(told, end.outcome, found.message, now)
        update = {"at": timestamp(now), "failures": 0, "again": found.again}
        update |= {name: getattr(found, name) for name in ("kept", "leaving", "removed", "bytes")}
        return _with(plan, closed.model_copy(update=update), events=_events(found))
    if end.outcome is AttemptOutcome.SUCCEEDED:
        message = f"The trainer reported success, and not what it did. {other_version(told.image)}"
        end = Ended(AttemptOutcome.PROGRAM_FAILED, message)
    words = FAILED.format(words=end.words(ADVICE))
    closed = _closed(told, end.outcome, words, now)
    if end.retried:
        closed = closed.model_copy(update={"failures": told.failures + 1})
    event = Event(end.reason or str(end.outcome), words, warning=True)
    return _with(plan, closed, events=(event,) if told.failures == 0 else ())


def _events(found: RetentionReport) -> tuple[Event, ...]:
    events = [Event("ArtifactsRemoved", found.message)] if found.removed else []
    return (*events, *([Event("ArtifactsLeave", found.message)] if found.announced else []))


def _closed(told: RetentionStatus, outcome: str, message: str, now: datetime) -> RetentionStatus:
    update = {"completion_time": timestamp(now), "outcome": str(outcome), "message": message[:2048]}
    return told.model_copy(update=update)


def _asked(project: TransformerProject) -> str:
    return digest_of_document(project.spec.storage.document())


def _with(
    plan: Plan,
    told: RetentionStatus | None,
    *,
    create: tuple[Object, ...] = (),
    delete: tuple[Object, ...] = (),
    events: tuple[Event, ...] = (),
) -> Plan:
    status: dict[str, Any] = {key: value for key, value in (plan.status or {}).items() if key != "retention"}
    if told is not None:
        status["retention"] = told.document()
    return replace(
        plan,
        status=status,
        create=(*plan.create, *create),
        delete=(*plan.delete, *delete),
        events=(*plan.events, *events),
    )
