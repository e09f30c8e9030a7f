import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from stagecoach.contract.reports import ExitCode, Outcome, Problem, Report
from stagecoach_trainer import cgroup, parent

DONE = Report(outcome=Outcome.DONE)
LEAVE = "import os, pathlib; pathlib.Path(os.environ['STAGECOACH_REPORT']).write_text({!r});"
PARENT = """\
import json, os, pathlib, sys
from stagecoach_trainer import cgroup, parent, stalls
{patch}
cgroup.ROOT = pathlib.Path({cgroup!r})
cgroup.oom_kills.__defaults__ = (cgroup.ROOT,)
sys.exit(parent.run(command=[sys.executable, "-c", {child!r}], grace={grace}))
"""


class Started:
    """A parent process around a child program."""

    def __init__(
        self, folder: Path, child: str, grace: int = 20, told: Mapping[str, str] = MappingProxyType({}), patch: str = ""
    ) -> None:
        self.log = folder / "termination-log"
        self.errors = ""
        program = PARENT.format(cgroup=str(folder / "cgroup"), child=child, grace=grace, patch=patch)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "STAGECOACH_ROOT": str(folder),
            "STAGECOACH_TERMINATION_LOG": str(self.log),
            **told,
        }
        command = [sys.executable, "-c", program]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def wait_for(self, file: Path) -> None:
        deadline = time.monotonic() + 30
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert file.exists()

    def end_errors(self) -> str:
        self.errors = self.process.communicate(timeout=60)[1]
        return self.errors

    def end(self) -> tuple[int, Report]:
        self.end_errors()
        report = Report.parse(self.log.read_text())
        assert report is not None
        return self.process.returncode, report


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (DONE, ExitCode.DONE),
        (Report(outcome=Outcome.BAD_INPUT, problem=Problem(reason="X", message="x")), ExitCode.BAD_INPUT),
        (Report(outcome=Outcome.SERVICE_FAILED, problem=Problem(reason="X", message="x")), ExitCode.SERVICE_FAILED),
        (Report(outcome=Outcome.OUT_OF_MEMORY, problem=Problem(reason="X", message="x")), ExitCode.FAILED),
        (Report(outcome=Outcome.FAILED, problem=Problem(reason="X", message="x")), ExitCode.FAILED),
    ],
)
def test_the_childs_report_is_passed_on(tmp_path: Path, report: Report, code: ExitCode) -> None:
    assert Started(tmp_path, LEAVE.format(report.line())).end() == (code, report)


def test_a_report_counts_even_if_the_interpreter_fails_after_it(tmp_path: Path) -> None:
    child = LEAVE.format(DONE.line()) + "os.kill(os.getpid(), 11)"
    assert Started(tmp_path, child).end() == (0, DONE)


@pytest.mark.parametrize(
    ("child", "reason", "words"),
    [
        ("pass", "WorkSilent", "code 0"),
        ("raise SystemExit(3)", "WorkSilent", "code 3"),
        ("import os; os.kill(os.getpid(), 9)", "WorkKilled", "SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "WorkKilled", "SIGSEGV"),
        (LEAVE.format('{"outcome": "Done"') + "os._exit(0)", "WorkSilent", "code 0"),
        (LEAVE.format("") + "os._exit(0)", "WorkSilent", "code 0"),
    ],
)
def test_a_child_without_a_report_has_failed(tmp_path: Path, child: str, reason: str, words: str) -> None:
    code, report = Started(tmp_path, child).end()
    assert (code, report.outcome) == (ExitCode.FAILED, Outcome.FAILED)
    assert report.problem is not None
    assert report.problem.reason == reason
    assert words in report.problem.message


def test_a_report_of_an_earlier_work_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "report.json").write_text(DONE.line())
    assert Started(tmp_path, "pass").end()[1].outcome is Outcome.FAILED


@pytest.mark.parametrize("version", ["memory.events", "memory/memory.oom_control"])
def test_a_child_that_the_kernel_killed_for_memory(tmp_path: Path, version: str) -> None:
    counter = tmp_path / "cgroup" / version
    counter.parent.mkdir(parents=True)
    counter.write_text("under_oom 0\noom_kill 2\n")
    child = f"import os, pathlib; pathlib.Path({str(counter)!r}).write_text('oom_kill 3'); os.kill(os.getpid(), 9)"
    code, report = Started(tmp_path, child).end()
    assert (code, report.outcome) == (ExitCode.FAILED, Outcome.OUT_OF_MEMORY)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_reaches_the_child(tmp_path: Path, number: signal.Signals) -> None:
    report = Report(outcome=Outcome.TERMINATED, problem=Problem(reason="Terminated", message="asked"))
    ready = tmp_path / "ready"
    child = (
        "import signal, sys, time, os, pathlib\n"
        "def stop(*_):\n"
        f"    pathlib.Path(os.environ['STAGECOACH_REPORT']).write_text({report.line()!r}); sys.exit(0)\n"
        f"signal.signal(15, stop); pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    started = Started(tmp_path, child)
    started.wait_for(ready)
    started.process.send_signal(number)
    assert started.end() == (ExitCode.FAILED, report)


def test_a_child_that_dies_of_the_request_was_terminated(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    started = Started(tmp_path, f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)")
    started.wait_for(ready)
    started.process.terminate()
    assert started.end()[1].outcome is Outcome.TERMINATED


def test_a_child_that_finishes_in_spite_of_the_request_is_done(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    child = (
        f"import signal, pathlib, time; signal.signal(15, lambda *_: None); pathlib.Path({str(ready)!r}).touch();"
        f"time.sleep(1);{LEAVE.format(DONE.line())}"
    )
    started = Started(tmp_path, child)
    started.wait_for(ready)
    started.process.terminate()
    assert started.end() == (0, DONE)


def test_a_child_that_does_not_stop_is_ended(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    child = f"import signal, pathlib, time; signal.signal(15, 1); pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    child = child.replace("signal.signal(15, 1)", "signal.signal(15, signal.SIG_IGN)")
    started = Started(tmp_path, child, grace=1)
    started.wait_for(ready)
    started.process.terminate()
    assert started.end()[1].outcome is Outcome.TERMINATED


def test_orphans_are_reaped(tmp_path: Path) -> None:
    child = f"import subprocess; subprocess.Popen(['sleep', '0.1']); import time; time.sleep(0.3);{LEAVE.format('')}"
    assert Started(tmp_path, child).end()[1].outcome is Outcome.FAILED


def test_a_scratch_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "scratch").touch()
    code, report = Started(tmp_path, "pass").end()
    assert code == ExitCode.FAILED
    assert report.problem is not None
    assert report.problem.reason == "ScratchUnusable"


def test_killed_without_memory_is_not_out_of_memory() -> None:
    assert parent.judged(None, -9, asked=False, killed=False).outcome is Outcome.FAILED
    assert parent.judged(None, -9, asked=True, killed=False).outcome is Outcome.TERMINATED
    assert parent.judged(None, -9, asked=True, killed=True).outcome is Outcome.OUT_OF_MEMORY
    assert parent.judged(None, 1, asked=False, killed=True).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_cpus(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    there = len(os.sched_getaffinity(0))
    assert cgroup.cpus(tmp_path) == (there if expected is None else min(expected, there))


def test_the_memory_limit(tmp_path: Path) -> None:
    assert cgroup.memory_limit(tmp_path) > 1 << 28
    (tmp_path / "memory.max").write_text("1048576\n")
    assert cgroup.memory_limit(tmp_path) == 1048576


@pytest.mark.parametrize(
    ("job", "reason"),
    [(None, "UnknownDocument"), ("{", "UnknownDocument"), (json.dumps({"kind": "Bake"}), "UnknownDocument")],
)
def test_a_document_that_is_not_understood(tmp_path: Path, job: str | None, reason: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "STAGECOACH_ROOT": str(tmp_path),
        "STAGECOACH_TERMINATION_LOG": str(tmp_path / "log"),
    } | ({"STAGECOACH_JOB": job} if job else {})
    ended = subprocess.run([sys.executable, "-m", "stagecoach_trainer"], env=environment, check=False)
    report = Report.parse((tmp_path / "log").read_text())
    assert ended.returncode == ExitCode.BAD_INPUT
    assert report is not None
    assert report.problem is not None
    assert report.problem.reason == reason
