"""Releases that were tried and went back: not again, until the deployment asks for something else, or a person does."""

from datetime import datetime

from stagecoach.api.deployment_status import MAX_REJECTED, PassedOver, Rejected, Served
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


def passed_over(deployment: ModelDeployment) -> str:
    """Return up to when runs were created that are not taken under what the spec asks for now; empty: all are."""
    told = deployment.status.passed_over
    return told.run_created if told is not None and told.spec == identity(deployment) else ""


def rejected(
    deployment: ModelDeployment, served: Served, reason: str, message: str, now: datetime
) -> tuple[list[Rejected], PassedOver | None]:
    """Return the list with one more; and what is passed over, for not all of them fit.

    What was rejected under another spec goes first, then what the oldest run has made. What was served stays: it may
    come back, or go to another engine, whatever is passed over.
    """
    spec, before = identity(deployment), deployment.status.passed_over
    entry = Rejected(
        release=served.release,
        run=served.run,
        base=served.base,
        run_created=served.run_created,
        reason=reason[:64],
        message=shortened(message, MOST),
        engine=served.engine,
        spec=spec,
        at=timestamp(now),
    )
    told = [entry, *(each for each in deployment.status.rejected if each.release != served.release)]
    if len(told) <= MAX_REJECTED:
        return told, before
    was_served = {each.release for each in deployment.status.history}
    # Versions before did not say when a run was created: of these the first that was rejected.
    # Nor is it said of a base itself, of which there are few: these stay, for nothing would pass them over.
    goes = min(
        told,
        key=lambda each: (
            each.spec == spec,
            each.release in was_served or each.base is not None,
            each.run_created or "",
            each.at,
        ),
    )
    told.remove(goes)
    if goes.spec != spec or goes.run_created is None:
        return told, before
    return told, PassedOver(run_created=max(goes.run_created, passed_over(deployment)), spec=spec)
