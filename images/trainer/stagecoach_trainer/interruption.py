"""What becomes of a work that is asked to stop: it ends at once, or at the next good moment."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """The pod, or of several the one of this index, was asked to stop. Not an Exception: no library may swallow it."""

    def __init__(self, index: int | None = None) -> None:
        super().__init__(index)
        self.index = index


class Preempted(BaseException):
    """The pod, or one of several, was asked to stop, and the training saved itself. Not an Exception either."""

    def __init__(self, step: int, index: int | None = None) -> None:
        super().__init__(step, index)
        self.step = step
        self.index = index


class Request:
    """Whether the pod was asked to stop."""

    asked = False


def ends_the_work() -> None:
    """Have a request to stop raise Terminated."""
    signal.signal(signal.SIGTERM, _terminate)


def changes_nothing() -> None:
    """Have a request to stop do nothing: the work has ended, and its word must not be lost."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def noted() -> Iterator[Request]:
    """Only note a request to stop; whoever works looks at it. When that takes too long, the first process ends it."""
    request = Request()

    def note(_number: int, _frame: FrameType | None) -> None:
        request.asked = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second request must not interrupt the cleaning up after the first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
