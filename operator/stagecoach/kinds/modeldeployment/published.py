"""The API contract of a deployment, where those who write clients find it while no gateway runs: in a ConfigMap.

It is what gateways answer at /openapi.json, to the byte.
"""

import hashlib

from stagecoach.api.deployment_status import ContractStatus
from stagecoach.build.gateway import contract_config_map, contract_name
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.telling import Told
from stagecoach.kinds.plan import Object

# A ConfigMap holds a mebibyte. What is longer, as with tens of thousands of labels, gateways alone tell.
MOST_BYTES = 900_000


def config_map(scene: Scene, told: Told | None) -> Object | None:
    """Return the ConfigMap; None while nothing is told, or what is told is too long."""
    text = _text(told)
    return contract_config_map(scene.deployment, text.decode()) if text else None


def status(scene: Scene, told: Told | None) -> ContractStatus | None:
    """Return what the status says of it: as before, while nobody knows what is told."""
    if told is None:
        return scene.deployment.status.contract
    if (text := _text(told)) is None:
        return None
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    return ContractStatus(config_map=contract_name(scene.deployment), digest=digest)


def _text(told: Told | None) -> bytes | None:
    return told.contract if told is not None and len(told.contract) <= MOST_BYTES else None
