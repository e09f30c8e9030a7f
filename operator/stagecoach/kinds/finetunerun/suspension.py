"""spec.suspend: an attempt is stopped uncounted, and nothing is started; resuming is the next attempt."""

from datetime import datetime

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.methods import MethodType
from stagecoach.api.run_status import Attempt, Intent, Phase
from stagecoach.kinds.finetunerun import status
from stagecoach.kinds.finetunerun.attempts import closed, left_over
from stagecoach.kinds.finetunerun.observe import Observed
from stagecoach.kinds.plan import Event, Plan
from stagecoach.policies.attempts import AttemptOutcome, Ended


def stop(observed: Observed, current: Attempt, now: datetime) -> Plan:
    """End the current attempt because of spec.suspend; its Job is deleted when that is seen in the status."""
    run = observed.run
    pod = observed.current.pod  # which may have ended long before, and nobody could read how
    end = Ended(AttemptOutcome.SUSPENDED, "spec.suspend was set.", finished=pod.finished if pod else "")
    listed, totals = closed(observed, current, end, end.words(), now)
    message = _message(_stopped(run, current))
    told = status.suspended(run, message, now, attempts=listed, totals=totals)
    return Plan(status=told, events=(Event("Suspended", message),))


def idle(observed: Observed, now: datetime) -> Plan:
    """Do nothing while spec.suspend is set and no attempt is under way."""
    run = observed.run
    last = run.status.attempts[-1] if run.status.attempts else None
    stopped = last is not None and last.outcome == AttemptOutcome.SUSPENDED
    message = _message(_stopped(run, last) if last and stopped else "Nothing is started.")
    events = () if run.status.phase is Phase.SUSPENDED else (Event("Suspended", message),)
    return Plan(status=status.suspended(run, message, now), events=events, delete=left_over(observed))


def _stopped(run: FineTuneRun, attempt: Attempt) -> str:
    """Say what becomes of the work; of a lookup and of an import there is nothing to save."""
    stopped = f"Attempt {attempt.number} is stopped."
    if attempt.intent is Intent.LOOKUP or run.spec.method.type is MethodType.IMPORT or attempt.start is None:
        return stopped
    return (
        f"{stopped} If it has done a step, the training saves a checkpoint before it ends, and the next attempt goes on"
        " from there."
    )


def _message(what: str) -> str:
    return Ended(AttemptOutcome.SUSPENDED, what).words()
