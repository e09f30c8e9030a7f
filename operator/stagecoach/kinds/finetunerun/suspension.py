"""spec.suspend: an attempt is stopped uncounted, and nothing is started; resuming is the next attempt."""

from dataclasses import replace
from datetime import datetime

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.methods import MethodType
from stagecoach.api.run_status import Attempt, Intent, Phase, Progress
from stagecoach.contract.times import timestamp
from stagecoach.kinds.finetunerun import status
from stagecoach.kinds.finetunerun.attempts import closed, left_over, totals
from stagecoach.kinds.finetunerun.observe import Observed
from stagecoach.kinds.plan import Event, Plan
from stagecoach.policies.attempts import AttemptOutcome, Ended, Running, Waiting


def stop(observed: Observed, current: Attempt, seen: Waiting | Running | Ended, now: datetime) -> Plan:
    """End the current attempt because of spec.suspend; its Job is deleted when that is seen in the status."""
    run = observed.run
    pod = observed.current.pod  # which may have ended long before, and nobody could read how
    # It may run although the status does not say so yet. What a queue took back is there for a while, and was counted.
    started = pod.started if pod and not isinstance(seen, Waiting) else ""
    finished = pod.finished if pod else ""
    end = Ended(AttemptOutcome.SUSPENDED, "spec.suspend was set.", started=started, finished=finished)
    listed, after = closed(observed, current, end, end.words(), now)
    message = _message(_stopped(run, listed[-1], after.checkpoint))
    reached = _reached(_progress(observed, now), after.checkpoint, now)
    changes = {
        "attempts": listed,
        "totals": after,
        "progress": reached,
        "loss": reached and status.for_tables(reached.loss),
    }
    told = status.suspended(run, message, now, **changes)
    return Plan(status=told, events=(Event("Suspended", message),))


def idle(observed: Observed, now: datetime) -> Plan:
    """Do nothing while spec.suspend is set and no attempt is under way."""
    run = observed.run
    last = run.status.attempts[-1] if run.status.attempts else None
    stopped = last is not None and last.outcome == AttemptOutcome.SUSPENDED
    message = _message(_stopped(run, last, last.checkpoint) if last and stopped else "Nothing is started.")
    events = () if run.status.phase is Phase.SUSPENDED else (Event("Suspended", message),)
    return Plan(status=status.suspended(run, message, now), events=events, delete=left_over(observed))


def with_last_word(observed: Observed, now: datetime) -> Observed:
    """Return what is observed, with the checkpoint in the status that a stopped pod saved after its attempt had ended.

    A run that stays suspended is written once more for it; else it comes with what is written anyway.
    """
    run = observed.run
    last = run.status.attempts[-1] if run.status.attempts else None
    saved = observed.current.checkpoint
    if last is None or last.outcome != AttemptOutcome.SUSPENDED or saved is None or saved <= (last.checkpoint or 0):
        return observed
    reached = _reached(run.status.progress, saved, now)
    update = {
        "attempts": [*run.status.attempts[:-1], last.model_copy(update={"checkpoint": saved})],
        "totals": totals(run).model_copy(update={"checkpoint": saved, "idle_interruptions": 0}),
        "progress": reached,
        "loss": reached and status.for_tables(reached.loss),
    }
    return replace(observed, run=run.model_copy(update={"status": run.status.model_copy(update=update)}))


def _progress(observed: Observed, now: datetime) -> Progress | None:
    """Return how far the training is that is stopped now: what its pod told last is newer than the last write of it."""
    told = observed.progress
    return Progress.model_validate(told.document() | {"at": timestamp(now)}) if told else observed.run.status.progress


def _reached(progress: Progress | None, checkpoint: int | None, now: datetime) -> Progress | None:
    """Return the progress of a training that has saved this checkpoint, maybe after it told its progress."""
    if progress is None or checkpoint is None:
        return progress
    update: dict[str, int | None] = {"checkpoint": checkpoint}
    if checkpoint > progress.step:
        percent = 100 * checkpoint // max(1, progress.steps)
        # The loss that was told, and the time to go, are of an earlier step.
        update |= {"step": checkpoint, "percent": percent, "loss": None, "remaining_seconds": None}
    reached = progress.model_copy(update=update)
    return progress if reached == progress else reached.model_copy(update={"at": timestamp(now)})


def _stopped(run: FineTuneRun, attempt: Attempt, checkpoint: int | None) -> str:
    """Say what becomes of the work; of a lookup and of an import there is nothing to save."""
    stopped = f"Attempt {attempt.number} is stopped."
    if attempt.intent is Intent.LOOKUP or run.spec.method.type is MethodType.IMPORT:
        return stopped
    if attempt.start is None and checkpoint is None:
        return stopped
    known = "none is known yet" if checkpoint is None else f"the newest that is known is of step {checkpoint}"
    return (
        f"{stopped} If it has done a step, the training saves a checkpoint before it ends, and the next attempt goes on"
        f" from there; {known} (status.totals.checkpoint)."
    )


def _message(what: str) -> str:
    return Ended(AttemptOutcome.SUSPENDED, what).words()
