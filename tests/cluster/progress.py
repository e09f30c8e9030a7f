"""One line per slow step, with the seconds it has taken so far."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.cluster.shell import failure

_SECONDS_BETWEEN_LINES = {True: 0.5, False: 20.0}


class Step:
    """Context manager that shows a step's name, elapsed time and latest detail on standard error."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.detail = ""
        self._live = sys.stderr.isatty()
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Step":
        self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._ticker.join()
        self._show("failed" if error else "done", end="\n")

    def _tick(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LINES[self._live]):
            self._show(self.detail or "…", end="" if self._live else "\n")

    def _show(self, detail: str, end: str) -> None:
        elapsed = time.monotonic() - self._started
        line = f"{self.name:<44} {elapsed:6.1f} s  {detail}"[:110]
        print(f"\r\x1b[2K{line}" if self._live else line, end=end, file=sys.stderr, flush=True)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        describe: Callable[[int, str], str] = lambda _count, line: line,
    ) -> None:
        """Run a program whose output lines become this step's detail."""
        said: deque[str] = deque(maxlen=40)
        with subprocess.Popen(
            [str(part) for part in argv],
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            for count, line in enumerate(_lines(process), start=1):
                said.append(line)
                self.detail = describe(count, line)
        if process.returncode != 0:
            raise failure(argv, process.returncode, list(said))


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    with contextlib.suppress(ValueError):
        for line in process.stdout or ():
            if text := line.strip():
                yield text
