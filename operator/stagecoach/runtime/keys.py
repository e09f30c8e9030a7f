"""The operator's own key, in a Secret beside its Lease: from it the keys of all deployments are derived."""

import asyncio
import base64
import binascii
import logging
import secrets

from stagecoach.kinds.plan import Object
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import AlreadyExists, ApiError, Forbidden, NotFound, Rejected
from stagecoach.runtime.resources import SECRETS

logger = logging.getLogger(__name__)

FIELD = "key"
BYTES = 32


class BadKey(Exception):
    """There is a Secret, and no key can be taken from it; the message says what to do, and shows nothing of it."""


async def master_key(client: Client, namespace: str, name: str) -> bytes:
    """Return the key that all replicas share, made by whichever is the first; empty when that is not allowed.

    Raises BadKey. Whatever may pass is waited for.
    """
    backoff = Backoff(first=0.5, longest=10.0)
    while True:
        try:
            return _key(await _secret(client, namespace, name))
        except Forbidden as error:
            logger.error(
                "no ModelDeployment will be served until this is granted and the operator restarted: %s", error
            )
            return b""
        except Rejected as error:
            raise BadKey(f"{error}. Give --key-secret another name") from error
        except ApiError as error:
            logger.warning("waiting for the Secret %s/%s: %s", namespace, name, error)
            await asyncio.sleep(backoff.next(error.retry_after))


async def _secret(client: Client, namespace: str, name: str) -> Object:
    try:
        return await client.get(SECRETS, namespace, name)
    except NotFound:
        pass
    try:
        made = await client.create(SECRETS, namespace, _fresh(namespace, name))
    except AlreadyExists:  # another replica was faster
        return await client.get(SECRETS, namespace, name)
    logger.info("made the Secret %s/%s: it holds the key of all ModelDeployments", namespace, name)
    return made


def _fresh(namespace: str, name: str) -> Object:
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "immutable": True,
        "data": {FIELD: base64.b64encode(secrets.token_bytes(BYTES)).decode()},
    }


def _key(secret: Object) -> bytes:
    metadata = secret["metadata"]
    try:
        key = base64.b64decode((secret.get("data") or {}).get(FIELD, ""), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < BYTES:
        raise BadKey(
            f"Secret {metadata['namespace']}/{metadata['name']} has no data.{FIELD} of at least {BYTES} bytes, from"
            " which the keys of all ModelDeployments are derived. Put the right one back; or delete the Secret, and the"
            " operator makes another: then all engines and gateways are rolled out anew, with keys from that one"
        )
    return key
