"""S3's errors in words, and which of them may pass."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer.objects import EmptyObject, UnknownCondition

_DENIED = (
    "AccessDenied",
    "access is denied",
    "Let the keys in {secret} list and read there, and write to the storage; or name another in spec.credentials.",
)
_UNKNOWN = "Let spec.credentials name a Secret whose keys may list and read there, and write to the storage."
_CHANGED = ("SourceChanged", "the object was replaced while it was read", "Replace it at rest.")
# What only a person can mend.
_WRONG = {
    "NoSuchBucket": ("BucketMissing", "there is no such bucket", "Create the bucket, or correct the URI."),
    "InvalidBucketName": ("BucketMissing", "there can be no such bucket", "Correct the URI."),
    "InvalidAccessKeyId": ("KeysRefused", "the access key is not known there", "Correct the keys in {secret}."),
    # The same in versitygw's words.
    "XAdminUserNotFound": ("KeysRefused", "the access key is not known there", "Correct the keys in {secret}."),
    "SignatureDoesNotMatch": (
        "KeysRefused",
        "the secret key is not that of the access key",
        "Correct the keys in {secret}.",
    ),
    "InvalidToken": ("KeysRefused", "the session token is not valid", "Correct the keys in {secret}."),
    "AccessDenied": _DENIED,
    # Of a HEAD: no body says more. With one, a status of 403 may also mean a clock that is wrong, and pass.
    "403": _DENIED,
    "PermanentRedirect": ("WrongRegion", "the bucket is in another region", "Set AWS_REGION in {secret}."),
    "AuthorizationHeaderMalformed": ("WrongRegion", "it is another region", "Set AWS_REGION in {secret}."),
}
# What may pass.
_FAILED = {
    "ExpiredToken": ("KeysExpired", "the session token has expired", "Renew the keys in {secret}."),
    "QuotaExceeded": ("StorageFull", "the storage's quota is used up", "Make room, or raise the quota."),
    "XMinioAdminBucketQuotaExceeded": ("StorageFull", "the bucket's quota is used up", "Make room, or raise it."),
    "XMinioStorageFull": ("StorageFull", "the storage is full", "Make room, or add to it."),
    "InsufficientStorage": ("StorageFull", "the storage is full", "Make room, or add to it."),
    "PreconditionFailed": _CHANGED,
    "ConditionalRequestConflict": _CHANGED,  # another writes it at the same time
}
_UNREACHABLE = (
    "EndpointUnreachable",
    "the object store does not answer",
    "See that AWS_ENDPOINT_URL in {secret} is right, that the store is up, and that pods may reach it.",
)
_OTHER = ("StorageFailed", "the object store refused", "See the message, and the store's own log.")
_BY_STATUS = {301: "PermanentRedirect", 412: "PreconditionFailed", 507: "InsufficientStorage"}
_MISSING = ("NoSuchKey", "404")
_NOT_IMPLEMENTED = "NotImplemented"
_EMPTY = ("InvalidRange", "416")


@contextmanager
def told(place: str, field: str = "", secret: str = "") -> Iterator[None]:
    """Turn the object store's errors into words; a missing object is the caller's to judge.

    `secret` is the name of the Secret with whose keys it is asked.
    """
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (OSError, BotoCoreError, ClientError) as error:
        _tell(error, place, field, secret)
    except ResponseParserError:
        # Its text is all of the answer, which is nobody's to see: mostly a page of some other server.
        reason, what, remedy = _UNREACHABLE
        remedy = _naming(secret, remedy)
        problem = Problem.of(reason, f"{what} in its protocol.", field=field, value=place, remedy=remedy)
        raise StorageFailed(problem) from None


def _tell(error: Exception, place: str, field: str, secret: str) -> NoReturn:
    code, status = _code_of(error)
    if code in _EMPTY:
        raise EmptyObject from error
    if code in _MISSING or code == "NoSuchUpload":
        raise FileNotFoundError(errno.ENOENT, "no such object", place) from error
    known = _WRONG | _FAILED
    code = code if code in known else _BY_STATUS.get(status, code)
    reason, what, remedy = known.get(code, _OTHER) if status else _UNREACHABLE
    remedy = _naming(secret, _UNKNOWN if reason == "AccessDenied" and not secret else remedy)
    problem = Problem.of(reason, f"{what}: {error}", field=field, value=place, remedy=remedy)
    if code in _WRONG:
        raise BadInput(problem) from error
    raise (UnknownCondition(problem) if code == _NOT_IMPLEMENTED else StorageFailed(problem)) from error


def _naming(secret: str, remedy: str) -> str:
    return remedy.format(secret=f"Secret {secret}" if secret else "the Secret")


def _code_of(error: BaseException) -> tuple[str, int]:
    """Return the store's error code and HTTP status; no status when there was no answer."""
    if type(error).__name__ == "ParamValidationError":
        return "InvalidBucketName", 400
    answer = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if not isinstance(answer, dict):
        return "", 0
    return str(answer["Error"].get("Code", "")), int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
