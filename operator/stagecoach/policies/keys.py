"""The keys of a deployment: derived from one of the operator's, so that the operator reads no Secret of a namespace."""

import hashlib
import hmac
from enum import StrEnum


class Purpose(StrEnum):
    """What a key is for; the value is the name of its file in the deployment's Secret."""

    ROUTES = "routes-key"
    ADMIN = "admin-token"
    ENGINE = "engine-key"
    LOADER = "loader-token"


def derive(master: bytes, uid: str, purpose: Purpose) -> str:
    """Return the key of a deployment for a purpose: 64 hex digits."""
    return hmac.new(master, f"stagecoach v1\n{uid}\n{purpose.value}".encode(), hashlib.sha256).hexdigest()
