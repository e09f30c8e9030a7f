"""What the API server may answer, as types: who catches them reads no status codes."""

from collections.abc import Mapping
from typing import Any

import orjson


class ApiError(Exception):
    """A request that did not succeed; the message is fit for a person."""

    retry_after = 0.0  # seconds in which the server does not want to be asked again, if it says so

    def __init__(self, message: str, code: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Unreachable(ApiError):
    """No answer: refused, reset or timed out. Whether a write was done is not known."""


class ServerError(ApiError):
    """The API server (or what stands before it) failed: 5xx."""


class Throttled(ApiError):
    """429: not done, and when to come back."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, 429, "TooManyRequests")
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: no such object, namespace or kind."""


class Conflict(ApiError):
    """409: the object has changed since it was read, or a precondition does not hold."""


class AlreadyExists(ApiError):
    """409 on a create: the name is taken."""


class Gone(ApiError):
    """410: the resourceVersion or continue token is too old; list again."""


class Unauthorized(ApiError):
    """401: the credentials are not accepted, now."""


class Forbidden(ApiError):
    """403: a right is missing, or an admission rule or quota says no. The message names which."""


class Rejected(ApiError):
    """400, 422 and the like: the object itself is not acceptable."""


class Fenced(Exception):
    """A write was not sent because this process is no longer the leader."""


class NameTaken(Exception):
    """A child's name is in use by an object that is not ours."""


class LogUnread(Exception):
    """What a pod printed cannot be read now: mostly its node does not answer."""


DEFAULT_RETRY_AFTER = 1.0
LONGEST_RETRY_AFTER = 60.0

_BY_CODE: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
}


def from_response(code: int, headers: Mapping[str, str], body: bytes, what: str) -> ApiError:
    """Return the error that stands for a response; `what` says which request, such as `create jobs in default`."""
    status = _status(body)
    reason = str(status.get("reason") or "")
    text = str(status.get("message") or body[:200].decode(errors="replace").strip() or "no message")
    message = f"{what}: {text} (HTTP {code})"
    # A POST whose name is taken and an update that lost a race are both 409; only the reason tells them apart.
    if reason == "AlreadyExists":
        return AlreadyExists(message, code, reason)
    if code == 429:
        return Throttled(message, _retry_after(headers, status) or DEFAULT_RETRY_AFTER)
    if code >= 500:
        failed = ServerError(message, code, reason)
        failed.retry_after = _retry_after(headers, status)
        return failed
    if code == 403 and "cannot" in text:
        message = f"{text}. Grant the operator's service account this right: see the chart's ClusterRole."
    elif code == 403:
        message = f"{message}. Raise the quota, or meet the rule, that it names."
    return _BY_CODE.get(code, Rejected)(message, code, reason)


def _status(body: bytes) -> dict[str, Any]:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}  # a proxy's page, not the API server's word
    return status if isinstance(status, dict) else {}


def _retry_after(headers: Mapping[str, str], status: Mapping[str, Any]) -> float:
    details = status.get("details") or {}
    said = headers.get("Retry-After") or details.get("retryAfterSeconds")
    try:
        return min(max(float(said), 0.1), LONGEST_RETRY_AFTER) if said else 0.0
    except ValueError:  # an HTTP date: nobody sends one here
        return 0.0
