"""How many engine pods are wanted, where that follows what waits: decided on what pods say, and told."""

from dataclasses import dataclass

from stagecoach.api.deployment_status import AutoscalingStatus
from stagecoach.contract.times import timestamp
from stagecoach.kinds.conditions import Fact, of, said
from stagecoach.kinds.modeldeployment import waiting
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.switching import Course
from stagecoach.kinds.plan import Event
from stagecoach.policies import scaling

CONDITION = "Autoscaled"


@dataclass(frozen=True)
class Scaled:
    """What the status says of it next."""

    status: AutoscalingStatus | None = None
    facts: tuple[Fact, ...] = ()
    events: tuple[Event, ...] = ()


def following(scene: Scene, course: Course) -> Scaled:
    """Return what comes next. It is done when it stands in the status."""
    deployment, asked = scene.deployment, scene.deployment.spec.autoscaling
    if asked is None:
        return Scaled()
    before = deployment.status.autoscaling
    if deployment.status.serving is None or course.serving is None:
        return Scaled(before)
    if before is None:
        before = AutoscalingStatus(wanted=scene.pods, at=timestamp(scene.now))
    decision = scaling.decide(
        asked,
        deployment.spec.engine.max_concurrent,
        before,
        waiting.look(scene),
        scene.now,
        switching=deployment.status.candidate is not None or course.candidate is not None,
    )
    told = of(deployment.status.conditions, CONDITION)
    if told is not None and decision.unheard:
        return Scaled(decision.status, (said(told),))  # as it was said before this process, or this pod, began
    fact = Fact(CONDITION, decision.follows, decision.reason, decision.message)
    words = f"{decision.status.wanted} engine pods instead of {before.wanted}: {decision.moved}"
    return Scaled(decision.status, (fact,), (Event("Scaled", words),) if decision.moved else ())
