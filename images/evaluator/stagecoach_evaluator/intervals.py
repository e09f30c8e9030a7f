"""How sure a number is that was measured on some rows: its intervals, by the method that fits the number.

No interval is narrower than the rule of three has it: what none of n rows has shown may still be so of -ln(α/2)/n of
all rows. Where there is nothing that varies, resampling would otherwise be certain after five rows. Where rows weigh
differently, as in a mean over labels, the same holds of each label's own rows: two of them show next to nothing of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Numbers = NDArray[np.float64]
Interval = tuple[float, float]


class Undefined(Exception):
    """A number that there is none of: the words say why, the remedy what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why} {remedy}")
        self.why, self.remedy = why, remedy


class Estimate(Protocol):
    """A number that was measured, and how sure it is."""

    @property
    def value(self) -> float:
        """The number itself, between the ends of every interval."""

    @property
    def error(self) -> float:
        """Its standard error."""

    @property
    def bearing(self) -> int:
        """How many rows it rests on."""

    @property
    def weight(self) -> float:
        """How far the row that weighs most moves it."""

    @property
    def mcnemar(self) -> float | None:
        """McNemar's exact p, where it is the difference of what is either right or wrong."""

    def interval(self, confidence: float) -> Interval:
        """The two-sided interval."""


@dataclass(frozen=True)
class Unsure:
    """A number of which nothing but itself is known."""

    value: float
    bearing: int
    why: str
    remedy: str
    error: float = math.nan
    weight: float = 0.0
    mcnemar: None = None

    def interval(self, _confidence: float) -> Interval:
        """Raises Undefined."""
        raise Undefined(self.why, self.remedy)


@dataclass(frozen=True)
class Groups:
    """Rows that weigh differently: of each group how many there are, and how far it is off if all of it were others."""

    rows: Numbers
    weights: Numbers

    @property
    def heaviest(self) -> float:
        """The weight of a row, at most."""
        return float((self.weights / self.rows).max())

    def unseen(self, tail: float) -> float:
        """Return by how much it may be off at most though no row has shown it.

        Were of group g the share p_g of all rows as those that were seen, none of these would be otherwise with the
        probability of the product of p_g ** rows_g. Of all shares for which that is `tail`, those that cost most are
        in proportion to rows_g / weight_g, and at most 1.
        """
        each = self.rows / self.weights
        low, high = 0.0, self.heaviest
        for _ in range(60):
            middle = (low + high) / 2
            if (self.rows * np.log(np.minimum(1, middle * each))).sum() < math.log(tail):
                low = middle
            else:
                high = middle
        return float((self.weights * (1 - np.minimum(1, low * each))).sum())


@dataclass(frozen=True)
class Share:
    """The share of rows that are right: Clopper and Pearson's exact interval.

    As F1 of one label is 2j/(1 + j) of the share j that is right of the rows where the label is expected or answered,
    the interval of that share, transformed, is that of F1.
    """

    right: int
    bearing: int
    is_f1: bool = False
    mcnemar: None = None

    @property
    def weight(self) -> float:
        """That of each row."""
        return 1 / self.bearing if self.bearing else math.inf

    @property
    def value(self) -> float:
        """0 where nothing was answered: as scikit-learn has it."""
        return self._shown(self.right / self.bearing) if self.bearing else 0.0

    @property
    def error(self) -> float:
        """Of the share, by the slope of what is made of it."""
        if not self.bearing:
            return math.inf
        share = self.right / self.bearing
        slope = 2 / (1 + share) ** 2 if self.is_f1 else 1.0
        return slope * math.sqrt(share * (1 - share) / self.bearing)

    def interval(self, confidence: float) -> Interval:
        """Exact: either end is beyond the truth in at most half of 1 - confidence."""
        if not self.bearing:
            return 0.0, 1.0
        found = stats.binomtest(self.right, self.bearing).proportion_ci(confidence, method="exact")
        return self._shown(found.low), self._shown(found.high)

    def _shown(self, share: float) -> float:
        return float(2 * share / (1 + share) if self.is_f1 else share)


@dataclass(frozen=True)
class PairedShares:
    """The difference of two shares of the same rows: Tango's score interval, widened by one row on either side.

    At a difference of zero that is McNemar's test with the continuity correction of Edwards. Only rows that one of both
    gets right say which is better; the others say how rare these are.
    """

    better: int  # rows that only the candidate gets right
    worse: int  # rows that only the reference gets right
    bearing: int

    @property
    def weight(self) -> float:
        """That of each row."""
        return 1 / self.bearing

    @property
    def value(self) -> float:
        """Candidate less reference."""
        return (self.better - self.worse) / self.bearing

    @property
    def error(self) -> float:
        """By the rows that differ."""
        return math.sqrt(self.better + self.worse - (self.better - self.worse) ** 2 / self.bearing) / self.bearing

    @property
    def mcnemar(self) -> float:
        """How likely rows that differ are split as unevenly as these, were both equally good."""
        differing = self.better + self.worse
        return float(stats.binomtest(self.better, differing).pvalue) if differing else 1.0

    def interval(self, confidence: float) -> Interval:
        """By bisection: the score falls as the difference that is supposed grows."""
        distance = float(stats.norm.isf((1 - confidence) / 2))
        low = self._root(-1.0, self.value, distance)
        return low, self._root(self.value, 1.0, -distance)

    def score(self, supposed: float) -> float:
        """How many standard errors the difference is above what is supposed, one row left out."""
        above = self.better - self.worse - self.bearing * supposed
        variance = self._variance(supposed)
        if abs(above) <= 1 or variance <= 0:
            return 0.0 if abs(above) <= 1 else math.copysign(math.inf, above)
        return (above - math.copysign(1.0, above)) / math.sqrt(variance)

    def _variance(self, supposed: float) -> float:
        """Of better less worse, were the difference as supposed, with the likeliest share of worse rows."""
        linear = (2 * self.bearing - self.better + self.worse) * supposed - self.better - self.worse
        constant = -self.worse * supposed * (1 - supposed)
        root = math.sqrt(max(linear**2 - 8 * self.bearing * constant, 0.0))
        share = (root - linear) / (4 * self.bearing)
        return self.bearing * (2 * share + supposed * (1 - supposed))

    def _root(self, low: float, high: float, distance: float) -> float:
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.score(middle) > distance else (low, middle)
        return low if distance > 0 else high


@dataclass(frozen=True)
class Resampled:
    """A number of which only other samples tell how it varies: by the bootstrap, and by the jackknife.

    Each end of an interval is the outer one of both: percentiles of the resamples see how lopsided the number is, and
    the jackknife's standard error, with Student's t, is the safer one where a few rows weigh much (macro F1 of many
    rare labels). As that of paired shares, it is wider by one row on either side; and, on the side where the truth
    is, by the bias that the jackknife sees: a mean over labels with few rows each is too low.
    """

    value: float
    resample: Callable[[], Numbers]
    jackknife: Callable[[], tuple[float, float]]  # standard error and bias
    rows: int
    bearing: int
    reach: float  # how far it is off if all rows were others
    bounds: Interval
    groups: Groups | None = None  # None: all rows weigh the same
    mcnemar: None = None

    @property
    def weight(self) -> float:
        """That of a row of the rarest label, where it is a mean over labels."""
        return _weight(self)

    @cached_property
    def error(self) -> float:
        """By the jackknife; nothing is computed before it is asked for, nor the resamples."""
        return self._jackknifed[0]

    @cached_property
    def _jackknifed(self) -> tuple[float, float]:
        return self.jackknife()

    @cached_property
    def _resamples(self) -> Numbers:
        return self.resample()

    def interval(self, confidence: float) -> Interval:
        """Raises Undefined when the number itself is undefined in many of the samples that there might have been."""
        defined = self._resamples[~np.isnan(self._resamples)]
        if math.isnan(self.error) or defined.size < 0.95 * self._resamples.size:
            why = f"it has no interval: of {self.bearing} rows, a few others would leave it undefined."
            raise Undefined(why, "Give the suite more rows of each label.")
        tail = (1 - confidence) / 2
        low, high = np.quantile(defined, (tail, 1 - tail))
        margin, row = _student(tail, self.rows) * self.error, self.reach / self.bearing
        low, high = min(float(low), self.value - margin) - row, max(float(high), self.value + margin) + row
        least, bias = rule_of_three(tail, self), self._jackknifed[1]
        low, high = min(low, self.value - least) - max(bias, 0.0), max(high, self.value + least) - min(bias, 0.0)
        return _within(low, high, self)


@dataclass(frozen=True)
class Area:
    """An area under a curve, or the difference of two of the same rows: DeLong's variance.

    A single one has its interval on the scale of the logit, on which it cannot end beyond 1.
    """

    value: float
    error: float
    rows: int
    bearing: int
    reach: float
    bounds: Interval
    groups: Groups
    mcnemar: None = None

    @property
    def weight(self) -> float:
        """That of a row of the rarest label."""
        return _weight(self)

    def interval(self, confidence: float) -> Interval:
        """Normal, on the scale that fits."""
        tail = (1 - confidence) / 2
        step = float(stats.norm.isf(tail)) * self.error
        low, high = self.value - step, self.value + step
        if self.bounds[0] == 0 and 0 < self.value < 1:
            slope = self.value * (1 - self.value)
            low, high = (float(special.expit(special.logit(self.value) + sign * step / slope)) for sign in (-1, 1))
        least = rule_of_three(tail, self)
        return _within(min(low, self.value - least), max(high, self.value + least), self)


def _student(tail: float, rows: int) -> float:
    return float(stats.t.isf(tail, rows - 1)) if rows > 1 else math.inf


def _weight(estimate: "Resampled | Area") -> float:
    return estimate.groups.heaviest if estimate.groups else estimate.reach / estimate.bearing


def rule_of_three(tail: float, estimate: "Resampled | Area") -> float:
    """Return how far a number is off at least, of its intervals' ends."""
    if estimate.groups:
        return min(estimate.groups.unseen(tail), estimate.reach)
    return -math.log(tail) / estimate.bearing * estimate.reach


def _within(low: float, high: float, estimate: "Resampled | Area") -> Interval:
    return max(low, estimate.bounds[0]), min(high, estimate.bounds[1])
