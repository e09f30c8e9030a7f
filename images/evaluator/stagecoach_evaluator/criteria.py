"""From what was measured to a verdict: a result for each criterion, and why.

Fail closed: what is missing, undefined or too little is an Error or Inconclusive, and never Passed. docs/statistics.md
says all of it in words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stagecoach.contract.evaluations import Criterion, EvaluationInputs, Reference
from stagecoach.contract.metrics import Metric
from stagecoach.contract.verdicts import CriterionResult, Outcome, Verdict
from stagecoach_evaluator import words
from stagecoach_evaluator.intervals import Estimate, Undefined
from stagecoach_evaluator.measured import Measured, Suite
from stagecoach_evaluator.power import needed

# Of a difference, where the criterion does not say.
CONFIDENCE = 0.95
_ROUNDING = 1e-9
_NOT_ASKED = ("there is nothing to compare with.", "Report this: what it is to be compared with was not asked.")


def judge(inputs: EvaluationInputs, measured: Measured) -> tuple[tuple[CriterionResult, ...], Verdict, str]:
    """Return a result for each criterion, the verdict, and the verdict in words."""
    # All criteria must pass: that a good release fails in one of them by chance is likelier the more there are.
    tests = sum(
        _by_interval(each) and not each.advisory and each.absent(inputs.incumbent) is None for each in inputs.criteria
    )
    results = tuple(_result(criterion, inputs, measured, max(tests, 1)) for criterion in inputs.criteria)
    leaks, gaps = _leaks(measured), _gaps(inputs, measured)
    verdict = verdict_of([each.outcome for each in results if not each.advisory], leaks, gaps)
    return results, verdict, words.verdict(verdict, results, [*leaks, *gaps])


def _by_interval(criterion: Criterion) -> bool:
    return criterion.against is not None or criterion.confidence is not None


def verdict_of(outcomes: Sequence[Outcome], leaks: object, gaps: object) -> Verdict:
    """Return what follows from the outcomes of what decides, if rows leaked, and if something is missing."""
    outcomes = [each for each in outcomes if each is not Outcome.SKIPPED]
    if leaks or Outcome.FAILED in outcomes:
        return Verdict.FAILED
    if gaps or not outcomes or Outcome.ERROR in outcomes:
        return Verdict.ERROR
    return Verdict.PASSED if set(outcomes) == {Outcome.PASSED} else Verdict.INCONCLUSIVE


def _leaks(measured: Measured) -> list[str]:
    suites = measured.suites.items()
    learned = [words.leaked(name, suite.leaked) for name, suite in suites if suite.leaked]
    return learned + [words.shown(name, suite.shown) for name, suite in suites if suite.shown]


def _gaps(inputs: EvaluationInputs, measured: Measured) -> list[str]:
    """Return why nothing may pass, whatever the criteria say."""
    found = []
    if not any(not criterion.advisory for criterion in inputs.criteria):
        found.append(words.NOTHING_DECIDES)
    for suite in inputs.suites:
        if suite.name not in measured.each:
            found.append(words.no_suite(suite.name))
            continue
        one = measured.each[suite.name]
        if not enough(one.scored, one.rows, inputs.min_scored):
            found.append(words.too_few(suite.name, one.scored, one.rows, inputs.min_scored))
    if inputs.trained_on is None or any(suite.leaked is None for suite in measured.suites.values()):
        found.append(words.TRAINING_UNKNOWN)
    return found


def enough(scored: float, rows: int, least: float) -> bool:
    """Whether so many rows have an answer that can be judged."""
    # A share that is not a number lets nothing pass, and 0.55 * 100 is a little more than 55.
    return rows > 0 and scored >= least * rows - _ROUNDING


@dataclass(frozen=True)
class _Test:
    """What a criterion asks: a number that is not below a threshold."""

    criterion: Criterion
    threshold: float
    tests: int

    @property
    def confidence(self) -> float | None:
        """Of the interval that decides whether it passes; None: the number itself decides."""
        given = self.criterion.confidence
        return CONFIDENCE if given is None and self.criterion.against is not None else given

    @property
    def failing(self) -> float:
        """Of the interval that decides whether it fails: corrected for the number of criteria (Bonferroni)."""
        return 1 - (1 - (self.confidence or 0)) / self.tests

    def outcome(self, estimate: Estimate) -> Outcome:
        """What comes of it. Raises Undefined."""
        if self.confidence is None:
            return Outcome.PASSED if estimate.value >= self.threshold else Outcome.FAILED
        low, _ = estimate.interval(self.confidence)
        if low >= self.threshold:
            sure = self.threshold < 0 or self._differ(estimate, 1 - self.confidence)
            return Outcome.PASSED if sure else Outcome.INCONCLUSIVE
        _, high = estimate.interval(self.failing)
        if high < self.threshold:
            sure = self.threshold > 0 or self._differ(estimate, 1 - self.failing)
            return Outcome.FAILED if sure else Outcome.INCONCLUSIVE
        return Outcome.INCONCLUSIVE

    @staticmethod
    def _differ(estimate: Estimate, level: float) -> bool:
        """Whether McNemar's test does not contradict that one is better than the other, where there is such a test."""
        return estimate.mcnemar is None or estimate.mcnemar <= level

    def needed(self, estimate: Estimate, rows: int) -> int | None:
        """About how many rows it would take."""
        confidence = (self.confidence if estimate.value >= self.threshold else self.failing) or 0
        return needed(estimate, self.threshold, (1 - confidence) / 2, rows)


def follows(criterion: Criterion, result: CriterionResult) -> bool:
    """Whether a result's outcome can be that of its numbers: a record that says otherwise was edited."""
    if result.outcome is Outcome.ERROR:
        return True
    if result.outcome is Outcome.SKIPPED:
        return False
    if result.value is None or result.threshold is None or result.scored < 1:
        return False
    test = _Test(criterion, result.threshold, tests=1)
    if test.confidence is None:
        low = high = result.value
    elif result.low is None or result.high is None:
        return False
    else:
        low, high = result.low, result.high
    drop = None if criterion.allowed_drop is None else -criterion.allowed_drop
    if result.threshold not in (criterion.min, drop, criterion.min_gain):
        return False
    decided = result.value - (result.reference or 0.0)
    if not low - _ROUNDING <= decided <= high + _ROUNDING:
        return False
    match result.outcome:
        case Outcome.PASSED:
            return low >= test.threshold - _ROUNDING
        case Outcome.FAILED:
            return high < test.threshold + _ROUNDING
    return test.confidence is not None


def _result(criterion: Criterion, inputs: EvaluationInputs, measured: Measured, tests: int) -> CriterionResult:
    if (nothing := criterion.absent(inputs.incumbent)) is not None:
        return CriterionResult(
            criterion=criterion.name,
            outcome=nothing,
            advisory=criterion.advisory,
            scored=0,
            message=words.absent(criterion),
        )
    suite = measured.each.get(criterion.suite)
    scored = suite.counted(criterion.label, criterion.against).scored if suite else 0
    try:
        metric = _metric(criterion, inputs, suite)
        assert suite is not None  # noqa: S101 - for mypy: _metric raises where there is none
        return _measured(criterion, metric, suite, scored, tests)
    except Undefined as error:
        message = words.error(criterion, error)
        return CriterionResult(
            criterion=criterion.name,
            outcome=Outcome.ERROR,
            advisory=criterion.advisory,
            scored=scored,
            message=message,
        )


def _metric(criterion: Criterion, inputs: EvaluationInputs, suite: Suite | None) -> Metric:
    """Return the criterion's metric. Raises Undefined where it cannot be measured."""
    if suite is None:
        raise Undefined(f"there is no suite {criterion.suite!r}.", "Choose one of the gate's suites.")
    found = suite.metric(criterion.metric)
    if criterion.label is not None and not found.by_label:
        raise Undefined(f"there is no {found.name} of one label.", "Leave out label, or choose recall or f1.")
    if criterion.against is not None and suite.answers.of(criterion.against) is None:
        unasked = suite.answers.no_baseline if criterion.against is Reference.BASELINE else None
        raise Undefined(*(unasked or _NOT_ASKED))
    _check_scored(criterion, found, suite, inputs.min_scored)
    return found


def _check_scored(criterion: Criterion, metric: Metric, suite: Suite, least: float) -> None:
    """Raise Undefined where too few of the rows that the metric rests on have an answer."""
    whole = suite.counted(None, criterion.against)
    if not enough(whole.scored, whole.rows, least):
        raise Undefined(*words.unanswered(criterion, whole, least))
    if criterion.label is not None:
        own = suite.counted(criterion.label, criterion.against)
        if own.rows and not enough(own.scored, own.rows, least):
            raise Undefined(*words.unanswered(criterion, own, least, criterion.label))
    elif metric.labels_alike:
        by_label = suite.by_label(criterion.against)
        shares = {label: each.scored / each.rows for label, each in by_label.items()}
        worst = min(shares, key=lambda label: (shares[label], label))
        # A label without any answer would not be in the mean.
        if not shares[worst] or not enough(sum(shares.values()), len(shares), least):
            raise Undefined(*words.unanswered(criterion, by_label[worst], least, worst))


def _measured(criterion: Criterion, metric: Metric, suite: Suite, scored: int, tests: int) -> CriterionResult:
    reference = None
    if criterion.against is None:
        estimate = candidate = suite.estimate(metric, criterion.label)
    else:
        all_three = suite.difference(metric, criterion.label, criterion.against)
        candidate, reference, estimate = all_three.candidate, all_three.reference, all_three.difference
    test = _Test(criterion, _threshold(criterion), tests)
    if not (math.isfinite(estimate.value) and math.isfinite(test.threshold)):
        raise Undefined(f"{metric.name} is not a number.", "See the answers' numbers in the report.")
    outcome = test.outcome(estimate)
    low, high = estimate.interval(test.confidence) if test.confidence is not None else (None, None)
    result = CriterionResult(
        criterion=criterion.name,
        outcome=outcome,
        advisory=criterion.advisory,
        value=candidate.value,
        reference=reference.value if reference else None,
        low=low,
        high=high,
        threshold=test.threshold,
        mcnemar=estimate.mcnemar,
        scored=scored,
        needed=test.needed(estimate, scored) if outcome is Outcome.INCONCLUSIVE else None,
    )
    message = words.result(criterion, result, estimate.value, test.confidence, test.failing, suite.answers.repeated)
    return result.model_copy(update={"message": message})


def _threshold(criterion: Criterion) -> float:
    if criterion.min is not None:
        return criterion.min
    return -criterion.allowed_drop if criterion.allowed_drop is not None else criterion.min_gain or 0.0
