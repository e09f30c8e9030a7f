"""What was measured on the rows that can be scored, in the form from which a metric and its intervals are computed.

Of one release, or of two by the same rows: the first is the candidate, the second what it is compared with. The order
of the rows is of no account, and the same key gives the same resamples.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from stagecoach.contract.metrics import Metric
from stagecoach_evaluator.intervals import Area, Estimate, Groups, Numbers, PairedShares, Resampled, Share, Undefined

# At least, where more are too much to compute.
RESAMPLES, LEAST = 10_000, 2_000
_MOST_DRAWS = 60_000_000
# As many numbers are in memory at a time.
_CHUNK = 8_000_000

# Sums over rows, a column for each sample, to the metric of each sample; NaN where it is undefined.
Value = Callable[[Numbers], Numbers]


class Sample(Protocol):
    """What a metric is computed from."""

    def estimate(self) -> Estimate:
        """The metric of the first release. Raises Undefined."""

    def difference(self) -> Estimate:
        """The first release's metric less the second's. Raises Undefined."""


@dataclass(frozen=True)
class Hits:
    """Rows that are either right or wrong."""

    hits: tuple[NDArray[np.bool_], ...]

    def estimate(self) -> Estimate:
        """The share of right ones."""
        return Share(int(self.hits[0].sum()), self.hits[0].size)

    def difference(self) -> Estimate:
        """The difference of the shares."""
        first, second = self.hits
        return PairedShares(int((first & ~second).sum()), int((second & ~first).sum()), first.size)


@dataclass(frozen=True)
class Table:
    """What each row adds to the sums that metrics are made of, of each release. Rows that are alike are counted."""

    adds: tuple[Any, ...]  # sparse, kinds of rows × numbers
    counts: NDArray[np.int64]
    key: str
    most: int = RESAMPLES

    @classmethod
    def of(cls, each: tuple[Numbers, ...], key: str, most: int = RESAMPLES) -> "Table":
        """Return the table of the rows' numbers, of each release."""
        kinds, counts = np.unique(np.hstack(each), axis=0, return_counts=True)
        parts = np.split(kinds, np.cumsum([part.shape[1] for part in each])[:-1], axis=1)
        return cls(tuple(sparse.csr_array(part.astype(float)) for part in parts), counts, key, most)

    @property
    def rows(self) -> int:
        """All of them."""
        return int(self.counts.sum())

    @cached_property
    def totals(self) -> list[Numbers]:
        """The sums over all rows, as a column."""
        return [add.T @ self.counts.astype(float)[:, None] for add in self.adds]

    @cached_property
    def resampled(self) -> list[Numbers]:
        """The sums of each resample: rows drawn with replacement, for all releases the same."""
        drawn = [[add.T @ times for add in self.adds] for times in self._draws()]
        return [np.concatenate(parts, axis=1) for parts in zip(*drawn, strict=True)]

    def _draws(self) -> Iterator[Numbers]:
        """Yield how often each kind of row is drawn, a column for each resample."""
        kinds = self.counts.size
        generator = np.random.default_rng(int.from_bytes(hashlib.sha256(self.key.encode()).digest()))
        left = min(self.most, max(LEAST, _MOST_DRAWS // kinds))
        while left > 0:
            size = min(left, max(1, _CHUNK // kinds))
            drawn = generator.multinomial(self.rows, self.counts / self.rows, size=size)
            yield np.ascontiguousarray(drawn.T, dtype=float)
            left -= size

    def without_one(self) -> Iterator[list[Numbers]]:
        """Yield the sums of all rows but one: of each kind one is left out."""
        size = max(1, _CHUNK // max(total.size for total in self.totals))
        for start in range(0, self.counts.size, size):
            out = [add[start : start + size].toarray().T for add in self.adds]
            yield [total - one for total, one in zip(self.totals, out, strict=True)]


@dataclass(frozen=True)
class Sums:
    """A metric that is a function of sums over the rows."""

    metric: Metric
    table: Table
    value: Value
    bearing: int  # rows on which the metric rests
    groups: Groups | None = None  # where rows weigh differently

    def estimate(self) -> Estimate:
        """By the bootstrap and the jackknife."""
        return self._by(1, (self.metric.low, self.metric.high))

    def difference(self) -> Estimate:
        """The difference of the metrics, both by the same rows in every resample."""
        return self._by(2, (-self.metric.width, self.metric.width))

    def _by(self, releases: int, bounds: tuple[float, float]) -> Resampled:
        def of(sums: list[Numbers]) -> Numbers:
            values = [self.value(each) for each in sums[:releases]]
            return values[0] - values[1] if releases == 2 else values[0]

        value = float(of(self.table.totals)[0])
        if np.isnan(value):
            raise Undefined(f"{self.metric.name} is undefined for these rows and answers.", "Choose another metric.")

        def jackknife() -> tuple[float, float]:
            if self.table.rows == 1:
                return math.inf, 0.0  # one row says nothing of others
            left_out = np.concatenate([of(sums) for sums in self.table.without_one()])
            return _jackknife(value, left_out, self.table.counts)

        def resample() -> Numbers:
            return of(self.table.resampled)

        width, rows = self.metric.width, self.table.rows
        return Resampled(value, resample, jackknife, rows, self.bearing, width, bounds, self.groups)


def _jackknife(value: float, left_out: Numbers, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the standard error, and by how much the number is too high as a rule."""
    rows = counts.sum()
    mean = counts @ left_out / rows
    error = np.sqrt((rows - 1) / rows * (counts @ (left_out - mean) ** 2))
    return float(error), float((rows - 1) * (mean - value))


@dataclass(frozen=True)
class Areas:
    """Areas under the curve of each label against all others, of which the metric is the mean.

    A row's share in what the mean is off by is known (DeLong, DeLong and Clarke-Pearson 1988): the variance is the sum
    of their squares, also over labels and of differences, since the rows are the same.
    """

    metric: Metric
    expected: NDArray[np.int64]
    scores: tuple[Numbers, ...]  # rows × labels

    def estimate(self) -> Estimate:
        """The mean area of the first release."""
        value, parts = _area(self.expected, self.scores[0])
        return self._as(value, parts, (self.metric.low, self.metric.high))

    def difference(self) -> Estimate:
        """The difference of the mean areas."""
        (first, ones), (second, others) = (_area(self.expected, scores) for scores in self.scores)
        return self._as(first - second, ones - others, (-self.metric.width, self.metric.width))

    def _as(self, value: float, parts: Numbers, bounds: tuple[float, float]) -> Area:
        rows = self.expected.size
        return Area(
            value, float(np.sqrt((parts**2).sum())), rows, rows, self.metric.width, bounds, _groups(self.expected)
        )


def _area(expected: NDArray[np.int64], scores: Numbers) -> tuple[float, Numbers]:
    """Return the mean area over the labels that rows have, and each row's share in what it is off by."""
    labels = np.unique(expected)
    parts, areas = np.zeros(expected.size), []
    for label in labels:
        own = expected == label
        ranks = stats.rankdata(scores[:, label])
        above = np.empty(expected.size)
        above[own] = (ranks[own] - stats.rankdata(scores[own, label])) / (~own).sum()
        above[~own] = 1 - (ranks[~own] - stats.rankdata(scores[~own, label])) / own.sum()
        areas.append(float(above[own].mean()))
        for side in (own, ~own):
            parts[side] += _off(above[side], areas[-1])
    return float(np.mean(areas)), parts / labels.size


def _groups(expected: NDArray[np.int64]) -> Groups:
    """Return what the rows of each label weigh: all that is above in their own area, and their part of all below.

    Of two labels all of either: the few rows of one say as little as they are few.
    """
    rows = np.unique(expected, return_counts=True)[1].astype(float)
    below = 1 / (expected.size - rows)
    return Groups(rows, np.minimum(1, (1 + rows * (below.sum() - below)) / rows.size))


def _off(above: Numbers, area: float) -> Numbers:
    # One row alone does not vary: it may be off by as much as anything with this mean.
    if above.size == 1:
        return np.array([np.sqrt(area * (1 - area))])
    return np.asarray((above - area) / np.sqrt(above.size * (above.size - 1)))
