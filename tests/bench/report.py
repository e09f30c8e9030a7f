"""What a benchmark of scale has measured, and the table that tells it."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from tests.bench.training import interval

RATIO, MEBIBYTES, MILLISECONDS, RESTART_SECONDS = 0.60, 512, 250, 30
# As many names of what went wrong are told.
NAMED = 5

Row = tuple[str, str, str, bool]  # what, its value, what is to be reached, and whether it is


@dataclass
class Arm:
    """What one sort of object came to."""

    rates: list[float] = field(default_factory=list)  # of its blocks, in objects that ended per second
    milliseconds: dict[str, float] = field(default_factory=dict)  # of CPU, by process
    ended: int = 0


@dataclass(frozen=True)
class Failures:
    """What went wrong, by name; one sort cannot hide another."""

    runs: Sequence[str] = ()
    jobs: Sequence[str] = ()  # bare ones, and those of runs by the names of their runs
    surplus: Sequence[str] = ()  # each time that a run has one Job more
    missing: Sequence[str] = ()  # runs without a Job

    @classmethod
    def of(
        cls, runs: AbstractSet[str], failed_runs: Iterable[str], failed_jobs: Iterable[str], owners: Iterable[str]
    ) -> "Failures":
        """Judge all runs by those that failed and by the owners of the Jobs that there are, one a Job."""
        wanted, made = Counter(runs), Counter(owners)
        surplus, missing = (made - wanted).elements(), (wanted - made).elements()
        return cls(*(sorted(each) for each in (failed_runs, failed_jobs, surplus, missing)))


@dataclass
class Measured:
    """All that was measured."""

    arms: dict[str, Arm] = field(default_factory=lambda: {"runs": Arm(), "jobs": Arm()})
    failures: Failures = field(default_factory=Failures)
    requests: dict[tuple[str, str], float] = field(default_factory=dict)  # of the operator, in the blocks of runs
    mebibytes: float = 0.0
    active: int = 0
    latencies: list[float] = field(default_factory=list)
    objects: int = 0
    restart: float = 0.0
    writes_after_restart: float = 0.0


def report(found: Measured) -> tuple[list[str], list[str]]:
    """Return the lines of the table, and what was missed."""
    runs, jobs = found.arms["runs"], found.arms["jobs"]
    mean, low, high = interval([one / other for one, other in zip(runs.rates, jobs.rates, strict=True)])
    cuts = statistics.quantiles(found.latencies, n=100, method="inclusive")
    median, worst = 1000 * cuts[49], 1000 * cuts[98]
    rows = [
        ("runs that ended, per second", f"{statistics.fmean(runs.rates):.1f}", "", True),
        ("bare Jobs that ended, per second", f"{statistics.fmean(jobs.rates):.1f}", "", True),
        ("ratio (95 % interval)", f"{mean:.3f} ({low:.3f} to {high:.3f})", f"≥ {RATIO:.2f}", mean >= RATIO),
        *_failures(found.failures),
        ("the operator's memory, MiB", f"{found.mebibytes:.0f}", f"< {MEBIBYTES}", found.mebibytes < MEBIBYTES),
        ("CPU ms of a run, of a bare Job", "", "", True),
        *_by_process(runs, jobs),
        ("the operator's requests for a run", f"{sum(found.requests.values()) / runs.ended:.2f}", "", True),
        *_by_verb(found.requests, runs.ended),
        (f"pod changed → status, ms, p50 at {found.active} at work", f"{median:.0f}", "", True),
        ("pod changed → status, ms, p99", f"{worst:.0f}", f"< {MILLISECONDS}", worst < MILLISECONDS),
        (
            f"restart beside {found.objects} runs → idle, s",
            f"{found.restart:.1f}",
            f"< {RESTART_SECONDS}",
            found.restart < RESTART_SECONDS,
        ),
        ("status writes after that", f"{found.writes_after_restart:.0f}", "", True),
    ]
    lines = ["| what | measured | to reach |", "|---|---|---|"]
    lines += [f"| {what} | {value} | {target} |" for what, value, target, _ in rows]
    return lines, [f"{what}: {value}, to reach {target}" for what, value, target, reached in rows if not reached]


def _failures(found: Failures) -> list[Row]:
    return [
        _none("runs that failed", found.runs),
        _none("Jobs that failed", found.jobs),
        _none("Jobs too many", found.surplus),
        _none("runs without a Job", found.missing),
    ]


def _none(what: str, names: Sequence[str]) -> Row:
    told = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return what, f"{len(names)}: {told}" if names else "0", "0", not names


def _by_process(runs: Arm, jobs: Arm) -> list[Row]:
    def each(arm: Arm, name: str) -> str:
        return f"{arm.milliseconds.get(name, 0.0) / arm.ended:.1f}"

    names = sorted(runs.milliseconds, key=lambda name: -runs.milliseconds[name])
    return [(f"- {name}", f"{each(runs, name)}, {each(jobs, name)}", "", True) for name in names]


def _by_verb(requests: dict[tuple[str, str], float], ended: int) -> list[Row]:
    counts = sorted(requests.items(), key=lambda item: -item[1])
    return [
        (f"- {' '.join(name)}", f"{count / ended:.2f}", "", True) for name, count in counts if count / ended >= 0.005
    ]
