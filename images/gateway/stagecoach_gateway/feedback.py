"""What clients say of answers that they got."""

from datetime import UTC, datetime
from typing import Any

from stagecoach.contract.times import timestamp
from stagecoach_gateway import ids
from stagecoach_gateway.counting import Counted, Counts
from stagecoach_gateway.errors import Refusal
from stagecoach_gateway.schemas import Schema

PATH = "/v1/feedback"
DOCUMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "request": {"type": "string", "maxLength": 100, "description": "`x-request-id` of the answer."},
        "expected": {
            "type": "string",
            "maxLength": 10_000,
            "description": "What would have been right: a label, a text.",
        },
        "rating": {"type": "number", "minimum": 0, "maximum": 1, "description": "How good it was."},
        "comment": {"type": "string", "maxLength": 2000},
    },
    "required": ["request"],
    "minProperties": 2,
    "additionalProperties": False,
}
_SCHEMA = Schema(DOCUMENT)


def checked(body: dict[str, Any], client: str, key: bytes, counts: Counts) -> tuple[dict[str, Any], Counted | None]:
    """Return what is kept of it, and where it is counted. Raises Refusal when it is of no request of this client."""
    _SCHEMA.check(body)
    digits = ids.release_of(key, client, body["request"])
    if digits is None:
        raise Refusal("unknown_request", "This client made no such request here.", param="request")
    document = {**body, "client": client, "release": digits, "at": timestamp(datetime.now(UTC))}
    return document, counts.beginning(digits)
