"""How much engines have to do: asked of the loader in each pod that requests reach, while pods follow that."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from stagecoach.contract import loading
from stagecoach.contract.loading import Load
from stagecoach.kinds.modeldeployment import stuck
from stagecoach.kinds.modeldeployment.engines import Engine
from stagecoach.kinds.modeldeployment.pods import Pod
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.plan import Call
from stagecoach.kinds.view import Answer
from stagecoach.policies.keys import Purpose, derive
from stagecoach.policies.scaling import Look, Unknown

# Between two looks; and less than that, so that each look asks, though an answer may come late.
EVERY, DUE = timedelta(seconds=10), timedelta(seconds=5)
# What was said longer ago says nothing about now.
FRESH = timedelta(seconds=30)


def calls(scene: Scene) -> Iterator[Call]:
    """Ask each pod that requests reach."""
    if scene.deployment.spec.autoscaling is None:
        return
    token = derive(scene.settings.master_key, scene.deployment.metadata.uid, Purpose.LOADER)
    for pod in (pod for engine in _asked(scene) for pod in engine.ready if pod.reachable):
        before = _answer(scene, pod)
        if before is None or not timedelta() <= scene.now - before.at < DUE:
            yield Call(pod.uid, pod.address, loading.PORT, "GET", loading.LOAD_PATH, token, later=True)


def look(scene: Scene) -> Look | Unknown:
    """Return what is known of the busiest engine, and whether one pod of any does not say it."""
    looks = [_look(scene, engine) for engine in _asked(scene)]
    known = [each for each in looks if isinstance(each, Look)]
    silences = (each if isinstance(each, Unknown) else each.silent for each in looks)
    silent = next(filter(None, silences), None)
    if silent is not None and not known:
        return silent
    return replace(max(known, key=lambda each: each.waiting / each.pods), silent=silent)


def _asked(scene: Scene) -> list[Engine]:
    """Return the engines that gateways ask: that of what serves, and that of a candidate with requests."""
    status = scene.deployment.status
    names = [status.serving.engine] if status.serving else []
    if status.candidate is not None and status.candidate.weight is not None:
        names.append(status.candidate.engine)
    return [scene.observed.engine(name) for name in dict.fromkeys(names)]


def _look(scene: Scene, engine: Engine) -> Look | Unknown:
    if not engine.ready:
        message = f"no pod of engine {engine.name} is ready, and could say how many requests wait. See Loaded."
        return Unknown(message)
    found = [_load(_answer(scene, pod), pod, scene.now) for pod in engine.ready]
    said = [each for each in found if not isinstance(each, Unknown)]
    silent = [each for each in found if isinstance(each, Unknown)]
    if not said:
        return silent[0]
    waiting, running = sum(load.waiting for load, _ in said), sum(load.running for load, _ in said)
    complaint = stuck.complaint(engine.found, engine.pods, scene.now)
    return Look(
        len(said),
        waiting,
        running,
        min(at for _, at in said),
        silent=next(iter(silent), None),
        silent_pods=len(silent),
        fails=complaint.message if complaint else "",
    )


def _answer(scene: Scene, pod: Pod) -> Answer | None:
    return scene.observed.heard.get((pod.uid, "GET", loading.LOAD_PATH))


def _load(answer: Answer | None, pod: Pod, now: datetime) -> tuple[Load, datetime] | Unknown:
    """Return what a pod says, and when it did."""
    if answer is None:
        return Unknown(f"pod {pod.name} has not said yet how many requests wait. Nothing to do.", unheard=True)
    where = f"pod {pod.name} does not say how many requests wait"
    if answer.status == 404:
        advice = "To have an engine with a newer one, change spec.engine, or let another release take over."
        return Unknown(f"{where}, for its loader is of an earlier version. {advice}")
    if answer.status != 200:
        words = answer.body[:200].decode(errors="replace").rstrip(". ")
        return Unknown(f"{where}: {words}. See the logs of its containers loader and engine.")
    if now - answer.at > FRESH:
        return Unknown(f"{where} any more. Nothing to do: it is asked again.")
    try:
        return Load.model_validate_json(answer.body), answer.at
    except ValidationError:
        return Unknown(f"{where} as this version of the operator reads it. Upgrade the operator.")
