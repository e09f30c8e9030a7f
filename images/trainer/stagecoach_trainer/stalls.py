"""How the container's first process sees that the work has stopped moving, and shows where.

Progress is any change of the files by which the work tells of it (contract/progress.py). Of several processes one that
moves is enough: where all have to take part, one that hangs soon holds up the others, and where one works alone, such
as to publish, the others wait for it. Those of other pods count too; group.py tells of them.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stagecoach.contract.progress import DEADLINE_VARIABLE
from stagecoach.contract.reports import Problem

# As long as the processes take to write down where they are.
STACKS_SECONDS = 2.0
# More than this between two looks is time in which this process did not run, as when the pod was frozen: nor did the
# work.
LONGEST_LOOK = 5.0
UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


@dataclass
class Watch:
    """Whether the work moves. Without a deadline it always does."""

    deadline: int | None
    files: tuple[Path, ...]
    meets: bool = False  # processes that meet others first begin to tell when they have; torchrun waits no longer
    _seen: tuple[int, ...] = ()
    _looked: float = 0.0
    _quiet: float = 0.0

    def begin(self) -> None:
        """Begin to look: what an earlier work left does not count. Raises OSError."""
        for file in self.files:
            file.unlink(missing_ok=True)
        self._looked = time.monotonic()

    def stalled(self) -> bool:
        """Look, and say whether the work has not moved for too long."""
        if self.deadline is None:
            return False
        now = time.monotonic()
        self._quiet += min(now - self._looked, LONGEST_LOOK)
        self._looked = now
        seen = tuple(map(_changed, self.files))
        if seen != self._seen or (self.meets and not any(seen)):
            self._seen, self._quiet = seen, 0.0
        return self._quiet >= self.deadline

    def problem(self) -> Problem:
        """Return what is told of work that has stalled."""
        doing = list(dict.fromkeys(words for _, words in self._told())) or ["starting"]
        message = f"no progress for {length(self.deadline or 0)} while {' and '.join(doing)}; it was ended."
        remedy = (
            "Where it hung is at the end of the log, as Python stacks. If it was only slow, raise progressDeadline in a"
            " new run, or resources of the gate."
        )
        return Problem.of("ProgressDeadlineExceeded", message, remedy=remedy)

    def show(self) -> None:
        """Have the processes write the stacks of their threads into the log."""
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGUSR1)
        time.sleep(STACKS_SECONDS)

    def processes(self) -> list[int]:
        """Return the ids of those that tell of progress. They, and nobody else, know the signal."""
        return [process for process, _ in self._told()]

    def _told(self) -> list[tuple[int, str]]:
        found = (_words(file).partition(" ") for file in self.files)
        return [(int(process), doing) for process, _, doing in found if process.isdecimal()]


def deadline_of(environment: Mapping[str, str]) -> int | None:
    """Return after how many seconds without progress the work is to be ended; None: never."""
    given = environment.get(DEADLINE_VARIABLE, "")
    return int(given) if given.isdecimal() else None


def length(seconds: int) -> str:
    """Return a length of time in words, in the largest unit that fits."""
    size, name = next((size, name) for size, name in UNITS if seconds % size == 0)
    return f"{seconds // size} {name}{'' if seconds == size else 's'}"


def say(problem: Problem) -> None:
    """Write into the log what the stacks are about that follow."""
    print(f"{problem.message} The stacks of its threads:", file=sys.stderr, flush=True)


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _words(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
