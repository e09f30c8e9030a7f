"""Kubernetes Events about our objects, each told once."""

import hashlib
import logging
import socket
from collections import OrderedDict
from datetime import datetime

from stagecoach.kinds.plan import Event, Object
from stagecoach.runtime import metrics
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import AlreadyExists, ApiError
from stagecoach.runtime.resources import EVENTS

logger = logging.getLogger(__name__)

COMPONENT = "stagecoach"
MESSAGE_LENGTH = 1000
REMEMBERED = 4096


class Recorder:
    """Writes Events under names made of their content: the same event is the same object, whoever writes it again."""

    def __init__(self, client: Client, instance: str = "") -> None:
        self._client = client
        self._instance = instance or socket.gethostname()
        self._told: OrderedDict[str, None] = OrderedDict()

    async def tell(self, obj: Object, event: Event, now: datetime) -> None:
        """Write one Event. A failure is counted and logged, never raised: what it is about has already happened."""
        document = self._document(obj, event, now)
        name = document["metadata"]["name"]
        if name in self._told:
            return
        try:
            await self._client.create(EVENTS, obj["metadata"]["namespace"], document)
        except AlreadyExists:
            pass
        except ApiError as error:
            metrics.EVENTS_FAILED.inc()
            logger.warning("event not written: %s", error, extra={"reason": event.reason})
            return
        self._remember(name)

    def _remember(self, name: str) -> None:
        self._told[name] = None
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _document(self, obj: Object, event: Event, now: datetime) -> Object:
        metadata = obj["metadata"]
        time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
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
