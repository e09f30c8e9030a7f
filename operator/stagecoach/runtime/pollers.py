"""Facts about pods that are in no object: progress lines from their logs, and the kubelet's complaints."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from stagecoach.contract.reports import Progress, ProgressLine
from stagecoach.kinds.controller import REPORTS_PROGRESS
from stagecoach.kinds.plan import Object
from stagecoach.policies.pods import CONTAINER, INDEX
from stagecoach.runtime import metrics
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import ApiError
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.lease import Leadership
from stagecoach.runtime.resources import EVENTS

logger = logging.getLogger(__name__)

TICK = 1.0
CONCURRENT = 8
# Requests per second of one poller: with more pods each is asked less often.
RATE = 20
PROGRESS_SECONDS = 10.0
PROGRESS_LINES = 5
WARNING_SECONDS = 15.0
# A pod that starts in this time has nothing to say.
WARNING_GRACE = 5.0
WARNING_LENGTH = 500
LONGEST_SECONDS = 120.0


class Fact(Protocol):
    """One sort of fact: of which pods, how often, and how to get it."""

    name: str
    seconds: float
    grace: float

    def concerns(self, pod: Object) -> bool:
        """Whether the pod is asked about now."""

    async def fetch(self, pod: Object) -> bool:
        """Ask, remember; return whether the fact has changed."""

    def leave(self, pod_uid: str) -> bool:
        """Forget about a pod that is no longer asked about; return whether that changes a fact."""


class Poller:
    """Asks about pods in turn, bounded in number and rate, while this process leads."""

    def __init__(
        self,
        fact: Fact,
        cache: Cache,
        intake: Intake,
        leadership: Leadership,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fact = fact
        self._cache = cache
        self._intake = intake
        self._leadership = leadership
        self._clock = clock
        self._sleep = sleep
        self._next: dict[str, float] = {}  # pod uid: when to ask
        self._failures: dict[str, int] = {}
        self._resumes = 0.0  # the server wants nothing more to be asked before
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            await self._leadership.gained.wait()
            began = self._clock()
            await self.tick()
            await self._sleep(max(0.1, TICK - (self._clock() - began)))

    async def tick(self) -> None:
        """Ask about the pods whose turn it is, those who wait longest first."""
        now = self._clock()
        pods = {pod["metadata"]["uid"]: pod for pod in self._cache.live() if self._fact.concerns(pod)}
        for uid in self._next.keys() - pods.keys():
            self._leave(uid)
        for uid in pods.keys() - self._next.keys():
            self._next[uid] = now + self._fact.grace
        due = sorted((at, uid) for uid, at in self._next.items() if at <= now)
        await asyncio.gather(*(self._ask(uid, pods[uid]) for _, uid in due[: int(RATE * TICK)]))

    async def _ask(self, uid: str, pod: Object) -> None:
        async with self._slots:
            if self._clock() < self._resumes:
                return  # it stays due
            try:
                changed = await self._fact.fetch(pod)
            except ApiError as error:
                self._failed(uid, error)
                return
        self._failures.pop(uid, None)
        self._schedule(uid, self._fact.seconds)
        if changed:
            self._intake.wake_owner(pod)

    def _failed(self, uid: str, error: ApiError) -> None:
        metrics.FACTS_FAILED.labels(self._fact.name).inc()
        self._failures[uid] = failures = self._failures.get(uid, 0) + 1
        self._schedule(uid, min(LONGEST_SECONDS, self._fact.seconds * 2 ** min(failures, 8)))
        self._resumes = max(self._resumes, self._clock() + error.retry_after)
        logger.debug("no %s: %s", self._fact.name, error, extra={"pod_uid": uid})

    def _schedule(self, uid: str, seconds: float) -> None:
        self._next[uid] = self._clock() + seconds * random.uniform(0.9, 1.1)  # noqa: S311 - no secret

    def _leave(self, uid: str) -> None:
        del self._next[uid]
        self._failures.pop(uid, None)
        pod = self._cache.pod(uid)
        if self._fact.leave(uid) and pod is not None:
            self._intake.wake_owner(pod)


class ProgressFact:
    """The last progress line in the log of a running pod."""

    name = "progress"
    seconds = PROGRESS_SECONDS
    grace = 0.0

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    def concerns(self, pod: Object) -> bool:
        """Running pods that say that they report; of several, that of index 0 does."""
        labels = pod["metadata"].get("labels") or {}
        return labels.get(INDEX, "0") == "0" and REPORTS_PROGRESS in labels and pod["status"].get("phase") == "Running"

    async def fetch(self, pod: Object) -> bool:
        """Read the end of the log. A log without a progress line leaves the fact to grow old."""
        metadata = pod["metadata"]
        log = await self._client.pod_log(metadata["namespace"], metadata["name"], CONTAINER, PROGRESS_LINES)
        progress = last_progress(log)
        return progress is not None and self._cache.set_progress(metadata["uid"], progress)

    def leave(self, _pod_uid: str) -> bool:
        """Progress is kept until it is too old: it says how far a run came."""
        return False


class WarningFact:
    """The newest Warning event about a pod that has a node and does not start, or a Job that gets no pod."""

    name = "warning"
    seconds = WARNING_SECONDS
    grace = WARNING_GRACE

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    def concerns(self, pod: Object) -> bool:
        """Jobs, and pods on a node that are Pending or have a waiting container."""
        if pod["kind"] == "Job":
            return True
        status = pod["status"]
        on_node = bool(pod["spec"].get("nodeName"))
        return on_node and (status.get("phase") == "Pending" or _has_waiting(status))

    async def fetch(self, pod: Object) -> bool:
        """List the pod's warnings and remember the newest."""
        metadata = pod["metadata"]
        fields = f"involvedObject.uid={metadata['uid']},type=Warning"
        events = await self._client.list_all(EVENTS, metadata["namespace"], fields=fields)
        if not events:
            return False  # events live an hour; the trouble may live longer
        newest = max(events, key=_time)
        return self._cache.set_warning(metadata["uid"], _words(newest))

    def leave(self, pod_uid: str) -> bool:
        """A pod that started has no warning."""
        return self._cache.set_warning(pod_uid, None)


def last_progress(log: str) -> Progress | None:
    """Return the last progress in these lines of a log."""
    parsed = (ProgressLine.parse(line) for line in reversed(log.splitlines()) if '"progress"' in line)
    return next((each for each in parsed if each is not None), None)


def _has_waiting(status: Object) -> bool:
    # Of a pod that has ended nothing waits, whatever its containers' last state says.
    if status.get("phase") not in ("Pending", "Running"):
        return False
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return any("waiting" in (each.get("state") or {}) for each in containers)


def _time(event: Object) -> str:
    # Both APIs for events leave some of these empty; RFC 3339 times in UTC sort as text.
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    )
    return next((str(each) for each in times if each), "")


def _words(event: Object) -> str:
    return f"{event.get('reason', '')}: {event.get('message', '')}"[:WARNING_LENGTH]
