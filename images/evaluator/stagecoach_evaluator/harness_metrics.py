"""The metrics of tasks of lm-evaluation-harness, of what it makes of each row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stagecoach.contract.answers import Answer
from stagecoach.contract.metrics import Metric
from stagecoach_evaluator.harness import Task
from stagecoach_evaluator.intervals import Estimate, Numbers, Undefined, Unsure
from stagecoach_evaluator.samples import Hits, Sample, Sums, Table

_VALUE = "Give min without confidence and against: the value itself is held against it."


class Judged:
    """Rows with what a task makes of the answers of each release."""

    def __init__(self, task: Task, answers: Sequence[Sequence[Answer]], key: str, most: int) -> None:
        self._task, self._answers, self._key, self._most = task, answers, key, most

    def sample(self, metric: Metric, _label: None) -> Sample:
        """Return what the metric is computed from. Raises Undefined."""
        each = [[(answer.values or {}).get(metric.name) for answer in answers] for answers in self._answers]
        if any(value is None for values in each for value in values):
            why = f"the task {self._task.name} has no {metric.name} of some rows."
            raise Undefined(why, "Choose another of its metrics.")
        if not self._task.is_mean(metric.name):
            return _Whole(metric, each, self._task.aggregations[metric.name])
        numbers = [np.array(values, float) for values in each]
        if all(np.isin(values, (0.0, 1.0)).all() for values in numbers):
            return Hits(tuple(values == 1.0 for values in numbers))
        if all(((values >= metric.low) & (values <= metric.high)).all() for values in numbers):
            parts = tuple(np.column_stack([values, np.ones(values.size)]) for values in numbers)
            return Sums(metric, Table.of(parts, self._key, self._most), _mean, numbers[0].size)
        # How far a row can be off is not known of a number without bounds.
        return _Whole(metric, each, self._task.aggregations[metric.name])


def _mean(sums: Numbers) -> Numbers:
    return np.asarray(sums[0] / sums[1])


@dataclass(frozen=True)
class _Whole:
    """A metric that is made of all rows together, in a way of the task's own."""

    metric: Metric
    values: Sequence[Sequence[Any]]
    aggregate: Callable[[Sequence[Any]], float]

    def estimate(self) -> Estimate:
        """The number, of which nobody knows how sure it is."""
        value = float(self.aggregate(list(self.values[0])))
        why = f"{self.metric.name} is no mean of numbers from 0 to 1 of each row: it has no interval."
        return Unsure(value, len(self.values[0]), why, _VALUE)

    def difference(self) -> Estimate:
        """Raises Undefined."""
        why = f"{self.metric.name} is no mean of numbers from 0 to 1 of each row: it cannot be compared row by row."
        raise Undefined(why, _VALUE)
