"""How far the asking is: progress lines on stdout, as a training prints them."""

import time

from stagecoach.contract import progress
from stagecoach.contract.reports import Progress, ProgressLine
from stagecoach.contract.times import now

SECONDS = 10.0


class Teller:
    """Prints a progress line at the start, every ten seconds, and at the end. A step is a row that is answered."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._begun = time.monotonic()
        self._told = self._begun
        self._before = 0
        self._tell(0)

    def made(self, name: str, answered: int, of: int, rows: int) -> None:
        """Tell that so many prompts are answered, of those of so many rows."""
        done = self._before + rows * answered // max(1, of)
        progress.made(f"asking {name}, at about row {done} of {self._rows}")
        if time.monotonic() - self._told >= SECONDS:
            self._tell(done)

    def done(self, rows: int) -> None:
        """Tell that all of so many rows are answered."""
        self._before += rows
        if self._before >= self._rows or time.monotonic() - self._told >= SECONDS:
            self._tell(self._before)

    def _tell(self, done: int) -> None:
        self._told = time.monotonic()
        left = (self._told - self._begun) / done * (self._rows - done) if done else None
        told = Progress(
            step=done,
            steps=self._rows,
            percent=100 * done // max(1, self._rows),
            remaining_seconds=None if left is None else round(left),
            at=now(),
        )
        print(ProgressLine(progress=told).line(), flush=True)
