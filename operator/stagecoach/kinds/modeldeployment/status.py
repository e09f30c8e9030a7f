"""How a deployment is told: every status that a ModelDeployment can have is made here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stagecoach.api.common import ConditionStatus
from stagecoach.api.deployment_status import DeploymentPhase, ModelDeploymentStatus, RetiringEngine, RoutesStatus
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build.gateway import endpoint
from stagecoach.kinds.conditions import Fact, dated, stalled
from stagecoach.kinds.modeldeployment.switching import Course
from stagecoach.kinds.modeldeployment.words import Words
from stagecoach.kinds.plan import Object

KNOWN = {ConditionStatus.TRUE: True, ConditionStatus.FALSE: False}


def missing(deployment: ModelDeployment, reason: str, message: str, now: datetime) -> Object:
    """The operator was installed without what serving takes: nothing is begun, and nothing taken away."""
    phase = DeploymentPhase.DEGRADED if deployment.status.serving else DeploymentPhase.PENDING
    if not deployment.status.serving:
        return _status(deployment, phase, stalled(reason, message), now)
    # What serves goes on, and so does what was said of it.
    kept = [each for each in deployment.status.conditions if each.type not in ("Reconciling", "Stalled")]
    facts = [Fact(each.type, KNOWN.get(each.status), each.reason, each.message) for each in kept]
    return _status(deployment, phase, (*facts, Fact("Stalled", True, reason, message)), now)


def going_on(
    deployment: ModelDeployment,
    course: Course,
    words: Words,
    now: datetime,
    *,
    routes: RoutesStatus | None,
    retiring: Sequence[RetiringEngine],
    replicas: int | None,
    selector: str | None,
) -> Object:
    """Whatever is served, and is to be."""
    return _status(
        deployment,
        words.phase,
        words.facts,
        now,
        serving=course.serving,
        candidate=course.candidate,
        rejected=list(course.rejected),
        history=list(course.history),
        promotions=list(course.promotions),
        revoked=course.revoked,
        sla=list(course.measured),
        load_tests=course.load_tests,
        routes=routes,
        retiring=list(retiring),
        endpoint=endpoint(deployment) if course.serving else deployment.status.endpoint,
        replicas=replicas,
        selector=selector,
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
