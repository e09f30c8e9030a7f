"""What a ModelDeployment needs next. Pure: what counts is in its status, its children, and what these have answered.

NoUngatedTraffic: a release is admitted by its gates, or an Override, before anything is made for it. IncumbentStays:
what is served goes on until a candidate is in or somebody revokes it, whatever becomes of gates, runs and the project.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial

from pydantic import ValidationError

from stagecoach.api.deployment_status import ContractStatus, RoutesStatus
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build.labels import ENGINE, ENGINE_NAME
from stagecoach.build.serving import selector
from stagecoach.build.serving_engine import engine_url
from stagecoach.contract.gateway_routes import Routes
from stagecoach.contract.times import moment
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.invalid import unreadable
from stagecoach.kinds.modeldeployment import (
    asking,
    client_keys,
    load_testing,
    parts,
    pauses,
    published,
    retiring,
    revoking,
    routes,
    sampling,
    scaling,
    status,
    switching,
    telling,
    waiting,
)
from stagecoach.kinds.modeldeployment.deciding import people
from stagecoach.kinds.modeldeployment.neighbours import references, wakes
from stagecoach.kinds.modeldeployment.observe import Observed, observe
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.refused import Refused
from stagecoach.kinds.modeldeployment.scaling import Scaled
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.switching import Course
from stagecoach.kinds.modeldeployment.telling import Heard, Told
from stagecoach.kinds.modeldeployment.words import Words, words
from stagecoach.kinds.plan import Object, Plan
from stagecoach.kinds.view import View
from stagecoach.policies import admission, keys
from stagecoach.policies.admission import NotAdmitted, Wanted

# While all is well: what loaders and gateways say has to be new.
AT_REST = 15.0


def reconcile(view: View, raw: Object, now: datetime, settings: Settings) -> Plan:
    """Observe and decide."""
    try:
        observed = observe(view, raw, now, settings)
    except ValidationError as error:
        return unreadable(raw, error, now)
    return decide(observed, now, settings)


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Return what to do now."""
    deployment = observed.deployment
    if deployment.metadata.deletion_timestamp:
        return Plan()  # all that was made for it is owned by it, and goes with it
    scene = Scene(observed, _wish(observed), settings, now)
    if lacking := _lacking(observed.deployment, settings):
        return _not_installed(scene, lacking)
    told = _announced(scene)
    heard = telling.heard(observed.gateways.pods, told, observed.heard) if told else None
    applied = parts.applied(scene, told)
    created = parts.created(scene, applied)
    scene = replace(scene, refused=_refused(observed, (*created, *applied)), heard=heard)
    course = revoking.taken_out(scene) or switching.go_on(scene)
    intended = _intended(scene, course, heard)
    said = words(scene, course, intended, heard if _is_told(intended, deployment.status.routes) else None)
    scaled = scaling.following(scene, course)
    return Plan(
        status=_status(scene, course, said, scaled, intended, published.status(scene, told)),
        events=(*course.events, *scaled.events),
        delete=(*load_testing.left_over(scene), *retiring.deleted(scene, course), *published.outgrown(scene, told)),
        create=load_testing.still_wanted(created, course.candidate),
        apply=applied,
        tells_refusals=True,
        ask=asking.calls(scene, told),
        requeue_after=_pause(scene, course, said),
    )


def _not_installed(scene: Scene, lacking: Complaint) -> Plan:
    """Return a plan by which nothing is begun. What is revoked leaves all the same, and gateways go on to be told.

    What was admitted has the engine's image of then: where only one for what is new is missing, its parts are kept.
    """
    deployment = scene.deployment
    if not scene.settings.master_key:  # they can be told nothing
        return Plan(status=status.missing(deployment, lacking, scene.now))
    course = revoking.taken_out(scene) or switching.taken_back(scene)
    told = _announced(scene)
    heard = telling.heard(scene.observed.gateways.pods, told, scene.observed.heard) if told else None
    intended = _intended(scene, course, heard)
    update = {name: getattr(course, name) for name in ("serving", "candidate", "revoked")}
    update |= {"routes": intended, "contract": published.status(scene, told)}
    following = deployment.model_copy(update={"status": deployment.status.model_copy(update=update)})
    why = revoking.meanwhile(course.revoked, lacking) if course.revoked else lacking
    looked_after = bool(scene.settings.gateway_image)
    of_routes = (*parts.routes(scene, told), *parts.contract(scene, told))
    applied = parts.applied(scene, told) if looked_after else of_routes
    pause = telling.REPEAT if heard and heard.everywhere else pauses.after(_changes(scene), scene.now)
    return Plan(
        status=status.missing(following, why, scene.now),
        events=course.events,
        delete=published.outgrown(scene, told),
        create=parts.created(scene, applied) if looked_after else (),
        apply=applied,
        ask=asking.calls(scene, told) if looked_after else asking.gateways(scene, told),
        requeue_after=pause.total_seconds() if intended else None,
    )


def _lacking(deployment: ModelDeployment, settings: Settings) -> Complaint | None:
    """Return what the operator was installed without, if it cannot serve."""
    gpus = deployment.spec.engine.resources.gpus
    engine = settings.engine(gpus)
    given = {
        f"{engine.value} (for spec.engine.resources.gpus: {gpus})": engine.image,
        "gateway.image": settings.gateway_image,
        "a key from which those of deployments are derived": settings.master_key,
    }
    if missing := [name for name, value in given.items() if not value]:
        message = (
            f"The operator was installed without {', '.join(missing)}: nothing new is served, and what is goes on."
        )
        advice = "Whoever installed the operator sets it in the chart."
        return Complaint("ServingNotInstalled", f"{message} {advice}")
    return None


def _wish(observed: Observed) -> Wanted | NotAdmitted:
    """Return what should be served, by what the spec says and gates have decided."""
    deployment, blocked = observed.deployment, observed.blocked
    serving = deployment.status.serving
    if blocked is not None:
        meanwhile = f"{serving.title} goes on serving." if serving else "Nothing is served until then."
        return NotAdmitted(blocked.reason, f"{blocked.message} {meanwhile}")
    decided, rejected = people(observed.decisions), observed.rejected
    if serving is None and deployment.status.revoked is not None:
        stand_in = admission.stand_in(deployment.spec, rejected, observed.candidates.before, decided)
        if stand_in is not None:
            return stand_in
    return admission.decide(deployment.spec, serving, rejected, observed.candidates.runs, decided, observed.followed)


def _refused(observed: Observed, wanted: Iterable[Object]) -> Refused:
    status = observed.deployment.status
    return Refused.of(wanted, observed.refusals, status.serving, status.candidate, observed.engines)


def _announced(scene: Scene) -> Told | None:
    """Return the routes that the observed status has announced, as gateways are told them."""
    deployment = scene.deployment
    found = routes.announced(_routes(scene, deployment), deployment.status.routes)
    if found is None:
        return None
    key = keys.derive(scene.settings.master_key, deployment.metadata.uid, keys.Purpose.ROUTES)
    return Told.of(found, key.encode(), keep=deployment.status.samples is not None)


def _routes(scene: Scene, deployment: ModelDeployment) -> Routes | None:
    url, last = partial(engine_url, deployment), scene.observed.last_told
    return routes.wanted(deployment, scene.observed.admitted, url, last)


def _status(
    scene: Scene,
    course: Course,
    said: Words,
    scaled: Scaled,
    intended: RoutesStatus | None,
    contract: ContractStatus | None,
) -> Object:
    deployment = scene.deployment
    engine = scene.observed.engines.get(course.serving.engine) if course.serving else None
    labels = selector(deployment, ENGINE) | {ENGINE_NAME: course.serving.engine} if course.serving else {}
    return status.going_on(
        deployment,
        course,
        said,
        scaled,
        scene.now,
        routes=_counted(intended, deployment.status.routes, scene.heard),
        contract=contract,
        retiring=retiring.told(scene, course),
        replicas=engine.get("status", {}).get("replicas", 0) if engine else None,
        selector=",".join(f"{name}={value}" for name, value in sorted(labels.items())) or None,
        samples=sampling.place(deployment, rolled=sampling.moves(deployment) and parts.gateways_are_new(scene)),
    )


def _intended(scene: Scene, course: Course, heard: Heard | None) -> RoutesStatus | None:
    """Return what gateways are told next: it is told when it stands in the status."""
    deployment, before = scene.deployment, scene.deployment.status.routes
    if before is None and course.candidate is None:
        return None
    begins = deployment.spec.api_keys is not None and not client_keys.asked_for(deployment)
    rolled = begins and parts.gateways_are_new(scene)
    keys = client_keys.following(deployment, rolled=rolled, acknowledged=heard is not None and heard.everywhere)
    told = before.model_copy(update={"client_keys": keys}) if before else None
    update = {"serving": course.serving, "candidate": course.candidate, "routes": told}
    following = deployment.model_copy(update={"status": deployment.status.model_copy(update=update)})
    return routes.intended(_routes(scene, following), before, keys, scene.now, heard.known if heard else 0)


def _is_told(intended: RoutesStatus | None, before: RoutesStatus | None) -> bool:
    """Whether what is intended is what gateways were told last."""
    return intended is not None and before is not None and intended.revision == before.revision


def _counted(intended: RoutesStatus | None, before: RoutesStatus | None, heard: Heard | None) -> RoutesStatus | None:
    """Return what gateways are told, with how many of them have it."""
    if intended is None or heard is None or not _is_told(intended, before):
        return intended
    # What was said to the process of before is as true as it was, until this one has asked.
    kept = min(intended.acknowledged, heard.acknowledged + heard.unheard)
    return intended.model_copy(update={"gateways": heard.ready, "acknowledged": max(heard.acknowledged, kept)})


def _pause(scene: Scene, course: Course, said: Words) -> float | None:
    """Return when to look again, if nothing happens."""
    if not said.at_rest:
        pause = pauses.after(_changes(scene), scene.now)
        rest = max(course.until - scene.now, pauses.SOONEST) if course.until else pause
        return min(pause, rest).total_seconds()
    goes_on = course.serving or scene.deployment.status.routes or scene.observed.engines
    if not goes_on:
        until = scene.wish.until if isinstance(scene.wish, NotAdmitted) else None
        return max(until - scene.now, pauses.SOONEST).total_seconds() if until else None
    return AT_REST if scene.deployment.spec.autoscaling is None else waiting.EVERY.total_seconds()


def _changes(scene: Scene) -> Iterator[datetime | None]:
    """Yield when something happened from which more may follow soon."""
    status = scene.deployment.status
    yield from (pod.changed for pod in scene.observed.pods)
    yield from (moment(each.last_transition_time) for each in status.conditions)
    if status.routes is not None:
        yield moment(status.routes.since)
    if (candidate := status.candidate) is not None:
        times = (candidate.since, candidate.asked, candidate.step_since)
        yield from (moment(each) for each in times if each is not None)


CONTROLLER = Controller(
    kind="ModelDeployment", plural="modeldeployments", references=references, wakes=wakes, reconcile=reconcile
)
