"""The bookkeeping of attempts: what a later decision needs is in the status, however many attempts there were."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from stagecoach.api.common import duration
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.run_status import MAX_ATTEMPTS, Attempt, Intent, Totals
from stagecoach.build import jobs
from stagecoach.contract.times import timestamp
from stagecoach.kinds.children import begun
from stagecoach.kinds.finetunerun.observe import Observed
from stagecoach.kinds.plan import Object
from stagecoach.policies.attempts import AttemptOutcome, Ended, retry_at


def decided(run: FineTuneRun, intent: Intent, number: int, now: datetime) -> Attempt:
    """Return a new attempt."""
    return Attempt(number=number, intent=intent, job=jobs.job_name(run, str(number)), decided=timestamp(now))


def listed(attempts: list[Attempt]) -> list[Attempt]:
    """Return as many attempts as a status may hold, the newest."""
    return attempts[-MAX_ATTEMPTS:]


def totals(run: FineTuneRun) -> Totals:
    """Return what the attempts so far came to."""
    return run.status.totals or Totals()


def closed(observed: Observed, current: Attempt, end: Ended, words: str, now: datetime) -> tuple[list[Attempt], Totals]:
    """Return the attempts with the current one ended, and what all of them came to."""
    run, before = observed.run, totals(observed.run)
    start = current.start or (begun(current.decided, end.started, now) if end.started else None)
    seen = newest_checkpoint(observed)
    attempt = current.model_copy(
        update={
            "start": start,
            "end": timestamp(min(now, datetime.fromisoformat(end.finished))) if end.finished else timestamp(now),
            "outcome": str(end.outcome),
            "counted": end.counted,
            "checkpoint": seen,
            "message": words[:2048] or None,
        }
    )
    interrupted = end.retried and not end.counted and end.outcome is not AttemptOutcome.SUSPENDED
    # A pod that never ran says nothing of how often checkpoints are saved.
    ran = interrupted and start is not None
    idle = 0 if end.outcome is AttemptOutcome.SUCCEEDED else _idle(before, seen, interrupted=ran)
    after = Totals(
        failures=before.failures + end.counted,
        interruptions=before.interruptions + interrupted,
        idle_interruptions=idle,
        seconds=before.seconds + _seconds(attempt, now),
        checkpoint=seen,
    )
    return [*run.status.attempts[:-1], attempt], after


def _idle(before: Totals, seen: int | None, *, interrupted: bool) -> int:
    """Return how many interruptions there were in a row that left no newer checkpoint than the one before."""
    return 0 if (seen or 0) > (before.checkpoint or 0) else before.idle_interruptions + interrupted


def noted(observed: Observed, current: Attempt) -> dict[str, list[Attempt]]:
    """Return the change of the status that keeps the newest checkpoint of a pod that ran and may be gone soon.

    With it go its last words, and its progress leaves the status: who ends the attempt must not take it for idle.
    """
    seen = newest_checkpoint(observed)
    if current.start is None or seen == current.checkpoint:
        return {}
    return {"attempts": [*observed.run.status.attempts[:-1], current.model_copy(update={"checkpoint": seen})]}


def waits_again(observed: Observed, current: Attempt, now: datetime) -> tuple[list[Attempt], Totals]:
    """Return attempts and totals after such an interruption: the same Job gets another pod."""
    run, before, job = observed.run, totals(observed.run), observed.current.job
    seen = newest_checkpoint(observed)
    # Nobody may have looked for long: what counts is when the Job was suspended.
    left = datetime.fromisoformat(job.at) if job and job.suspended and job.at else now
    after = Totals(
        failures=before.failures,
        interruptions=before.interruptions + 1,
        idle_interruptions=_idle(before, seen, interrupted=True),
        seconds=before.seconds + _seconds(current, min(now, left)),
        checkpoint=seen,
    )
    # Without a start it is not counted again, nor is what is taken back before it runs.
    return [*run.status.attempts[:-1], current.model_copy(update={"start": None})], after


def interrupted(current: Attempt, found: Totals) -> str:
    """Say that the Job of an attempt has lost its pod and waits for another one."""
    newest = f", which goes on from step {found.checkpoint} or later" if found.checkpoint is not None else ""
    return f"Job {current.job} was suspended while its pod ran: interruption {found.interruptions} of this run{newest}."


def never_ran(attempts: Sequence[Attempt]) -> int:
    """Return how many of these attempts, the newest in a row, lost their pods before they ran."""
    lost = takewhile(lambda each: each.outcome == AttemptOutcome.POD_LOST and each.start is None, reversed(attempts))
    return sum(1 for _ in lost)


def due(attempts: Sequence[Attempt], found: Totals, now: datetime) -> datetime:
    """Return when the attempt after these is due."""
    last = attempts[-1]
    tries = found.failures + found.idle_interruptions + never_ran(attempts)
    return retry_at(datetime.fromisoformat(last.end or timestamp(now)), tries, last.outcome)


def no_progress(found: Totals) -> str:
    """Say why a run gives up that is interrupted again and again, and what to do."""
    newest = f"than that of step {found.checkpoint}" if found.checkpoint else "at all"
    return (
        f"{found.idle_interruptions} interruptions in a row left no newer checkpoint {newest}. Lower"
        " checkpoints.everySteps, or give the project's pods a priority class that is not preempted, in a new run."
    )


def newest_checkpoint(observed: Observed) -> int | None:
    """Return the step of the newest checkpoint that was seen: in the pod's last words, in progress, or before."""
    status = observed.run.status
    told = (observed.current, observed.progress, status.progress, status.totals, *status.attempts[-1:])
    steps = [item.checkpoint for item in told if item and item.checkpoint is not None]
    return max(steps, default=None)


def remaining(run: FineTuneRun, now: datetime) -> timedelta:
    """Return what is left of maxDuration after the attempts so far."""
    last = run.status.attempts[-1] if run.status.attempts else None
    running = _seconds(last, now) if last and last.end is None else 0.0
    return duration(run.spec.max_duration) - timedelta(seconds=totals(run).seconds + running)


def left_over(observed: Observed) -> tuple[Object, ...]:
    """Return unfinished Jobs of attempts that have ended: an old writer's late work, or a pod that never started.

    And of attempts that are listed no more, those that show nothing: pods that never run are replaced without end.
    Of a run that has ended these are all of its own, and none that a person copied from them, labels and all.
    """
    run = observed.run
    attempts, over = run.status.attempts, run.status.completion_time is not None
    ended = {attempt.job for attempt in attempts if over or attempt.end}
    forgotten = {jobs.job_name(run, str(number)) for number in range(1, attempts[0].number if attempts else 1)}
    late = (job for job in observed.unfinished if job["metadata"]["name"] in ended | forgotten)
    return (*late, *(job for job in observed.without_logs if job["metadata"]["name"] in forgotten))


def _seconds(attempt: Attempt, now: datetime) -> float:
    """Return how long an attempt's pod trained."""
    if attempt.intent is not Intent.TRAIN or attempt.start is None:
        return 0.0
    end = datetime.fromisoformat(attempt.end) if attempt.end else now
    return max(0.0, (end - datetime.fromisoformat(attempt.start)).total_seconds())
