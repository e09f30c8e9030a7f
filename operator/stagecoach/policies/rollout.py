"""How a candidate takes over: step by step, by time or by a person, and by requests; out when it fails too often."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from stagecoach.api.common import duration
from stagecoach.api.modeldeployment import MANUAL, Canary
from stagecoach.contract.times import timestamp

# How long gateways give a candidate its weight, unless it is renewed.
WEIGHT_HOLDS = timedelta(minutes=10)


@dataclass(frozen=True)
class Progress:
    """How far a candidate is in the step that it is in."""

    step: int  # from 0
    weight: int
    since: datetime  # when gateways began to give it this weight
    until: datetime  # when gateways take its weight away, unless that is renewed
    requests: int  # that ended since the step began, and say something of it
    errors: int  # those of them that failed by our fault
    promoted: bool = False  # somebody has let it go on from this step
    unanswered: int = 0  # besides the requests: those that its engine refused, or whose clients left


@dataclass(frozen=True)
class Hold:
    """It stays in its step."""

    reason: str
    message: str
    until: datetime | None  # when to look again; None: when more requests have ended


@dataclass(frozen=True)
class Await:
    """It stays in its step until somebody lets it go on."""

    message: str


@dataclass(frozen=True)
class Advance:
    """The step that it begins now: the next one, or the same once more."""

    step: int
    weight: int


@dataclass(frozen=True)
class Finish:
    """It has all requests from now on."""


@dataclass(frozen=True)
class Abort:
    """It goes, and the release of before has all requests again."""

    reason: str
    message: str


Decision = Hold | Await | Advance | Finish | Abort


def decide(canary: Canary | None, progress: Progress | None, now: datetime) -> Decision:
    """Return what comes next for a candidate that answers.

    `canary` None: nothing is served yet beside which it could have a part, or no steps are asked for. `progress` None:
    it has had no requests yet.
    """
    if canary is None:
        return Finish()
    if progress is None:
        return Advance(0, canary.steps[0].weight)
    # The spec may have fewer steps by now: whoever was beyond them is in the last one.
    index = min(progress.step, len(canary.steps) - 1)
    return _aborted(canary, index, progress) or _goes_on(canary, index, progress, now)


def alone(canary: Canary | None, *, promoted: bool) -> Await | Finish:
    """Return what comes next for a candidate that answers, when what was served was revoked: none has a part beside it.

    Steps that wait for somebody do so all the same: that something was revoked lets nothing else go on.
    """
    if promoted or canary is None or all(step.hold != MANUAL for step in canary.steps):
        return Finish()
    return Await("Nothing is served beside it, and rollout.canary.steps has a hold Manual: it has no requests.")


def _goes_on(canary: Canary, index: int, progress: Progress, now: datetime) -> Decision:
    step, where = canary.steps[index], _where(canary, index)
    by_hand = step.hold == MANUAL
    ends = progress.since if by_hand else progress.since + duration(step.hold)
    if now >= progress.until or progress.weight != step.weight:
        # Nobody was there to renew its weight, and it has had no requests since then; or the spec gives it another one.
        return Advance(index, step.weight)
    # These may be the clients' fault; but with nothing else it may be one that refuses everything, or is slower than
    # anybody waits.
    least = max(step.min_requests, 1 if progress.unanswered else 0)
    if now < ends:
        still = f" and until it has had {least}" if least > progress.requests else ""
        return Hold("StepHolds", f"{where} until {timestamp(ends)}{still}: {_so_far(progress)}. Nothing to do.", ends)
    if progress.requests < least:
        advice = "Nothing to do while clients ask; to go on with fewer, lower minRequests of the step."
        if progress.unanswered and not progress.requests:
            advice = (
                "See its engine's log: what it refuses, how slow it is. Ask what it can answer, or try another release."
            )
        return Hold("RequestsMissing", f"{where} until it has had {least}: {_so_far(progress)}. {advice}", None)
    if _too_many(canary, progress):
        enough = canary.abort_on.min_requests
        message = (
            f"{where}, and of {progress.requests} so far {progress.errors} failed: more than {_rate(canary)}, of too"
        )
        message += f" few requests to judge by. It goes on, or is rejected, when it has had {enough}."
        advice = "Nothing to do while clients ask; to decide by fewer, lower rollout.canary.abortOn.minRequests."
        return Hold("ErrorsUnclear", f"{message} {advice}", None)
    if by_hand and not progress.promoted:
        return Await(f"{where} until somebody promotes it: {_so_far(progress)}.")
    if index + 1 == len(canary.steps):
        return Finish()
    return Advance(index + 1, canary.steps[index + 1].weight)


def _aborted(canary: Canary, index: int, progress: Progress) -> Abort | None:
    if progress.requests < canary.abort_on.min_requests or not _too_many(canary, progress):
        return None
    message = f"{_where(canary, index)}. Of the {progress.requests} that it had to answer {_failed(progress)}, and"
    message += f" rollout.canary.abortOn.errorRate is {_rate(canary)}."
    advice = "See the logs of its engine and of the gateways, and try another release."
    return Abort("TooManyErrors", f"{message} {advice}")


def _too_many(canary: Canary, progress: Progress) -> bool:
    return progress.requests > 0 and progress.errors / progress.requests > canary.abort_on.error_rate


def _where(canary: Canary, index: int) -> str:
    weight = canary.steps[index].weight
    return f"In step {index + 1} of {len(canary.steps)} the candidate has {weight} of 100 requests"


def _failed(progress: Progress) -> str:
    share = f" ({progress.errors / progress.requests:.2%})" if progress.requests else ""
    return f"{progress.errors}{share} failed by our fault"


def _so_far(progress: Progress) -> str:
    besides = f"; besides, {progress.unanswered} that its engine refused (engine_refused), or whose clients left"
    return f"so far {progress.requests}, {_failed(progress)}{besides if progress.unanswered else ''}"


def _rate(canary: Canary) -> str:
    return f"{canary.abort_on.error_rate:.2%}"


def renewed(until: datetime, now: datetime) -> datetime:
    """Return until when a weight holds: the same, unless half of its time is over, or the clock went back."""
    return until if WEIGHT_HOLDS / 2 <= until - now <= WEIGHT_HOLDS else now + WEIGHT_HOLDS
