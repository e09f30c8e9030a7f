"""Waiting for what will be so, instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Between two looks: what takes longer is asked less often, so that many tests beside each other leave time for what they wait for.
SHORTEST, LONGEST, GROWTH = 0.05, 0.25, 1.2


def eventually(look: Callable[[], T], seconds: float = 60.0, what: str = "", every: float = 0.0) -> T:
    """Return the first true answer of `look`, asked again and again or `every` so many seconds.

    An AssertionError in it is "not yet".
    """
    deadline = time.monotonic() + seconds
    pause = every or SHORTEST
    while True:
        try:
            answer, error = look(), None
        except AssertionError as failure:
            answer, error = None, failure
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or look} (last: {error or answer!r})")
        time.sleep(pause)
        pause = every or min(pause * GROWTH, LONGEST)


def stays(look: Callable[[], object], seconds: float) -> None:
    """Fail when `look` is false at any time in these seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert look(), f"did not stay so for {seconds:g} s: {look}"
        time.sleep(0.05)
