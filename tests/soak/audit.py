"""What the API server wrote down about the operators' writes."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

Object = dict[str, Any]

_BODIES = ({"group": "stagecoach.dev"}, {"group": "coordination.k8s.io", "resources": ["leases"]})


def policy(users: Iterable[str]) -> Object:
    """Return a policy by which all writes of these users are written down, with what the server made of them."""
    named = list(users)
    return {
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "RequestResponse", "users": named, "resources": list(_BODIES)},
            {"level": "Request", "users": named},
            {"level": "None"},
        ],
    }


@dataclass(frozen=True)
class Write:
    """One request that was to change something, and what came of it."""

    user: str
    verb: str
    resource: str  # with the subresource, such as finetuneruns/status
    namespace: str
    name: str
    code: int
    received: str  # RFC 3339 with microseconds, by the server's clock
    completed: str
    request: Object = field(default_factory=dict)
    response: Object = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether it changed something."""
        return 200 <= self.code < 300

    @property
    def told(self) -> Object:
        """The object as it is since then, or may be: what could not be answered in time may have been written."""
        if self.accepted:
            return self.response
        return self.request if self.code >= HTTPStatus.INTERNAL_SERVER_ERROR else {}

    @property
    def title(self) -> str:
        """How it is called in sentences."""
        return (
            f"{self.verb} {self.resource} {self.namespace}/{self.name} by {self.user} at {self.received}: {self.code}"
        )


def read(log: Path) -> list[Write]:
    """Return all writes in the order in which they were completed."""
    with log.open() as lines:
        return sorted(_writes(lines), key=lambda write: write.completed)


def _writes(lines: Iterable[str]) -> Iterator[Write]:
    for line in lines:
        event = json.loads(line)
        if event["stage"] not in ("ResponseComplete", "Panic"):
            continue
        about = event.get("objectRef", {})
        subresource = f"/{about['subresource']}" if about.get("subresource") else ""
        request = event.get("requestObject") or {}
        yield Write(
            user=event["user"]["username"].rpartition(":")[2],
            verb=event["verb"],
            resource=f"{about.get('resource', '')}{subresource}",
            namespace=about.get("namespace", ""),
            name=about.get("name") or request.get("metadata", {}).get("name", ""),
            code=event.get("responseStatus", {}).get("code", 0),
            received=event["requestReceivedTimestamp"],
            completed=event["stageTimestamp"],
            request=request,
            response=event.get("responseObject") or {},
        )
