"""kopf watches our own kinds; here is all that the operator asks of it.

Only low-level event handlers are registered: kopf then writes nothing, neither annotations nor finalizers, and objects
can be deleted with the operator down. It does not say when its first list is complete, nor which objects were deleted
while a watch was broken for too long; a cheap list of names closes both gaps.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import kopf

from stagecoach.kinds.controller import GROUP, VERSION
from stagecoach.kinds.plan import Key, Object
from stagecoach.runtime import kopf_settings
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.client import Client
from stagecoach.runtime.connection import Connection
from stagecoach.runtime.errors import ApiError, Forbidden
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.resources import Resource

logger = logging.getLogger(__name__)

# Deletions missed by a broken watch are looked for at least this often.
PRUNE_SECONDS = 600.0
# A relist delivers every object: look for deletions once, after it.
PRUNE_DELAY = 5.0
SYNC_POLL = 0.05
SYNC_ROUND = 5.0
# A login that lasted this long was a good one.
LOGIN_REST = 120.0


class OwnWatch:
    """Keeps our own objects in the cache, through kopf, for ever."""

    def __init__(
        self,
        connection: Connection,
        client: Client,
        resources: Iterable[Resource],
        namespaces: Sequence[str],
        cache: Cache,
        intake: Intake,
    ) -> None:
        self._connection = connection
        self._client = client
        self._resources = {each.kind: each for each in resources}
        self._namespaces = tuple(namespaces)
        self._cache = cache
        self._intake = intake
        self._login_backoff = Backoff(first=0.5, longest=30.0)
        self._logged_in = -LOGIN_REST
        self._started = asyncio.Event()
        self._relisted = asyncio.Event()
        self.synced = asyncio.Event()

    async def run(self, spawned: Callable[[], None]) -> None:
        """Run kopf until it fails or this is cancelled; `spawned` is called once it has set its signal handlers."""
        before = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=kopf_settings.quiet(),
            standalone=True,
            # kopf's own guess asks the system for a user's name, and a container's user has none.
            identity="stagecoach",  # type: ignore[arg-type]
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )
        spawned()
        self._started.set()
        await kopf.run_tasks(tasks, ignored=before)

    async def keep_exact(self) -> None:
        """Set `synced` when all that exists is known; then, after each relist and now and then, drop what is gone."""
        await self._started.wait()
        await self._sync()
        while True:
            try:
                async with asyncio.timeout(PRUNE_SECONDS):
                    await self._relisted.wait()
                    await asyncio.sleep(PRUNE_DELAY)
            except TimeoutError:
                pass
            self._relisted.clear()
            try:
                await self.prune()
            except ApiError as error:
                logger.log(_level(error), "deletions could not be looked for: %s", error)
                await asyncio.sleep(max(PRUNE_DELAY, error.retry_after))
                self._relisted.set()

    async def prune(self) -> None:
        """Drop from the cache what the API server no longer has."""
        # Taken before the list: an object that is created while it runs must not seem deleted.
        known = {key: self._cache.get(key) for key in self._cache.keys()}  # noqa: SIM118 - not a dictionary
        existing = await self._uids()
        for key, obj in known.items():
            if obj is not None and existing.get(key) != obj["metadata"]["uid"]:
                self._intake.own_deleted(obj)

    async def on_event(self, event: Any, **_: Any) -> None:
        """Take in one event; kopf calls this, one call at a time for an object."""
        obj: Object = event["object"]
        if event["type"] == "DELETED":
            self._intake.own_deleted(obj)
            return
        listed = event["type"] is None
        if listed and self.synced.is_set():
            self._relisted.set()
        self._intake.own(obj, listed=listed)

    async def _sync(self) -> None:
        backoff = Backoff(first=0.5, longest=15.0)
        while not self.synced.is_set():
            try:
                missing = set(await self._uids())
            except ApiError as error:
                logger.log(_level(error), "waiting for the first list: %s", error)
                await asyncio.sleep(backoff.next(error.retry_after))
                continue
            if await self._seen(missing):
                self.synced.set()

    async def _seen(self, missing: set[Key]) -> bool:
        # What is deleted before kopf lists it never comes: after a while the names are asked for again.
        for _ in range(int(SYNC_ROUND / SYNC_POLL)):
            missing = {key for key in missing if self._cache.get(key) is None}
            if not missing:
                return True
            await asyncio.sleep(SYNC_POLL)
        return False

    async def _uids(self) -> dict[Key, str]:
        found: dict[Key, str] = {}
        for resource, namespace in itertools.product(self._resources.values(), self._namespaces or (None,)):
            async for items, _ in self._client.pages(resource, namespace, metadata_only=True):
                for each in items:
                    metadata = each["metadata"]
                    found[Key(resource.kind, metadata["namespace"], metadata["name"])] = metadata["uid"]
        return found

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        for each in self._resources.values():
            kopf.on.event(GROUP, VERSION, each.plural, registry=registry, id=each.plural)(self.on_event)
        return registry

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        # kopf asks again at once when the credentials were refused, for as long as they are.
        since, self._logged_in = time.monotonic() - self._logged_in, time.monotonic()
        if since < LOGIN_REST:
            await asyncio.sleep(self._login_backoff.next())
        else:
            self._login_backoff.reset()
        return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=self._connection.session("kopf"))


def _level(error: ApiError) -> int:
    """Return how loudly to tell of what is tried again: only a missing right needs somebody."""
    return logging.ERROR if isinstance(error, Forbidden) else logging.WARNING
