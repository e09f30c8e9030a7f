"""Where the gateways of a deployment write what is to be looked at later: a folder of a claim, and no other of it."""

from typing import Any

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract import mounts
from stagecoach.contract.uris import Uri

Object = dict[str, Any]

NAME = "samples"


def place(deployment: ModelDeployment) -> Uri | None:
    """Return where it is, in the words of those who read it there; None where nothing is kept."""
    sampling = deployment.spec.sampling
    return Uri("pvc", sampling.claim.name, f"{NAME}/{deployment.metadata.name}") if sampling else None


def volumes(deployment: ModelDeployment) -> list[Object]:
    """Return the volumes that this takes."""
    where = place(deployment)
    return [{"name": NAME, "persistentVolumeClaim": {"claimName": where.name}}] if where else []


def volume_mounts(deployment: ModelDeployment) -> list[Object]:
    """Return the mounts, to which a gateway writes: of one deployment it sees no other's."""
    where = place(deployment)
    return [{"name": NAME, "mountPath": mounts.SAMPLES, "subPath": where.path}] if where else []
