"""Releases that were tried and went back: not again, until the deployment asks for something else."""

from datetime import datetime

from stagecoach.api.deployment_status import MAX_REJECTED, Rejected, Served
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.times import timestamp

MOST = 1024


def identity(deployment: ModelDeployment) -> str:
    """Return what a spec asks for, in a digest. Autoscalers say how many pods there are: that is no reason to retry."""
    return digest_of_document(deployment.spec.model_copy(update={"replicas": 0}).document())


def in_force(deployment: ModelDeployment) -> list[Rejected]:
    """Return the releases that were rejected under what the spec asks for now."""
    now = identity(deployment)
    return [each for each in deployment.status.rejected if each.spec == now]


def rejected(deployment: ModelDeployment, served: Served, reason: str, message: str, now: datetime) -> list[Rejected]:
    """Return the list with one more; of as many as fit, the oldest goes."""
    entry = Rejected(
        release=served.release,
        run=served.run,
        reason=reason[:64],
        message=message if len(message) <= MOST else f"{message[: MOST - 1]}…",
        generation=deployment.metadata.generation,
        spec=identity(deployment),
        at=timestamp(now),
    )
    others = [each for each in deployment.status.rejected if each.release != served.release]
    return [entry, *others][:MAX_REJECTED]
