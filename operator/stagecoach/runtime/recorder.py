"""Kubernetes Events about our objects, each told once in the time that the API server keeps it."""

import hashlib
import logging
import socket
from collections import OrderedDict
from datetime import datetime, timedelta

from stagecoach.contract.times import timestamp
from stagecoach.kinds.plan import Event, Object
from stagecoach.runtime import metrics
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import AlreadyExists, ApiError
from stagecoach.runtime.resources import EVENTS

logger = logging.getLogger(__name__)

COMPONENT = "stagecoach"
MESSAGE_LENGTH = 1000
REMEMBERED = 4096
# The API server's default. Where it keeps them longer, the name is found taken, which is as good.
TIME_TO_LIVE = timedelta(hours=1)


class Recorder:
    """Writes Events under names made of their content: the same event is the same object, whoever writes it again."""

    def __init__(self, client: Client, instance: str = "") -> None:
        self._client = client
        self._instance = instance or socket.gethostname()
        self._told: OrderedDict[str, datetime] = OrderedDict()  # the longest ago first

    async def tell(self, obj: Object, event: Event, now: datetime) -> None:
        """Write one Event. A failure is counted and logged, never raised: what it is about has already happened."""
        document = self._document(obj, event, now)
        name = document["metadata"]["name"]
        if name in self._told and now - self._told[name] < TIME_TO_LIVE:
            return
        try:
            await self._client.create(EVENTS, obj["metadata"]["namespace"], document)
        except AlreadyExists:
            pass
        except ApiError as error:
            metrics.EVENTS_FAILED.inc()
            logger.warning("event not written: %s", error, extra={"reason": event.reason})
            return
        self._remember(name, now)

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


def event_name(obj: Object, event: Event) -> str:
    """Return the name of the Event: the object's name and a digest of what is said about this very object."""
    said = "\0".join((obj["metadata"]["uid"], event.reason, event.message, str(event.warning)))
    return f"{obj['metadata']['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"
