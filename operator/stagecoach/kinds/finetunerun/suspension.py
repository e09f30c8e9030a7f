"""spec.suspend: an attempt is stopped uncounted, and nothing is started; resuming is the next attempt."""

from datetime import datetime

from stagecoach.api.run_status import Attempt, Phase
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
    message = Ended(AttemptOutcome.SUSPENDED, f"Attempt {current.number} is stopped.").words()
    told = status.suspended(run, message, now, attempts=listed, totals=totals)
    return Plan(status=told, events=(Event("Suspended", message),))


def idle(observed: Observed, now: datetime) -> Plan:
    """Do nothing while spec.suspend is set and no attempt is under way."""
    run = observed.run
    if run.status.phase is Phase.SUSPENDED:
        return Plan(delete=left_over(observed))
    message = Ended(AttemptOutcome.SUSPENDED, "Nothing is started.").words()
    told = status.suspended(run, message, now)
    return Plan(status=told, events=(Event("Suspended", message),), delete=left_over(observed))
