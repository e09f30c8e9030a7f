"""What a process took from the machine, and what it asked of the API server."""

import os
import re
from pathlib import Path

from tests.integration.support.metrics import Metrics

_TICK = 1000 / os.sysconf("SC_CLK_TCK")


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
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        name = told["verb"], told["resource"]
        found[name] = found.get(name, 0.0) + count
    return found
