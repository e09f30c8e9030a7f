"""The bookkeeping of attempts: what a later decision needs is in the status."""

from datetime import datetime, timedelta
from typing import Any

from stagecoach.api.common import duration
from stagecoach.api.evaluation import Evaluation
from stagecoach.api.evaluation_status import Attempt
from stagecoach.build import jobs
from stagecoach.contract.times import timestamp
from stagecoach.kinds.children import begun
from stagecoach.kinds.evaluation.observe import Observed
from stagecoach.kinds.plan import Object
from stagecoach.policies.attempts import Ended, retry_at

LETTER = "e"
# Answers are stored by data set: each attempt goes on from them, and nobody sees how far it came.
MAX_INTERRUPTIONS = 10


def decided(evaluation: Evaluation, number: int, now: datetime) -> Attempt:
    """Return a new attempt."""
    return Attempt(number=number, job=jobs.job_name(evaluation, f"{LETTER}{number}"), decided=timestamp(now))


def closed(evaluation: Evaluation, attempt: Attempt, end: Ended, words: str, now: datetime) -> dict[str, Any]:
    """Return the changes of the status when an attempt has ended: it, and what all of them came to."""
    start = attempt.start or (begun(attempt.decided, end.started, now) if end.started else None)
    over = timestamp(min(now, datetime.fromisoformat(end.finished))) if end.finished else timestamp(now)
    update = {"start": start, "end": over, "outcome": str(end.outcome), "message": words[:2048] or None}
    ended = attempt.model_copy(update=update)
    told = evaluation.status
    return {
        "attempt": ended,
        "failures": told.failures + end.counted,
        "interruptions": told.interruptions + (end.retried and not end.counted),
        "seconds": told.seconds + _seconds(ended, now),
    }


def waits_again(evaluation: Evaluation, attempt: Attempt, now: datetime) -> dict[str, Any]:
    """Return the changes of the status after that: the attempt stays, and is interrupted."""
    told = evaluation.status
    return {
        "attempt": attempt.model_copy(update={"start": None}),
        "interruptions": told.interruptions + 1,
        "seconds": told.seconds + _seconds(attempt, now),
    }


def remaining(evaluation: Evaluation, now: datetime) -> timedelta:
    """Return what is left of maxDuration after the attempts so far."""
    attempt = evaluation.status.attempt
    running = _seconds(attempt, now) if attempt and attempt.end is None else 0.0
    return duration(evaluation.spec.max_duration) - timedelta(seconds=evaluation.status.seconds + running)


def due(attempt: Attempt, tries: int, now: datetime) -> datetime:
    """Return when the attempt after this one, the last of so many, is due."""
    return retry_at(datetime.fromisoformat(attempt.end or timestamp(now)), tries, attempt.outcome)


def left_over(observed: Observed) -> tuple[Object, ...]:
    """Return unfinished Jobs of attempts that have ended, and none that a person copied from them, labels and all."""
    evaluation, attempt = observed.evaluation, observed.evaluation.status.attempt
    if attempt is None:
        return ()
    past = attempt.number + (attempt.end is not None)
    numbers = ((jobs.number_of(evaluation, LETTER, job["metadata"]["name"]), job) for job in observed.unfinished)
    return tuple(job for number, job in numbers if number in range(1, past))


def _seconds(attempt: Attempt, now: datetime) -> float:
    """Return how long an attempt's pod ran."""
    if attempt.start is None:
        return 0.0
    end = datetime.fromisoformat(attempt.end) if attempt.end else now
    return max(0.0, (end - datetime.fromisoformat(attempt.start)).total_seconds())
