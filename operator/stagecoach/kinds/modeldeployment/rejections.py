"""Releases that were tried and went back: not again, until the deployment asks for something else, or a person does."""

from datetime import datetime

from stagecoach.api.deployment_status import MAX_REJECTED, Rejected, Served
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.conditions import shortened
from stagecoach.policies.decisions import Decisions, since_rejected

MOST = 1024
# Of a spec, what may let another try end otherwise.
ASKED = ("model", "gates", "engine", "rollout", "api")


def identity(deployment: ModelDeployment) -> str:
    """Return what a spec asks for, in a digest.

    Neither an autoscaler, nor a later operator that knows more fields, is a reason to try again.
    """
    asked = deployment.spec.beside_defaults()
    # Digests of before there was an SLA are to be the same while nobody asks for one.
    sla = {"sla": asked["sla"]} if asked.get("sla") else {}
    return digest_of_document({name: asked.get(name) for name in ASKED} | sla)


def in_force(deployment: ModelDeployment, decisions: Decisions) -> list[Rejected]:
    """Return the releases that were rejected under what the spec asks for now, and that nobody has promoted since."""
    now, spent = identity(deployment), deployment.status.promotions
    rejected = [each for each in deployment.status.rejected if each.spec == now]
    return [
        each for each in rejected if decisions.promotion(each.release, since_rejected(moment(each.at)), spent) is None
    ]


def rejected(deployment: ModelDeployment, served: Served, reason: str, message: str, now: datetime) -> list[Rejected]:
    """Return the list with one more; of as many as fit, the oldest goes."""
    entry = Rejected(
        release=served.release,
        run=served.run,
        reason=reason[:64],
        message=shortened(message, MOST),
        engine=served.engine,
        spec=identity(deployment),
        at=timestamp(now),
    )
    others = [each for each in deployment.status.rejected if each.release != served.release]
    return [entry, *others][:MAX_REJECTED]
