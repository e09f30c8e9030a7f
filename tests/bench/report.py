"""What a benchmark of scale has measured, and the table that tells it."""

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from tests.bench.training import interval
from tests.bench.usage import Histogram

RATIO, MEBIBYTES, MILLISECONDS, RESTART_SECONDS = 0.60, 512, 250, 30
# As many names of what went wrong are told.
NAMED = 5
NOT_MEASURED = "not measured"

Row = tuple[str, str, str, bool]  # what, its value, what is to be reached, and whether it is


@dataclass
class Arm:
    """What one sort of object came to."""

    rates: list[float] = field(default_factory=list)  # of its blocks, in objects that ended per second
    cores: list[float] = field(default_factory=list)  # how many were busy in its blocks, with whatever
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
    """All that was measured so far."""

    arms: dict[str, Arm] = field(default_factory=lambda: {"runs": Arm(), "jobs": Arm()})
    failures: Failures | None = None
    requests: dict[tuple[str, str], float] = field(default_factory=dict)  # of the operator, in the blocks of runs
    histograms: dict[str, Histogram] = field(default_factory=dict)  # of the operator, from the first block to the last
    mebibytes: float | None = None
    active: int = 0
    latencies: list[float] = field(default_factory=list)
    objects: int = 0
    restart: float | None = None
    writes_after_restart: float | None = None
    profile: list[str] = field(default_factory=list)  # the lines that tell it


def report(found: Measured) -> tuple[list[str], list[str]]:
    """Return the lines of the tables, and what was missed: what was not measured is missed where there is a target."""
    runs, jobs = found.arms["runs"], found.arms["jobs"]
    rows = [
        *_rates(runs, jobs),
        *_failures(found.failures),
        _row("the operator's memory, MiB", found.mebibytes, ".0f", MEBIBYTES),
        *_by_process(runs, jobs),
        *_by_verb(found.requests, runs.ended),
        *_latencies(found.latencies, found.active),
        _row(f"restart beside {found.objects} runs → idle, s", found.restart, ".1f", RESTART_SECONDS),
        _row("status writes after that", found.writes_after_restart, ".0f"),
    ]
    lines = ["| what | measured | to reach |", "|---|---|---|"]
    lines += [f"| {what} | {value} | {target} |" for what, value, target, _ in rows]
    lines += [*_histograms(found.histograms), *found.profile]
    return lines, [f"{what}: {value}, to reach {target}" for what, value, target, reached in rows if not reached]


def _row(what: str, value: float | None, form: str, below: float | None = None) -> Row:
    target = "" if below is None else f"< {below:g}"
    if value is None:
        return what, NOT_MEASURED, target, below is None
    return what, format(value, form), target, below is None or value < below


def _rates(runs: Arm, jobs: Arm) -> list[Row]:
    def mean_of(numbers: Sequence[float]) -> float | None:
        return statistics.fmean(numbers) if numbers else None

    # The last block of one arm may be without its like.
    ratios = [one / other for one, other in zip(runs.rates, jobs.rates, strict=False)]
    mean, low, high = interval(ratios) if ratios else (0.0, 0.0, 0.0)
    told = f"{mean:.3f} ({low:.3f} to {high:.3f})" if ratios else NOT_MEASURED
    return [
        _row("runs that ended, per second", mean_of(runs.rates), ".1f"),
        _row("bare Jobs that ended, per second", mean_of(jobs.rates), ".1f"),
        ("ratio (95 % interval)", told, f"≥ {RATIO:.2f}", mean >= RATIO),
    ]


def _failures(found: Failures | None) -> list[Row]:
    sorts: Sequence[Sequence[str] | None] = [None] * 4
    if found is not None:
        sorts = [found.runs, found.jobs, found.surplus, found.missing]
    told = ["runs that failed", "Jobs that failed", "Jobs too many", "runs without a Job"]
    return [_none(what, names) for what, names in zip(told, sorts, strict=True)]


def _none(what: str, names: Sequence[str] | None) -> Row:
    if names is None:
        return what, NOT_MEASURED, "0", False
    told = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return what, f"{len(names)}: {told}" if names else "0", "0", not names


def _by_process(runs: Arm, jobs: Arm) -> list[Row]:
    def each(arm: Arm, name: str) -> str:
        if not arm.ended:
            return "–"
        own, whole = arm.milliseconds.get(name, 0.0), sum(arm.milliseconds.values()) or 1.0
        return f"{own / arm.ended:.1f} ({100 * own / whole:.0f} %)"

    def both(form: str, one: Sequence[float], other: Sequence[float]) -> str:
        return ", ".join(format(statistics.fmean(numbers), form) if numbers else "–" for numbers in (one, other))

    names = sorted(runs.milliseconds, key=lambda name: -runs.milliseconds[name])
    sums = [[sum(arm.milliseconds.values()) / arm.ended] if arm.ended else [] for arm in (runs, jobs)]
    cores = f"cores busy of {os.cpu_count()}, in blocks of runs, of bare Jobs"
    return [
        (cores, both(".2f", runs.cores, jobs.cores), "", True),
        ("CPU ms of a run, of a bare Job", both(".1f", *sums), "", True),
        *((f"- {name}", f"{each(runs, name)}, {each(jobs, name)}", "", True) for name in names),
    ]


def _by_verb(requests: dict[tuple[str, str], float], ended: int) -> list[Row]:
    each = {" ".join(name): count / ended for name, count in requests.items()} if ended else {}
    counts = sorted(each.items(), key=lambda item: -item[1])
    return [
        _row("the operator's requests for a run", sum(each.values()) if each else None, ".2f"),
        *(_row(f"- {name}", count, ".2f") for name, count in counts if count >= 0.005),
    ]


def _latencies(seconds: Sequence[float], active: int) -> list[Row]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else []
    median, worst = (1000 * cuts[49], 1000 * cuts[98]) if cuts else (None, None)
    what = "pod changed → status, ms"
    return [
        _row(f"{what}, p50 of {len(seconds)} beside {active} at work", median, ".0f"),
        _row(f"{what}, p99", worst, ".0f", MILLISECONDS),
    ]


def _histograms(found: Mapping[str, Histogram]) -> list[str]:
    heading = "| by the operator's metrics, in all blocks | how many | ms, mean | p50 | p99 |"
    lines = ["", heading, "|---|---|---|---|---|"]
    for what, each in sorted(found.items(), key=lambda item: -item[1].total):
        times = (each.total / each.count, each.quantile(0.5), each.quantile(0.99))
        lines.append(f"| {what} | {each.count:.0f} | {' | '.join(f'{1000 * time:.1f}' for time in times)} |")
    return lines
