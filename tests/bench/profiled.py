"""The operator with a profiler in it that begins at SIGUSR1, once it leads, and what the profile says.

A module of a `main`, as OperatorProcess takes it. The profiler counts every call, which slows the operator down: what
it says of small functions is too much, and nothing else is to be measured meanwhile. Its times are the wall's, for a
clock of CPU time costs four times as much: where the machine is busy, take the shares and not the milliseconds.
"""

import cProfile
import os
import pstats
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stagecoach.kinds.registry import CONTROLLERS
from stagecoach.runtime import options
from stagecoach.runtime.main import run

# The environment variable that names the file for the profile.
FILE = "BENCH_PROFILE"
BEGIN = signal.SIGUSR1
TOP = 20
# What has nothing to do waits in it, and so does what calls it.
_WAITS, _CALLS_IT = "'poll' of 'select.epoll'", "selectors.py:"
_ROOTS = re.compile(r".*/(?:operator|site-packages|lib/python[\d.]+)/")


@dataclass(frozen=True)
class Function:
    """What a function took: seconds in itself, and with all that it called."""

    name: str
    calls: int  # of a coroutine: how often it was begun or gone on with
    own: float
    cumulative: float


def functions(file: Path) -> list[Function]:
    """Read a profile."""
    stats = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
    return [Function(_name(*where), calls, own, cumulative) for where, (_, calls, own, cumulative, _) in stats.items()]


def _name(file: str, line: int, function: str) -> str:
    if file == "~":  # built in
        return function.strip("<>")
    return f"{_ROOTS.sub('', file)}:{line} {function}"


def tables(found: Sequence[Function], runs: int) -> list[str]:
    """Return what took longest in itself, and with what it called; in milliseconds for a run."""
    busy = [each for each in found if _WAITS not in each.name]
    total = sum(each.own for each in busy)
    with_calls = [each for each in busy if _CALLS_IT not in each.name and each.cumulative <= total]

    def table(what: str, times: dict[Function, float]) -> list[str]:
        whole = f"of {1000 * total / runs:.0f} ms"
        heading = f"| profile of the operator: {what} | calls for a run | ms for a run | {whole} |"
        lines = ["", heading, "|---|---|---|---|"]
        for each, seconds in sorted(times.items(), key=lambda item: -item[1])[:TOP]:
            calls, milliseconds, share = each.calls / runs, 1000 * seconds / runs, 100 * seconds / total
            lines.append(f"| `{each.name}` | {calls:.1f} | {milliseconds:.2f} | {share:.0f} % |")
        return lines

    return [
        *table("longest in itself", {each: each.own for each in busy}),
        *table("longest with all it calls", {each: each.cumulative for each in with_calls}),
    ]


def main() -> None:
    """Run the operator as its own `main` does."""
    chosen = options.parse(sys.argv[1:])
    profiler = cProfile.Profile()
    signal.signal(BEGIN, lambda *_: profiler.enable())
    code = run(chosen, CONTROLLERS)
    profiler.disable()
    profiler.dump_stats(os.environ[FILE])
    sys.exit(code)


if __name__ == "__main__":
    main()
