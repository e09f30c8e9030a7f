"""The control group below which all pods of one cluster run."""

import contextlib
import os
import signal
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def name(identity: str) -> str:
    """The group's name, different for each state directory: two kubelets in one group kill each other's pods."""
    return f"stagecoach-{identity}"


def create(identity: str) -> None:
    """Make the group in every hierarchy that there is."""
    for hierarchy in _hierarchies():
        group = hierarchy / name(identity)
        group.mkdir(exist_ok=True)
        _delegate(hierarchy, group)


def remove(identity: str) -> None:
    """Kill whatever still runs in the group, and remove it."""
    groups = [hierarchy / name(identity) for hierarchy in _hierarchies()]
    for group in groups:
        _kill(group)
    for group in groups:
        _remove_tree(group)


def _hierarchies() -> list[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    # Several names of one v1 hierarchy (cpu, cpu,cpuacct) may be links to one directory.
    return sorted({entry.resolve() for entry in _ROOT.iterdir() if (entry / "cgroup.procs").exists()})


def _delegate(hierarchy: Path, group: Path) -> None:
    if (group / "cpuset.cpus").exists() and (hierarchy / "cgroup.clone_children").exists():
        # A new v1 cpuset is empty, and nothing may run in it.
        for file in ("cpuset.cpus", "cpuset.mems"):
            (group / file).write_text((hierarchy / file).read_text())
    if (hierarchy / "cgroup.controllers").exists():
        for controller in (hierarchy / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):
                (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
                (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _kill(group: Path) -> None:
    for procs in sorted(group.rglob("cgroup.procs")):
        with contextlib.suppress(OSError):
            for pid in procs.read_text().split():
                os.kill(int(pid), signal.SIGKILL)


def _remove_tree(group: Path) -> None:
    if not group.exists():
        return
    for directory, _children, _files in os.walk(group, topdown=False):
        for _attempt in range(40):
            try:
                Path(directory).rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                # Busy until the last killed process is gone.
                time.sleep(0.05)
