"""Starting, finding and ending long-lived processes.

Every process carries the run directory in its environment, and so do its children. That mark, read
back from /proc, is the only record: there are no pid files that could go stale or name a stranger.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

_RUN = "STAGECOACH_RUN"
_COMPONENT = "STAGECOACH_COMPONENT"
_OWNER = "STAGECOACH_OWNER"
_LINES_OF_A_FAILURE = 20

# Programs that become, or stand for, the component that they were told to start.
WRAPPERS = ("nsenter", "unshare", "sh")


@dataclass(frozen=True)
class Process:
    """A live process that carries the mark."""

    pid: int
    run: str
    component: str
    owner: str
    command: str

    def signal(self, number: signal.Signals) -> None:
        """Signal this very process, even if its pid is taken over by another in this moment."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if _read(self.pid) == self:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


class Processes:
    """The processes of one run directory."""

    def __init__(self, run: Path, *, owner: str = "") -> None:
        self.run = run
        self._owner = owner

    def start(
        self, argv: Sequence[str | Path], *, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        """Start a program in its own session, with its output in its log."""
        component = Path(argv[0]).name
        log = self.log(component)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [*prefix, *(str(part) for part in argv)]
        marks = {_RUN: str(self.run), _COMPONENT: component, _OWNER: self._owner}
        pid = os.posix_spawnp(
            command[0],
            command,
            {**_environment(), **(env or {}), **marks},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        # For an instant within exec a process has no environment, and would seem to have ended.
        while _read(pid) is None and not _has_ended(pid):
            time.sleep(0.001)

    def all(self) -> list[Process]:
        """Every live process of this run, children included."""
        return [process for process in marked() if process.run == str(self.run)]

    def find(self, component: str) -> Process | None:
        """Return the component itself, not its wrappers and children."""
        found = (process for process in self.all() if process.component == process.command == component)
        return next(found, None)

    def end(self, component: str, number: signal.Signals = signal.SIGTERM, *, within: float = 20) -> None:
        """Signal a component, wait for its end, and insist with SIGKILL."""
        self._end(lambda: [process for process in self.all() if process.component == component], number, within)

    def end_all(self) -> None:
        """Kill everything of this run."""
        self._end(self.all, signal.SIGKILL, 20)

    def _end(self, remaining: Callable[[], list[Process]], number: signal.Signals, within: float) -> None:
        deadline = time.monotonic() + within
        for process in remaining():
            process.signal(number)
        # Twice, because a process in the middle of exec is not seen for an instant.
        while left := remaining() or _after_a_moment(remaining):
            for process in left:
                _has_ended(process.pid)
            if time.monotonic() > deadline + within:
                pids = ", ".join(f"{process.component} ({process.pid})" for process in left)
                raise ClusterError(f"These processes do not end, even when killed: {pids}")
            if time.monotonic() > deadline or number == signal.SIGKILL:
                for process in left:
                    process.signal(signal.SIGKILL)
            time.sleep(0.02)

    def _starts_or_runs(self, component: str) -> bool:
        return any(
            process.component == component and process.command in (component, *WRAPPERS) for process in self.all()
        )

    def log(self, component: str) -> Path:
        """Where a component's output goes."""
        return self.run / "logs" / f"{component}.log"

    def wait(self, component: str, ready: Callable[[], bool], *, within: float = 60) -> None:
        """Wait until the component is ready; if it ends or takes too long, raise with its last words."""
        deadline = time.monotonic() + within
        while not ready():
            if not self._starts_or_runs(component):
                raise self.failed(component, "ended")
            if time.monotonic() > deadline:
                raise self.failed(component, f"was not ready within {within:.0f} s")
            time.sleep(0.05)

    def failed(self, component: str, what: str) -> ClusterError:
        """Describe a component's failure by the end of its log."""
        log = self.log(component)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        tail = "\n".join(f"    {line[:400]}" for line in lines[-_LINES_OF_A_FAILURE:])
        return ClusterError(f"{component} {what}. The end of {log}:\n{tail}")


def marked() -> Iterator[Process]:
    """Every live process of any run that this user may see."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _read(int(entry.name))):
            yield process


def this_process() -> str:
    """Name this process so that nobody else is mistaken for it later."""
    return f"{os.getpid()}:{_start_time(os.getpid())}"


def end_orphans() -> None:
    """Kill what processes that were themselves killed have left behind."""
    for process in marked():
        if process.owner and not _is_alive(process.owner):
            process.signal(signal.SIGKILL)


def _environment() -> dict[str, str]:
    # The components talk to each other only, and a proxy cannot reach them.
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _is_alive(owner: str) -> bool:
    pid, _, started = owner.partition(":")
    return _start_time(int(pid)) == started


def _start_time(pid: int) -> str:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return after_name[19]


def _read(pid: int) -> Process | None:
    # The environment of a zombie is empty, so it counts as ended.
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        if _RUN.encode() not in environ:
            return None
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return None
    values = dict(pair.partition("=")[::2] for pair in os.fsdecode(environ).split("\0"))
    if _RUN not in values or not command:
        return None
    return Process(
        pid, values[_RUN], values.get(_COMPONENT, ""), values.get(_OWNER, ""), Path(os.fsdecode(command)).name
    )


def _after_a_moment(remaining: Callable[[], list[Process]]) -> list[Process]:
    time.sleep(0.01)
    return remaining()


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True
