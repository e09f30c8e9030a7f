"""What gateways are told to ask an engine for: by this a pod knows its adapters when nobody tells them."""

from pathlib import Path

from pydantic import BaseModel

from stagecoach.contract import gateway_routes, mounts
from stagecoach.contract.digests import Digest
from stagecoach_trainer import places


# Of routes no more than what matters here. An engine stays while operators come and go that tell gateways more: what
# it does not know, is none of its.
class _Release(BaseModel):
    artifact: Digest | None = None


class _Described(BaseModel):
    release: _Release


class _Target(BaseModel):
    described: _Described
    engines: tuple[str, ...]


class _Candidate(BaseModel):
    target: _Target


class _Routes(BaseModel):
    stable: _Target | None = None
    candidate: _Candidate | None = None


def adapters(engine: str, key: bytes) -> tuple[Digest, ...]:
    """Return the adapters for which the engine of this URL is asked; none where there are no routes yet.

    Raises BadRoutes when they were not signed by this key, or cannot be read.
    """
    try:
        text = (Path(places.rebased(mounts.ROUTES)) / gateway_routes.ROUTES_FILE).read_bytes()
    except FileNotFoundError:
        return ()
    routes = gateway_routes.read(gateway_routes.opened(text, key), _Routes)
    targets = (routes.stable, routes.candidate.target if routes.candidate else None)
    artifacts = (target.described.release.artifact for target in targets if target and engine in target.engines)
    return tuple(dict.fromkeys(artifact for artifact in artifacts if artifact))
