"""The children of a deployment, as they have to be now. Of what stands in the observed status alone: intent first."""

from collections.abc import Iterator, Sequence

from stagecoach.api.deployment_status import Served
from stagecoach.api.pods import PodSettings
from stagecoach.build import gateway, serving_engine
from stagecoach.build.applied import needs_apply
from stagecoach.build.pods import credentials
from stagecoach.build.recipes import recipe_config_map
from stagecoach.contract.access import Credential
from stagecoach.kinds.modeldeployment import load_testing
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.telling import Told
from stagecoach.kinds.plan import Object


def created(scene: Scene, applied: Sequence[Object]) -> tuple[Object, ...]:
    """Return what is made once and never changed: what was admitted, and the keys before pods need them."""
    wanted = [*_documents(scene), *_recipes(scene)]
    documents = [each for each in wanted if each["metadata"]["name"] not in scene.observed.config_maps]
    # Nobody watches Secrets: who waits for something may wait for this one, that somebody has deleted.
    waits = any(pod.complaint and pod.complaint.reason == "PodNotStarting" for pod in scene.observed.pods)
    tests = load_testing.created(scene)
    needed = waits or tests or any(each["kind"] == "Deployment" for each in applied)
    keys = [gateway.keys_secret(scene.deployment, scene.settings.master_key)] if needed else []
    return (*documents, *keys, *tests)


def _documents(scene: Scene) -> Iterator[Object]:
    for served in _served(scene):
        if (admitted := scene.remade(served)) is not None:
            yield gateway.admitted_config_map(scene.deployment, admitted)


def _recipes(scene: Scene) -> Iterator[Object]:
    for served in _served(scene):
        if (recipe := scene.recipe_remade(served)) is not None:
            yield recipe_config_map(scene.deployment, recipe)


def applied(scene: Scene, told: Told | None) -> tuple[Object, ...]:
    """Return what is not as it has to be: first what serves, so that nothing of a candidate stands in its way."""
    status = scene.deployment.status
    of_serving = tuple(_engine(scene, status.serving)) if status.serving else ()
    tested = status.candidate is not None and not load_testing.missing(scene, status.candidate)
    of_candidate = tuple(_engine(scene, status.candidate)) if status.candidate and tested else ()
    known = {(each["kind"], each["metadata"]["name"]) for each in of_serving}
    new = [each for each in of_candidate if (each["kind"], each["metadata"]["name"]) not in known]
    return (*_policy(scene), *of_serving, *_routes(scene, told), *_gateways(scene), *new)


def _served(scene: Scene) -> list[Served]:
    status = scene.deployment.status
    return [each for each in (status.serving, status.candidate) if each is not None]


def _policy(scene: Scene) -> Iterator[Object]:
    if _served(scene):
        yield serving_engine.engine_policy(scene.deployment, scene.settings)  # before there is anything to protect


def _engine(scene: Scene, served: Served) -> Iterator[Object]:
    """Yield the engine of a release, with what belongs to it."""
    deployment, observed = scene.deployment, scene.observed
    if scene.document(served) is None:
        return
    service = serving_engine.engine_service(deployment, served.engine)
    yield from _if_needed(observed.services.get(served.engine), service)
    if (recipe := scene.recipe(served)) is not None:
        engine = serving_engine.engine(deployment, recipe, scene.settings)
        yield from _if_needed(observed.deployments.get(served.engine), engine)


def _routes(scene: Scene, told: Told | None) -> Iterator[Object]:
    if told is not None:
        revision = told.acknowledgement.revision
        wanted = gateway.routes_config_map(scene.deployment, told.signed, revision)
        yield from _if_needed(scene.observed.config_maps.get(wanted["metadata"]["name"]), wanted)


def _gateways(scene: Scene) -> Iterator[Object]:
    deployment, observed = scene.deployment, scene.observed
    bases = [admitted for served in _served(scene) if (admitted := scene.document(served))]
    if not bases or (deployment.status.serving and scene.document(deployment.status.serving) is None):
        return
    service = gateway.gateway_service(deployment)
    yield from _if_needed(observed.services.get(service["metadata"]["name"]), service)
    if (of_project := _of_project(scene)) is None:
        return
    wanted = gateway.gateway(deployment, bases, *of_project, scene.settings)
    yield gateway.gateway_budget(deployment)
    yield from _if_needed(observed.deployments.get(wanted["metadata"]["name"]), wanted)


def _of_project(scene: Scene) -> tuple[PodSettings, Sequence[Credential]] | None:
    """Return what pods need of the project; of one that is gone, what engines were made with."""
    if (project := scene.observed.project) is not None:
        return project.spec.pods, credentials(project.spec)
    recipe = next(filter(None, map(scene.recipe, _served(scene))), None)
    return (recipe.pods, recipe.credentials) if recipe else None


def _if_needed(observed: Object | None, wanted: Object) -> Iterator[Object]:
    if (needed := needs_apply(observed, wanted)) is not None:
        yield needed
