"""How a release comes to be served: admitted, loaded, given requests by steps, and in; or dropped, or rejected.

Until a candidate is in, what is served is what was served before. IncumbentStays: nothing here takes it away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from stagecoach.api.approval import Approval
from stagecoach.api.common import duration
from stagecoach.api.deployment_status import (
    MAX_HISTORY,
    Candidate,
    HistoryEntry,
    ModelDeploymentStatus,
    PassedOver,
    Promotion,
    Rejected,
    Revoked,
    Served,
)
from stagecoach.api.sla import Measured
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build.gateway import admitted_config_map
from stagecoach.build.recipes import engine_name, recipe
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.digests import short
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.modeldeployment import deciding, engines, holding, load_testing, overriding, rejections, rolling
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.plan import Event
from stagecoach.policies.admission import OF_THEN, Followed, NotAdmitted, Wanted, objection
from stagecoach.policies.fitting import servable_problem, untestable
from stagecoach.policies.rollout import Abort, Advance, Await, Finish, Hold
from stagecoach.policies.scaling import pods

NOT_READY = "EngineNotReady"


@dataclass(frozen=True)
class Course:
    """What the status says of releases, as it goes on."""

    serving: Served | None
    candidate: Candidate | None
    rejected: Sequence[Rejected]
    passed_over: PassedOver | None
    history: Sequence[HistoryEntry]
    promotions: Sequence[Promotion]
    revoked: Revoked | None
    measured: Sequence[Measured]
    load_tests: int  # number of the newest Job
    events: tuple[Event, ...] = ()
    waits: Complaint | None = None  # what the candidate waits for
    until: datetime | None = None  # and until when, where that is known

    @classmethod
    def of(cls, status: ModelDeploymentStatus) -> Self:
        """Return what a status says, to go on from there."""
        return cls(
            serving=status.serving,
            candidate=status.candidate,
            rejected=status.rejected,
            passed_over=status.passed_over,
            history=status.history,
            promotions=status.promotions,
            revoked=status.revoked,
            measured=status.sla,
            load_tests=status.load_tests,
        )

    def told(self, reason: str, message: str, *, warning: bool = False) -> "Course":
        """Return the same, with an event."""
        return replace(self, events=(*self.events, Event(reason, message, warning)))


def go_on(scene: Scene) -> Course:
    """Return what comes next."""
    status = scene.deployment.status
    serving = overriding.settled(scene, status.serving)
    course = replace(Course.of(status), serving=serving)
    before = status.candidate
    candidate = _as_decided(scene, serving, before) if before else None
    if candidate and candidate.override and before and not before.override:
        words = f"{candidate.title} (release {candidate.short}) goes on without its gates, as decided"
        course = course.told(overriding.REASON, f"{words} {deciding.who(candidate.override)}", warning=True)
    if candidate is not None and (why := _drops(scene, candidate)):
        course, candidate = _dropped(course, candidate, why), None
    wanted = _wanted(scene, candidate)
    if wanted is not None and wanted is candidate:
        return _advanced(scene, course, candidate)
    if candidate is not None:
        course = _dropped(course, candidate, _instead(candidate, wanted))
    return _begun(scene, course, wanted) if wanted else course


def taken_back(scene: Scene) -> Course:
    """Return all as it is, but for a candidate against which people have decided."""
    course, candidate = Course.of(scene.deployment.status), scene.deployment.status.candidate
    why = _taken_back(scene, candidate) if candidate else ""
    return _dropped(course, candidate, why) if candidate and why else course


def _as_decided(scene: Scene, serving: Served | None, candidate: Candidate) -> Candidate:
    """Return a candidate with by whom or what it is admitted now: its gates, and people, may say otherwise by now."""
    if serving is not None and scene.moves(candidate):
        return candidate.model_copy(update={"gates": serving.gates, "override": serving.override})
    if isinstance(scene.wish, Wanted) and scene.wish.release == candidate.release:
        return candidate.model_copy(update={"gates": list(scene.wish.gates), "override": scene.wish.override})
    by = deciding.overridden(scene.observed.decisions, candidate.release) if candidate.override else None
    return candidate.model_copy(update={"override": by}) if by else candidate


def _drops(scene: Scene, candidate: Candidate) -> str:
    """Return why a candidate is not tried any more, although nobody says that it is not good."""
    spec, serving = scene.deployment.spec, scene.deployment.status.serving
    if why := _taken_back(scene, candidate):
        return why
    if scene.document(candidate) is None and scene.remade(candidate) is None:
        return "what was admitted is not known any more, and its run or its project is not what it was"
    if scene.recipe(candidate) is None and scene.observed.project is None:
        return "its project is gone, and with it what its engine is made of"
    missing = {gate.name for gate in spec.gates} - {gate.gate for gate in candidate.gates}
    if missing and candidate.override is None:
        return f"spec.gates names {min(missing)}, which has not passed it"
    if candidate.step is not None and load_testing.missing(scene, candidate):
        return "spec.sla has changed, and it is tested by that before it has requests again"
    if pods(scene.deployment) == 0:
        return "spec.replicas is 0"
    if scene.moves(candidate):
        why_not = stays(scene, candidate)
        return why_not.message if why_not else ""
    latest = spec.model.latest is not None and candidate.run is not None
    if not (latest or scene.named(candidate) or scene.comes_back(candidate)):
        return _not_named(scene)
    wished = isinstance(scene.wish, Wanted) and scene.wish.release == candidate.release
    if wished or scene.observed.blocked is not None:
        return ""
    return objection(spec, serving, candidate, scene.observed.candidates.of(candidate))


def _not_named(scene: Scene) -> str:
    followed = scene.observed.followed
    if scene.deployment.spec.model.latest is not None:
        return "spec.model.latest means runs, and no base itself"
    if isinstance(followed, Followed):
        return f"ModelDeployment {followed.deployment}, which spec.model follows, serves another release by now"
    return followed.message if followed is not None else "spec.model names another"


def _taken_back(scene: Scene, candidate: Candidate) -> str:
    """Return what people have decided against a candidate."""
    decisions = scene.observed.decisions
    if refused := deciding.people(decisions).refused.get(candidate.release):
        return refused.message
    if candidate.override is None or scene.moves(candidate) or decisions.override(candidate.release) is not None:
        return ""
    return f"Override {candidate.override.approval}, by which it was admitted, has ended or is gone"


def _wanted(scene: Scene, candidate: Candidate | None) -> Candidate | None:
    """Return what should take over: the candidate itself while it is that, another one, or none."""
    serving, wish, project = scene.deployment.status.serving, scene.wish, scene.observed.project
    if pods(scene.deployment) == 0:
        return None
    moves = candidate is not None and scene.moves(candidate)
    if candidate is not None and not moves and _holds(scene, candidate):
        return _fitting(scene, candidate)
    if isinstance(wish, Wanted) and (serving is None or wish.release != serving.release):
        return _admitted(scene, wish, project) if project is not None else None
    return _moving(scene, serving, candidate if moves else None) if serving is not None else None


def stays(scene: Scene, serving: Served) -> NotAdmitted | None:
    """Return why what serves goes to no other engine, whatever spec and project want it to be."""
    admitted, spec = scene.document(serving), scene.deployment.spec
    if admitted is None:
        return None
    return servable_problem(spec, admitted) or (None if load_testing.is_lost(scene) else untestable(spec, admitted))


def _holds(scene: Scene, candidate: Candidate) -> bool:
    """Whether nothing else is wished for: of several that gates judge anew, one may be told before the other."""
    wish, serving = scene.wish, scene.deployment.status.serving
    if not isinstance(wish, Wanted) or wish.release == candidate.release:
        return True
    goes_on = serving is not None and serving.release == wish.release
    newer = scene.deployment.spec.model.latest is not None and (candidate.run_created or "") > wish.run_created
    return goes_on and newer


def _fitting(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate on an engine as spec and project want it now."""
    admitted, project = scene.document(candidate), scene.observed.project
    if admitted is None or project is None or scene.fits(candidate, admitted, project):
        return candidate
    return _on_another_engine(scene, candidate, admitted, project)


def _moving(scene: Scene, serving: Served, candidate: Candidate | None) -> Candidate | None:
    """Return what is served on another engine, if spec and project want another by now."""
    admitted, project = scene.document(serving), scene.observed.project
    if admitted is None or project is None or scene.fits(serving, admitted, project) or stays(scene, serving):
        return None
    if candidate is not None:
        return _fitting(scene, candidate)
    new = _on_another_engine(scene, serving, admitted, project)
    return None if new.engine in {each.engine for each in scene.observed.rejected} else new


def _on_another_engine(scene: Scene, served: Served, admitted: Admitted, project: TransformerProject) -> Candidate:
    given = {name: getattr(served, name) for name in Served.model_fields}
    return Candidate(**given | _engine(scene, admitted, project))


def _admitted(scene: Scene, wish: Wanted, project: TransformerProject) -> Candidate:
    """Return a release that may be served."""
    made = scene.observed.candidates.made[wish.run, wish.base]
    return Candidate(
        release=wish.release,
        short=short(wish.release),
        artifact=made.described.release.artifact,
        run=wish.run or None,
        run_created=wish.run_created or None,
        base=wish.base or None,
        admitted=admitted_config_map(scene.deployment, made)["metadata"]["name"],
        gates=list(wish.gates),
        override=wish.override,
        **_engine(scene, made, project),
    )


def _engine(scene: Scene, admitted: Admitted, project: TransformerProject) -> dict[str, str]:
    images = scene.images
    return {
        "engine": engine_name(scene.deployment, recipe(scene.deployment, admitted, images, project)),
        "engine_image": images.engine,
        "loader_image": images.loader,
        "since": timestamp(scene.now),
    }


def _instead(candidate: Candidate, wanted: Candidate | None) -> str:
    if wanted is None:
        return "what is to be served is served already"
    if wanted.release == candidate.release:
        return f"engine {wanted.engine} is started for it instead, as the spec wants it now"
    return f"{wanted.named} is admitted, and takes its place"


def _dropped(course: Course, candidate: Candidate, why: str) -> Course:
    message = f"{candidate.title} (release {candidate.short}) does not take over: {why.rstrip('. ')}."
    return replace(course, candidate=None).told("Dropped", message)


def _begun(scene: Scene, course: Course, candidate: Candidate) -> Course:
    run, loads = f"{candidate.title} (release {candidate.short})", f"Engine {candidate.engine} loads it."
    rest = [each for each in course.rejected if each.release != candidate.release]
    course = replace(course, candidate=candidate, rejected=rest)
    for each in scene.deployment.status.rejected:
        promote = holding.undoes(scene, each) if each.release == candidate.release else None
        course = _promoted(scene, course, promote)
    if (by := candidate.override) is not None:
        words = f"{run} goes without its gates, as decided {deciding.who(by)} {loads}"
        return course.told(overriding.REASON, words, warning=True)
    of_then = isinstance(scene.wish, Wanted) and scene.wish.release == candidate.release and scene.wish.of_then
    return course.told("Admitted", f"{run} has passed {_gates(candidate)}{OF_THEN if of_then else ''}. {loads}")


def _gates(candidate: Candidate) -> str:
    return ", ".join(f"{each.gate} ({each.evaluation})" for each in candidate.gates)


def _promoted(scene: Scene, course: Course, promote: Approval | None) -> Course:
    """Note by which Promote a release goes on, if by one: it lets nothing else go on then."""
    if promote is None:
        return course
    words = f"Release {short(promote.spec.release)} goes on: promoted by {promote.spec.reviewer}"
    spent = holding.spent(scene, course.promotions, promote.spec.release)
    return replace(course, promotions=spent).told("Promoted", f"{words} (Approval {promote.metadata.name}).")


def _advanced(scene: Scene, course: Course, candidate: Candidate) -> Course:
    """Look how far the candidate is: where a load test is asked for, that comes first."""
    failed = scene.answering(candidate).failed
    if failed is not None:
        return _rejected(scene, course, candidate, failed)
    tested = load_testing.go_on(scene, candidate)
    course = replace(course, candidate=tested.candidate, measured=tested.measured, load_tests=tested.number)
    if tested.failed is not None:
        return _rejected(scene, course, candidate, tested.failed)
    if tested.waits is not None:
        return _waits_for_its_test(scene, course, tested.candidate, tested.waits)
    if tested.words:
        course = course.told("SLAMet", f"{candidate.title} (release {candidate.short}): {tested.words}")
    return _tried(scene, course, tested.candidate)


def _waits_for_its_test(scene: Scene, course: Course, candidate: Candidate, waits: Complaint) -> Course:
    """Go on waiting; what the cluster refuses of it has as long as what it refuses of an engine."""
    candidate = _with_refusal(scene, candidate, made=scene.observed.load_test.job is not None)
    refused, deadline = scene.refused.candidate, duration(scene.deployment.spec.engine.start_deadline)
    if refused is None or candidate.refused is None:
        return replace(course, candidate=candidate, waits=waits)
    if scene.now - moment(candidate.refused) >= deadline:
        return _rejected(scene, course, candidate, _late(scene, refused))
    return replace(course, candidate=candidate, waits=refused)


def _tried(scene: Scene, course: Course, candidate: Candidate) -> Course:
    """Give it its requests, step by step, once its engine answers."""
    answering, candidate = scene.answering(candidate), _noted(scene, candidate)
    # What is there and answers goes on, if only a change of it is refused.
    answers = answering.everywhere and candidate.engine in scene.observed.services
    waits = None if answers else scene.refused.candidate or answering.waits
    if candidate.step is None:
        waits = waits or _gateways(scene, candidate)
        if waits is not None and candidate.held_since is None and _overdue(scene, candidate):
            return _rejected(scene, course, candidate, _late(scene, waits))
    elif answering.pods == 0 and _ran_out(scene, candidate):
        return _rejected(scene, course, candidate, answering.waits)
    counted = rolling.counted(scene, candidate)
    course, decision = replace(course, candidate=counted), rolling.decided(scene, counted)
    if isinstance(decision, Abort):
        return _rejected(scene, course, counted, Complaint(decision.reason, decision.message))
    if waits is not None:
        kept = rolling.renewed(scene, counted) if answering.pods else counted
        return replace(course, candidate=kept, waits=waits)
    return _goes_on(scene, course, counted, decision)


def _goes_on(scene: Scene, course: Course, counted: Candidate, decision: Hold | Await | Advance | Finish) -> Course:
    """Do what was decided of a candidate whose engine answers."""
    match decision:
        case Hold(reason, message, until):
            course = replace(course, waits=Complaint(reason, message), until=until)
            return replace(course, candidate=rolling.renewed(scene, counted))
        case Await(message):
            held = holding.held(scene, rolling.renewed(scene, counted))
            if held.held_since is None:
                until, waits = holding.settles(held), f"{message} Nothing to do: it asks for that in some seconds."
                return replace(course, candidate=held, waits=Complaint("StepHolds", waits), until=until)
            return replace(course, candidate=held, waits=holding.waits(scene, held, message))
        case Advance(step, weight):
            promote = holding.promotion(scene, counted) if step != counted.step else None
            words = f"Of 100 requests {weight} go to {counted.named} (release {counted.short}) from now on."
            begun = rolling.stepped(counted, step, weight, scene.now)
            course = replace(course, candidate=rolling.capped(scene, begun))
            return _promoted(scene, course, promote).told("StepTaken", words)
        case Finish():
            return _in(scene, _promoted(scene, course, holding.promotion(scene, counted)), counted)


def _ran_out(scene: Scene, candidate: Candidate) -> bool:
    """Whether nobody answered for a candidate with requests until its weight ran out, although all were asked."""
    until = candidate.weight_until
    return until is not None and scene.now >= moment(until) and _asked(scene, candidate)


def _gateways(scene: Scene, candidate: Candidate) -> Complaint | None:
    """Return what gateways lack before requests can go from what is served to a candidate."""
    serving, gateways = scene.document(scene.deployment.status.serving), scene.observed.gateways
    new = scene.document(candidate)
    if serving is None or new is None or serving.base.tokenizer == new.base.tokenizer or gateways.rolled():
        return None
    waits = Complaint("GatewaysStarting", "Gateways are started with the tokenizer of another base. Nothing to do.")
    return gateways.complaint() or waits


def _asked(scene: Scene, candidate: Candidate) -> bool:
    """Whether its engine's pods were lately asked for it: what nobody was there to hear is held against no release."""
    wanted = scene.wanted(candidate.engine)
    if scene.document(candidate) is None or wanted is None:
        return False
    return engines.asked(scene.observed.engine(candidate.engine), wanted, scene.now)


def _noted(scene: Scene, candidate: Candidate) -> Candidate:
    """Return the candidate with since when it is asked for, and since when a part of it is refused."""
    engine = scene.observed.engine(candidate.engine)
    candidate = _with_refusal(scene, candidate, made=engine.found is not None)
    if candidate.asked or not (any(pod.reachable for pod in engine.pods) and _asked(scene, candidate)):
        return candidate
    return candidate.model_copy(update={"asked": timestamp(scene.now)})


def _with_refusal(scene: Scene, candidate: Candidate, *, made: bool) -> Candidate:
    """Return the candidate with since when a part of it is refused, until what was wanted is made."""
    if scene.refused.candidate is not None:
        return candidate.model_copy(update={"refused": candidate.refused or timestamp(scene.now)})
    return candidate.model_copy(update={"refused": None}) if made else candidate


def _overdue(scene: Scene, candidate: Candidate) -> bool:
    """Whether it had its time: since its engine is there, and its pods, if it has any, are asked for it.

    Before that, since the cluster refuses what it needs, if it still does.
    """
    engine, deadline = scene.observed.engine(candidate.engine), duration(scene.deployment.spec.engine.start_deadline)
    if engine.found is None:
        since = candidate.refused if scene.refused.candidate else None
        return since is not None and scene.now - moment(since) >= deadline
    if not _asked(scene, candidate):
        return False
    began = moment(candidate.asked or candidate.since)
    made = moment(engine.found["metadata"]["creationTimestamp"])
    known = candidate.asked or not any(pod.reachable for pod in engine.pods)
    return bool(known) and scene.now - max(began, made) >= deadline


def _late(scene: Scene, waits: Complaint) -> Complaint:
    message = f"It did not answer in {scene.deployment.spec.engine.start_deadline}: {waits.message}"
    advice = "Raise spec.engine.startDeadline, if that was too short."
    if waits == scene.refused.candidate:
        advice = "Then change the spec in more than replicas, or promote the release, to have it tried again."
    return Complaint(NOT_READY, f"{message} {advice}")


def _rejected(scene: Scene, course: Course, candidate: Candidate, why: Complaint) -> Course:
    rejected, over = rejections.rejected(scene.deployment, candidate, why.reason, why.message, scene.now)
    # What was said of it before it failed does not have it tried again.
    spent = holding.spent(scene, course.promotions, candidate.release)
    course = replace(course, candidate=None, rejected=rejected, passed_over=over, promotions=spent)
    words = f"{candidate.title} (release {candidate.short}) is rejected ({why.reason}): {why.message}"
    return course.told("Rejected", words, warning=True)


def _in(scene: Scene, course: Course, candidate: Candidate) -> Course:
    """Let the candidate have all requests."""
    before = course.serving
    moved = before is not None and before.release == candidate.release
    since = before.since if before is not None and moved else timestamp(scene.now)
    given = {name: getattr(candidate, name) for name in Served.model_fields}
    serving = Served(**given | {"since": since})
    entry = HistoryEntry(**{name: getattr(serving, name) for name in HistoryEntry.model_fields})
    history = course.history if moved else [entry, *_with_verdicts(course)][:MAX_HISTORY]
    words = f"{serving.title} (release {serving.short}) has all requests, on engine {serving.engine}."
    course = replace(course, serving=serving, candidate=None, history=history, revoked=None)
    return course.told("Serving", words)


def _with_verdicts(course: Course) -> Sequence[HistoryEntry]:
    """Return history, with by what was admitted what is served, where an operator that noted none there let it in."""
    serving, history = course.serving, course.history
    if not history or serving is None or history[0].release != serving.release:
        return history
    newest = history[0]
    if newest.gates or newest.override is not None:
        return history
    return [newest.model_copy(update={"gates": serving.gates}), *history[1:]]
