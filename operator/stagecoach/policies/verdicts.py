"""What a report of an evaluator is worth: only one that answers just what was asked is believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from stagecoach.contract.verdicts import CriterionResult, EvaluationReport, Outcome, Verdict

# By verdict, why: what stands in REASON, and what to do about it.
LEAKED = "RowsLeaked"
UNKNOWN_DATA = "TrainingDataUnknown"
REASONS = {
    Verdict.PASSED: "Passed",
    Verdict.FAILED: "CriterionFailed",
    Verdict.INCONCLUSIVE: "MoreRowsNeeded",
    Verdict.ERROR: "NotMeasured",
}
REMEDIES = {
    "CriterionFailed": "Create another run, or correct the gate if it asks for the wrong thing: either is judged anew.",
    "RowsLeaked": "Remove the rows that the report names from the training data, or from the suite, and create another"
    " run.",
    "MoreRowsNeeded": "Add rows to the suite, or give the criterion a wider bound: either is judged anew.",
    "NotMeasured": "See the report for each criterion, and correct data or gate: either is judged anew.",
    "TrainingDataUnknown": "Create another run that says in method.trainedOn what it was trained on.",
}
_NUMBERS = ("value", "reference", "low", "high", "threshold", "mcnemar")


@dataclass(frozen=True)
class Asked:
    """A criterion as far as an answer to it can be checked."""

    name: str
    advisory: bool


def inconsistency(report: EvaluationReport, asked: Sequence[Asked]) -> str | None:
    """Return why a report is not believed, None when it is. A Passed has to follow from what it says itself."""
    given = [result.criterion for result in report.results]
    wanted = [criterion.name for criterion in asked]
    if sorted(given) != sorted(wanted):
        missing = sorted(set(wanted) - set(given)) or sorted(set(given) - set(wanted)) or given
        return f"its results are not those of the criteria: see {missing[0]!r}"
    advisory = {criterion.name for criterion in asked if criterion.advisory}
    for result in report.results:
        if wrong := _wrong(result, told_advisory=result.criterion in advisory):
            return f"the result of criterion {result.criterion!r} {wrong}"
    if report.verdict is Verdict.PASSED:
        return _not_passed(report)
    return None


def reason_of(report: EvaluationReport) -> str:
    """Return why the verdict is what it is, in one word."""
    if report.verdict is Verdict.FAILED and report.leaked:
        return LEAKED
    if report.verdict is Verdict.ERROR and report.leaked is None:
        return UNKNOWN_DATA
    return REASONS[report.verdict]


def _wrong(result: CriterionResult, *, told_advisory: bool) -> str | None:
    if result.advisory is not told_advisory:
        return f"says advisory: {str(result.advisory).lower()}, and the criterion does not"
    numbers = {name: getattr(result, name) for name in _NUMBERS}
    odd = [name for name, value in numbers.items() if value is not None and not isfinite(value)]
    if odd:
        return f"has a {odd[0]} that is no number"
    if result.outcome is Outcome.PASSED and (result.value is None or result.threshold is None or result.scored < 1):
        return "is Passed, and nothing was measured"
    return None


def _not_passed(report: EvaluationReport) -> str | None:
    """Return what in a report keeps it from being Passed, whatever it says."""
    bad = [item for item in report.results if not item.advisory and item.outcome is not Outcome.PASSED]
    if bad:
        return f"its verdict is Passed, and criterion {bad[0].criterion!r} is {bad[0].outcome}"
    if report.leaked is None:
        return "its verdict is Passed, and nobody knows which rows are in the training data"
    if report.leaked or report.rows < 1:
        return f"its verdict is Passed, and of {report.rows} rows {report.leaked} are in the training data"
    return None
