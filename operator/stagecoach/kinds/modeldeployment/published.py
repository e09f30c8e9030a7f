"""The API contract of a deployment, where those who write clients find it while no gateway runs: in a ConfigMap.

It is what gateways of the operator's own version answer at /openapi.json, to the byte, once they have the routes.
"""

import hashlib

from stagecoach.api.deployment_status import ContractStatus
from stagecoach.build.applied import needs_apply
from stagecoach.build.gateway import CONTRACT_FILE, contract_config_map, contract_name
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.telling import Told
from stagecoach.kinds.plan import Object

# A ConfigMap holds a mebibyte. What is longer, as with tens of thousands of labels, gateways alone tell.
MOST_BYTES = 900_000


def config_map(scene: Scene, told: Told | None) -> Object | None:
    """Return the ConfigMap; None while nothing is told, or what is told is too long."""
    text = _text(told)
    return contract_config_map(scene.deployment, text.decode()) if text else None


def outgrown(scene: Scene, told: Told | None) -> tuple[Object, ...]:
    """Return the ConfigMap where it is there and what is told now is too long for it: it says what was told before."""
    there = _there(scene)
    return (there,) if there is not None and told is not None and _text(told) is None else ()


def status(scene: Scene, told: Told | None) -> ContractStatus | None:
    """Return what the status says of it: what is seen there, and so as before until a change of it is."""
    there, wanted = _there(scene), config_map(scene, told)
    if there is None:
        return None
    if wanted is None or needs_apply(there, wanted) is not None:
        return scene.deployment.status.contract
    digest = hashlib.sha256(wanted["data"][CONTRACT_FILE].encode()).hexdigest()
    return ContractStatus(config_map=contract_name(scene.deployment), digest=f"sha256:{digest}")


def _there(scene: Scene) -> Object | None:
    return scene.observed.config_maps.get(contract_name(scene.deployment))


def _text(told: Told | None) -> bytes | None:
    return told.contract if told is not None and len(told.contract) <= MOST_BYTES else None
