"""How soon to ask, or to look, again: at once after something has changed, and ever more rarely while nothing does."""

from collections.abc import Iterable
from datetime import datetime, timedelta

SOONEST, LONGEST = timedelta(seconds=0.2), timedelta(seconds=10)
# After a time without a change it is a part of that time until somebody looks again.
PART = 4


def after(changes: Iterable[datetime | None], now: datetime) -> timedelta:
    """Return the pause after what has changed at these times, as far as they are known: by whatever clock."""
    quiet = min((abs(now - at) for at in changes if at is not None), default=LONGEST * PART)
    return min(LONGEST, max(SOONEST, quiet / PART))
