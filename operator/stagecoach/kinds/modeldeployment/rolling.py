"""How a candidate's steps stand in the status: what was counted of it, and until when it has its weight."""

from datetime import datetime

from stagecoach.api.deployment_status import Candidate, Served
from stagecoach.build.gateway import routes_name
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.modeldeployment import counts, holding, telling
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.policies import rollout
from stagecoach.policies.fitting import beside
from stagecoach.policies.rollout import Abort, Advance, Decision, Finish, Hold, Progress


def counted(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate with what gateways have counted of it by now, where that decides anything."""
    if not by_steps(scene, candidate):
        return candidate
    observed, status = scene.observed, scene.deployment.status
    pods = [pod.uid for pod in observed.gateways.pods]
    uid, routes = scene.deployment.metadata.uid, status.routes
    heard = {pod: observed.heard.get((pod, "GET", telling.COUNTS)) for pod in pods}
    read = {pod: counts.read(answer, uid, scene.now) for pod, answer in heard.items()}
    known = {pod: found for pod, found in read.items() if found is not None}
    return counts.counted(_since_routed(scene, candidate), known, pods, routes.revision if routes else 0)


def decided(scene: Scene, candidate: Candidate) -> Decision:
    """Return what comes next for a candidate that answers."""
    promoted = holding.promotion(scene, candidate) is not None
    status, asked = scene.deployment.status, scene.deployment.spec.canary
    if status.serving is None and status.revoked is not None and not scene.comes_back(candidate):
        return rollout.alone(asked, promoted=promoted)
    if asked and status.serving and not scene.moves(candidate) and scene.observed.known(status.serving) is None:
        return _unknown_beside(scene, status.serving)
    steps = asked if by_steps(scene, candidate) else None
    decision = rollout.decide(steps, _progress(candidate, scene.now, promoted=promoted), scene.now)
    if steps is None or isinstance(decision, Abort):
        return decision
    begins = candidate.step is not None and candidate.weight_since is None
    asks = begins or isinstance(decision, Advance | Finish)
    return (_without_gateways(scene, candidate) if asks else None) or decision


def stepped(candidate: Candidate, step: int, weight: int, now: datetime) -> Candidate:
    """Return a candidate that begins a step.

    What gateways had counted when it had no requests is where the first step begins. Of another they say it themselves,
    when they have its routes: until then they count for the one before.
    """
    update = {
        "step": step,
        "weight": weight,
        "step_since": timestamp(now),
        "weight_since": None,
        "weight_until": timestamp(now + rollout.WEIGHT_HOLDS),
        "held_since": None,
        "requests": 0,
        "errors": 0,
        "unanswered": 0,
        "seen": candidate.seen if candidate.step is None else [],
    }
    return candidate.model_copy(update=update)


def renewed(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate that keeps its weight, if it has one. What ran out is given anew, by a step that begins."""
    if candidate.weight_until is None or scene.now >= moment(candidate.weight_until):
        return candidate
    until = timestamp(rollout.renewed(moment(candidate.weight_until), scene.now))
    return capped(scene, candidate.model_copy(update={"weight_until": until}))


def capped(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate whose weight, though nobody renews it, holds no longer than what it was admitted by."""
    by = candidate.override
    if by is None or candidate.weight_until is None or scene.moves(candidate):
        return candidate
    until = min(moment(candidate.weight_until), moment(by.until))
    return candidate.model_copy(update={"weight_until": timestamp(until)})


def _since_routed(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate with since when gateways give it its weight; that they were away later is no beginning."""
    if candidate.step is None or candidate.weight_since is not None or not scene.routed:
        return candidate
    return candidate.model_copy(update={"weight_since": timestamp(scene.now)})


def _progress(candidate: Candidate, now: datetime, *, promoted: bool) -> Progress | None:
    if candidate.step is None or candidate.weight is None or not (candidate.step_since and candidate.weight_until):
        return None
    return Progress(
        step=candidate.step,
        weight=candidate.weight,
        since=moment(candidate.weight_since) if candidate.weight_since else now,
        until=moment(candidate.weight_until),
        requests=candidate.requests,
        errors=candidate.errors,
        unanswered=candidate.unanswered,
        promoted=promoted,
    )


def _unknown_beside(scene: Scene, serving: Served) -> Hold:
    """Return that a candidate waits, since nobody knows beside what it would take its steps: none is skipped."""
    told = routes_name(scene.deployment.metadata.name)
    message = f"Neither ConfigMap {serving.admitted} nor {told} says any more what is served:"
    message += " nobody knows beside what the steps of spec.rollout.canary would give it requests."
    advice = "Bring one of them back from a backup, or remove spec.rollout.canary, to have it take over at once."
    return Hold("AdmittedMissing", f"{message} {advice}", None)


def _without_gateways(scene: Scene, candidate: Candidate) -> Hold | None:
    """Return why no step begins or ends yet: gateways do not go by the routes, and it would pass without requests."""
    serving = scene.deployment.status.serving
    if serving and candidate.step is None and _lacks_tokenizer(scene, serving, candidate):
        message = f"ConfigMap {serving.admitted} does not say any more where the tokenizer of what is served is,"
        message += f" and {candidate.named} has another: gateways cannot be started with both."
        advice = "Bring it back from a backup, or remove spec.rollout.canary, to have it take over at once."
        return Hold("AdmittedMissing", f"{message} {advice}", None)
    if scene.routed:
        return None
    before = "No step is taken before gateways have the routes."
    if scene.heard is not None and scene.heard.refusals:
        words = " ".join(scene.heard.refusals)
        advice = "To have the candidate take over without steps, remove spec.rollout.canary."
        return Hold("RoutesRefused", f"{before} {words} {advice}", None)
    gateways = scene.observed.gateways
    if not gateways.ready and (lacks := gateways.complaint()):
        return Hold(lacks.reason, f"{before} {lacks.message}", None)
    return Hold("StepHolds", "It goes on when gateways have the routes. Nothing to do.", None)


def _lacks_tokenizer(scene: Scene, serving: Served, candidate: Candidate) -> bool:
    """Whether gateways need another tokenizer, while no document says where that of what is served is."""
    known, new = scene.observed.known(serving), scene.observed.known(candidate)
    if scene.document(serving) is not None or known is None or new is None:
        return False
    return known.described.asked.base.tokenizer != new.described.asked.base.tokenizer


def by_steps(scene: Scene, candidate: Candidate) -> bool:
    """Whether requests are to be parted between what is served and a candidate, and can be."""
    if scene.deployment.spec.canary is None:
        return False
    serving, new = scene.observed.known(scene.deployment.status.serving), scene.observed.known(candidate)
    return serving is not None and new is not None and beside(new, serving)
