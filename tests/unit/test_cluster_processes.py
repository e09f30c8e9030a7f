import signal
import sys
from pathlib import Path

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.processes import Processes, this_process


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """A program with a name of its own."""
    program = tmp_path / "sleeper"
    program.symlink_to("/bin/sleep")
    return program


def test_a_component_is_found_by_its_mark_and_ended(tmp_path: Path, sleeper: Path) -> None:
    processes = Processes(tmp_path)
    processes.start([sleeper, "60"])
    assert processes.find("sleeper")
    processes.end("sleeper")
    assert processes.all() == []


def test_another_runs_processes_are_left_alone(tmp_path: Path, sleeper: Path) -> None:
    mine, other = Processes(tmp_path / "mine"), Processes(tmp_path / "other")
    other.start([sleeper, "60"])
    mine.end_all()
    assert other.find("sleeper")
    other.end_all()


def test_what_ignores_a_polite_request_is_killed(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text(f"#!{sys.executable}\nimport signal\nsignal.signal(15, signal.SIG_IGN)\nsignal.pause()\n")
    deaf.chmod(0o755)
    processes = Processes(tmp_path)
    processes.start([deaf])
    processes.end("deaf", signal.SIGTERM, within=0.2)
    assert processes.all() == []


def test_a_component_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    brief = tmp_path / "brief"
    brief.write_text("#!/bin/sh\necho no such flag\nexit 2\n")
    brief.chmod(0o755)
    processes = Processes(tmp_path)
    processes.start([brief])
    with pytest.raises(ClusterError, match=r"(?s)brief ended.*brief\.log.*no such flag"):
        processes.wait("brief", lambda: False)


def test_the_owner_is_named_beyond_its_reusable_number() -> None:
    pid, started = this_process().split(":")
    assert pid.isdigit()
    assert started.isdigit()
