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
    "RowsLeaked": "Remove the rows that the report names from the training data or the prompt, or from the suite, and"
    " create another run.",
    "MoreRowsNeeded": "Add rows to the suite, or give the criterion a wider bound: either is judged anew.",
    "NotMeasured": "See the report for each criterion, and correct data or gate: either is judged anew.",
    "TrainingDataUnknown": "Create another run that says in method.trainedOn what it was trained on, and delete"
    " this one.",
}
# The same where a base itself was judged, which no run has made.
OF_A_BASE = REMEDIES | {
    "CriterionFailed": "Give the project another prompt, name another candidate or a run, or correct the gate if it"
    " asks for the wrong thing: each is judged anew.",
    "RowsLeaked": "Remove the rows that the report names from the prompt, or from the suite.",
}
# Numbers may be rounded, to fit into a termination message.
ROUNDED = 1e-4
# A share of rows is not exact: 0.55 of 100 is more than 55.
EXACT = 1 - 1e-9
_NUMBERS = ("value", "reference", "low", "high", "threshold", "mcnemar")


@dataclass(frozen=True)
class Criterion:
    """A criterion as far as an answer to it can be checked."""

    name: str
    suite: str
    advisory: bool
    threshold: float  # of the value, or of the difference
    by_interval: bool  # its lower end decides, not the value
    of_label: bool = False  # of the rows of one label alone, of which the report does not say how many there are
    absent: Outcome | None = None  # what comes of it, since there is nothing to compare with; None: it is measured


@dataclass(frozen=True)
class Asked:
    """What was asked, as far as an answer to it can be checked."""

    criteria: Sequence[Criterion]
    suites: Sequence[str]
    min_scored: float
    knows_training_data: bool  # in which no row of a suite may be
    reviewed: bool = False  # people have to look at rows of it


def inconsistency(report: EvaluationReport, asked: Asked) -> str | None:
    """Return why a report is not believed, None when it is. A Passed has to follow from what it says itself."""
    given = [result.criterion for result in report.results]
    wanted = [criterion.name for criterion in asked.criteria]
    if sorted(given) != sorted(wanted):
        missing = sorted(set(wanted) - set(given)) or sorted(set(given) - set(wanted)) or given
        return f"its results are not those of the criteria: see {missing[0]!r}"
    told = report.suites
    if told and (len(told) != len(asked.suites) or sum(suite.rows for suite in told) != report.rows):
        return f"it tells of {len(told)} suites and {report.rows} rows, which are not those that were asked"
    by_name = {criterion.name: criterion for criterion in asked.criteria}
    for result in report.results:
        criterion = by_name[result.criterion]
        if wrong := _wrong(result, criterion, *_wanted(report, asked, criterion.suite)):
            return f"the result of criterion {result.criterion!r} {wrong}"
    if report.verdict is Verdict.PASSED:
        return _not_passed(report, asked)
    return None


def reason_of(report: EvaluationReport) -> str:
    """Return why the verdict is what it is, in one word."""
    if report.verdict is Verdict.FAILED and report.leaked:
        return LEAKED
    if report.verdict is Verdict.ERROR and report.leaked is None:
        return UNKNOWN_DATA
    return REASONS[report.verdict]


def _wanted(report: EvaluationReport, asked: Asked, suite: str) -> tuple[float, int]:
    """Return how many rows of a suite have to be scored, and how many it has, as far as a report says so."""
    if report.suites:
        rows = report.suites[asked.suites.index(suite)].rows
        return asked.min_scored * rows, rows
    # An evaluator of before says only together how many rows several suites have.
    return asked.min_scored * report.rows if len(asked.suites) == 1 else 1, report.rows


def _wrong(result: CriterionResult, asked: Criterion, least: float, rows: int) -> str | None:
    if result.advisory is not asked.advisory:
        return f"says advisory: {str(result.advisory).lower()}, and the criterion does not"
    numbers = {name: getattr(result, name) for name in _NUMBERS}
    odd = [name for name, value in numbers.items() if value is not None and not isfinite(value)]
    if odd:
        return f"has a {odd[0]} that is no number"
    if asked.absent is not None and result.outcome is not asked.absent:
        return f"is {result.outcome}, and with nothing to compare with it is {asked.absent}"
    if asked.absent is None and result.outcome is Outcome.SKIPPED:
        return "is Skipped, and there is something to measure"
    return _not_met(result, asked, least, rows) if result.outcome is Outcome.PASSED else None


def _not_met(result: CriterionResult, asked: Criterion, least: float, rows: int) -> str | None:
    """Return what in a result keeps it from being Passed, whatever it says."""
    decides = result.low if asked.by_interval else result.value
    if result.value is None or decides is None or result.threshold is None or result.scored < 1:
        return "is Passed, and nothing was measured"
    if abs(result.threshold - asked.threshold) > ROUNDED:
        return f"is Passed by the threshold {result.threshold:g}, and that of the criterion is {asked.threshold:g}"
    if decides < asked.threshold - ROUNDED:
        what = "the lower end of its interval" if asked.by_interval else "its value"
        return f"is Passed, and {what} is {decides:g}, below {asked.threshold:g}"
    least = 1 if asked.of_label else least
    if not least * EXACT <= result.scored <= rows:
        return f"is Passed, and has {result.scored} of {rows} rows scored, when {least:g} are the least"
    return None


def _not_passed(report: EvaluationReport, asked: Asked) -> str | None:
    """Return what in a report keeps it from being Passed, whatever it says."""
    if not asked.knows_training_data:
        return "its verdict is Passed, and nobody knows what it was trained on"
    decides = [item for item in report.results if not item.advisory and item.outcome is not Outcome.SKIPPED]
    if not decides:
        return "its verdict is Passed, and no criterion decides"
    bad = [item for item in decides if item.outcome is not Outcome.PASSED]
    if bad:
        return f"its verdict is Passed, and criterion {bad[0].criterion!r} is {bad[0].outcome}"
    few = [
        f"{suite.scored} of {suite.rows} rows of suite {name!r} are scored"
        for name, suite in zip(asked.suites, report.suites, strict=False)  # one of before says nothing of them
        if suite.rows < 1 or not asked.min_scored * suite.rows * EXACT <= suite.scored <= suite.rows
    ]
    if few:
        return f"its verdict is Passed, and {few[0]}"
    if asked.reviewed and report.canary is None:
        return "its verdict is Passed, and it does not say which rows people have to look at"
    if report.leaked is None:
        return "its verdict is Passed, and nobody knows which rows are in the training data"
    if report.leaked or report.rows < 1:
        return f"its verdict is Passed, and of {report.rows} rows {report.leaked} are in the training data"
    return None
