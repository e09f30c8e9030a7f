"""The container's first process: it starts the work, passes signals on, ends it if it hangs, and has the last word.

The work is a child, so that neither the kernel's killer nor a crash in a library leaves the operator without a Report.
(On control groups of version 2 the kubelet has the kernel kill both at once; then the pod's own status says OOMKilled.)
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from stagecoach.contract.jobs import GRACE_SECONDS, Group
from stagecoach.contract.reports import TERMINATION_LOG, ExitCode, Outcome, Problem, Report
from stagecoach_trainer import cgroup, launch, places, stalls, termination
from stagecoach_trainer.stalls import Watch

COMMAND = (sys.executable, "-m", "stagecoach_trainer.work")
# Of the pod's grace period: the work that has not ended by then is ended, and there is still time to say so.
LAST_WORD_SECONDS = 10
LOOK_SECONDS = 0.2
# Of a work that was killed: a process that waits for some mounts and devices dies only when these answer.
LETTING_GO_SECONDS = 5.0
CODES = {
    Outcome.DONE: ExitCode.DONE,
    Outcome.BAD_INPUT: ExitCode.BAD_INPUT,
    Outcome.SERVICE_FAILED: ExitCode.SERVICE_FAILED,
    Outcome.PREEMPTED: ExitCode.PREEMPTED,
}


@dataclass
class _Child:
    """The process that works, and what was done to it."""

    grace: int
    watch: Watch
    process: subprocess.Popen[bytes] | None = None
    asked: bool = False
    stalled: Problem | None = None
    killed_at: float | None = None

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Ask the work to stop, once; end it when it does not."""
        if not self.asked:
            self.asked = True
            signal.alarm(self.grace)
            self._send(signal.SIGTERM)

    def end(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """End the work and all that it started: each process of several leads a group of its own."""
        self.killed_at = self.killed_at or time.monotonic()
        for leader in self.watch.processes():
            _send(leader, signal.SIGKILL)
        self._send(signal.SIGKILL)

    def look(self) -> None:
        """End a work that has made no progress for too long. Once it is asked to stop, it has its time for that."""
        if self.asked or self.killed_at or not self.watch.stalled():
            return
        self.stalled = self.watch.problem()
        stalls.say(self.stalled)
        self.watch.show()
        self.end()

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start the work in a process group of its own and return its id."""
        self.process = subprocess.Popen(list(command), env=dict(environment), start_new_session=True)  # noqa: S603
        if self.asked:
            self._send(signal.SIGTERM)
        return self.process.pid

    def _send(self, number: int) -> None:
        if self.process is not None:
            _send(self.process.pid, number)


def _send(leader: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def run(
    environment: Mapping[str, str] = os.environ,
    command: Sequence[str] = COMMAND,
    grace: int = GRACE_SECONDS["Train"] - LAST_WORD_SECONDS,
) -> int:
    """Run the work to its end, write the termination message, and return the exit code.

    Once it is asked to stop, the work has `grace` seconds.
    """
    group, beats = launch.group_of(environment), places.scratch() / "progress"
    files = [beats] if group is None else [launch.own_file(beats, rank) for rank in range(group.processes)]
    child = _Child(grace, Watch(stalls.deadline_of(environment), tuple(files), meets=group is not None))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, child.stop)
    signal.signal(signal.SIGALRM, child.end)
    kills = cgroup.oom_kills()
    try:
        report = _worked(child, group, command, {**environment, places.PROGRESS_VARIABLE: str(beats)}, kills)
    finally:
        signal.alarm(0)
    if report.outcome is Outcome.DONE and launch.index_of(environment):
        return int(ExitCode.DONE)  # the pod of index 0 tells what was done
    text = termination.message(report)
    told = Report.parse(text) or report
    _tell(told, text, Path(environment.get(places.TERMINATION_LOG_VARIABLE, TERMINATION_LOG)))
    return int(CODES.get(told.outcome, ExitCode.FAILED))


def _worked(
    child: _Child, group: Group | None, command: Sequence[str], environment: Mapping[str, str], kills: int
) -> Report:
    place = places.scratch() / "report.json"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        child.watch.begin()
    except OSError as error:
        message = f"the scratch folder cannot be written: {error}"
        remedy = f"Mount a writable emptyDir at {place.parent}."
        return Report(outcome=Outcome.FAILED, problem=Problem.of("ScratchUnusable", message, remedy=remedy))
    told = {**environment, places.REPORT_VARIABLE: str(place)}
    if group:
        report, status = _worked_together(child, group, command, told, place)
    else:
        status = _reap(child, child.start(command, told))
        report = _read(place)
    killed = cgroup.oom_kills() > kills
    if group and killed and report is None:
        status = -signal.SIGKILL  # of one of its processes; torchrun's own status does not tell
    return judged(report, status, asked=child.asked, killed=killed, stalled=child.stalled)


def _worked_together(
    child: _Child, group: Group, command: Sequence[str], environment: Mapping[str, str], place: Path
) -> tuple[Report | None, int]:
    """Have torchrun start this pod's processes, and return what they come to, and its status."""
    files = [launch.own_file(place, rank) for rank in range(group.processes)]
    for file in files:
        file.unlink(missing_ok=True)
    started = launch.command(group, launch.index_of(environment), command, child.grace)
    status = _reap(child, child.start(started, environment), lambda: all(map(_read, files)))
    begun = any(file.exists() for file in files)
    if child.asked and not begun:
        return None, status
    return launch.together([_read(file) for file in files], group, begun=begun, asked=child.asked), status


def _reap(child: _Child, pid: int, done: Callable[[], bool] = lambda: False) -> int:
    """Wait for the work, and for whatever else ends meanwhile; return its exit code, or minus its signal.

    It is ended when it hangs, or goes on for long after it is `done`; when it outlives even that, it is left behind.
    """
    since: float | None = None
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if ended:
            continue
        if child.killed_at and time.monotonic() - child.killed_at > LETTING_GO_SECONDS:
            print("the kernel does not let the work die: it is left behind", file=sys.stderr, flush=True)
            return -signal.SIGKILL
        time.sleep(LOOK_SECONDS)
        child.look()
        since = since or (time.monotonic() if done() else None)
        if since and time.monotonic() - since > launch.PARTING_SECONDS:
            child.end()


def _read(place: Path) -> Report | None:
    try:
        return Report.parse(place.read_text())
    except (OSError, ValueError):
        return None


def judged(report: Report | None, status: int, *, asked: bool, killed: bool, stalled: Problem | None = None) -> Report:
    """Return the Report of a work that ended with this status (minus a signal's number).

    A report is written as the work's last act, so it counts even if the interpreter failed after it. Without one
    nothing counts as done.
    """
    if report is not None and not (stalled and report.outcome is Outcome.PEER_LOST):
        return report
    if status == -signal.SIGKILL and killed:
        message = "the kernel killed the work because it needed more memory than the container may use."
        # What gives the work more memory depends on whose Job it is: the operator knows.
        return Report(outcome=Outcome.OUT_OF_MEMORY, problem=Problem.of("OutOfMemory", message))
    if stalled:
        return Report(outcome=Outcome.FAILED, problem=stalled)
    if asked or status == -signal.SIGTERM:
        problem = Problem.of("Terminated", "the pod was asked to stop before the work was done.")
        return Report(outcome=Outcome.TERMINATED, problem=problem)
    remedy = "See the pod's log."
    if status < 0:
        name = signal.Signals(-status).name
        problem = Problem.of("WorkKilled", f"the work was ended by {name} and left no report.", remedy=remedy)
    else:
        problem = Problem.of("WorkSilent", f"the work ended with code {status} and left no report.", remedy=remedy)
    return Report(outcome=Outcome.FAILED, problem=problem)


def _tell(report: Report, text: str, log: Path) -> None:
    sentence = report.problem.sentence if report.problem else ""
    print(f"{report.outcome}: {sentence}" if sentence else str(report.outcome), file=sys.stderr, flush=True)
    try:
        log.write_text(text)
    except OSError as error:
        print(f"the termination message was not written: {error}", file=sys.stderr)
