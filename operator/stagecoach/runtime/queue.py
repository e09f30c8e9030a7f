"""The work queue: which object to reconcile next.

A key is in it at most once, runs in one worker at a time, and runs again when it was added while it ran. There are two
lanes: what happened to an object itself goes ahead of what may concern it.
Nothing here waits except `get`; time comes in, so that every rule can be tested without sleeping.
"""

import asyncio
import heapq
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from stagecoach.kinds.plan import Key
from stagecoach.runtime.backoff import Backoff

# Of so many keys that are taken while some wait in both lanes, the last is of the second: neither lane stands still.
SHARE = 8


class QueueClosed(Exception):
    """The queue gives out no more keys."""


class WorkQueue:
    """Keys to work on, deduplicated, with deadlines and a backoff per key."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        backoff: Callable[[], Backoff] = Backoff,
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._new_backoff = backoff
        self._on_wait = on_wait
        self._ready: deque[Key] = deque()
        self._behind: OrderedDict[Key, None] = OrderedDict()  # the second lane
        self._overtaken = 0  # how many were taken from the first lane since the last of the second
        self._added: dict[Key, float] = {}  # since when a key waits, in a lane or for its running self
        self._later: set[Key] = set()  # of these, those of the second lane
        self._running: set[Key] = set()
        self._deadlines: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []  # may hold deadlines that no longer count
        self._sequence = 0  # keys have no order; ties in the heap are broken by this
        self._backoffs: dict[Key, Backoff] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def depth(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._ready) + len(self._behind)

    @property
    def running(self) -> int:
        """How many keys are being worked on."""
        return len(self._running)

    def add(self, key: Key, *, later: bool = False) -> None:
        """Work on this key soon; `later` is for one to which nothing has happened that is known of."""
        if self._closed or (key in self._added and (later or key not in self._later)):
            return
        if key in self._behind:
            del self._behind[key]  # it goes ahead
        self._added[key] = self._clock()
        if later:
            self._later.add(key)
        else:
            self._later.discard(key)
        if key not in self._running:
            self._line_up(key)

    def put_after(self, key: Key, seconds: float) -> None:
        """Work on this key after some seconds; of two deadlines the earlier one counts, until the key runs."""
        if seconds <= 0:
            self.add(key)
            return
        deadline = self._clock() + seconds
        if self._closed or self._deadlines.get(key, float("inf")) <= deadline:
            return
        self._deadlines[key] = deadline
        self._sequence += 1
        heapq.heappush(self._heap, (deadline, self._sequence, key))
        self._compact()
        if self._heap[0][2] == key:
            self._wake()  # whoever sleeps until the deadline that was the first must sleep less

    def retry(self, key: Key, at_least: float = 0.0) -> float:
        """Work on this key after its backoff, which grows until `forget`. Return the delay."""
        delay = self._backoffs.setdefault(key, self._new_backoff()).next(at_least)
        self.put_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Reset a key's backoff: it succeeded, or is gone."""
        self._backoffs.pop(key, None)

    def take(self) -> Key | None:
        """Return a key to work on, or None. The caller owes a `done`."""
        self._promote()
        if self._closed or not self.depth:
            return None
        key = self._next()
        since = self._added.pop(key)
        if key in self._later:
            self._later.discard(key)
        else:
            self._on_wait(self._clock() - since)
        self._running.add(key)
        # What runs now sees everything; it sets its next deadline itself.
        self._deadlines.pop(key, None)
        return key

    def done(self, key: Key) -> None:
        """Say that the work on a key ended; if it was added meanwhile, it is ready again."""
        self._running.discard(key)
        if key in self._added:
            self._line_up(key)

    async def get(self) -> Key:
        """Wait for a key to work on. Raises QueueClosed."""
        while (key := self.take()) is None:
            if self._closed:
                raise QueueClosed
            await self._wait()
        return key

    def close(self) -> None:
        """Give out no more keys. What runs may end."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def next_deadline(self) -> float | None:
        """Return the clock's time at which a key becomes ready by itself."""
        while self._heap and self._deadlines.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _line_up(self, key: Key) -> None:
        if key in self._later:
            self._behind[key] = None
        else:
            self._ready.append(key)
        self._wake()

    def _next(self) -> Key:
        if self._behind and (not self._ready or self._overtaken >= SHARE - 1):
            self._overtaken = 0
            return self._behind.popitem(last=False)[0]
        self._overtaken += bool(self._behind)
        return self._ready.popleft()

    def _compact(self) -> None:
        # Each run drops its key's deadline and leaves the entry: with far deadlines they would pile up.
        if len(self._heap) > 64 + 2 * len(self._deadlines):
            self._heap = [each for each in self._heap if self._deadlines.get(each[2]) == each[0]]
            heapq.heapify(self._heap)

    def _promote(self) -> None:
        now = self._clock()
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            key = heapq.heappop(self._heap)[2]
            del self._deadlines[key]
            self.add(key)

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        deadline = self.next_deadline()
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._clock())):
                await waiter
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if waiter.done():
                self._wake()  # the wake-up was for whoever waits, not for this worker
            raise
        finally:
            self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiter = next((each for each in self._waiters if not each.done()), None)
        if waiter is not None:
            waiter.set_result(None)
