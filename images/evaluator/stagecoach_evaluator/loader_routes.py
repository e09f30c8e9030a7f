"""What gateways are told to ask an engine for: by this a pod knows its adapters when nobody tells them."""

from pathlib import Path

from stagecoach.contract import gateway_routes, mounts
from stagecoach.contract.digests import Digest
from stagecoach_trainer import places


def adapters(engine: str, key: bytes) -> tuple[Digest, ...]:
    """Return the adapters for which the engine of this URL is asked; none where there are no routes yet.

    Raises BadRoutes when they were not signed by this key, or cannot be read.
    """
    try:
        text = (Path(places.rebased(mounts.ROUTES)) / gateway_routes.ROUTES_FILE).read_bytes()
    except FileNotFoundError:
        return ()
    routes = gateway_routes.verified(text, key)
    artifacts = (target.described.release.artifact for target in routes.targets if engine in target.engines)
    return tuple(dict.fromkeys(artifact for artifact in artifacts if artifact))
