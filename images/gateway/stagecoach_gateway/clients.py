"""Who asks, and how often: keys by their digests, and buckets of requests that fill up again with time."""

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from stagecoach.contract.gateway_routes import RateLimit
from stagecoach.contract.model import ContractModel
from stagecoach_gateway.errors import Refusal

log = logging.getLogger(__name__)
# Of more buckets the ones that were unused for longest are forgotten: their clients begin again with full ones.
MOST_BUCKETS = 50_000


class ClientKey(ContractModel):
    """A client, and the digest of one of its keys: long random ones, so that a plain digest cannot be turned back."""

    client: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


_KEYS = TypeAdapter(tuple[ClientKey, ...])


class Clients:
    """The keys of a mounted file, read again when it has changed: keys are added and taken back while it runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._by_digest: dict[str, str] = {}
        self._read = self._unreadable = False
        self.unread: str | None = None  # what is wrong with a file of which no keys were ever read

    def refresh(self) -> None:
        """Look at the file. One that is gone has no keys; one that cannot be read changes nothing, and is logged."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino)
            if seen == self._seen:
                return
            content = self._path.read_bytes()
        except FileNotFoundError:
            self._seen, self._by_digest, self._read, self.unread = None, {}, False, None
            return
        except OSError as error:
            if not self._unreadable:
                self._complain(f"cannot be read: {error.strerror}")
            self._unreadable = True
            return
        self._seen, self._unreadable = seen, False
        try:
            keys = _KEYS.validate_json(content)
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)[0]  # an input may be a key as it is
            place = ".".join(map(str, found["loc"])) or "all of it"
            self._complain(f"does not hold keys: {place}: {found['msg']}")
            return
        self._by_digest = {key.sha256: key.client for key in keys}
        self._read, self.unread = True, None

    def _complain(self, what: str) -> None:
        remedy = 'put [{"client": "<name>", "sha256": "<digest of its key, in hex>"}] there'
        before = "those from before hold" if self._read else "there are none from before"
        log.error("%s %s; %s: %s", self._path, what, before, remedy)
        if not self._read:
            self.unread = f"{self._path.parent.name}/{self._path.name} {what}"

    def who(self, authorization: bytes | None) -> str:
        """Return the client that a header names. Raises Refusal."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            headers = {"www-authenticate": "Bearer"}
            raise Refusal("missing_key", "Give a key: `Authorization: Bearer <key>`.", headers=headers)
        # By the digest: how long the look-up takes tells nothing of a key.
        client = self._by_digest.get(hashlib.sha256(key.strip()).hexdigest())
        if client is None:
            raise Refusal("invalid_key", "This key is not known here, or not any more.")
        return client


class Rates:
    """What is left to each client, of each limit."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, RateLimit], tuple[float, float]] = {}

    def take(self, client: str, limits: Sequence[RateLimit], now: float) -> None:
        """Count a request. Raises Refusal, and counts nothing, when a limit is reached."""
        found: list[tuple[tuple[str, RateLimit], float]] = []
        waits: list[tuple[int, RateLimit]] = []
        for limit in limits:
            key = (client, limit)
            left, since = self._left.get(key, (float(limit.requests), now))
            left = min(float(limit.requests), left + (now - since) * limit.requests / limit.seconds)
            if left < 1:
                waits.append((max(1, math.ceil((1 - left) * limit.seconds / limit.requests)), limit))
            found.append((key, left - 1))
        if waits:
            wait, limit = max(waits, key=lambda each: each[0])
            message = f"More than {limit.requests} requests in {limit.seconds} s: try again in {wait} s."
            raise Refusal("rate_limited", message, headers={"retry-after": str(wait)})
        for key, left in found:
            self._left.pop(key, None)  # the last one to be asked about stands last
            self._left[key] = (left, now)
        while len(self._left) > MOST_BUCKETS:
            del self._left[next(iter(self._left))]
