"""The children of a deployment, as they have to be now. Of what stands in the observed status alone: intent first."""

from collections.abc import Iterator, Sequence

from stagecoach.api.deployment_status import Served
from stagecoach.build import gateway, serving_engine
from stagecoach.build.applied import needs_apply
from stagecoach.kinds.modeldeployment.scene import Scene, images_of
from stagecoach.kinds.modeldeployment.switching import remade
from stagecoach.kinds.modeldeployment.telling import Told
from stagecoach.kinds.plan import Object


def created(scene: Scene, applied: Sequence[Object]) -> tuple[Object, ...]:
    """Return what is made once and never changed: what was admitted, and the keys before pods need them."""
    made = [remade(scene, served) for served in _served(scene) if scene.document(served) is None]
    documents = [gateway.admitted_config_map(scene.deployment, admitted) for admitted in made if admitted]
    # Nobody watches Secrets: who waits for something may wait for this one, that somebody has deleted.
    waits = any(pod.complaint and pod.complaint.reason == "PodNotStarting" for pod in scene.observed.pods)
    needed = waits or any(each["kind"] == "Deployment" for each in applied)
    keys = [gateway.keys_secret(scene.deployment, scene.settings.master_key)] if needed else []
    return (*documents, *keys)


def applied(scene: Scene, told: Told | None) -> tuple[Object, ...]:
    """Return what is not as it has to be: engines before routes, and these before gateways."""
    return (*_engines(scene), *_routes(scene, told), *_gateways(scene))


def _served(scene: Scene) -> list[Served]:
    status = scene.deployment.status
    return [each for each in (status.serving, status.candidate) if each is not None]


def _engines(scene: Scene) -> Iterator[Object]:
    """Yield the engines of what is served and of what is about to be, with what belongs to them."""
    deployment, observed = scene.deployment, scene.observed
    known: set[str] = set()
    if _served(scene):
        yield serving_engine.engine_policy(deployment, scene.settings)  # before there is anything to protect
    for served in _served(scene):
        admitted = scene.document(served)
        if admitted is None or served.engine in known:
            continue
        known.add(served.engine)
        service = serving_engine.engine_service(deployment, served.engine)
        yield from _if_needed(observed.services.get(served.engine), service)
        # Of a project that is gone nobody knows what its pods need: what runs goes on with what it was given.
        if observed.project is not None and scene.fits(served, admitted):
            engine = serving_engine.engine(deployment, admitted, images_of(served), observed.project, scene.settings)
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
    if observed.project is None:
        return
    wanted = gateway.gateway(deployment, bases, observed.project, scene.settings)
    yield gateway.gateway_budget(deployment)
    yield from _if_needed(observed.deployments.get(wanted["metadata"]["name"]), wanted)


def _if_needed(observed: Object | None, wanted: Object) -> Iterator[Object]:
    if (needed := needs_apply(observed, wanted)) is not None:
        yield needed
