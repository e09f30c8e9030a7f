"""One process among those that train together: what they agree on, and how all of them end when one does.

torch's own answer to the end of a process is an error, or none, in all others. Here the first that ends tells all why,
through the store in which torchrun had them meet; who ends without a word is missed by its beats.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

from stagecoach.contract import progress
from stagecoach.contract.reports import Outcome, Problem, Report
from stagecoach_trainer import launch
from stagecoach_trainer.interruption import Request

BEAT_SECONDS = 1.0
# A process whose beats stop for this long is gone, even if the network does not say so.
SILENT_SECONDS = 60.0
# A process that has begun imports its libraries before it gives its first beat.
FIRST_BEAT_SECONDS = 300.0
# Who only knows that another one is gone lets it end first, so that the cause is seen before its effects.
LINGER_SECONDS = 10.0
# As long as the last acts of a process may take that ends by the word of another one.
LAST_ACTS_SECONDS = 10.0
# As long as rank 0 may take for something that all wait for, such as a checkpoint.
PATIENCE = timedelta(hours=2)
OVER = "over"


class Members:
    """A process that trains alone: everything is agreed."""

    rank = 0
    size = 1
    leads = True  # publishes, saves and tells
    leads_node = True

    def meet(self) -> None:
        """Prepare to agree; everybody does at the same point, when torch has connected all."""

    def highest(self, value: int) -> int:
        """Return the highest of what all processes say."""
        return value

    def each(self, value: float) -> tuple[float, ...]:
        """Return what each process says."""
        return (value,)

    def total(self, value: float) -> float:
        """Return the sum of what all processes say."""
        return sum(self.each(value))

    def first(self, _name: str, make: Callable[[], str]) -> str:
        """Return what the first process makes, to all."""
        return make()

    def once_per_node(self, _name: str, make: Callable[[], str]) -> str:
        """Return what the first process of each pod makes, to all of that pod."""
        return make()

    def collect(self, _name: str, _content: Callable[[], bytes]) -> dict[int, bytes]:
        """Return, to the first process, the content that each of the others has."""
        return {}

    def index_of(self, _rank: int) -> int | None:
        """Return the index of the pod in which a process is, where there are several."""
        return None

    def part(self, _request: Request) -> None:
        """Go on alone if this is the first process: the others have done their part and wait for its word."""

    def at_word(self, _act: Callable[[Report], object]) -> None:
        """Have this done when the word of another process ends this one: nothing that it began is unwound then."""


ALONE = Members()


class Joined(Members):
    """A process that torchrun has started."""

    def __init__(self, leave: Callable[[Report], None]) -> None:
        environment = os.environ
        self.rank, self.size = int(environment[launch.RANK]), int(environment["WORLD_SIZE"])
        self.leads, self.leads_node = self.rank == 0, environment[launch.LOCAL_RANK] == "0"
        self.node = int(environment[launch.NODE])
        self._leave = leave
        self._parent = os.getppid()
        self._ending = threading.Lock()
        self._needs_others = True
        self._last_acts: list[Callable[[Report], object]] = []
        self._beats: dict[int, tuple[bytes, float]] = {}
        self._moved: dict[int, int] = {}
        # Connections of their own: a process that waits for a key keeps its connection busy.
        self._store, self._watched = _store(PATIENCE), _store(timedelta(seconds=SILENT_SECONDS))
        self._control: Any = None
        self._joined = time.monotonic()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    # What they agree on.

    def meet(self) -> None:
        """Connect for numbers that are agreed, apart from what torch connects for the training."""
        from torch import distributed

        self._control = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def highest(self, value: int) -> int:
        """Return the highest of what all processes say."""
        return int(max(self.each(value)))

    def each(self, value: float) -> tuple[float, ...]:
        """Return what each process says."""
        import torch
        from torch import distributed

        own = torch.tensor([value], dtype=torch.float64)
        found = [torch.zeros_like(own) for _ in range(self.size)]
        distributed.all_gather(found, own, group=self._control)
        return tuple(float(each) for each in found)

    def first(self, name: str, make: Callable[[], str]) -> str:
        """Return what the first process makes, to all."""
        return self._shared(f"first/{name}", make, makes=self.leads)

    def once_per_node(self, name: str, make: Callable[[], str]) -> str:
        """Return what the first process of each pod makes, to all of that pod."""
        return self._shared(f"node/{self.node}/{name}", make, makes=self.leads_node)

    def collect(self, name: str, content: Callable[[], bytes]) -> dict[int, bytes]:
        """Return, to the first process, the content that each of the others has."""
        if not self.leads:
            self._store.set(f"each/{name}/{self.rank}", content())
            return {}
        found = {}
        for rank in range(1, self.size):
            found[rank] = self._store.get(key := f"each/{name}/{rank}")
            self._store.delete_key(key)
        return found

    def index_of(self, rank: int) -> int | None:
        """Return the index of the pod in which a process is."""
        return rank // int(os.environ[launch.PER_NODE])

    def part(self, request: Request) -> None:
        """Go on alone if this is the first process; another one waits here for its word, which ends it.

        The work of another pod is done: asked to stop, it leaves. A process of the first pod stays, for what the pod
        tells is what was published.
        """
        self._needs_others = False
        if not self.leads:
            progress.begins("waiting for process 0")
        while not self.leads:
            if request.asked and self.node:
                self._ending.acquire()
                self._go(Report(outcome=Outcome.DONE))
            time.sleep(BEAT_SECONDS)  # the word of the first process ends this one

    def at_word(self, act: Callable[[Report], object]) -> None:
        """Have this done, from a thread, when the word of another process ends this one."""
        self._last_acts.append(act)

    def _shared(self, key: str, make: Callable[[], str], *, makes: bool) -> str:
        if makes:
            self._store.set(key, made := make())
            return made
        return str(self._store.get(key).decode())

    # How they end.

    def end(self, report: Report) -> Report:
        """Tell all how this process ended, and return what it has to report: what the first one told."""
        if report.outcome is Outcome.PEER_LOST:
            time.sleep(LINGER_SECONDS)  # a word that comes meanwhile ends this process
        self._ending.acquire()
        told = report if report.outcome in (Outcome.DONE, Outcome.PREEMPTED) else self._from_here(report)
        try:
            first = self._watched.compare_set(OVER, "", told.line()).decode()
            if first == told.line():
                self._await_hearers()
            return Report.parse(first) or told
        except Exception:  # torch's errors of a store that is gone: there is nobody to tell
            return told

    def _from_here(self, report: Report) -> Report:
        return report if report.index is not None else report.model_copy(update={"index": self.node})

    def _await_hearers(self) -> None:
        # The store ends with the first process; and errors come as soon as a process ends.
        until = time.monotonic() + LINGER_SECONDS
        while self._watched.add("heard", 0) < self.size - 1 and time.monotonic() < until:
            time.sleep(0.1)

    def _watch(self) -> None:
        while True:
            try:
                lost = self._look()
            except Exception as error:  # torch's errors of a store that is gone
                lost = f"process 0 cannot be reached: {error}"
            if os.getppid() != self._parent:
                os._exit(1)  # nobody waits for what it does
            if lost and (self._needs_others or not self.leads):
                self._miss(lost)
            time.sleep(BEAT_SECONDS)

    def _look(self) -> str:
        """Give a beat, hear what is told, and return who is missed; the first process misses all, the others it."""
        moved = progress.count() + (sum(self._moved.values()) if self.leads else 0)
        self._watched.set(f"beat/{self.rank}", f"{time.monotonic()} {moved}")
        self._hear()
        others = range(1, self.size) if self.leads else (0,)
        silent = [str(rank) for rank in others if self._silent(rank)]
        return f"process {', '.join(silent)} gave no sign of life for {SILENT_SECONDS:.0f} seconds." if silent else ""

    def _hear(self) -> None:
        if not self._watched.check([OVER]):
            return
        report = Report.parse(self._watched.get(OVER).decode())
        if self._ending.acquire(blocking=False):
            with suppress(Exception):  # torch's errors of a store that went with who has told it
                self._watched.add("heard", 1)
            self._go(report or Report(outcome=Outcome.FAILED))

    def _silent(self, rank: int) -> bool:
        key, now = f"beat/{rank}", time.monotonic()
        if not self._watched.check([key]):
            return now - self._joined > FIRST_BEAT_SECONDS
        beat: bytes = self._watched.get(key)
        self._note(rank, int(beat.split()[1]))
        before, since = self._beats.get(rank, (b"", now))
        self._beats[rank] = (beat, since if beat == before else now)
        return now - self._beats[rank][1] > SILENT_SECONDS

    def _note(self, rank: int, moved: int) -> None:
        """Note how far another process is: this one may be waiting for it. The first one's number stands for all."""
        if self._moved.get(rank) != moved:
            self._moved[rank] = moved
            progress.heard()

    def _miss(self, words: str) -> None:
        """End because another process is gone, unless the cause is heard of meanwhile."""
        self._go(self.end(peer_lost(words)))

    def _go(self, report: Report) -> NoReturn:
        self._leave(report)
        self._act(report)
        os._exit(exit_code(report))

    def _act(self, report: Report) -> None:
        """Do the last acts, each in a thread of its own: none can hold up the end, nor the others by its failure."""
        acts = [threading.Thread(target=act, args=(report,), daemon=True) for act in self._last_acts]
        for act in acts:
            act.start()
        until = time.monotonic() + LAST_ACTS_SECONDS
        for act in acts:
            act.join(max(0.0, until - time.monotonic()))


def exit_code(report: Report) -> int:
    """Return what torchrun is to think of a process; what happened is in its report."""
    return 0 if report.outcome is Outcome.DONE else 1


def peer_lost(words: str) -> Report:
    """Return the report of a process that ends because another one did."""
    message = f"the connection to another process of the same training broke: {words}"
    remedy = "The pod that ended first may say why."
    return Report(outcome=Outcome.PEER_LOST, problem=Problem.of("PeerLost", message, remedy=remedy))


def is_of_a_peer(error: Exception) -> bool:
    """Whether an error only says that the connection to another process broke."""
    from torch import distributed

    # Errors of gloo are RuntimeErrors; that they name its source is all that they have in common.
    return isinstance(error, distributed.DistError) or "/gloo/" in str(error)


def _store(timeout: timedelta) -> Any:
    from torch import distributed

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timeout)
    return distributed.PrefixStore("stagecoach", store)
