"""What a process took from the machine, and what an operator tells of its requests and of the time that things took."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.support.metrics import Metrics

_TICK = 1000 / os.sysconf("SC_CLK_TCK")
HISTOGRAMS = {
    "wait in the queue": "stagecoach_queue_wait_seconds",
    "reconcile": "stagecoach_reconcile_seconds",
    "request": "stagecoach_api_request_seconds",
}
_LABELS = ("kind", "verb", "resource")


@dataclass(frozen=True)
class Histogram:
    """How long things took, as far as Prometheus' buckets tell."""

    total: float  # in seconds
    at_most: Mapping[float, float]  # how many took so many seconds at most; the last bound is infinite

    def __sub__(self, before: "Histogram") -> "Histogram":
        at_most = {bound: count - before.at_most[bound] for bound, count in self.at_most.items()}
        return Histogram(self.total - before.total, at_most)

    @property
    def count(self) -> float:
        """How many there were."""
        return self.at_most[math.inf]

    def quantile(self, share: float) -> float:
        """Return how long this share of them took at most: as Prometheus, as if a bucket's were spread evenly in it."""
        wanted, low, fewer = share * self.count, 0.0, 0.0
        for bound, count in sorted(self.at_most.items()):
            if count >= wanted:
                return low if math.isinf(bound) else low + (bound - low) * (wanted - fewer) / (count - fewer)
            low, fewer = bound, count
        return low


def milliseconds(pid: int) -> float:
    """Return the CPU time that a process has used so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) * _TICK


def most_memory(pid: int) -> float:
    """Return the most resident memory that a process ever had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def requests(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Return how often an operator has asked what of the API server, by verb and resource."""
    found: dict[tuple[str, str], float] = {}
    for labels, count in metrics.series("stagecoach_api_requests_total").items():
        told = _told(labels)
        name = told["verb"], told["resource"]
        found[name] = found.get(name, 0.0) + count
    return found


def histograms(metrics: Metrics) -> dict[str, Histogram]:
    """Return how long things took that an operator measures itself, by what it was."""
    found: dict[str, Histogram] = {}
    for what, name in HISTOGRAMS.items():
        totals = {_what(what, _told(labels)): total for labels, total in metrics.series(f"{name}_sum").items()}
        counts: dict[str, dict[float, float]] = {key: {} for key in totals}
        for labels, count in metrics.series(f"{name}_bucket").items():
            told = _told(labels)
            counts[_what(what, told)][float(told["le"])] = count
        found |= {key: Histogram(total, counts[key]) for key, total in totals.items()}
    return found


def since(after: Mapping[str, Histogram], before: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """Return what came in between."""
    between = {key: each - before[key] if key in before else each for key, each in after.items()}
    return {key: each for key, each in between.items() if each.count}


def _told(labels: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', labels))


def _what(what: str, told: Mapping[str, str]) -> str:
    return " ".join([what, *(told[label] for label in _LABELS if label in told)])
