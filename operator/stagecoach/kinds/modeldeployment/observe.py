"""What a ModelDeployment's reconcile looks at."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from stagecoach.api.deployment_status import Rejected, Served
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build.gateway import gateway_name, read_admitted, routes_name
from stagecoach.build.labels import COMPONENT, ENGINE
from stagecoach.build.recipes import Recipe, read_recipe
from stagecoach.contract import loading
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.gateway_routes import Routes
from stagecoach.kinds import children
from stagecoach.kinds.blocked import Blocked, ready_project
from stagecoach.kinds.children import Child
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.modeldeployment import deciding, engines, followed, rejections, routes, telling
from stagecoach.kinds.modeldeployment.candidates import Candidates, candidates
from stagecoach.kinds.modeldeployment.engines import Engine
from stagecoach.kinds.modeldeployment.gateways import Gateways
from stagecoach.kinds.modeldeployment.neighbours import project_key
from stagecoach.kinds.modeldeployment.pods import Pod, pod_of
from stagecoach.kinds.plan import Object
from stagecoach.kinds.view import Answer, View
from stagecoach.policies import keys
from stagecoach.policies.admission import Followed, NotAdmitted
from stagecoach.policies.decisions import Decisions
from stagecoach.policies.fitting import Known
from stagecoach.policies.pods import JOB_NAME, pod_state

Document = TypeVar("Document")

LOADER = (("PUT", loading.PATH), ("GET", loading.LOAD_PATH))
GATEWAY = (("PUT", telling.ROUTES), ("GET", telling.ROUTES), ("GET", telling.COUNTS))


@dataclass(frozen=True)
class Observed:
    """A deployment and all that its next step depends on."""

    deployment: ModelDeployment
    project: TransformerProject | None  # None: it is gone, or cannot be read
    blocked: Blocked | None  # why nothing new can be admitted, whatever gates say
    decisions: Decisions  # of people
    followed: Followed | NotAdmitted | None  # what another deployment serves, if the spec wants that
    candidates: Candidates
    admitted: Mapping[str, Admitted]  # by the name of the ConfigMap that says it
    recipes: Mapping[str, Recipe]  # by the name of the engine, which its ConfigMap has too
    deployments: Mapping[str, Object]
    services: Mapping[str, Object]
    config_maps: Mapping[str, Object]
    pods: tuple[Pod, ...]
    heard: Mapping[tuple[str, str, str], Answer]  # by the pod's uid, method and path
    last_told: Routes | None  # what gateways were told last, where that can be read
    load_test: Child  # the Job that tests the candidate
    unfinished: tuple[Object, ...]  # Jobs that would go on
    refusals: Mapping[tuple[str, str], str]  # of what was wanted of the cluster, by kind and name

    def engine(self, name: str) -> Engine:
        """Return an engine as it is seen."""
        heard = {uid: answer for (uid, _, path), answer in self.heard.items() if path == loading.PATH}
        return engines.of_name(name, self.deployments, self.pods, heard)

    @property
    def rejected(self) -> list[Rejected]:
        """The releases that are not to be tried again."""
        return rejections.in_force(self.deployment, self.decisions)

    @property
    def engines(self) -> dict[str, Object]:
        """The Deployments of engines, by their names."""
        labelled = self.deployments.items()
        return {name: each for name, each in labelled if each["metadata"].get("labels", {}).get(COMPONENT) == ENGINE}

    @property
    def gateways(self) -> Gateways:
        """The gateways as they are seen."""
        own = tuple(pod for pod in self.pods if not pod.engine and not pod.leaving)
        return Gateways(self.deployments.get(gateway_name(self.deployment)), own)

    def document(self, served: Served | None) -> Admitted | None:
        """Return what is known of a release that was admitted; None as long as its ConfigMap is not there."""
        return self.admitted.get(served.admitted) if served else None

    def known(self, served: Served | None) -> Known | None:
        """Return what is known of a release, also when its ConfigMap is gone and gateways were told of it."""
        return routes.known(served, self.admitted, self.last_told)


def observe(view: View, raw: Object, now: datetime, settings: Settings) -> Observed:
    """Collect what is in memory. Raises ValidationError for a deployment that its model refuses."""
    deployment = ModelDeployment.model_validate(raw)
    uid = deployment.metadata.uid
    project, blocked = _project(view, raw, deployment)
    decisions = deciding.observe(view, raw, now)
    follows = followed.observe(view, raw, deployment, now)
    config_maps = _by_name(view.config_maps(uid))
    admitted = _read(config_maps, read_admitted)
    found = view.pods(uid)
    of_jobs = [pod_state(pod) for pod in found if _is_of_a_job(pod)]
    others = [pod for pod in found if not _is_of_a_job(pod)]
    pods = tuple(pod_of(pod, view.warning(pod["metadata"]["uid"])) for pod in others)
    test = deployment.status.candidate.load_test if deployment.status.candidate else None
    topics = [(pod.uid, *topic) for pod in pods for topic in (LOADER if pod.engine else GATEWAY)]
    heard = {topic: answer for topic in topics if (answer := view.answer(*topic))}
    last_told = _last_told(deployment, config_maps, heard, settings)
    serving = routes.known(deployment.status.serving, admitted, last_told)
    return Observed(
        deployment=deployment,
        project=project,
        blocked=blocked,
        decisions=decisions,
        followed=follows,
        candidates=Candidates()
        if project is None or blocked
        else candidates(view, raw, deployment, project, serving, decisions, follows, settings),
        admitted=admitted,
        recipes=_read(config_maps, read_recipe),
        deployments=_by_name(view.deployments(uid)),
        services=_by_name(view.services(uid)),
        config_maps=config_maps,
        pods=pods,
        heard=heard,
        last_told=last_told,
        load_test=children.child(view, uid, test.job, of_jobs) if test else Child(),
        unfinished=children.unfinished(view, uid, of_jobs, now),
        refusals=view.refusals(uid),
    )


def _last_told(
    deployment: ModelDeployment, config_maps: Mapping[str, Object], heard: telling.Answers, settings: Settings
) -> Routes | None:
    if not settings.master_key:
        return None
    key = keys.derive(settings.master_key, deployment.metadata.uid, keys.Purpose.ROUTES)
    written = config_maps.get(routes_name(deployment.metadata.name))
    return telling.last(written, heard, deployment.status.routes, key.encode())


def _is_of_a_job(pod: Object) -> bool:
    return JOB_NAME in pod["metadata"].get("labels", {})


def _project(view: View, raw: Object, deployment: ModelDeployment) -> tuple[TransformerProject | None, Blocked | None]:
    try:
        project = view.read(project_key(raw), TransformerProject.model_validate)
    except ValidationError:
        project = None  # its own status says what is wrong with it
    try:
        return ready_project(deployment, project, "its runs can be served then"), None
    except Blocked as why:
        return project, why


def _read(config_maps: Mapping[str, Object], read: Callable[[Object], Document]) -> dict[str, Document]:
    """Return what ConfigMaps say that cannot be changed; of others, and of what a later version wrote, nothing."""
    found: dict[str, Document] = {}
    for name, each in config_maps.items():
        if each.get("immutable"):
            with suppress(ValueError):
                found[name] = read(each)
    return found


def _by_name(objects: Sequence[Object]) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in objects}
