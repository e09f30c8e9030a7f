"""The children of a deployment, as they have to be now. Of what stands in the observed status alone: intent first."""

from collections.abc import Iterator, Sequence

from stagecoach.api.deployment_status import Served
from stagecoach.api.pods import PodSettings
from stagecoach.build import gateway, serving_engine
from stagecoach.build.applied import needs_apply
from stagecoach.build.pods import credentials
from stagecoach.build.recipes import recipe_config_map
from stagecoach.contract.access import Credential
from stagecoach.contract.admitted import Admitted
from stagecoach.kinds.modeldeployment import client_keys, load_testing, published
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.telling import Told
from stagecoach.kinds.plan import Object


def created(scene: Scene, applied: Sequence[Object]) -> tuple[Object, ...]:
    """Return what is made once and never changed: what was admitted, and the keys before pods need them.

    Of a candidate last: what is refused ends what is created.
    """
    status = scene.deployment.status
    # Nobody watches Secrets: who waits for something may wait for this one, that somebody has deleted.
    waits = any(pod.complaint and pod.complaint.reason == "PodNotStarting" for pod in scene.observed.pods)
    tests = load_testing.created(scene)
    needed = waits or tests or any(each["kind"] == "Deployment" for each in applied)
    keys = [gateway.keys_secret(scene.deployment, scene.settings.master_key)] if needed else []
    return (*_documents(scene, status.serving), *keys, *_documents(scene, status.candidate), *tests)


def _documents(scene: Scene, served: Served | None) -> Iterator[Object]:
    """Yield what says what a release is, and what its engine is made of, where that is not there."""
    if served is None:
        return
    there = scene.observed.config_maps
    if served.admitted not in there and (admitted := scene.remade(served)) is not None:
        yield gateway.admitted_config_map(scene.deployment, admitted)
    if served.engine not in there and (recipe := scene.recipe_remade(served)) is not None:
        yield recipe_config_map(scene.deployment, recipe)


def applied(scene: Scene, told: Told | None) -> tuple[Object, ...]:
    """Return what is not as it has to be: first what serves, so that nothing of a candidate stands in its way."""
    status = scene.deployment.status
    of_serving = tuple(_engine(scene, status.serving)) if status.serving else ()
    tested = status.candidate is not None and not load_testing.missing(scene, status.candidate)
    of_candidate = tuple(_engine(scene, status.candidate)) if status.candidate and tested else ()
    known = {(each["kind"], each["metadata"]["name"]) for each in of_serving}
    new = [each for each in of_candidate if (each["kind"], each["metadata"]["name"]) not in known]
    told_of = (*routes(scene, told), *_gateways(scene, told))
    return (*_guards(scene), *of_serving, *told_of, *new, *contract(scene, told))


def _served(scene: Scene) -> list[Served]:
    status = scene.deployment.status
    return [each for each in (status.serving, status.candidate) if each is not None]


def _asked(scene: Scene) -> set[str]:
    """Return the engines that have requests: pods of others, which may only start, keep no node from being emptied."""
    serving, candidate = scene.deployment.status.serving, scene.deployment.status.candidate
    with_requests = [serving, candidate if candidate is not None and candidate.weight is not None else None]
    return {each.engine for each in with_requests if each is not None}


def _guards(scene: Scene) -> Iterator[Object]:
    """Yield what keeps strangers from engines, and nodes from being emptied of all their pods at a time."""
    if _served(scene):
        yield serving_engine.engine_policy(scene.deployment, scene.settings)  # before there is anything to protect
    if asked := _asked(scene):
        yield serving_engine.engine_budget(scene.deployment, asked)


def _engine(scene: Scene, served: Served) -> Iterator[Object]:
    """Yield the engine of a release, with what belongs to it."""
    deployment, observed = scene.deployment, scene.observed
    if scene.document(served) is None:
        return
    service = serving_engine.engine_service(deployment, served.engine)
    yield from _if_needed(observed.services.get(served.engine), service)
    if (recipe := scene.recipe(served)) is not None:
        engine = serving_engine.engine(deployment, recipe, scene.settings, scene.pods)
        yield from _if_needed(observed.deployments.get(served.engine), engine)


def routes(scene: Scene, told: Told | None) -> Iterator[Object]:
    """Yield from what gateways that begin take their routes, if it is not as they are told."""
    if told is not None:
        wanted = gateway.routes_config_map(scene.deployment, told.signed, told.acknowledgement.revision)
        yield from _if_needed(scene.observed.config_maps.get(wanted["metadata"]["name"]), wanted)


def contract(scene: Scene, told: Told | None) -> Iterator[Object]:
    """Yield what those who write clients read, if it is not what gateways answer by what they are told."""
    if (wanted := published.config_map(scene, told)) is not None:
        yield from _if_needed(scene.observed.config_maps.get(wanted["metadata"]["name"]), wanted)


def gateways_are_new(scene: Scene) -> bool:
    """Whether all gateways are as they have to be now, by their template."""
    wanted, gateways = _gateway(scene, _bases(scene)), scene.observed.gateways
    return wanted is not None and needs_apply(gateways.found, wanted) is None and gateways.rolled()


def _gateways(scene: Scene, told: Told | None) -> Iterator[Object]:
    deployment, observed = scene.deployment, scene.observed
    if not (bases := _bases(scene)):
        return
    service = gateway.gateway_service(deployment)
    yield from _if_needed(observed.services.get(service["metadata"]["name"]), service)
    if (wanted := _gateway(scene, bases)) is not None and not _would_refuse_everybody(scene, told):
        yield gateway.gateway_budget(deployment)
        yield from _if_needed(observed.gateways.found, wanted)


def _would_refuse_everybody(scene: Scene, told: Told | None) -> bool:
    """Whether gateways that know no clients may come by routes that have them ask for keys.

    They read the ConfigMap as it is, and nobody may be there to tell them better.
    """
    deployment = scene.deployment
    if deployment.spec.api_keys is not None or deployment.status.routes is None:
        return False
    if client_keys.asked_for(deployment):
        return True
    written = scene.observed.config_maps.get(gateway.routes_name(deployment.metadata.name))
    return written is not None and (told is None or any(routes(scene, told)))


def _bases(scene: Scene) -> list[Admitted]:
    """Return what gateways have to know; nothing, while that is not known of what is served."""
    serving = scene.deployment.status.serving
    if serving is not None and scene.document(serving) is None:
        return []
    return [admitted for served in _served(scene) if (admitted := scene.document(served))]


def _gateway(scene: Scene, bases: Sequence[Admitted]) -> Object | None:
    if not bases or (of_project := _of_project(scene)) is None:
        return None
    return gateway.gateway(scene.deployment, bases, *of_project, scene.settings)


def _of_project(scene: Scene) -> tuple[PodSettings, Sequence[Credential]] | None:
    """Return what pods need of the project; of one that is gone, what engines were made with."""
    if (project := scene.observed.project) is not None:
        return project.spec.pods, credentials(project.spec)
    recipe = next(filter(None, map(scene.recipe, _served(scene))), None)
    return (recipe.pods, recipe.credentials) if recipe else None


def _if_needed(observed: Object | None, wanted: Object) -> Iterator[Object]:
    if (needed := needs_apply(observed, wanted)) is not None:
        yield needed
