"""Request ids: never the same twice, and sealed: each is bound to the client and the release that it was made for.

So feedback can be checked by any gateway of the deployment, and nothing has to be remembered. One seal says for whom an
id was made, another that it is whole: who may give feedback on everybody's answers need not know whose they are.
"""

import hashlib
import hmac
import itertools
import os
import time

_SEAL = 10
_PLAIN, _WHOLE = 36, 36 + 4 * _SEAL
# What stands for the release where none has answered.
NONE = "0" * 12
# Where each process begins is random: the seal makes an id that nobody can make up.
_NUMBERS = itertools.count(int.from_bytes(os.urandom(8)))


def new(key: bytes, client: str, release: str) -> str:
    """Return an id for a request that is answered now."""
    digits = release[7:19] or NONE  # of sha256:<hex>
    plain = f"{int(time.time()):08x}{next(_NUMBERS) % 2**64:016x}{digits}"
    bound = plain + _seal(key, f"{plain} {client}")
    return f"req-{bound}{_seal(key, bound)}"


def release_of(key: bytes, client: str | None, request: str) -> str | None:
    """Return the first 12 digits of the release that answered; None unless the id was made for this client.

    With None for a client, whoever it was made for.
    """
    if not request.isascii() or not request.startswith("req-") or len(request) != len("req-") + _WHOLE:
        return None
    bound, seal = request[4 : -2 * _SEAL], request[-2 * _SEAL :]
    plain, of_client = bound[:_PLAIN], bound[_PLAIN:]
    whole = hmac.compare_digest(seal, _seal(key, bound))
    theirs = client is None or hmac.compare_digest(of_client, _seal(key, f"{plain} {client}"))
    return plain[24:] if whole and theirs else None


def _seal(key: bytes, text: str) -> str:
    return hashlib.blake2b(text.encode(), key=key[:64], digest_size=_SEAL).hexdigest()
