"""Where the gateways of a deployment write what is to be looked at later: a folder of a claim, and no other of it."""

from collections.abc import Sequence
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


def volumes(deployment: ModelDeployment, others: Sequence[Object]) -> tuple[list[Object], list[Object]]:
    """Return the volumes that this takes beside the others of a pod, and the mounts, to which a gateway writes.

    A claim is one volume, whatever else is read from it: of a pod with two, kubelets up to 1.34 may wait for ever. Of
    one deployment a gateway sees no other's samples.
    """
    if (where := place(deployment)) is None:
        return [], []
    source = {"persistentVolumeClaim": {"claimName": where.name}}
    name = next((each["name"] for each in others if each == {"name": each["name"]} | source), None)
    mount = {"name": name or NAME, "mountPath": mounts.SAMPLES, "subPath": where.path}
    return [] if name else [{"name": NAME} | source], [mount]
