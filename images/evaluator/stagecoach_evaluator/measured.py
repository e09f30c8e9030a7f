"""What was measured on the suites of an evaluation: each metric once, for the criteria and for the report."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress

from stagecoach.contract import metrics
from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluations import Reference
from stagecoach.contract.metrics import Metric
from stagecoach_evaluator.harness import Task
from stagecoach_evaluator.harness_metrics import Judged
from stagecoach_evaluator.intervals import Estimate, Undefined
from stagecoach_evaluator.metrics import Answered, Expected, answered, has, scored
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
    incumbent: Sequence[Answer] | None = None
    shown: Mapping[str, str] = field(default_factory=dict)  # places of rows in the prompt, and in which part of it
    repeated: int = 0  # rows that repeat one of these, and are not among them

    def of(self, reference: Reference) -> Sequence[Answer] | None:
        """Return the answers of what the candidate is compared with."""
        return self.baseline if reference is Reference.BASELINE else self.incumbent


@dataclass(frozen=True)
class Counted:
    """How many rows there are, and how many of them have an answer that can be judged."""

    scored: int
    rows: int
    silent: int = 0  # those without an answer of what the candidate is compared with


@dataclass(frozen=True)
class Difference:
    """The metric of the candidate, that of the reference, and the first less the second: by rows that both answered."""

    candidate: Estimate
    reference: Estimate
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
    _pairs: dict[Reference, "_Pair"] = field(default_factory=dict, repr=False, compare=False)

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

    @property
    def scored(self) -> int:
        """Rows to which the candidate has an answer that can be judged."""
        return sum(self._candidate_scored)

    def counted(self, label: str | None = None, reference: Reference | None = None) -> Counted:
        """Count the rows, or those that have a label; of a comparison, scored are those that both have answered."""
        own = [label is None or has(self.task, right, label) for right in self.answers.expected]
        scored, silent = (sum(compress(each, own)) for each in self._told(reference))
        return Counted(scored, sum(own), silent)

    def by_label(self, reference: Reference | None = None) -> dict[str, Counted]:
        """Count the rows of each label of a Classification."""
        expected = [str(label) for label in self.answers.expected]
        scored, silent = (Counter(compress(expected, each)) for each in self._told(reference))
        return {label: Counted(scored[label], rows, silent[label]) for label, rows in Counter(expected).items()}

    def _told(self, reference: Reference | None) -> tuple[Sequence[bool], Sequence[bool]]:
        """Return which rows can be judged, and to which the reference has no answer."""
        nowhere = [False] * self.rows
        if reference is None:
            return self._candidate_scored, nowhere
        if self.answers.of(reference) is None:
            return nowhere, nowhere
        pair = self._pair(reference)
        return pair.scored, [not each for each in pair.other_scored]

    def estimate(self, metric: Metric, label: str | None = None) -> Estimate:
        """Return a metric of the candidate. Raises Undefined."""
        return self._once("candidate", metric, label, lambda: self._candidate.sample(metric, label).estimate())

    def difference(
        self, metric: Metric, label: str | None = None, reference: Reference = Reference.BASELINE
    ) -> Difference:
        """Return a metric's difference. Raises Undefined."""
        pair = self._pair(reference)
        return Difference(
            self._once(f"beside {reference}", metric, label, lambda: pair.candidate.sample(metric, label).estimate()),
            self._once(reference, metric, label, lambda: pair.reference.sample(metric, label).estimate()),
            self._once(f"to {reference}", metric, label, lambda: pair.both.sample(metric, label).difference()),
        )

    def _pair(self, reference: Reference) -> "_Pair":
        if reference not in self._pairs:
            self._pairs[reference] = _Pair(self, self.answers.of(reference) or ())
        return self._pairs[reference]

    def _once(self, what: str, metric: Metric, label: str | None, compute: Callable[[], Estimate]) -> Estimate:
        known = (metric.name, label, what)
        if known not in self._known:
            self._known[known] = compute()
        return self._known[known]

    @cached_property
    def _candidate(self) -> Answered:
        return self._rows(self._candidate_scored, self.answers.candidate)

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
class _Pair:
    """Candidate and reference, by the rows that both answered."""

    suite: Suite
    other: Sequence[Answer]

    @cached_property
    def other_scored(self) -> list[bool]:
        return self.suite._scored(self.other)

    @cached_property
    def scored(self) -> list[bool]:
        return [one and two for one, two in zip(self.suite._candidate_scored, self.other_scored, strict=True)]

    @cached_property
    def candidate(self) -> Answered:
        # As a rule these are the same rows.
        if sum(self.scored) == self.suite.scored:
            return self.suite._candidate
        return self.suite._rows(self.scored, self.suite.answers.candidate)

    @cached_property
    def reference(self) -> Answered:
        return self.suite._rows(self.scored, self.other)

    @cached_property
    def both(self) -> Answered:
        return self.suite._rows(self.scored, self.suite.answers.candidate, self.other)


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
