"""How a run is told: every status that a FineTuneRun can have is made here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.methods import MethodType
from stagecoach.api.run_status import AdoptedFrom, Artifact, Cost, FineTuneRunStatus, Inputs, Phase, Progress, RecordRef
from stagecoach.contract import reports
from stagecoach.contract.digests import short
from stagecoach.contract.layout import artifact_folder, record_file
from stagecoach.contract.times import timestamp
from stagecoach.kinds.conditions import Fact, dated, in_progress, of, ready, said, stalled
from stagecoach.kinds.finetunerun import imports
from stagecoach.kinds.plan import Object
from stagecoach.policies.attempts import STARTING

NOT_FIXED = Fact("InputsResolved", False, "NotYet", "The inputs are fixed when the project is ready.")
FIXED = Fact("InputsResolved", True, "Fixed", "Data, base model, prompt and settings are fixed by digest.")


def blocked(run: FineTuneRun, reason: str, message: str, now: datetime, **changes: Any) -> Object:
    """The run waits for something outside of it."""
    inputs = FIXED if run.status.inputs else NOT_FIXED
    return _status(run, Phase.BLOCKED, (*in_progress(reason, message), inputs), now, **changes)


def fixed(run: FineTuneRun, servable: Fact | None, message: str, now: datetime, **changes: Any) -> Object:
    """The inputs are fixed and the first attempt is decided."""
    facts = (*in_progress(STARTING, message), FIXED, *_if_any(servable))
    return _status(run, Phase.QUEUED, facts, now, **changes)


def waiting(run: FineTuneRun, reason: str, message: str, now: datetime, **changes: Any) -> Object:
    """An attempt is decided and its pod does not run yet."""
    facts = (*in_progress(reason, message), FIXED)
    return _status(run, Phase.QUEUED, facts, now, progress=None, loss=None, **changes)


def suspended(run: FineTuneRun, message: str, now: datetime, **changes: Any) -> Object:
    """Somebody has set spec.suspend."""
    inputs = FIXED if run.status.inputs else NOT_FIXED
    return _status(run, Phase.SUSPENDED, (Fact("Ready", False, "Suspended", message), inputs), now, **changes)


def running(run: FineTuneRun, progress: reports.Progress | None, leaving: str, now: datetime, **changes: Any) -> Object:
    """The pod of the current attempt runs, or is about to leave."""
    several = run.spec.resources.nodes > 1
    who = f"All {run.spec.resources.nodes} training pods run" if several else "The training pod runs"
    words = f"{who}; status.progress tells how far it is."
    if run.spec.method.type is MethodType.IMPORT:
        words = "The pod that checks and imports runs."
    told = in_progress("Running", words)
    facts = (*(in_progress("Stopping", leaving) if leaving else told), FIXED)
    shown = Progress.model_validate(progress.document()) if progress else run.status.progress
    return _status(run, Phase.RUNNING, facts, now, progress=shown, loss=shown and for_tables(shown.loss), **changes)


def failed(run: FineTuneRun, reason: str, message: str, now: datetime, **changes: Any) -> Object:
    """The run has ended without an artifact."""
    complete = Fact("Complete", False, reason, message)
    inputs = FIXED if run.status.inputs else Fact("InputsResolved", False, reason, message)
    return _status(
        run,
        Phase.FAILED,
        (*stalled(reason, message), complete, inputs),
        now,
        completion_time=timestamp(now),
        **changes,
    )


def succeeded(
    run: FineTuneRun,
    inputs: Inputs,
    found: reports.ArtifactReport,
    now: datetime,
    servable: Fact | None = None,
    **changes: Any,
) -> Object:
    """The artifact is there: trained, imported or adopted."""
    reason = imports.how(found)
    message = f"{found.type} {short(found.digest)} {_came(found)}."
    done = timestamp(now)
    return _status(
        run,
        Phase.SUCCEEDED,
        (*ready(reason, message), Fact("Complete", True, reason, message), FIXED, *_tracked(found), *_if_any(servable)),
        now,
        completion_time=done,
        progress=_complete(run, done),
        artifact=_artifact(inputs, found),
        record=_record(inputs, found),
        adopted_from=AdoptedFrom.model_validate(found.maker.document()) if found.maker else None,
        train_loss=found.train_loss,
        eval_loss=found.eval_loss,
        loss=for_tables(found.train_loss if found.eval_loss is None else found.eval_loss),
        cost=None
        if found.adopted or found.method
        else Cost(seconds=found.seconds, cpu_hours=found.cpu_hours, gpu_hours=found.gpu_hours),
        **changes,
    )


def for_tables(loss: float | None) -> float | None:
    """Return a loss with as many digits as people compare: the column would be as wide as all of them."""
    return None if loss is None else float(f"{loss:.4g}")


def ended(run: FineTuneRun, now: datetime) -> Object | None:
    """Say again how the run ended, about the spec as it is now; whatever was said of Ready meanwhile is over."""
    complete = of(run.status.conditions, "Complete")
    if complete is None or run.status.phase is None:
        return None
    tell = ready if run.status.phase is Phase.SUCCEEDED else stalled
    facts = tell(complete.reason, complete.message)
    others = (item for item in run.status.conditions if item.type in ("Complete", "InputsResolved", "Tracked"))
    return _status(run, run.status.phase, (*facts, *map(said, others)), now)


def says(run: FineTuneRun, reason: str) -> bool:
    """Whether this stands in Ready, about the spec as it is now: then other words for it are not worth a write."""
    told = of(run.status.conditions, "Ready")
    return told is not None and (told.reason, told.observed_generation) == (reason, run.metadata.generation)


def _came(found: reports.ArtifactReport) -> str:
    """Say how a run came to its artifact."""
    if not found.adopted:
        return f"was {imports.how(found).lower()}"
    maker = found.maker
    by = f"; run {maker.namespace}/{maker.name} had made it at {maker.at}" if maker else ""
    return f"was found under these inputs, nothing was trained{by}"


def _if_any(fact: Fact | None) -> tuple[Fact, ...]:
    return (fact,) if fact else ()


def _tracked(found: reports.ArtifactReport) -> tuple[Fact, ...]:
    """Return what the tracking server was told; nothing when nobody asked for it, or nothing was trained."""
    told = found.tracking
    if told is None:
        return ()
    if told.problem:
        return (Fact("Tracked", False, "TrackingFailed", f"{told.problem} Artifact and record are whole."),)
    return (Fact("Tracked", True, "Told", f"MLflow at {told.mlflow} has this training as run {told.run}."),)


def _artifact(inputs: Inputs, found: reports.ArtifactReport) -> Artifact:
    return Artifact(
        digest=found.digest,
        short=short(found.digest),
        uri=f"{inputs.storage}/{artifact_folder(found.digest)}",
        bytes=found.bytes,
        type=found.type,
    )


def _record(inputs: Inputs, found: reports.ArtifactReport) -> RecordRef:
    return RecordRef(uri=f"{inputs.storage}/{record_file(inputs.digest, found.record_name)}", digest=found.record)


def _complete(run: FineTuneRun, now: str) -> Progress | None:
    before = run.status.progress
    if before is None:
        return None
    # The loss that was logged last is of an earlier step: what came out stands beside the progress.
    done = {"step": before.steps, "percent": 100, "remaining_seconds": 0, "loss": None, "at": now}
    return before.model_copy(update=done)


def _known(run: FineTuneRun) -> tuple[Fact, ...]:
    """Return what was decided when the inputs were fixed and stays true."""
    servable = of(run.status.conditions, "Servable")
    return (said(servable),) if servable else ()


def _status(run: FineTuneRun, phase: Phase, facts: Sequence[Fact], now: datetime, **changes: Any) -> Object:
    generation = run.metadata.generation
    facts = (*facts, *_known(run))
    update = {
        "observed_generation": generation,
        "phase": phase,
        "conditions": dated(facts, run.status.conditions, generation, now),
    }
    status: FineTuneRunStatus = run.status.model_copy(update=update | changes)
    return status.document()
