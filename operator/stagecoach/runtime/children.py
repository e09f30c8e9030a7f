"""One list and watch per sort of child, with the label selector on the server: kopf's selectors are client-side."""

import asyncio
import logging
import random
import time

from stagecoach.kinds.controller import MANAGED_BY
from stagecoach.kinds.plan import Object
from stagecoach.runtime import metrics
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import ApiError, Forbidden, Gone, ServerError
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.resources import Resource

logger = logging.getLogger(__name__)

SELECTOR = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
# The server ends a watch after this time; spread, so that the watches of all replicas do not restart at once.
WATCH_SECONDS = (300, 600)
# Bookmarks come every minute: a stream that is silent for longer is dead, whatever TCP thinks.
SILENCE = 90.0
# A stream that ends sooner, and brought nothing, is no stream.
SHORTEST = 1.0
# A watch that shows no sign of life for this long, not even of a failed try, hangs in a way nobody foresaw.
STUCK = 300.0
# Only a missing right needs somebody; that an old version is no longer served is usual.
_LEVELS = {Forbidden: logging.ERROR, Gone: logging.INFO}


class ChildWatch:
    """Keeps the children of one sort in the cache, for ever."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None,
        cache: Cache,
        intake: Intake,
        backoff: Backoff | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._cache = cache
        self._intake = intake
        # All work in these namespaces waits for it.
        self._backoff = backoff or Backoff(first=0.5, longest=10.0)
        self._since: str | None = None
        self._turn: asyncio.Task[None] | None = None
        self._alive_at = time.monotonic()
        # What exists is known: from the end of a list on, until the watch breaks.
        self.synced = asyncio.Event()

    @property
    def name(self) -> str:
        """What is watched, for logs and health."""
        return f"{self._resource} in {self._namespace or 'all namespaces'}"

    def covers(self, namespace: str) -> bool:
        """Whether children in this namespace are among those that are watched."""
        return self._namespace in (None, namespace)

    @property
    def stuck(self) -> bool:
        """Whether the watch hangs: an unreachable server does not count, it is tried again and again."""
        return time.monotonic() - self._alive_at > STUCK

    async def run(self) -> None:
        """List and watch; when the server ends the stream, go on where it was; after a break, begin again.

        A break may last, and this process may become the leader meanwhile. On children of before it would take a Job
        that was made since for one that is gone, and the training in it for lost: until the next list is complete,
        nothing is decided.
        """
        while True:
            self._beat()
            self._turn = asyncio.create_task(self._round(), name=f"watch {self.name}, one turn")
            try:
                await self._turn
            except ApiError as error:
                await self._recover(error)
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise

    def renew(self) -> None:
        """Hold what is known for unknown, until a list that has yet to begin is complete.

        This is for the moment at which this process begins to lead. Before, another one may have made Jobs of which a
        stream that died in silence has told nothing.
        """
        self.synced.clear()
        self._since = None
        if self._turn is not None:
            self._turn.cancel()  # from here on it takes nothing in: neither from a stream nor from a list

    async def _round(self) -> None:
        if self._since is None:
            self._since = await self._list()
            self.synced.set()
        await self._watch()

    async def _recover(self, error: ApiError) -> None:
        metrics.WATCH_RESTARTS.labels(self._resource.plural, type(error).__name__).inc()
        self.synced.clear()
        self._since = None
        delay = self._backoff.next(error.retry_after)
        extra = {"watch": self.name, "retry_in": round(delay, 1)}
        logger.log(_LEVELS.get(type(error), logging.WARNING), "watch interrupted: %s", error, extra=extra)
        await asyncio.sleep(delay)

    async def _list(self) -> str:
        vanished = {obj["metadata"]["uid"]: obj for obj in self._cache.children_of(self._resource, self._namespace)}
        since = ""
        async for items, version in self._client.pages(self._resource, self._namespace, labels=SELECTOR):
            since = version
            self._beat()
            for obj in items:
                vanished.pop(obj["metadata"]["uid"], None)
                self._intake.child(self._resource, obj, listed=True)
        # What was known before the list began and is not in it was deleted while nobody watched.
        for obj in vanished.values():
            self._intake.child_deleted(self._resource, obj)
        return since

    async def _watch(self) -> None:
        assert self._since is not None  # noqa: S101 - for the type checker
        events = self._client.watch(
            self._resource,
            self._namespace,
            since=self._since,
            labels=SELECTOR,
            seconds=random.randint(*WATCH_SECONDS),  # noqa: S311 - no secret
            silence=SILENCE,
        )
        began, empty = time.monotonic(), True
        async for event in events:
            empty = False
            self._beat()
            self._take(event["type"], event["object"])
            self._backoff.reset()
        if empty and time.monotonic() - began < SHORTEST:
            raise ServerError(f"watch {self._resource}: the stream ended at once")
        metrics.WATCH_RESTARTS.labels(self._resource.plural, "ended").inc()

    def _take(self, sort: str, obj: Object) -> None:
        if sort == "ERROR":
            raise _error(obj)
        self._since = obj["metadata"]["resourceVersion"]
        if sort == "DELETED":
            self._intake.child_deleted(self._resource, obj)
        elif sort != "BOOKMARK":
            self._intake.child(self._resource, obj)

    def _beat(self) -> None:
        self._alive_at = time.monotonic()


def _is_cancelled() -> bool:
    """Whether it is the task itself that was cancelled, and not another for which it waits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _error(status: Object) -> ApiError:
    message = f"watch: {status.get('message')} (code {status.get('code')})"
    return (Gone if status.get("code") == 410 else ServerError)(message, int(status.get("code") or 0))
