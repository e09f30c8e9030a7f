"""Engines that nothing is routed to any more: they go once gateways know that, and what was begun had time to end."""

from datetime import timedelta

from stagecoach.api.deployment_status import MAX_ENGINES, RetiringEngine
from stagecoach.build.labels import COMPONENT, ENGINE
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.switching import Course
from stagecoach.kinds.plan import Object

# What gateways had begun to ask of an engine has ended by then.
LINGERS = timedelta(minutes=2)
# What was admitted and is neither served nor about to be is kept for so long: who wrote last may not be seen yet.
KEPT = timedelta(hours=1)


def told(scene: Scene, course: Course) -> list[RetiringEngine]:
    """Return the engines that go: new ones only when gateways have the routes of the observed status."""
    leaving = _overdue(scene, course)
    used = _used(scene, course)
    there = scene.observed.engines
    known = [
        each
        for each in scene.deployment.status.retiring
        if each.name in there and each.name not in used and each.name not in leaving
    ]
    names = {each.name for each in known} | used | set(leaving)
    new = [RetiringEngine(name=name, since=timestamp(scene.now)) for name in sorted(there) if name not in names]
    return [*known, *(new if scene.settled else [])][:MAX_ENGINES]


def deleted(scene: Scene, course: Course) -> tuple[Object, ...]:
    """Return what goes now. The same plan takes the engines out of the status: who knows an older one deletes none."""
    observed = scene.observed
    names = _overdue(scene, course)
    engines = [observed.deployments[name] for name in names]
    used = _used(scene, course)
    alone = [name for name in _engine_services(scene) if name not in observed.deployments and name not in used]
    services = [observed.services[name] for name in (*names, *alone) if name in observed.services]
    return (*engines, *services, *_documents(scene, course))


def _overdue(scene: Scene, course: Course) -> list[str]:
    used = _used(scene, course)
    retiring = scene.deployment.status.retiring
    over = [each.name for each in retiring if scene.now - moment(each.since) >= LINGERS]
    return [name for name in over if name in scene.observed.engines and name not in used]


def _engine_services(scene: Scene) -> list[str]:
    labelled = scene.observed.services.items()
    return sorted(name for name, each in labelled if each["metadata"].get("labels", {}).get(COMPONENT) == ENGINE)


def _used(scene: Scene, course: Course) -> set[str]:
    """Return the engines that are asked, by the status as it is and as it will be."""
    status = scene.deployment.status
    served = (status.serving, status.candidate, course.serving, course.candidate)
    return {each.engine for each in served if each is not None}


def _documents(scene: Scene, course: Course) -> tuple[Object, ...]:
    """Return the ConfigMaps of what was admitted once, and of its engine, when they are nothing any more."""
    status = scene.deployment.status
    served = (status.serving, status.candidate, course.serving, course.candidate)
    needed = {name for each in served if each is not None for name in (each.admitted, each.engine)}
    names = sorted({*scene.observed.admitted, *scene.observed.recipes} - needed)
    known = [scene.observed.config_maps[name] for name in names]
    return tuple(each for each in known if scene.now - moment(each["metadata"]["creationTimestamp"]) >= KEPT)
