"""The metrics of a Classification. A label's numbers are those of scikit-learn with `zero_division=0`.

Means over labels are over those that rows of the suite have (`labels=sorted(set(expected))`): a label that no row has
shows nothing of a release, and what is wrongly answered with it is missing from the label that was expected.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from stagecoach.contract.answers import Answer
from stagecoach.contract.metrics import Metric
from stagecoach_evaluator.intervals import Estimate, Groups, Numbers, Share, Undefined
from stagecoach_evaluator.samples import Areas, Hits, Sample, Sums, Table

# What only rows of other labels can lower, or what is undefined without them.
_OF_SEVERAL = ("precision", "mcc", "auc_roc")
_ONE_LABEL = ("all rows have the same label.", "Give the suite rows of other labels, or choose another metric.")
Codes = NDArray[np.int64]


class Chosen:
    """Which labels were expected, and which answered, by each release."""

    def __init__(
        self, labels: Sequence[str], expected: Sequence[str], answers: Sequence[Sequence[Answer]], key: str, most: int
    ) -> None:
        self._codes = {name: code for code, name in enumerate(labels)}
        self._labels = len(labels)
        self._expected = np.array([self._code(each) for each in expected])
        self._said = [np.array([self._code(answer.label or "") for answer in each]) for each in answers]
        self._answers = answers
        self._key, self._most = key, most

    @cached_property
    def _table(self) -> Table:
        return _table(self._expected, self._said, len(self._codes), self._key, self._most)

    def _code(self, label: str) -> int:
        # What is none of the labels is a wrong answer like any other.
        return self._codes.setdefault(label, len(self._codes))

    def sample(self, metric: Metric, label: str | None) -> Sample:
        """Return what the metric is computed from. Raises Undefined."""
        if label is not None:
            return self._of_label(metric, self._codes.get(label, -1), label)
        if metric.name in ("accuracy", "f1_micro"):
            return Hits(tuple(self._expected == said for said in self._said))
        if metric.name in _OF_SEVERAL and len(np.unique(self._expected)) == 1:
            raise Undefined(*_ONE_LABEL)
        if metric.name == "auc_roc":
            return Areas(metric, self._expected, self._scores())
        rows = self._expected.size
        if metric.name == "mcc":
            return Sums(metric, self._table, _mcc, _telling(self._expected))
        groups = None if metric.name == "f1_weighted" else self._groups(by_answers=metric.name == "precision")
        return Sums(metric, self._table, _OF_ALL[metric.name], rows, groups)

    def _groups(self, *, by_answers: bool) -> Groups:
        """Return the rows of each label, of which all have the same weight in a mean over labels."""
        labels, rows = np.unique(self._expected, return_counts=True)
        if by_answers:
            # Precision rests on the rows that were answered with the label. Of one that never was it is 0.
            for said in self._said:
                answered = (said == labels[:, None]).sum(axis=1)
                rows = np.where(answered > 0, np.minimum(rows, answered), rows)
        return Groups(rows.astype(float), np.full(labels.size, 1 / labels.size))

    def _of_label(self, metric: Metric, code: int, label: str) -> Sample:
        own, said = self._expected == code, [each == code for each in self._said]
        if not own.any():
            raise Undefined(f"no row that was scored has the label {label!r}.", "Give the suite such rows.")
        if metric.name == "precision" and own.all():
            raise Undefined(*_ONE_LABEL)
        if metric.name == "recall":
            return Hits(tuple(each[own] for each in said))

        def value(sums: Numbers) -> Numbers:
            hits, there, answered = (part[code] for part in np.split(sums, 3))
            return _ratio(hits, answered) if metric.name == "precision" else _ratio(2 * hits, there + answered)

        asked = [int((each if metric.name == "precision" else own | each).sum()) for each in said]
        share = Share(int((own & said[0]).sum()), asked[0], is_f1=metric.name == "f1")
        # Of the release that it says less of. One that was never answered is as if it had been once.
        return OfLabel(share, Sums(metric, self._table, value, max(1, min(asked))))

    def _scores(self) -> tuple[Numbers, ...]:
        scores = [[answer.scores for answer in each] for each in self._answers]
        if any(each is None or len(each) != self._labels for release in scores for each in release):
            why = "not every answer has the probability of each label: only the head of an Encoder gives these."
            raise Undefined(why, "Choose another metric, such as f1_macro.")
        return tuple(np.array(each, float) for each in scores)


@dataclass(frozen=True)
class OfLabel:
    """Precision or F1 of one label: a share of rows, which are others for each release."""

    share: Share
    sums: Sums

    def estimate(self) -> Estimate:
        """Of the rows that bear on it."""
        return self.share

    def difference(self) -> Estimate:
        """By resampling: the two are shares of different rows."""
        return self.sums.difference()


def _table(expected: Codes, said: Sequence[Codes], labels: int, key: str, most: int) -> Table:
    """Return for each label how often it was answered rightly, how often expected, and how often answered."""
    kinds, counts = np.unique(np.stack([expected, *said], axis=1), axis=0, return_counts=True)
    there, adds = kinds[:, 0], []
    for answered in kinds[:, 1:].T:
        columns = np.concatenate([there, labels + there, 2 * labels + answered])
        ones = np.concatenate([(there == answered).astype(float), np.ones(2 * there.size)])
        places = np.tile(np.arange(there.size), 3)
        adds.append(sparse.csr_array((ones, (places, columns)), shape=(there.size, 3 * labels)))
    return Table(tuple(adds), counts, key, most)


def _ratio(part: Numbers, whole: Numbers) -> Numbers:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _macro(of_each: Callable[[Numbers, Numbers, Numbers], Numbers]) -> Callable[[Numbers], Numbers]:
    def value(sums: Numbers) -> Numbers:
        hits, there, said = np.split(sums, 3)
        return np.asarray((of_each(hits, there, said) * (there > 0)).sum(axis=0) / (there > 0).sum(axis=0))

    return value


def _f1(hits: Numbers, there: Numbers, said: Numbers) -> Numbers:
    return _ratio(2 * hits, there + said)


def _weighted(sums: Numbers) -> Numbers:
    hits, there, said = np.split(sums, 3)
    return np.asarray((_f1(hits, there, said) * there).sum(axis=0) / there.sum(axis=0))


def _telling(expected: Codes) -> int:
    """Return on how many rows Matthews' correlation rests: few where nearly all have the same label."""
    rows, counts = expected.size, np.unique(expected, return_counts=True)[1]
    return max(1, min(rows, int(2 * (rows - (counts**2).sum() / rows))))


def _mcc(sums: Numbers) -> Numbers:
    """Return Matthews' correlation of many labels, by Gorodkin; 0 where all answers are the same, as scikit-learn."""
    hits, there, said = np.split(sums, 3)
    rows = there.sum(axis=0)
    spread = (rows**2 - (there**2).sum(axis=0)) * (rows**2 - (said**2).sum(axis=0))
    return _ratio(rows * hits.sum(axis=0) - (there * said).sum(axis=0), np.sqrt(spread))


_OF_ALL: dict[str, Callable[[Numbers], Numbers]] = {
    "precision": _macro(lambda hits, _, said: _ratio(hits, said)),
    "recall": _macro(lambda hits, there, _: _ratio(hits, there)),
    "f1": _macro(_f1),
    "f1_macro": _macro(_f1),
    "f1_weighted": _weighted,
}
