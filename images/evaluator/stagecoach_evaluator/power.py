"""How many rows it takes to tell."""

import math

from scipy import stats

from stagecoach_evaluator.intervals import Estimate, Resampled, rule_of_three

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
    error = _error(estimate, tail, above=threshold > estimate.value)
    times = max((_steps(tail) * error / distance) ** 2, _at_least(estimate, tail) / distance, 1.0)
    more = rows * times
    return max(rows + 1, math.ceil(more)) if more < _MOST else None


def _error(estimate: Estimate, tail: float, *, above: bool) -> float:
    """Return the standard error; where resamples decide, what makes the interval's end on the threshold's side."""
    if not isinstance(estimate, Resampled):
        return estimate.error
    low, high = estimate.interval(1 - 2 * tail)
    half = high - estimate.value if above else estimate.value - low
    # What the rule of three makes shrinks faster than with the root of the rows.
    if half <= rule_of_three(tail, estimate) * (1 + _LEAST):
        return estimate.error
    return max(estimate.error, half / float(stats.norm.isf(tail)))


def _steps(tail: float) -> float:
    return float(stats.norm.isf(tail) + stats.norm.ppf(POWER))


def _at_least(estimate: Estimate, tail: float) -> float:
    """By the rule of three: no interval is narrower."""
    return -math.log(tail) * estimate.weight
