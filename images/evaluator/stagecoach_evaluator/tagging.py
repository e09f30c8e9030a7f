"""The metrics of a TokenClassification: F1 of entities as seqeval counts them, and the share of tags that are right.

Resampled by row: what a release does with the tags of one row is not independent of each other.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stagecoach.contract.answers import Answer
from stagecoach.contract.entities import entities
from stagecoach.contract.metrics import Metric
from stagecoach.contract.tagged import Span
from stagecoach_evaluator.intervals import Numbers, Undefined
from stagecoach_evaluator.samples import Sample, Sums, Table

Tags = tuple[str, ...]


class Tagged:
    """Which tags were expected, and which answered, by each release."""

    def __init__(self, expected: Sequence[Tags], answers: Sequence[Sequence[Answer]], key: str, most: int) -> None:
        said = [[answer.tags or () for answer in each] for each in answers]
        given = [set(entities(tags)) for tags in expected]
        found = [[set(entities(tags)) for tags in each] for each in said]
        kinds = sorted({span.label for spans in (*given, *(row for each in found for row in each)) for span in spans})
        self._kinds: list[str | None] = [None, *kinds]
        parts = [
            np.array([_row(*row, self._kinds) for row in zip(expected, each, given, spans, strict=True)], float)
            for each, spans in zip(said, found, strict=True)
        ]
        self._parts = parts
        self._table = Table.of(tuple(parts), key, most)

    def sample(self, metric: Metric, label: str | None) -> Sample:
        """Return what the metric is computed from. Raises Undefined."""
        rows = len(self._parts[0])
        if metric.name == "accuracy":
            return Sums(metric, self._table, lambda sums: sums[0] / sums[1], rows)
        place = 2 + 3 * self._kinds.index(label) if label in self._kinds else None
        if place is None or not self._parts[0][:, place].any():
            what = "entity" if label is None else f"entity {label!r}"
            raise Undefined(f"there is no {what} in the rows that were scored.", "Give the suite such rows.")
        # A row without an entity, given or found, says nothing.
        bearing = int(np.any([each[:, place : place + 3].any(axis=1) for each in self._parts], axis=0).sum())
        return Sums(metric, self._table, _f1(place), bearing)


def _row(expected: Tags, said: Tags, given: set[Span], found: set[Span], kinds: Sequence[str | None]) -> list[int]:
    """Return right tags and all tags and, of all entities and of each kind: given, found, right."""
    numbers = [sum(one == other for one, other in zip(expected, said, strict=True)), len(expected)]
    for kind in kinds:
        each = (given, found, given & found)
        numbers.extend(sum(kind in (None, span.label) for span in spans) for spans in each)
    return numbers


def _f1(place: int) -> Callable[[Numbers], Numbers]:
    """Return F1; undefined where there is nothing at all."""

    def value(sums: Numbers) -> Numbers:
        given, found, right = sums[place : place + 3]
        return np.asarray(np.divide(2 * right, given + found, out=np.full_like(right, np.nan), where=given + found > 0))

    return value
