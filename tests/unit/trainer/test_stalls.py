"""Work that hangs: by what it is known, how it is ended, and what is told of it."""

import os
import signal
import time
from pathlib import Path

import pytest

from stagecoach.contract.progress import DEADLINE_VARIABLE
from stagecoach.contract.reports import ExitCode, Outcome, Problem, Report
from stagecoach_trainer import parent, stalls
from stagecoach_trainer.stalls import Watch

from .test_parent import DONE, LEAVE, Started

# A work that tells of its progress as the real one does.
TELLS = """\
import faulthandler, os, pathlib, signal, threading, time
from stagecoach.contract import progress
faulthandler.register(signal.SIGUSR1)
progress.tell(pathlib.Path(os.environ["STAGECOACH_PROGRESS"]))
"""
READS = TELLS + "progress.begins('reading a mount')\ndef read_the_mount(): time.sleep(60)\n"
HANGS = READS + "threading.Thread(target=read_the_mount, name='reader').start()\nread_the_mount()\n"
MOVES = TELLS + "for _ in range(30):\n    time.sleep(0.2)\n    progress.made('training')\n"
LATE = LEAVE.format(DONE.line())


# On a machine that is busy an interpreter takes longer to start than the deadline of a test.
BEGUN = """\
stalled = stalls.Watch.stalled
stalls.Watch.stalled = lambda watch: bool(watch.processes()) and stalled(watch)
"""


def hung(folder: Path, child: str, deadline: str = "2", grace: int = 20, patch: str = "") -> Started:
    return Started(folder, child, grace, {DEADLINE_VARIABLE: deadline}, BEGUN + patch)


def silent(folder: Path) -> Started:
    return Started(folder, "import time; time.sleep(60)", 20, {DEADLINE_VARIABLE: "2"})


def problem(report: Report) -> Problem:
    assert report.problem is not None
    return report.problem


def test_work_that_hangs_is_ended_and_shows_where(tmp_path: Path) -> None:
    started = hung(tmp_path, HANGS)
    code, report = started.end()
    assert (code, report.outcome, problem(report).reason) == (
        ExitCode.FAILED,
        Outcome.FAILED,
        "ProgressDeadlineExceeded",
    )
    assert "no progress for 2 seconds while reading a mount" in problem(report).message
    assert "progressDeadline" in problem(report).remedy
    assert started.errors.count("in read_the_mount") == 2, started.errors
    assert started.errors.index("The stacks") < started.errors.index("read_the_mount")


def test_work_that_moves_is_left_alone(tmp_path: Path) -> None:
    assert hung(tmp_path, MOVES + LATE, deadline="5").end() == (0, DONE)


def test_without_a_deadline_nothing_is_ended(tmp_path: Path) -> None:
    started = Started(tmp_path, READS + "time.sleep(3);" + LATE)
    assert started.end() == (0, DONE)


def test_work_that_never_began_to_tell(tmp_path: Path) -> None:
    _, report = silent(tmp_path).end()
    assert "while starting" in problem(report).message


def test_work_that_was_stopped(tmp_path: Path) -> None:
    started = hung(tmp_path, TELLS + "os.kill(os.getpid(), signal.SIGSTOP)")
    assert problem(started.end()[1]).reason == "ProgressDeadlineExceeded"


def test_a_word_that_was_left_counts_though_the_program_does_not_end(tmp_path: Path) -> None:
    assert hung(tmp_path, READS + LATE + "read_the_mount()").end() == (0, DONE)


def test_what_an_earlier_work_told_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "progress").write_text(f"{os.getpid()} reading")
    _, report = silent(tmp_path).end()
    assert "while starting" in problem(report).message


def test_memory_is_the_cause_when_the_kernel_has_killed_what_is_waited_for(tmp_path: Path) -> None:
    counter = tmp_path / "cgroup" / "memory.events"
    counter.parent.mkdir(parents=True)
    counter.write_text("oom_kill 2\n")
    child = READS + f"pathlib.Path({str(counter)!r}).write_text('oom_kill 3')\nread_the_mount()\n"
    assert hung(tmp_path, child).end()[1].outcome is Outcome.OUT_OF_MEMORY


def test_asked_to_stop_it_has_its_time_for_that(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ignores = f"signal.signal(15, signal.SIG_IGN); pathlib.Path({str(ready)!r}).touch()\n"
    started = hung(tmp_path, READS + ignores + "read_the_mount()", deadline="4", grace=8)
    started.wait_for(ready)
    begun = time.monotonic()
    started.process.terminate()
    assert started.end()[1].outcome is Outcome.TERMINATED
    assert time.monotonic() - begun > 6, "not after the four seconds of its deadline"


def test_asked_to_stop_while_it_shows_where_it_hangs(tmp_path: Path) -> None:
    patch = "import os, signal, threading, time; show = stalls.Watch.show\n"
    patch += "stalls.Watch.show = lambda watch: (os.kill(os.getpid(), signal.SIGTERM), show(watch))\n"
    assert problem(hung(tmp_path, HANGS, patch=patch).end()[1]).reason == "ProgressDeadlineExceeded"


def test_work_that_the_kernel_does_not_let_die_is_left_behind(tmp_path: Path) -> None:
    patch = "parent._send = lambda *_: None; parent.LETTING_GO_SECONDS = 1\n"
    started = hung(tmp_path, READS + "time.sleep(60)", patch=patch)
    try:
        assert started.process.wait(30) == ExitCode.FAILED
        report = Report.parse(started.log.read_text())
        assert report is not None
        assert problem(report).reason == "ProgressDeadlineExceeded"
    finally:
        os.kill(int((tmp_path / "scratch" / "progress").read_text().split()[0]), signal.SIGKILL)
    assert "does not let the work die" in started.end_errors()


class Clock:
    """A clock that is set, and files that change when they are told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, files: int, *, meets: bool = False) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.files = tuple(folder / str(number) for number in range(files))
        self.watch = Watch(60, self.files, meets)
        self.watch.begin()

    def passes(self, seconds: int, moves: int | None = None) -> bool:
        """Let seconds pass, and one process tell each of them; return whether the work has stalled."""
        stalled = False
        for _ in range(seconds):
            self.now += 1.0
            if moves is not None:
                self.files[moves].write_text("1 x")
                os.utime(self.files[moves], (self.now, self.now))
            stalled = stalled or self.watch.stalled()
        return stalled


def test_one_process_of_several_that_moves_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tmp_path, monkeypatch, files=3)
    for number in (0, 1, 2):
        assert not clock.passes(1, moves=number)
    assert not clock.passes(300, moves=1)
    assert not clock.passes(59)
    assert clock.passes(2)


def test_processes_that_wait_to_meet_others_have_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tmp_path, monkeypatch, files=2, meets=True)
    assert not clock.passes(500)
    assert not clock.passes(1, moves=1)
    assert clock.passes(61)


def test_one_that_works_alone_has_begun_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tmp_path, monkeypatch, files=1)
    assert not clock.passes(58)
    assert clock.passes(3)


def test_the_time_in_which_the_pod_was_frozen_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tmp_path, monkeypatch, files=1)
    assert not clock.passes(10, moves=0)
    clock.now += 3600
    assert not clock.watch.stalled()
    assert clock.passes(60)


def test_a_clock_that_is_set_back_is_no_progress_and_no_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tmp_path, monkeypatch, files=1)
    assert not clock.passes(10, moves=0)
    os.utime(clock.files[0], (1, 1))
    assert not clock.passes(59)
    assert clock.passes(2)


def test_several_processes_are_told_of_in_one_sentence(tmp_path: Path) -> None:
    watch = Watch(1800, tuple(tmp_path / str(number) for number in range(4)))
    for number, words in enumerate(("publishing", "waiting for process 0", "waiting for process 0")):
        (tmp_path / str(number)).write_text(f"{100 + number} {words}   ")
    assert watch.processes() == [100, 101, 102]
    expected = "no progress for 30 minutes while publishing and waiting for process 0; it was ended."
    assert watch.problem().message == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1, "1 second"),
        (90, "90 seconds"),
        (60, "1 minute"),
        (5400, "90 minutes"),
        (3600, "1 hour"),
        (86400, "24 hours"),
    ],
)
def test_a_length_of_time_in_words(seconds: int, expected: str) -> None:
    assert stalls.length(seconds) == expected


@pytest.mark.parametrize(("given", "expected"), [("60", 60), ("", None), ("30m", None)])
def test_the_deadline_that_is_told(given: str, expected: int | None) -> None:
    assert stalls.deadline_of({DEADLINE_VARIABLE: given}) == expected
    assert stalls.deadline_of({}) is None


STALLED = Problem(reason="ProgressDeadlineExceeded", message="x")
LOST = Report(outcome=Outcome.PEER_LOST, problem=Problem(reason="PeerLost", message="x"))


def test_that_others_are_gone_does_not_hide_that_all_hung() -> None:
    judged = parent.judged(LOST, -9, asked=False, killed=False, stalled=STALLED)
    assert judged.problem == STALLED
    assert parent.judged(LOST, 1, asked=False, killed=False) == LOST
