"""Facts about pods that are in no object: progress lines from their logs, and the kubelet's complaints."""

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
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
PROGRESS_SECONDS = 10.0
PROGRESS_LINES = 5
# A trainer that has begun only now still loads its libraries and its data.
PROGRESS_GRACE = 5.0
WARNING_SECONDS = 10.0
# A pod that starts in this time has nothing to say. Whatever it waits for is told in time all the same.
WARNING_GRACE = 8.0
WARNING_LENGTH = 500
LONGEST_SECONDS = 120.0


class Fact(Protocol):
    """One sort of fact: of which pods, how often, and how to get it."""

    name: str
    seconds: float
    grace: float  # for how long a pod is not asked about at first
    rate: int  # requests per second: where there is more to ask, each is asked less often
    concurrent: int

    def concerns(self, pod: Object) -> bool:
        """Whether the pod is asked about now."""

    def topic(self, pod: Object) -> str:
        """Return what the question is about: pods of one topic share an answer."""

    async def fetch(self, pods: Sequence[Object]) -> list[Object]:
        """Ask about the pods of one topic, remember; return those of which the fact has changed."""

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
        self._since: dict[str, float] = {}  # uid of each pod that the fact concerns: since when
        self._next: dict[str, float] = {}  # topic: when to ask
        self._failures: dict[str, int] = {}
        self._resumes = 0.0  # the server wants nothing more to be asked before
        self._slots = asyncio.Semaphore(fact.concurrent)

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            await self._leadership.gained.wait()
            began = self._clock()
            await self.tick()
            await self._sleep(max(0.0, TICK - (self._clock() - began)))

    async def tick(self) -> None:
        """Ask about the pods whose turn it is, those who wait longest first."""
        now = self._clock()
        topics = self._topics(now)
        # A topic that comes back is asked about no sooner than if it had stayed.
        for topic in [each for each, at in self._next.items() if at <= now and each not in topics]:
            del self._next[topic]
            self._failures.pop(topic, None)
        for topic in topics.keys() - self._next.keys():
            self._next[topic] = now
        due = sorted((at, topic) for topic, at in self._next.items() if at <= now)
        # Spread over the tick: many at once, and the writes that follow from them, would hold up all others' requests.
        async with asyncio.TaskGroup() as asking:
            for _, topic in due[: int(self._fact.rate * TICK)]:
                asking.create_task(self._ask(topic, topics[topic]))
                await self._sleep(1 / self._fact.rate)

    def _topics(self, now: float) -> dict[str, list[Object]]:
        """Return what is to be asked about, with the pods that it is about; of one of them the grace is over."""
        topics: defaultdict[str, list[Object]] = defaultdict(list)
        ripe: set[str] = set()
        before, self._since = self._since, {}
        for pod in (each for each in self._cache.live() if self._fact.concerns(each)):
            uid, topic = pod["metadata"]["uid"], self._fact.topic(pod)
            self._since[uid] = since = before.get(uid, now)
            topics[topic].append(pod)
            if now - since >= self._fact.grace:
                ripe.add(topic)
        for uid in before.keys() - self._since.keys():
            self._leave(uid)
        return {topic: topics[topic] for topic in ripe}

    async def _ask(self, topic: str, pods: Sequence[Object]) -> None:
        async with self._slots:
            if self._clock() < self._resumes:
                return  # it stays due
            try:
                changed = await self._fact.fetch(pods)
            except ApiError as error:
                self._failed(topic, error)
                return
        self._failures.pop(topic, None)
        self._schedule(topic, self._fact.seconds)
        for pod in changed:
            self._intake.wake_owner(pod)

    def _failed(self, topic: str, error: ApiError) -> None:
        metrics.FACTS_FAILED.labels(self._fact.name).inc()
        self._failures[topic] = failures = self._failures.get(topic, 0) + 1
        self._schedule(topic, min(LONGEST_SECONDS, self._fact.seconds * 2 ** min(failures, 8)))
        self._resumes = max(self._resumes, self._clock() + error.retry_after)
        logger.debug("no %s: %s", self._fact.name, error, extra={"topic": topic})

    def _schedule(self, topic: str, seconds: float) -> None:
        self._next[topic] = self._clock() + seconds * random.uniform(0.9, 1.1)  # noqa: S311 - no secret

    def _leave(self, uid: str) -> None:
        pod = self._cache.pod(uid)
        if self._fact.leave(uid) and pod is not None:
            self._intake.wake_owner(pod)


class ProgressFact:
    """The last progress line in the log of a running pod."""

    name = "progress"
    seconds = PROGRESS_SECONDS
    grace = PROGRESS_GRACE
    rate = 10  # each may be a write of status too: of a thousand that train, each tells every hundred seconds
    concurrent = 8

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    def concerns(self, pod: Object) -> bool:
        """Running pods that say that they report; of several, that of index 0 does."""
        labels = pod["metadata"].get("labels") or {}
        return labels.get(INDEX, "0") == "0" and REPORTS_PROGRESS in labels and pod["status"].get("phase") == "Running"

    def topic(self, pod: Object) -> str:
        """Each pod has a log of its own."""
        return str(pod["metadata"]["uid"])

    async def fetch(self, pods: Sequence[Object]) -> list[Object]:
        """Read the end of the log. A log without a progress line leaves the fact to grow old."""
        [pod] = pods
        metadata = pod["metadata"]
        log = await self._client.pod_log(metadata["namespace"], metadata["name"], CONTAINER, PROGRESS_LINES)
        progress = last_progress(log)
        changed = progress is not None and self._cache.set_progress(metadata["uid"], progress)
        return [pod] if changed else []

    def leave(self, _pod_uid: str) -> bool:
        """Progress is kept until it is too old: it says how far a run came."""
        return False


class WarningFact:
    """The newest Warning event about a pod that has a node and does not start, or a Job that gets no pod.

    The API server keeps no Events in memory: to answer, it reads all of the namespace, whoever they are about. So it is
    asked once for all pods of a namespace, and for one namespace at a time.
    """

    name = "warning"
    seconds = WARNING_SECONDS
    grace = WARNING_GRACE
    rate = 2
    concurrent = 1

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

    def topic(self, pod: Object) -> str:
        """Return the namespace."""
        return str(pod["metadata"]["namespace"])

    async def fetch(self, pods: Sequence[Object]) -> list[Object]:
        """List the namespace's warnings and remember the newest of each pod.

        Where there is none, the last stays: Events live an hour, and the trouble may live longer.
        """
        wanted = {pod["metadata"]["uid"]: pod for pod in pods}
        newest: dict[str, Object] = {}
        async for events, _ in self._client.pages(EVENTS, self.topic(pods[0]), fields="type=Warning"):
            for event in events:
                uid = event["involvedObject"].get("uid")
                if uid in wanted and (uid not in newest or _time(event) >= _time(newest[uid])):
                    newest[uid] = event
        return [wanted[uid] for uid, event in newest.items() if self._cache.set_warning(uid, _words(event))]

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
