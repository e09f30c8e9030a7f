"""What was measured on the suites of an evaluation: each metric once, for the criteria and for the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress

from stagecoach.contract import metrics
from stagecoach.contract.answers import Answer
from stagecoach.contract.metrics import Metric
from stagecoach_evaluator.harness import Task
from stagecoach_evaluator.harness_metrics import Judged
from stagecoach_evaluator.intervals import Estimate, Undefined
from stagecoach_evaluator.metrics import Answered, Expected, answered, scored
from stagecoach_evaluator.samples import RESAMPLES

_NO_ROW = ("no row was scored.", "See in the report why rows have no answer.")


@dataclass(frozen=True)
class SuiteAnswers:
    """The rows of a suite in their order: what is right for each, and what the releases answered."""

    expected: Sequence[Expected]
    candidate: Sequence[Answer]
    baseline: Sequence[Answer] | None
    leaked: Sequence[str] | None  # places of rows that are in the training data too; None: it is not known
    no_baseline: tuple[str, str] | None = None  # why it was not asked, and what to do, where it cannot be
    harness: Task | None = None  # of a suite that is a task of lm-evaluation-harness


@dataclass(frozen=True)
class Difference:
    """The metric of the candidate, that of the baseline, and the first less the second: by rows that both answered."""

    candidate: Estimate
    baseline: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Suite:
    """A suite's answers, with each metric of them. The key seeds the resamples."""

    task: str
    labels: Sequence[str]
    answers: SuiteAnswers
    key: str
    resamples: int = RESAMPLES
    _known: dict[tuple[str, str | None, str], Estimate] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """All of them."""
        return len(self.answers.expected)

    def metric(self, name: str) -> Metric:
        """Return the metric of this name. Raises Undefined."""
        if self.answers.harness is not None:
            return self.answers.harness.metric(name)
        found = metrics.find(self.task, name)
        if found is None:
            names = ", ".join(metrics.names(self.task))
            raise Undefined(f"the task {self.task} has no metric of this name.", f"Choose one of {names}.")
        return found

    def usual(self) -> tuple[Metric, ...]:
        """Return the metrics that a report shows, whatever the criteria ask for."""
        harness = self.answers.harness
        return metrics.usual(self.task) if harness is None else harness.metrics()

    @cached_property
    def _candidate_scored(self) -> list[bool]:
        return self._scored(self.answers.candidate)

    @cached_property
    def _both_scored(self) -> list[bool]:
        baseline = self._scored(self.answers.baseline or ())
        return [one and other for one, other in zip(self._candidate_scored, baseline, strict=True)]

    @property
    def scored(self) -> int:
        """Rows to which the candidate has an answer that can be judged."""
        return sum(self._candidate_scored)

    @property
    def compared(self) -> int:
        """Rows to which the baseline has one too; 0 without a baseline."""
        return sum(self._both_scored) if self.answers.baseline is not None else 0

    def estimate(self, metric: Metric, label: str | None = None) -> Estimate:
        """Return a metric of the candidate. Raises Undefined."""
        return self._once("candidate", metric, label, lambda: self._candidate.sample(metric, label).estimate())

    def difference(self, metric: Metric, label: str | None = None) -> Difference:
        """Return a metric's difference. Raises Undefined."""
        return Difference(
            self._once("same", metric, label, lambda: self._candidate_of_both.sample(metric, label).estimate()),
            self._once("baseline", metric, label, lambda: self._baseline_of_both.sample(metric, label).estimate()),
            self._once("difference", metric, label, lambda: self._both.sample(metric, label).difference()),
        )

    def _once(self, what: str, metric: Metric, label: str | None, compute: Callable[[], Estimate]) -> Estimate:
        known = (metric.name, label, what)
        if known not in self._known:
            self._known[known] = compute()
        return self._known[known]

    @cached_property
    def _candidate(self) -> Answered:
        return self._rows(self._candidate_scored, self.answers.candidate)

    @cached_property
    def _candidate_of_both(self) -> Answered:
        # As a rule these are the same rows.
        return (
            self._candidate if self.compared == self.scored else self._rows(self._both_scored, self.answers.candidate)
        )

    @cached_property
    def _baseline_of_both(self) -> Answered:
        return self._rows(self._both_scored, self.answers.baseline or ())

    @cached_property
    def _both(self) -> Answered:
        return self._rows(self._both_scored, self.answers.candidate, self.answers.baseline or ())

    def _rows(self, which: Sequence[bool], *answers: Sequence[Answer]) -> Answered:
        expected = list(compress(self.answers.expected, which))
        if not expected:
            raise Undefined(*_NO_ROW)
        kept = [list(compress(each, which)) for each in answers]
        if self.answers.harness is not None:
            return Judged(self.answers.harness, kept, self.key, self.resamples)
        return answered(self.task, self.labels, expected, kept, self.key, self.resamples)

    def _scored(self, answers: Sequence[Answer]) -> list[bool]:
        return [scored(self.task, right, answer) for right, answer in zip(self.answers.expected, answers, strict=True)]


@dataclass(frozen=True)
class Measured:
    """All suites by name, of releases that do one task."""

    task: str
    labels: Sequence[str]
    suites: Mapping[str, SuiteAnswers]
    key: str  # of the evaluation
    resamples: int = RESAMPLES

    @cached_property
    def each(self) -> dict[str, Suite]:
        """The suites with their metrics."""
        return {
            name: Suite(self.task, self.labels, answers, f"{self.key} {name}", self.resamples)
            for name, answers in self.suites.items()
        }
