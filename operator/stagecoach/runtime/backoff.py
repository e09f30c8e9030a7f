"""How long to wait before the next try."""

import random
from collections.abc import Callable

# Spread so that many objects that failed together do not come back together.
JITTER = 0.2


class Backoff:
    """Grows by a factor with each failure up to a longest delay, with jitter; success resets it."""

    def __init__(
        self,
        first: float = 0.2,
        longest: float = 60.0,
        factor: float = 2.0,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._spread = spread
        self._failures = 0

    def next(self, at_least: float = 0.0) -> float:
        """Count a failure and return the seconds to wait."""
        # The exponent is bounded: a float overflows after a thousand failures.
        delay = min(self._longest, self._first * self._factor ** min(self._failures, 32))
        self._failures += 1
        return max(at_least, delay * (1 - JITTER + 2 * JITTER * self._spread()))

    def reset(self) -> None:
        """Forget the failures."""
        self._failures = 0
