"""How the work of a pod tells the process above it that it moves: by a file, whose time of change is looked at.

Called where long work moves, and never by a clock: a clock would go on while the work hangs.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# After how many seconds without progress the work is ended. Beside the Job's document, which an older trainer that a
# run began with could not read.
DEADLINE_VARIABLE = "STAGECOACH_PROGRESS_DEADLINE"
BEAT_SECONDS = 1.0
WIDTH = 200


@dataclass
class _Beats:
    """What was told so far; nothing is, before there is a file."""

    file: int | None = None
    due: float = 0.0
    count: int = 0
    doing: str = "starting"


_beats = _Beats()


def tell(file: Path) -> None:
    """Tell by this file from now on."""
    _beats.file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    begins(_beats.doing)


def begins(doing: str) -> None:
    """Say what is done from now on, in words that follow `while`."""
    _beats.doing = doing
    _beats.count += 1
    _beat()


def made(doing: str | None = None) -> None:
    """Say that something was done: a row, a step, a megabyte. It costs nothing but once a second."""
    _beats.doing = doing or _beats.doing
    if time.monotonic() >= _beats.due:
        _beats.count += 1
        _beat()


def heard() -> None:
    """Say that another process moves, for which this one may be waiting."""
    _beat()


def count() -> int:
    """Return a number that is another one after this process has moved."""
    return _beats.count


def _beat() -> None:
    _beats.due = time.monotonic() + BEAT_SECONDS
    if _beats.file is not None:
        with suppress(OSError):  # a disk that is full takes no words, and still a time
            os.pwrite(_beats.file, f"{os.getpid()} {_beats.doing}".encode()[:WIDTH].ljust(WIDTH), 0)
        with suppress(OSError):
            os.utime(_beats.file)
