"""Request ids: never the same twice, and sealed: each is bound to the client and the release that it was made for.

So feedback can be checked by any gateway of the deployment, and nothing has to be remembered.
"""

import hashlib
import hmac
import itertools
import os
import time

_SEAL = 10
# Where each process begins is random: the seal makes an id that nobody can make up.
_NUMBERS = itertools.count(int.from_bytes(os.urandom(8)))


def new(key: bytes, client: str, release: str) -> str:
    """Return an id for a request that is answered now."""
    digits = release[7:19] or "0" * 12  # of sha256:<hex>
    plain = f"{int(time.time()):08x}{next(_NUMBERS) % 2**64:016x}{digits}"
    return f"req-{plain}{_seal(key, plain, client)}"


def release_of(key: bytes, client: str, request: str) -> str | None:
    """Return the first 12 digits of the release that answered; None unless the id was made for this client."""
    plain, seal = request[4:40], request[40:]
    if not request.isascii() or not request.startswith("req-"):
        return None
    return plain[24:] if hmac.compare_digest(seal, _seal(key, plain, client)) else None


def _seal(key: bytes, plain: str, client: str) -> str:
    return hashlib.blake2b(f"{plain} {client}".encode(), key=key[:64], digest_size=_SEAL).hexdigest()
