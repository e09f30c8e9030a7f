"""Whose turn it is among runs of the same inputs: one is at work, the others wait and adopt what it makes."""

from datetime import datetime

from stagecoach.api.run_status import Attempt, Intent
from stagecoach.contract.times import timestamp
from stagecoach.kinds.finetunerun import attempts, status
from stagecoach.kinds.finetunerun.observe import SAME_INPUTS, Observed
from stagecoach.kinds.plan import Event, Plan
from stagecoach.policies.attempts import STARTING, AttemptOutcome
from stagecoach.policies.twins import ahead, undecided

# Whether a younger run still has its Job is in no status, and so wakes nobody.
LOOK_AGAIN = 30.0


def first_attempt(observed: Observed, now: datetime) -> tuple[Attempt, str]:
    """Return the first attempt, and it in words: to look for a record where there may be one, else to train."""
    run, storage = observed.run, observed.project.status.storage if observed.project else None
    records = storage is not None and storage.records
    intent = Intent.LOOKUP if records and not run.spec.force else next_intent(observed, Intent.TRAIN)
    message = "Looks for a record of the same inputs." if intent is Intent.LOOKUP else "The first attempt is decided."
    return attempts.decided(run, intent, 1, now), message


def next_intent(observed: Observed, otherwise: Intent) -> Intent:
    """Return what to do after having waited: look for the record of a run that succeeded meanwhile."""
    made = any(twin.succeeded for twin in observed.twins)
    return Intent.LOOKUP if made and not observed.run.spec.force else otherwise


def first(observed: Observed, now: datetime) -> Plan:
    """Decide the first attempt: a lookup at once, a training when no run of the same inputs is before this one."""
    attempt, message = first_attempt(observed, now)
    if attempt.intent is Intent.TRAIN and (plan := lets_pass(observed, now)):
        return plan
    changes = {"attempts": [attempt], "start_time": timestamp(now)}
    return Plan(status=status.waiting(observed.run, STARTING, message, now, **changes))


def open_to_others(observed: Observed, current: Attempt) -> bool:
    """Whether an attempt that has no Job has to let others pass: the first training, and the first one resumed."""
    before = observed.run.status.attempts[:-1]
    only_looked = all(attempt.intent is Intent.LOOKUP for attempt in before)
    resumes = bool(before) and before[-1].outcome == AttemptOutcome.SUSPENDED
    return current.intent is Intent.TRAIN and current.start is None and (only_looked or resumes)


def lets_pass(observed: Observed, now: datetime) -> Plan | None:
    """Wait for another run of the same inputs; what this one decided and has no Job for is taken back."""
    run = observed.run
    if run.spec.force:
        return None
    order = run.metadata.creation_timestamp, run.metadata.uid
    twin = ahead(order, observed.twins)
    if twin is None:
        return Plan(requeue_after=1.0) if undecided(observed.twins, now) else None
    waits = f"Waits for FineTuneRun {twin.name!r}, which has the same inputs, to adopt what it makes."
    remedy = (
        f"If nothing will come of it: kubectl delete ftr {twin.name} -n {run.metadata.namespace}. To train the same a"
        " second time, create a run with force: true."
    )
    ended = [attempt for attempt in run.status.attempts if attempt.end]
    message = f"{waits} It says {twin.reason or 'nothing yet'}. {remedy}"
    told = status.blocked(run, SAME_INPUTS, message, now, attempts=ended)
    return Plan(
        status=told,
        events=(Event(SAME_INPUTS, f"{waits} {remedy}"),),
        delete=attempts.left_over(observed),
        requeue_after=None if twin.order < order else LOOK_AGAIN,
    )
