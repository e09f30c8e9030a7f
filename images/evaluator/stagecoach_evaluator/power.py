"""How many rows it takes to tell, and what so many rows can tell."""

import math

from scipy import stats

from stagecoach_evaluator.intervals import Estimate

# In four of five evaluations it shall come out.
POWER = 0.8
# Nobody has as many rows, nor means a distance as small.
_MOST, _LEAST = 1_000_000_000, 1e-9


def needed(estimate: Estimate, threshold: float, tail: float, rows: int) -> int | None:
    """Return about how many rows it takes until the interval is clear of the threshold, if the distance stays.

    `tail` is the share of the distribution beyond the interval's end that decides. None: no number of rows tells a
    distance as small as this one.
    """
    distance = abs(estimate.value - threshold)
    if distance < _LEAST or not math.isfinite(estimate.error):
        return None
    times = max((_steps(tail) * estimate.error / distance) ** 2, _at_least(estimate, tail) / distance, 1.0)
    more = rows * times
    return max(rows + 1, math.ceil(more)) if more < _MOST else None


def detectable(estimate: Estimate, confidence: float) -> float:
    """Return the smallest distance from a threshold that so many rows show in four of five evaluations."""
    tail = (1 - confidence) / 2
    return max(_steps(tail) * estimate.error, _at_least(estimate, tail))


def _steps(tail: float) -> float:
    return float(stats.norm.isf(tail) + stats.norm.ppf(POWER))


def _at_least(estimate: Estimate, tail: float) -> float:
    """By the rule of three: no interval is narrower."""
    return -math.log(tail) * estimate.weight
