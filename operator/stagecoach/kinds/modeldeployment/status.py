"""How a deployment is told: every status that a ModelDeployment can have is made here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stagecoach.api.common import ConditionStatus
from stagecoach.api.deployment_status import (
    ContractStatus,
    DeploymentPhase,
    ModelDeploymentStatus,
    RetiringEngine,
    RoutesStatus,
)
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build.gateway import endpoint
from stagecoach.kinds.conditions import Fact, dated, stalled
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.scaling import Scaled
from stagecoach.kinds.modeldeployment.switching import Course
from stagecoach.kinds.modeldeployment.words import Words
from stagecoach.kinds.plan import Object

KNOWN = {ConditionStatus.TRUE: True, ConditionStatus.FALSE: False}


def missing(deployment: ModelDeployment, why: Complaint, now: datetime) -> Object:
    """The operator was installed without what serving takes: nothing is begun, and nothing taken away by that."""
    if not deployment.status.serving:
        phase = DeploymentPhase.UNAVAILABLE if deployment.status.revoked else DeploymentPhase.PENDING
        return _status(deployment, phase, stalled(why.reason, why.message), now)
    # What serves goes on, and so does what was said of it.
    kept = [each for each in deployment.status.conditions if each.type not in ("Reconciling", "Stalled")]
    facts = [Fact(each.type, KNOWN.get(each.status), each.reason, each.message) for each in kept]
    facts.append(Fact("Stalled", True, why.reason, why.message))
    return _status(deployment, DeploymentPhase.DEGRADED, facts, now)


def going_on(
    deployment: ModelDeployment,
    course: Course,
    words: Words,
    scaled: Scaled,
    now: datetime,
    *,
    routes: RoutesStatus | None,
    contract: ContractStatus | None,
    retiring: Sequence[RetiringEngine],
    replicas: int | None,
    selector: str | None,
    samples: str | None,
) -> Object:
    """Whatever is served, and is to be."""
    return _status(
        deployment,
        words.phase,
        (*words.facts, *scaled.facts),
        now,
        serving=course.serving,
        candidate=course.candidate,
        rejected=list(course.rejected),
        passed_over=course.passed_over,
        history=list(course.history),
        promotions=list(course.promotions),
        revoked=course.revoked,
        sla=list(course.measured),
        load_tests=course.load_tests,
        routes=routes,
        contract=contract,
        retiring=list(retiring),
        endpoint=endpoint(deployment) if course.serving else deployment.status.endpoint,
        autoscaling=scaled.status,
        replicas=replicas,
        selector=selector,
        samples=samples,
    )


def _status(
    deployment: ModelDeployment, phase: DeploymentPhase, facts: Sequence[Fact], now: datetime, **changes: Any
) -> Object:
    generation = deployment.metadata.generation
    update = {
        "observed_generation": generation,
        "phase": phase,
        "conditions": dated(facts, deployment.status.conditions, generation, now),
    }
    told: ModelDeploymentStatus = deployment.status.model_copy(update=update | changes)
    return told.document()
