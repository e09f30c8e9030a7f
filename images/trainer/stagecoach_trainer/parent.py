"""The container's first process: it starts the work, passes signals on, and has the last word.

The work is a child, so that neither the kernel's killer nor a crash in a library leaves the operator without a Report.
(On control groups of version 2 the kubelet has the kernel kill both at once; then the pod's own status says OOMKilled.)
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from stagecoach.contract.jobs import GRACE_SECONDS, Group
from stagecoach.contract.reports import TERMINATION_LOG, ExitCode, Outcome, Problem, Report
from stagecoach_trainer import cgroup, launch, places, termination

COMMAND = (sys.executable, "-m", "stagecoach_trainer.work")
# Of the pod's grace period: the work that has not ended by then is ended, and there is still time to say so.
LAST_WORD_SECONDS = 10
CODES = {
    Outcome.DONE: ExitCode.DONE,
    Outcome.BAD_INPUT: ExitCode.BAD_INPUT,
    Outcome.SERVICE_FAILED: ExitCode.SERVICE_FAILED,
    Outcome.PREEMPTED: ExitCode.PREEMPTED,
}


@dataclass
class _Child:
    """The process that works, and whether it was asked to stop."""

    grace: int
    process: subprocess.Popen[bytes] | None = None
    asked: bool = field(default=False)

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Ask the work to stop, once; end it when it does not."""
        if not self.asked:
            self.asked = True
            signal.alarm(self.grace)
            self._send(signal.SIGTERM)

    def end(self, _number: int, _frame: FrameType | None) -> None:
        """End the work and all that it started."""
        self._send(signal.SIGKILL)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start the work in a process group of its own and return its id."""
        self.process = subprocess.Popen(list(command), env=dict(environment), start_new_session=True)  # noqa: S603
        if self.asked:
            self._send(signal.SIGTERM)
        return self.process.pid

    def _send(self, number: int) -> None:
        if self.process is not None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return


def run(
    environment: Mapping[str, str] = os.environ,
    command: Sequence[str] = COMMAND,
    grace: int = GRACE_SECONDS["Train"] - LAST_WORD_SECONDS,
) -> int:
    """Run the work to its end, write the termination message, and return the exit code.

    Once it is asked to stop, the work has `grace` seconds.
    """
    child = _Child(grace)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, child.stop)
    signal.signal(signal.SIGALRM, child.end)
    kills = cgroup.oom_kills()
    try:
        report = _worked(child, command, environment, kills)
    finally:
        signal.alarm(0)
    if report.outcome is Outcome.DONE and launch.index_of(environment):
        return int(ExitCode.DONE)  # the pod of index 0 tells what was done
    text = termination.message(report)
    told = Report.parse(text) or report
    _tell(told, text, Path(environment.get(places.TERMINATION_LOG_VARIABLE, TERMINATION_LOG)))
    return int(CODES.get(told.outcome, ExitCode.FAILED))


def _worked(child: _Child, command: Sequence[str], environment: Mapping[str, str], kills: int) -> Report:
    place = places.scratch() / "report.json"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
    except OSError as error:
        message = f"the scratch folder cannot be written: {error}"
        remedy = f"Mount a writable emptyDir at {place.parent}."
        return Report(outcome=Outcome.FAILED, problem=Problem.of("ScratchUnusable", message, remedy=remedy))
    told = {**environment, places.REPORT_VARIABLE: str(place)}
    if group := launch.group_of(environment):
        report, status = _worked_together(child, group, command, told, place)
    else:
        status = _reap(child.start(command, told))
        report = _read(place)
    killed = cgroup.oom_kills() > kills
    if group and killed and report is None:
        status = -signal.SIGKILL  # of one of its processes; torchrun's own status does not tell
    return judged(report, status, asked=child.asked, killed=killed)


def _worked_together(
    child: _Child, group: Group, command: Sequence[str], environment: Mapping[str, str], place: Path
) -> tuple[Report | None, int]:
    """Have torchrun start this pod's processes, and return what they come to, and its status."""
    files = [launch.report_file(place, rank) for rank in range(group.processes)]
    for file in files:
        file.unlink(missing_ok=True)
    started = launch.command(group, launch.index_of(environment), command, child.grace)
    status = _reap(child.start(started, environment), lambda: all(map(_read, files)), child)
    begun = any(file.exists() for file in files)
    if child.asked and not begun:
        return None, status
    return launch.together([_read(file) for file in files], group, begun=begun, asked=child.asked), status


def _reap(pid: int, done: Callable[[], bool] | None = None, child: _Child | None = None) -> int:
    """Wait for a child, and for whatever else ends meanwhile; return its exit code, or minus its signal.

    A child that goes on for long after its work is done is ended.
    """
    since: float | None = None
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG if done else 0)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if done is None or ended:
            continue
        time.sleep(0.2)
        since = since or (time.monotonic() if done() else None)
        if child and since and time.monotonic() - since > launch.PARTING_SECONDS:
            child.end(signal.SIGKILL, None)


def _read(place: Path) -> Report | None:
    try:
        return Report.parse(place.read_text())
    except (OSError, ValueError):
        return None


def judged(report: Report | None, status: int, *, asked: bool, killed: bool) -> Report:
    """Return the Report of a work that ended with this status (minus a signal's number).

    A report is written as the work's last act, so it counts even if the interpreter failed after it. Without one
    nothing counts as done.
    """
    if report is not None:
        return report
    if status == -signal.SIGKILL and killed:
        message = "the kernel killed the work because it needed more memory than the container may use."
        # What gives the work more memory depends on whose Job it is: the operator knows.
        return Report(outcome=Outcome.OUT_OF_MEMORY, problem=Problem.of("OutOfMemory", message))
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
