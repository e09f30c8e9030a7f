"""How an Evaluation is told: every status that it can have is made here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stagecoach.api.evaluation import Evaluation
from stagecoach.api.evaluation_status import (
    CanaryRow,
    EvaluationPhase,
    EvaluationStatus,
    EvaluationVerdict,
    Report,
    Result,
    ReviewStatus,
)
from stagecoach.contract.layout import evaluation_folder
from stagecoach.contract.reviews import CanaryRows
from stagecoach.contract.times import timestamp
from stagecoach.contract.verdicts import EvaluationReport
from stagecoach.kinds.conditions import Fact, dated, in_progress, of, ready, said, shortened, stalled
from stagecoach.kinds.plan import Object
from stagecoach.policies.verdicts import OF_A_BASE, REMEDIES, reason_of

MAX_MESSAGE = 2048


def pending(evaluation: Evaluation, reason: str, message: str, now: datetime, **changes: Any) -> Object:
    """Nothing runs yet, or not at the moment."""
    return _status(evaluation, EvaluationPhase.PENDING, in_progress(reason, message), now, **changes)


def running(evaluation: Evaluation, leaving: str, now: datetime, **changes: Any) -> Object:
    """The pod of the current attempt runs, or is about to leave."""
    told = in_progress("Running", "The pod asks the model every row, and judges the answers.")
    facts = in_progress("Stopping", leaving) if leaving else told
    return _status(evaluation, EvaluationPhase.RUNNING, facts, now, **changes)


def measured(evaluation: Evaluation, found: EvaluationReport, now: datetime, **changes: Any) -> Object:
    """The evaluator has come to a verdict."""
    reason = reason_of(found)
    remedies = REMEDIES if evaluation.spec.run else OF_A_BASE
    message = " ".join(filter(None, (found.message, remedies.get(reason))))
    changes |= _found(evaluation, found)
    return _decided(evaluation, EvaluationVerdict(found.verdict.value), reason, message, now, **changes)


def asked(
    evaluation: Evaluation,
    found: EvaluationReport,
    rows: CanaryRows,
    words: str,
    now: datetime,
    *,
    since: datetime,
    **changes: Any,
) -> Object:
    """The criteria are met, and people are asked; what they approve from `since` on counts."""
    shown = [CanaryRow.model_validate(each.document()) for each in rows.rows]
    changes |= _found(evaluation, found)
    changes |= {"message": found.message, "review": ReviewStatus(asked=timestamp(since), rows=shown)}
    return awaiting(evaluation, words, now, **changes)


def awaiting(evaluation: Evaluation, words: str, now: datetime, **changes: Any) -> Object:
    """People are asked, and have not decided yet."""
    return _status(evaluation, EvaluationPhase.AWAITING_REVIEW, in_progress("AwaitingReview", words), now, **changes)


def unguarded(evaluation: Evaluation, words: str, now: datetime, **changes: Any) -> Object:
    """People are asked, and nothing that they approve now counts."""
    return _status(evaluation, EvaluationPhase.AWAITING_REVIEW, in_progress("PolicyMissing", words), now, **changes)


def reviewed(
    evaluation: Evaluation, reason: str, message: str, now: datetime, *, passed: bool, **changes: Any
) -> Object:
    """People have decided."""
    verdict = EvaluationVerdict.PASSED if passed else EvaluationVerdict.FAILED
    return _decided(evaluation, verdict, reason, message, now, **changes)


def _found(evaluation: Evaluation, found: EvaluationReport) -> dict[str, Any]:
    return {
        "results": [Result.model_validate(item.document()) for item in found.results],
        "rows": found.rows,
        "leaked": found.leaked,
        "exposures": found.exposures,
        "report": Report(
            uri=f"{evaluation.spec.storage}/{evaluation_folder(evaluation.spec.key)}",
            digest=found.record,
            adopted=found.adopted or None,
        ),
    }


def failed(evaluation: Evaluation, reason: str, message: str, now: datetime, **changes: Any) -> Object:
    """There is no verdict of the evaluator: it is Error, which admits nothing."""
    return _decided(evaluation, EvaluationVerdict.ERROR, reason, message, now, **changes)


def ended(evaluation: Evaluation, now: datetime) -> Object | None:
    """Say again what was decided; whatever was said of Ready meanwhile is over."""
    complete = of(evaluation.status.conditions, "Complete")
    if complete is None or evaluation.status.verdict is None:
        return None
    tell = ready if evaluation.status.verdict is EvaluationVerdict.PASSED else stalled
    return _status(
        evaluation,
        EvaluationPhase.DECIDED,
        (*tell(complete.reason, complete.message), said(complete)),
        now,
    )


def says(evaluation: Evaluation, reason: str) -> bool:
    """Whether this stands in Ready: then other words for it are not worth a write."""
    told = of(evaluation.status.conditions, "Ready")
    return told is not None and told.reason == reason


def waits_for(evaluation: Evaluation, reason: str) -> bool:
    """Whether this is what it waits for, whatever problem Ready may show."""
    told = of(evaluation.status.conditions, "Reconciling")
    return told is not None and told.reason == reason


def _decided(
    evaluation: Evaluation, verdict: EvaluationVerdict, reason: str, message: str, now: datetime, **changes: Any
) -> Object:
    tell = ready if verdict is EvaluationVerdict.PASSED else stalled
    complete = Fact("Complete", verdict is not EvaluationVerdict.ERROR, reason, message)
    changes |= {"verdict": verdict, "message": shortened(message, MAX_MESSAGE), "completion_time": timestamp(now)}
    return _status(evaluation, EvaluationPhase.DECIDED, (*tell(reason, message), complete), now, **changes)


def _status(
    evaluation: Evaluation, phase: EvaluationPhase, facts: Sequence[Fact], now: datetime, **changes: Any
) -> Object:
    generation = evaluation.metadata.generation
    update = {
        "observed_generation": generation,
        "phase": phase,
        "conditions": dated(facts, evaluation.status.conditions, generation, now),
    }
    told: EvaluationStatus = evaluation.status.model_copy(update=update | changes)
    return told.document()
