"""What numbers can be trusted: what so many rows can show, what chance admits, and whether probabilities are right."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import Bin, Estimate, Exposure, Measured, Reliability
from stagecoach.contract.evaluations import Criterion
from stagecoach_evaluator.criteria import CONFIDENCE
from stagecoach_evaluator.power import POWER
from stagecoach_evaluator.report_rows import Case, confidence, right

BINS = 10
# From where on a bound on the probability of a false admission says that a verdict is worth no more than a coin.
COIN = 0.5

_NORMAL = NormalDist()


def quantile(confidence: float) -> float:
    """Return how many standard errors a two-sided interval reaches to each side."""
    return _NORMAL.inv_cdf(0.5 + confidence / 2)


def with_detectable(measured: Measured) -> Measured:
    """Return the metric with the smallest difference that would be seen: Miller, arXiv 2411.00640, section 5.

    What lies so far from the threshold has an interval clear of it in four of five evaluations.
    """
    alone = measured.candidate if measured.baseline is None and measured.incumbent is None else None
    estimate = measured.incumbent_difference or measured.difference or alone
    if estimate is None or estimate.low is None or estimate.high is None:
        return measured
    reach = quantile(measured.confidence)
    error = (estimate.high - estimate.low) / (2 * reach)
    return measured.model_copy(update={"detectable": (reach + _NORMAL.inv_cdf(POWER)) * error})


def exposure(releases: int, suite: str, criteria: Iterable[Criterion]) -> Exposure:
    """Return what so many verdicts by the same rows are worth; see Exposure for the rule."""
    decide = [_sure(item) for item in criteria if item.suite == suite and not item.advisory]
    sure = min(decide, default=CONFIDENCE)
    # Rounded: 0.5 / 0.025 is a little more than 20 to a computer.
    many = math.ceil(round(COIN * 2 / (1 - sure), 6))
    return Exposure(releases=releases, many=many, by_chance=min(1.0, releases * (1 - sure) / 2), confidence=sure)


def _sure(criterion: Criterion) -> float:
    if criterion.confidence is not None:
        return criterion.confidence
    # What is exactly at a bound that the value itself is held against passes every other time.
    return CONFIDENCE if criterion.against is not None else 0.0


def reliability(cases: Sequence[Case], answers: Sequence[Answer], labels: Sequence[str]) -> Reliability | None:
    """Return how often answers of each probability are right. None where the model gives no probabilities."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for case, answer in zip(cases, answers, strict=False):
        sure, hit = confidence(answer, labels), right(case, answer)
        if sure is not None and hit is not None:
            bins[min(int(sure * BINS), BINS - 1)].append((sure, hit))
    rows = sum(map(len, bins))
    if not rows:
        return None
    filled = tuple(_bin(place, members) for place, members in enumerate(bins) if members)
    error = sum(item.rows * abs(item.confidence - item.accuracy) for item in filled) / rows
    return Reliability(rows=rows, error=error, bins=filled)


def _bin(place: int, members: Sequence[tuple[float, bool]]) -> Bin:
    hits, rows = sum(hit for _, hit in members), len(members)
    interval = wilson(hits, rows)
    return Bin(
        low=place / BINS,
        high=(place + 1) / BINS,
        rows=rows,
        confidence=fmean(sure for sure, _ in members),
        accuracy=interval.value,
        accuracy_low=interval.low or 0.0,
        accuracy_high=interval.high or 0.0,
    )


def wilson(hits: int, rows: int) -> Estimate:
    """Return a share with its interval by Wilson, which holds for few rows too."""
    z = quantile(CONFIDENCE)
    share = hits / rows
    center = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Estimate(value=share, low=max(0.0, center - half), high=min(1.0, center + half))
