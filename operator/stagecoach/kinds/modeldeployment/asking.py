"""What is asked of pods now: of loaders, whether what is served and is to be answers; of gateways, what they know."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from stagecoach.contract import loading
from stagecoach.contract.times import moment
from stagecoach.kinds.modeldeployment import engines, pauses, rolling, telling, waiting
from stagecoach.kinds.modeldeployment.engines import Engine
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.telling import Told
from stagecoach.kinds.plan import Call
from stagecoach.policies.keys import Purpose, derive

# What is known is asked again so rarely; a little less than until the next look.
AT_REST = timedelta(seconds=12)


def calls(scene: Scene, told: Told | None) -> tuple[Call, ...]:
    """Return all of it."""
    return (*_loaders(scene), *waiting.calls(scene), *gateways(scene, told))


def _loaders(scene: Scene) -> Iterator[Call]:
    status, observed = scene.deployment.status, scene.observed
    token = derive(scene.settings.master_key, scene.deployment.metadata.uid, Purpose.LOADER)
    served = [each for each in (status.serving, status.candidate) if each is not None]
    for name in dict.fromkeys(each.engine for each in served):
        if (wanted := scene.wanted(name)) is None:
            continue
        engine = observed.engine(name)
        known = [scene.document(each) for each in served if each.engine == name]
        answer = all(engines.answering(engine, each, scene.pods, scene.now).everywhere for each in known if each)
        pause = AT_REST if answer else pauses.after(_changes(scene, engine), scene.now)
        for call in engines.questions(engine, wanted, token):
            heard = observed.heard.get((call.pod_uid, "PUT", loading.PATH))
            if heard is None or heard.asked != call.body or not timedelta() <= scene.now - heard.at < pause:
                yield call


def _changes(scene: Scene, engine: Engine) -> Iterator[datetime | None]:
    """Yield when something happened by which an engine may answer soon."""
    yield from (pod.changed for pod in engine.pods)
    candidate = scene.deployment.status.candidate
    if candidate is not None and candidate.engine == engine.name:
        yield moment(candidate.asked or candidate.since)


def gateways(scene: Scene, told: Told | None) -> tuple[Call, ...]:
    """Return what gateways are asked."""
    if told is None:
        return ()
    token = derive(scene.settings.master_key, scene.deployment.metadata.uid, Purpose.ADMIN)
    candidate = scene.deployment.status.candidate
    counting = candidate is not None and rolling.by_steps(scene, candidate)
    pods = [pod for pod in scene.observed.gateways.pods if pod.reachable]
    return telling.calls(pods, told, token, scene.observed.heard, scene.now, counting=counting)
