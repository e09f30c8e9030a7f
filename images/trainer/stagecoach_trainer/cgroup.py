"""What the container's control group says: memory kills, the memory limit, the CPU limit. Version 1 and 2."""

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def oom_kills(root: Path = ROOT) -> int:
    """Return how many processes the kernel has killed here for want of memory; 0 when nothing says so."""
    for name in ("memory.events", "memory/memory.oom_control"):
        for line in _lines(root / name):
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def memory_limit(root: Path = ROOT) -> int:
    """Return the memory in bytes that this container may use: its limit, or the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        for line in _lines(root / name):
            if line.isdigit():
                return min(int(line), machine)
    return machine


def cpus(root: Path = ROOT) -> int:
    """Return how many CPUs this container may keep busy: its limit, rounded, or all that it may run on."""
    there = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return there if quota is None else max(1, min(there, round(quota)))


def _quota(root: Path) -> float | None:
    words = " ".join(_lines(root / "cpu.max")).split()
    if not words:
        words = [*_lines(root / "cpu/cpu.cfs_quota_us"), *_lines(root / "cpu/cpu.cfs_period_us")]
    if len(words) != 2 or not words[0].isdigit():
        return None  # "max", "-1" or nothing: no limit
    return int(words[0]) / int(words[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
