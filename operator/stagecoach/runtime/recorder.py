"""Kubernetes Events about our objects, each told once in the time that the API server keeps it."""

import asyncio
import hashlib
import logging
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stagecoach.contract.times import timestamp
from stagecoach.kinds.plan import Event, Object
from stagecoach.runtime import metrics
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import (
    AlreadyExists,
    ApiError,
    Fenced,
    Forbidden,
    NotFound,
    Rejected,
    Throttled,
    Unreachable,
)
from stagecoach.runtime.resources import EVENTS

logger = logging.getLogger(__name__)

COMPONENT = "stagecoach"
MESSAGE_LENGTH = 1000
REMEMBERED = 4096
# So many wait for a server that is away or wants to be left alone; of more, the oldest are given up.
WAITING = 1024
# After so many refusals that were about it alone, whatever is wrong with it will not pass.
REFUSALS = 10
# Answers of who stands before an API server that is away, or of one that cannot.
AWAY = (502, 503, 504)
# The API server's default. Where it keeps them longer, the name is found taken, which is as good.
TIME_TO_LIVE = timedelta(hours=1)


@dataclass
class Waiting:
    """An Event that was not taken yet."""

    document: Object
    now: datetime  # when it was told
    refusals: int = 0  # how often others were taken at the time


class Recorder:
    """Writes Events under names made of their content: the same event is the same object, whoever writes it again.

    What cannot be written now waits, and so does what comes after it where the API server takes nothing. One that it
    refuses, as a webhook may, waits alone.
    """

    def __init__(
        self, client: Client, instance: str = "", sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._instance = instance or socket.gethostname()
        self._sleep = sleep
        self._told: OrderedDict[str, datetime] = OrderedDict()  # the longest ago first
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._waits = asyncio.Event()  # set while events wait
        self._away = False  # nothing is taken: what comes waits too
        self._backoff = Backoff(first=0.5, longest=30.0)
        self._pause = 0.0

    async def tell(self, obj: Object, event: Event, now: datetime) -> None:
        """Write one Event, now or later. No failure is raised: what it is about has already happened."""
        document = self._document(obj, event, now)
        name = document["metadata"]["name"]
        if name in self._waiting or (name in self._told and now - self._told[name] < TIME_TO_LIVE):
            return
        waiting = Waiting(document, now)
        if self._away:
            self._keep(name, waiting)
            return
        try:
            await self._write(document, now)
        except (ApiError, Fenced) as error:
            self._away = self._away or _concerns_all(error)
            if not self._waits.is_set():  # another worker may have been refused at the same time
                self._postpone(error)
            self._keep(name, waiting)
        except asyncio.CancelledError:
            self._keep(name, waiting)  # it may be written or not
            raise

    async def run(self) -> None:
        """Write what waits, whenever it is time to try again, for ever."""
        while True:
            await self._waits.wait()
            await self._sleep(self._pause)
            await self.catch_up()

    async def catch_up(self) -> None:
        """Try each that waits once, the oldest first, until the API server takes nothing."""
        tried: set[str] = set()
        refused: ApiError | Fenced | None = None
        while name := next((each for each in self._waiting if each not in tried), None):
            tried.add(name)
            waiting = self._waiting[name]
            try:
                await self._write(waiting.document, waiting.now)
                self._backoff.reset()  # what follows need not wait as long as this has
            except (ApiError, Fenced) as error:
                refused = error
                if _concerns_all(error):
                    break
                waiting.refusals += 1
                if waiting.refusals < REFUSALS:
                    continue
                _given_up(waiting.document, f"refused {REFUSALS} times, at last: {error}")
            self._waiting.pop(name, None)
        self._away = refused is not None and _concerns_all(refused)
        if refused is not None:
            self._postpone(refused)
        if not self._waiting:
            self._waits.clear()
            self._backoff.reset()

    async def stop(self, seconds: float) -> None:
        """Write what waits within these seconds, and say of the rest that it is lost; nothing is raised."""
        try:
            async with asyncio.timeout(seconds):
                await self.catch_up()
        except TimeoutError:
            pass
        except Exception:  # a bug; the Lease must be given back all the same
            logger.exception("events are lost; this is a bug")
        for waiting in self._waiting.values():
            _given_up(waiting.document, "the operator stops")
        self._waiting.clear()

    def _keep(self, name: str, waiting: Waiting) -> None:
        self._waiting[name] = waiting
        self._waits.set()
        if len(self._waiting) > WAITING:
            _, oldest = self._waiting.popitem(last=False)
            _given_up(oldest.document, "too many wait")

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


def _concerns_all(error: ApiError | Fenced) -> bool:
    """Whether no other Event would be taken now either; else it may be this one, or its namespace."""
    if isinstance(error, ApiError):
        return isinstance(error, Unreachable | Throttled) or error.retry_after > 0 or error.code in AWAY
    return True


def _given_up(document: Object, why: str) -> None:
    metrics.EVENTS_FAILED.inc()
    about = document["involvedObject"]
    extra = {"about": f"{about['kind']} {about['namespace']}/{about['name']}", "reason": document["reason"]}
    logger.warning("event not written: %s", why, extra=extra | {"event": document["message"]})


def event_name(obj: Object, event: Event) -> str:
    """Return the name of the Event: the object's name and a digest of what is said about this very object."""
    said = "\0".join((obj["metadata"]["uid"], event.reason, event.message, str(event.warning)))
    return f"{obj['metadata']['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"
