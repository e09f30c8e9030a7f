"""Google Cloud Storage's errors in words, and which of them may pass."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Self

from aiohttp import ClientError
from gcsfs.retry import HttpError
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError

from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer.objects import EmptyObject

MISSING, CHANGED = 404, 412
# Of an upload that is not known any more.
GIVEN_UP = (404, 410, 499)
_EMPTY = 416
_PASSING = (408, 429, 500, 502, 503, 504)

_ROLE = "list and read there, and write to and delete from the storage (role Storage Object User)"
_DENIED = (
    "AccessDenied",
    "access is denied",
    f"Let the service account in {{secret}} {_ROLE}; or name another Secret in spec.credentials.",
)
_KEPT = (
    "AccessDenied",
    "the bucket does not let objects be replaced or removed yet",
    "Use a bucket without a retention policy and holds.",
)
# What only a person can mend, by the store's reason, a word for what it says, or the status.
_WRONG = {
    "404": ("BucketMissing", "there is no such bucket", "Create the bucket, or correct the URI."),
    "bucket name": ("BucketMissing", "there can be no such bucket", "Correct the URI."),
    "401": ("KeysRefused", "the token of the service account is refused", "Put another key into {secret}."),
    "grant": ("KeysRefused", "the service account or its key is not known there", "Put another key into {secret}."),
    "forbidden": _DENIED,
    "insufficientPermissions": _DENIED,
    "403": _DENIED,
    "retentionPolicyNotMet": _KEPT,
    "objectUnderActiveHold": _KEPT,
    "requester pays": ("AccessDenied", "the bucket wants requesters to pay", "Use a bucket whose owner pays."),
}
# What may pass.
_FAILED = {
    "412": ("SourceChanged", "the object was replaced while it was read", "Replace it at rest."),
    "quotaExceeded": ("StorageFull", "the storage's quota is used up", "Make room, or raise the quota."),
    "507": ("StorageFull", "the storage is full", "Make room, or add to it."),
    "clock": ("StorageFailed", "the clock of the node is wrong", "See that the node's clock is set by the network."),
}
_OTHER = ("StorageFailed", "the object store refused", "See the message, and the store's own log.")
_UNREACHABLE = (
    "EndpointUnreachable",
    "the object store, or the server of its tokens, does not answer",
    "See that GCS_ENDPOINT_URL in {secret} is right if it is set, that the store is up, and that pods may reach it.",
)
_NO_IDENTITY = (
    "IdentityMissing",
    "no Secret is for this place, and the pod has no identity of Google's",
    "Name a Secret in spec.credentials; or let pods.serviceAccountName be a ServiceAccount with Workload Identity.",
)
_OF_THE_POD = {
    "AccessDenied": f"Let the identity of pods.serviceAccountName {_ROLE}; or name a Secret in spec.credentials.",
    "KeysRefused": "See to the Workload Identity of pods.serviceAccountName; or name a Secret in spec.credentials.",
    "EndpointUnreachable": "See that pods may reach storage.googleapis.com.",
}


class Refused(Exception):
    """An answer that is none. Without JSON nothing is quoted of it: it may be a page of some other server."""

    def __init__(self, status: int, reason: str = "", message: str = "") -> None:
        super().__init__(f"{message} ({status})" if message else f"status {status}")
        self.status, self.reason, self.message = status, reason, message

    @classmethod
    def of(cls, status: int, content: bytes) -> Self:
        """Return the refusal that a body tells."""
        try:
            error = json.loads(content)["error"]
            reasons = [str(item.get("reason", "")) for item in error.get("errors", ())]
            return cls(status, reasons[0] if reasons else "", str(error.get("message", "")))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls(status)


class Foreign(Exception):
    """An answer that such a store does not give."""


def may_pass(error: Exception) -> bool:
    """Whether the same request may do better in a moment. google-auth has repeated itself what it refuses."""
    if isinstance(error, Refused):
        return error.status in _PASSING or error.reason in ("rateLimitExceeded", "userRateLimitExceeded")
    return isinstance(error, (ClientError, TimeoutError, ConnectionError, TransportError))


@contextmanager
def told(place: str, field: str = "", secret: str = "") -> Iterator[None]:
    """Turn the object store's errors into words; a missing object is the caller's to judge.

    `secret` is the name of the Secret with whose key it is asked; without one it is the pod's own identity.
    """
    try:
        yield
    except Refused as refused:
        if refused.status == _EMPTY:
            raise EmptyObject from refused
        code = _code_of(refused)
        _tell(code, (_WRONG | _FAILED).get(code, _OTHER), f": {refused}", (place, field, secret))
    except (HttpError, GoogleAuthError) as error:
        code, words, said = _of_a_token(error, secret)
        _tell(code, words, said, (place, field, secret))
    except (ClientError, TimeoutError, ConnectionError) as error:
        _tell("", _UNREACHABLE, f": {type(error).__name__} {error}", (place, field, secret))
    except Foreign:
        _tell("", _UNREACHABLE, " in its protocol.", (place, field, secret))


def _tell(code: str, words: tuple[str, str, str], said: str, about: tuple[str, str, str]) -> NoReturn:
    reason, what, remedy = words
    place, field, secret = about
    if "{secret}" in remedy:
        remedy = remedy.format(secret=f"Secret {secret}") if secret else _OF_THE_POD[reason]
    problem = Problem.of(reason, f"{what}{said}", field=field, value=place, remedy=remedy)
    raise BadInput(problem) if code in _WRONG else StorageFailed(problem)


def _code_of(refused: Refused) -> str:
    """Return what the tables know a refusal by."""
    for words in ("bucket name", "requester pays"):
        if refused.status == 400 and words in refused.message.lower():
            return words
    if refused.reason in _WRONG | _FAILED or (refused.status == 403 and refused.reason):
        return refused.reason
    return str(refused.status)


def _of_a_token(error: Exception, secret: str) -> tuple[str, tuple[str, str, str], str]:
    """Return code, words and quotation for a token that could not be had."""
    cause = error if isinstance(error, RefreshError) else error.__cause__
    if not secret:
        return "", _NO_IDENTITY, f": {cause or error}"
    if not isinstance(cause, RefreshError):
        return "", _UNREACHABLE, f": {error}"
    said = str(cause.args[0]) if cause.args else ""
    if "reasonable timeframe" in said:
        return "clock", _FAILED["clock"], f": {said}"
    if re.match(r"(invalid_\w+|unauthorized_client|access_denied|account_not_found)\b", said) and not cause.retryable:
        return "grant", _WRONG["grant"], f": {said}"
    return "", _UNREACHABLE, " as it should."
