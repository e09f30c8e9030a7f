"""The time of day by the API server: the one clock that all replicas see, and by which it dates its objects.

By a clock of its own that is an hour ahead a replica would end healthy runs at their maxDuration, and write ends into
the status that nobody reaches for an hour. The time is that of the API server's answers, and goes on between them as
the machine's monotonic clock does.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

logger = logging.getLogger(__name__)

# In seconds: answers are dated in whole ones, and take their time. What took longer says nothing.
TOLERANCE = 5.0


def boot_time() -> float:
    """Return seconds that also pass while the machine sleeps: a leader that was suspended must know that it was."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClusterClock:
    """Tells the time. Until the first answer it is this machine's."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = boot_time) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> datetime:
        """Return the time, UTC."""
        return datetime.fromtimestamp(self._monotonic() + self._offset, UTC)

    def heard(self, date: str | None, took: float) -> None:
        """Take the `Date` of an answer that has come just now, so many seconds after it was asked for."""
        if date is None or took > TOLERANCE:
            return
        try:
            told = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        difference = told - (self._monotonic() + self._offset)
        if abs(difference) > TOLERANCE:
            self._offset += difference
            logger.warning("the time here was %+.0f seconds from the API server's, which counts", -difference)
