"""Kubernetes Events about our objects, each told once in the time that the API server keeps it."""

import asyncio
import hashlib
import logging
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from stagecoach.contract.times import timestamp
from stagecoach.kinds.plan import Event, Object
from stagecoach.runtime import metrics
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import AlreadyExists, ApiError, Fenced, Forbidden, NotFound, Rejected
from stagecoach.runtime.resources import EVENTS

logger = logging.getLogger(__name__)

COMPONENT = "stagecoach"
MESSAGE_LENGTH = 1000
REMEMBERED = 4096
# So many wait for a server that is away or wants to be left alone; of more, the oldest are given up.
WAITING = 1024
# The API server's default. Where it keeps them longer, the name is found taken, which is as good.
TIME_TO_LIVE = timedelta(hours=1)


class Recorder:
    """Writes Events under names made of their content: the same event is the same object, whoever writes it again.

    What cannot be written now waits, and what comes after it waits behind it. One that is refused again lets the others
    pass: whatever is wrong with it need not be wrong with them.
    """

    def __init__(
        self, client: Client, instance: str = "", sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._instance = instance or socket.gethostname()
        self._sleep = sleep
        self._told: OrderedDict[str, datetime] = OrderedDict()  # the longest ago first
        self._waiting: OrderedDict[str, tuple[Object, datetime]] = OrderedDict()
        self._refused = asyncio.Event()  # set while events wait
        self._backoff = Backoff(first=0.5, longest=30.0)
        self._pause = 0.0

    async def tell(self, obj: Object, event: Event, now: datetime) -> None:
        """Write one Event, now or later. No failure is raised: what it is about has already happened."""
        document = self._document(obj, event, now)
        name = document["metadata"]["name"]
        if name in self._waiting or (name in self._told and now - self._told[name] < TIME_TO_LIVE):
            return
        if not self._refused.is_set():
            try:
                await self._write(document, now)
            except (ApiError, Fenced) as error:
                if not self._refused.is_set():  # another worker may have been refused at the same time
                    self._postpone(error)
            else:
                return
        self._waiting[name] = document, now
        if len(self._waiting) > WAITING:
            _, (oldest, _) = self._waiting.popitem(last=False)
            _given_up(oldest, "too many wait")

    async def run(self) -> None:
        """Write what waits, whenever it is time to try again, for ever."""
        while True:
            await self._refused.wait()
            await self._sleep(self._pause)
            await self.catch_up()

    async def catch_up(self) -> None:
        """Write what waits, one at a time and the oldest first, until one is refused again."""
        while self._waiting:
            name, (document, now) = next(iter(self._waiting.items()))
            self._waiting.move_to_end(name)  # so that the others pass if it is refused, and are given up before it
            try:
                await self._write(document, now)
            except (ApiError, Fenced) as error:
                self._postpone(error)
                return
            self._waiting.pop(name, None)
        self._refused.clear()
        self._backoff.reset()

    def give_up(self) -> None:
        """Say of what still waits that it is lost: the process ends."""
        while self._waiting:
            _, (document, _) = self._waiting.popitem(last=False)
            _given_up(document, "the operator stops")

    async def _write(self, document: Object, now: datetime) -> None:
        """Write an Event, or give it up for good; raises what may pass."""
        metadata = document["metadata"]
        try:
            await self._client.create(EVENTS, metadata["namespace"], document)
        except AlreadyExists:
            pass
        except (Forbidden, NotFound, Rejected) as error:
            _given_up(document, str(error))
            return
        self._remember(metadata["name"], now)

    def _postpone(self, error: ApiError | Fenced) -> None:
        self._pause = self._backoff.next(error.retry_after if isinstance(error, ApiError) else 0.0)
        self._refused.set()
        logger.debug("events wait for %.1f seconds: %s", self._pause, error)

    def _remember(self, name: str, now: datetime) -> None:
        self._told[name] = now
        self._told.move_to_end(name)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _document(self, obj: Object, event: Event, now: datetime) -> Object:
        metadata = obj["metadata"]
        time = timestamp(now)
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": event_name(obj, event), "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:MESSAGE_LENGTH],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }


def _given_up(document: Object, why: str) -> None:
    metrics.EVENTS_FAILED.inc()
    logger.warning("event not written: %s", why, extra={"reason": document["reason"]})


def event_name(obj: Object, event: Event) -> str:
    """Return the name of the Event: the object's name and a digest of what is said about this very object."""
    said = "\0".join((obj["metadata"]["uid"], event.reason, event.message, str(event.warning)))
    return f"{obj['metadata']['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"
