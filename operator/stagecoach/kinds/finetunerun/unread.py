"""The end of an attempt whose trainer is of a later version: this operator cannot read it, and another one can."""

from datetime import datetime

from stagecoach.api.run_status import Attempt, Inputs
from stagecoach.contract.times import timestamp
from stagecoach.kinds.finetunerun import status
from stagecoach.kinds.finetunerun.attempts import left_over
from stagecoach.kinds.finetunerun.observe import Observed
from stagecoach.kinds.plan import Event, Plan
from stagecoach.policies.attempts import Ended

REMEDY = (
    "The trainer image, {image}, is of a later version than the operator. Upgrade the operator to that version: the"
    " run goes on from what the pod said, as long as its Job is kept (cleanUpAfter). Or delete it and create it again,"
    " for the operator's own trainer image."
)


def wait(observed: Observed, inputs: Inputs, current: Attempt, end: Ended, now: datetime) -> Plan:
    """Leave the attempt open until an operator comes that can read how it ended: its pod keeps what it said."""
    run = observed.run
    words = f"{end.message} {REMEDY.format(image=inputs.image)}"
    # Without its Job it counts as lost then, not as one that is still to be made.
    begun = current.model_copy(update={"start": current.start or end.started or timestamp(now)})
    told = status.blocked(run, end.reason, words, now, attempts=[*run.status.attempts[:-1], begun])
    event = Event(end.reason, f"Attempt {current.number}: {words}", warning=True)
    return Plan(status=told, events=(event,), delete=left_over(observed))
