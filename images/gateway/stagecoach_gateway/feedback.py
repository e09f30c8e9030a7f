"""What is said of answers: by the clients that got them, or by the sources that a deployment names, of all answers."""

from datetime import UTC, datetime
from typing import Any

from stagecoach.contract.client_api import FEEDBACK_SCHEMA
from stagecoach.contract.gateway_routes import RateLimit
from stagecoach.contract.times import timestamp
from stagecoach_gateway import ids
from stagecoach_gateway.counting import Counted, Counts
from stagecoach_gateway.errors import Refusal
from stagecoach_gateway.schemas import Schema

# Of each source, or client, and in each gateway. What all of them say has room for a few hours of the longest that one
# of them may: who is not to be trusted so far is not to have a key.
OF_ONE = RateLimit(requests=1000, seconds=3600)
_SCHEMA = Schema(FEEDBACK_SCHEMA)


def checked(
    body: dict[str, Any], client: str | None, key: bytes, counts: Counts
) -> tuple[dict[str, Any], Counted | None]:
    """Return what is kept of it, and where it is counted. Raises Refusal when it is of no request of this client.

    With None for a client, when it is of no request.
    """
    _SCHEMA.check(body)
    digits = ids.release_of(key, client, body["request"])
    if digits is None or digits == ids.NONE:
        of = " of this client" if client is not None else ""
        raise Refusal("unknown_request", f"No release here answered such a request{of}.", param="request")
    return {**body, "release": digits, "at": timestamp(datetime.now(UTC))}, counts.beginning(digits)
