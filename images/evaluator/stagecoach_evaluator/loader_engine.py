"""The engine beside the loader: whether it is there, since which start, and whether it computes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from stagecoach.contract import completions, serving
from stagecoach.contract.loading import Load
from stagecoach.contract.readings import Reads
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_evaluator import server, taking
from stagecoach_evaluator.engine import REQUEST_SECONDS, Away, Client, Refused

LOOK_SECONDS = 1.0
# Of a look, not of an answer.
HEALTH_SECONDS = 30.0
# Whoever asks how much it has to do waits less long than the operator does for an answer.
LOAD_SECONDS = 3.0
# An engine that computes nothing for so long, while somebody waits, hangs. A machine may be busy.
STUCK_SECONDS = 120.0
# Of any model: nobody reads the answer.
PROMPT = (1, 2, 3)


class Engine:
    """Looked at all the time; whoever asks it for an answer does so through this."""

    def __init__(
        self,
        client: Callable[[float], Client],
        name: str,
        see: str,
        changed: Callable[[], None],
        reads: Reads | None = None,
    ) -> None:
        self._client = client  # given how long it waits
        self._reads = reads  # what an encoder makes of a text
        self._name = name  # of what it was started with
        self._see = see
        self._changed = changed  # called when it is there, or is not there any more
        self._lock = threading.Lock()
        self._waiting: dict[object, float] = {}  # since when, by who waits for an answer
        self._computed = 0.0
        self._moved = time.monotonic()  # when it last computed something, as far as that was looked for
        self.seen = time.monotonic()  # when it was last there
        self.start = 0  # another number after each start of the server; 0 while it is not there
        self._starts = 0
        self.version = ""
        self._problem: Problem | None = None  # why it is not there, or of no use
        self.hopeless = False  # it is there, and will never be of use
        self._away("it was not told what to serve yet")

    def ask(self, model: str) -> None:
        """Have a model compute an answer, of which nobody reads more than that it is one.

        Raises Away, Refused and NotNumbers.
        """
        with self._waits():
            client = self._client(REQUEST_SECONDS)
            match self._reads:
                case Reads.LABELS:
                    client.classify(model, [PROMPT])
                case Reads.VECTORS:
                    client.embed(model, PROMPT)
                case None:
                    client.complete(model, PROMPT, completions.probing())
        self._has_moved()

    def forget(self, adapter: str) -> None:
        """Have it not use an adapter any more, if it is there. Raises Away and Refused.

        It reads an adapter again when others took its place in memory. One that is gone by then ends the engine.
        """
        if self.start:
            self._client(HEALTH_SECONDS).unload(adapter)

    def load(self) -> Load:
        """Return how much it has to do. Raises Away and Refused."""
        return self._client(LOAD_SECONDS).load()

    @property
    def problem(self) -> Problem | None:
        """Why no answer can be had, if none can."""
        if self._problem is None and self._hangs():
            message = f"the engine has answered nothing for {STUCK_SECONDS:g} seconds, and computes nothing."
            return Problem.of(serving.LOST, message, remedy=self._see)
        return self._problem

    def look(self) -> None:
        """See whether it is there, and whether it computes while somebody waits."""
        before = self.start
        client = self._client(HEALTH_SECONDS)
        try:
            if self.start:
                client.check_health()
                self.seen = time.monotonic()
                self._look_whether_it_computes(client)
            elif self._name in client.served():
                self._check(client)
        except (Away, Refused) as error:
            self._away(str(error))
        if self.start != before:
            self._changed()

    def _check(self, client: Client) -> None:
        self.version = client.version()
        try:
            taking.check_version(self.version, "the engine")
        except BadInput as error:
            self._problem, self.hopeless = error.problem, True
            return
        self._starts += 1
        self._has_moved()
        self._problem, self.hopeless, self.start = None, False, self._starts

    def _look_whether_it_computes(self, client: Client) -> None:
        if self._waited() < LOOK_SECONDS:
            return
        with suppress(Away, Refused):
            if (computed := client.computed()) != self._computed:
                self._computed = computed
                self._has_moved()

    def _hangs(self) -> bool:
        return min(self._waited(), time.monotonic() - self._moved) > STUCK_SECONDS

    def _waited(self) -> float:
        """Return for how long somebody has waited for an answer; 0 when nobody does."""
        with self._lock:
            since = min(self._waiting.values(), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def _has_moved(self) -> None:
        self._moved = time.monotonic()

    def _away(self, why: str) -> None:
        number = len(server.starts())
        if self._starts:
            reason, message = serving.LOST, f"the engine does not answer any more: {why}."
        else:
            reason, message = serving.NOT_READY, f"the engine does not answer yet: {why}."
        if number > 1:
            message += f" It was started {number} times."
        self._problem, self.hopeless, self.start = Problem.of(reason, message, remedy=self._see), False, 0

    @contextmanager
    def _waits(self) -> Iterator[None]:
        who = object()
        with self._lock:
            self._waiting[who] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[who]
