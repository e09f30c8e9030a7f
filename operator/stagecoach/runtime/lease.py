"""Leadership by a Lease: at most one process acts.

Not kubernetes.aio.leaderelection: it measures by the wall clock, which steps, writes local times without a zone, has
no margin between the end of the leader's right and the start of the next one's, and never gives a lease back.

Nobody's clock is compared with anybody else's: a candidate waits until it has seen the same record for a whole lease
duration by its own clock; a leader counts from before it sent the renewal that succeeded and stops before the end.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stagecoach.contract.times import timestamp
from stagecoach.kinds.plan import Object
from stagecoach.runtime import metrics
from stagecoach.runtime.client import Client
from stagecoach.runtime.clock import boot_time
from stagecoach.runtime.errors import AlreadyExists, ApiError, Conflict, Fenced, Forbidden, NotFound
from stagecoach.runtime.resources import LEASES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """Seconds; the right to write ends `duration - deadline` before anybody else may begin."""

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0

    @classmethod
    def of(cls, duration: float) -> "Timing":
        """Return the proportions that client-go has proven, for another duration."""
        return cls(duration, duration * 2 / 3, duration * 2 / 15)


class Leadership:
    """Whether this process may write now. Asked before every write."""

    def __init__(self, clock: Callable[[], float] = boot_time) -> None:
        self._clock = clock
        self._until = 0.0
        self.gained = asyncio.Event()

    def valid(self) -> bool:
        """Whether the right to write still holds; noticing that it ended ends it for all."""
        if self.gained.is_set() and self._clock() >= self._until:
            logger.warning(
                "leadership lost: the Lease was not renewed in time; nothing is written until it is held again"
            )
            self.end()
        return self.gained.is_set()

    def check(self) -> None:
        """Raise Fenced when this process must not write."""
        if not self.valid():
            raise Fenced("not the leader")

    def extend(self, until: float) -> None:
        """Grant the right to write up to this time of the clock."""
        self._until = until
        self.gained.set()
        metrics.LEADER.set(1)

    def end(self) -> None:
        """Take the right to write away."""
        self.gained.clear()
        metrics.LEADER.set(0)


class Elector:
    """Acquires the lease, renews it, gives it back."""

    def __init__(
        self,
        client: Client,
        leadership: Leadership,
        *,
        namespace: str,
        name: str,
        identity: str,
        on_gained: Callable[[], None] = lambda: None,
        timing: Timing | None = None,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._client = client
        self._leadership = leadership
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._on_gained = on_gained
        self._timing = timing or Timing()
        self._duration = self._timing.duration  # how long the Lease holds when it is not renewed
        self._clock = clock
        self._seen: tuple[str, float] = ("", 0.0)  # the version last seen, and when first
        self._title = f"Lease {namespace}/{name}"  # how it is called in the log
        self._holder = ""  # another process that held it when it was last looked at
        self._told = ""  # the one of which the log says that it is waited for
        self._how = ""  # the words for how it was got

    async def run(self) -> None:
        """Try to get or to keep the lease, for ever."""
        while True:
            await self.tick()
            await asyncio.sleep(self._timing.retry * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    async def tick(self) -> None:
        """Try once."""
        began = self._clock()
        try:
            async with asyncio.timeout(self._timing.deadline / 2):
                held = await self._acquire(began)
        except (Conflict, AlreadyExists):
            held = False  # somebody was faster; the next look tells who
        except (ApiError, TimeoutError) as error:
            self._failed(error)
            return
        if held:
            self._hold(began)
            return
        if self._leadership.gained.is_set():
            logger.warning("leadership lost: %s holds the %s", self._holder or "another process", self._title)
            self._leadership.end()
        self._wait()

    async def release(self) -> None:
        """Give the lease back, so that the next leader need not wait for its end."""
        if not self._leadership.gained.is_set():
            return
        self._leadership.end()
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.update(LEASES, self._namespace, self._name, lease)
                logger.info("the %s is given back", self._title)
        except ApiError as error:
            logger.warning("the %s is not given back, it will run out: %s", self._title, error)

    def _hold(self, began: float) -> None:
        was_leading = self._leadership.valid()
        self._leadership.extend(began + self._timing.deadline)
        self._told = ""
        if not was_leading and self._leadership.valid():
            logger.info("leading: %s", self._how, extra={"lease": self._name, "identity": self._identity})
            self._on_gained()

    def _failed(self, error: Exception) -> None:
        """Tell that the Lease could not be asked for; it is tried again, and only a missing right needs somebody."""
        level = logging.ERROR if isinstance(error, Forbidden) else logging.WARNING
        what = "not renewed" if self._leadership.valid() else "not to be had"
        logger.log(level, "%s %s, will be tried again: %s", self._title, what, str(error) or "no answer")

    def _wait(self) -> None:
        """Tell once for each holder that it is waited for."""
        if self._holder in ("", self._told):
            return
        self._told = self._holder
        logger.info(
            "waiting for the %s: %s holds it, until it gives it back or does not renew it for %g seconds",
            *(self._title, self._holder, self._duration),
            extra={"lease": self._name, "holder": self._holder, "identity": self._identity},
        )

    async def _acquire(self, now: float) -> bool:
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
        except NotFound:
            await self._client.create(LEASES, self._namespace, self._fresh())
            self._how = f"made the {self._title}"
            return True
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        self._holder = holder if holder != self._identity else ""
        # The holder's own duration counts: its settings may differ from ours.
        self._duration = float(spec.get("leaseDurationSeconds") or self._timing.duration)
        if self._holder and not self._run_out(lease, now):
            return False
        lease["spec"] = spec | self._record(spec, taken=holder != self._identity)
        # The version in the body is the guard: of two candidates one gets a conflict.
        await self._client.update(LEASES, self._namespace, self._name, lease)
        self._how = self._taken_from(holder)
        return True

    def _taken_from(self, holder: str) -> str:
        if holder == self._identity:
            return f"the {self._title} is still ours"
        if not holder:
            return f"took the {self._title}, which nobody held"
        return f"took the {self._title} from {holder}, which had not renewed it for {self._duration:g} seconds"

    def _run_out(self, lease: Object, now: float) -> bool:
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, now)
        return now - self._seen[1] >= self._duration

    def _record(self, spec: Object, *, taken: bool) -> dict[str, Any]:
        # These times are for people who read the Lease; nothing is decided by them.
        now = timestamp(datetime.now(UTC), "microseconds")
        record = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._timing.duration),
            "renewTime": now,
        }
        if taken:
            record |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        return record

    def _fresh(self) -> Object:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._record({}, taken=True),
        }
