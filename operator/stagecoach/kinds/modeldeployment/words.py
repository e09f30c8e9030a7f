"""What is said of a deployment: by conditions and one word, from what is served and what is about to be."""

from dataclasses import dataclass
from functools import cached_property

from stagecoach.api.common import ConditionStatus
from stagecoach.api.deployment_status import DeploymentPhase, RoutesStatus, Served
from stagecoach.build.gateway import endpoint, routes_name
from stagecoach.contract.times import moment
from stagecoach.kinds.conditions import Fact, of, said
from stagecoach.kinds.modeldeployment import client_keys, gated, overriding, revoking, sla_met, stuck, switching
from stagecoach.kinds.modeldeployment.engines import COLD_START, SCALED_TO_ZERO, STARTING, Answering
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.switching import Course
from stagecoach.kinds.modeldeployment.telling import PATIENCE, Heard
from stagecoach.policies.admission import OF_THEN, NotAdmitted, Wanted
from stagecoach.policies.fitting import servable_problem
from stagecoach.policies.instead import instead
from stagecoach.policies.scaling import pods

# What comes by itself, or with an object that somebody may be about to create. All else needs a person.
GOES_ON = {
    *("Judging", "AwaitingReview", "RunNotFinished", "NoCandidates", "NothingNewer", "ProjectMissing"),
    *("ProjectNotReady", "GateMissing", "GateBlocked", "RunUnknown", "ReleaseUnknown", "CandidateUnknown"),
    *("FollowedMissing", "FollowedServesNothing", "Soaking"),
}
# Why what is served does not answer, and nothing that is waited for changes it.
NEEDS_SOMEBODY = {SCALED_TO_ZERO, "AdmittedMissing", "Refused"}
SCALED = Complaint(
    SCALED_TO_ZERO, "spec.replicas is 0, so that no engine answers. Set it to 1 or more to have it served again."
)


@dataclass(frozen=True)
class Words:
    """What is told: a word for people, and conditions."""

    phase: DeploymentPhase
    facts: tuple[Fact, ...]
    at_rest: bool  # nothing is waited for that comes within seconds


def words(scene: Scene, course: Course, routes: RoutesStatus | None, heard: Heard | None) -> Words:
    """Return all of it. `heard`: what gateways said of these routes; None before they were told."""
    return _Telling(scene, course, routes, heard).all()


@dataclass(frozen=True)
class _Telling:
    scene: Scene
    course: Course
    routes: RoutesStatus | None
    heard: Heard | None

    def all(self) -> Words:
        serving = self.course.serving
        if serving is None:
            return self._pending()
        gate = gated.fact(self.scene, serving)
        missing = self._missing(serving)
        trouble = self._trouble(serving)
        ready = (
            Fact("Ready", True, "Serving", self._serves(serving)) if missing is None else self._said("Ready", missing)
        )
        of_serving = (ready, gate, self._loaded(serving), *sla_met.facts(self.scene, self.course))
        facts = (*of_serving, self._admitted(), *self._kstatus(missing, trouble))
        degraded = bool(trouble) or gated.needs_somebody(gate)
        return Words(self._phase(missing, degraded=degraded), facts, self._rests(missing))

    def _pending(self) -> Words:
        candidate, waits = self.course.candidate, self.course.waits
        if candidate is not None:
            told = waits or Complaint(
                "Starting", f"Engine {candidate.engine} is being made for {candidate.named}: nothing to do."
            )
            loaded = self._said("Loaded", told)
            if self.course.revoked is not None:
                told = revoking.meanwhile(self.course.revoked, told)
            facts = [self._said("Ready", told), loaded, self._admitted()]
            facts += sla_met.facts(self.scene, self.course)
            facts.append(Fact("Reconciling", True, told.reason, told.message))
            return Words(self._unserved, tuple(facts), at_rest=False)
        wish = self.scene.wish
        told = Complaint(wish.reason, wish.message) if isinstance(wish, NotAdmitted) else SCALED
        if self.course.revoked is not None:
            told = revoking.complaint(self.course.revoked, told)
        kind = "Reconciling" if told.reason in GOES_ON else "Stalled"
        facts = [self._said("Ready", told), self._admitted(), *sla_met.facts(self.scene, self.course)]
        facts.append(Fact(kind, True, told.reason, told.message))
        return Words(self._unserved, tuple(facts), at_rest=True)

    @property
    def _unserved(self) -> DeploymentPhase:
        return DeploymentPhase.UNAVAILABLE if self.course.revoked else DeploymentPhase.PENDING

    @cached_property
    def _answering(self) -> Answering:
        return self.scene.answering(self.course.serving)

    @property
    def _was_ready(self) -> bool:
        before = of(self.scene.deployment.status.conditions, "Ready")
        return before is not None and before.status is ConditionStatus.TRUE

    def _missing(self, serving: Served) -> Complaint | None:
        """Return why what is served does not answer, or None."""
        if self.scene.document(serving) is None:
            return self._unknown(serving)
        if pods(self.scene.deployment) == 0:
            return SCALED
        why = self._silent(serving)
        if why is not None and why.reason == STARTING.reason and self.scene.refused.needed is not None:
            return self.scene.refused.needed
        return self._beside_refused(why) if why is not None else None

    def _beside_refused(self, why: Complaint) -> Complaint:
        """Return why something is not well, with what is refused beside that, if it does not say so yet."""
        refused = self.scene.refused.rest
        if refused is None or refused.message in why.message:
            return why
        return Complaint(why.reason, f"{why.message} {refused.message}")

    def _silent(self, serving: Served) -> Complaint | None:
        if self._answering.pods == 0:
            return self._as_before() if self._answering.unheard else self._answering.waits
        return self._without_gateways(serving)

    def _unfit(self, serving: Served) -> NotAdmitted | None:
        """Return why what is served is not what the spec promises by now."""
        document = self.scene.document(serving)
        return servable_problem(self.scene.deployment.spec, document) if document is not None else None

    def _as_before(self) -> Complaint | None:
        """Return what was said before this process began to ask: nothing else is known yet."""
        before = of(self.scene.deployment.status.conditions, "Ready")
        if before is None:
            return STARTING
        return None if self._was_ready else Complaint(before.reason, before.message)

    def _unknown(self, serving: Served) -> Complaint:
        if serving.admitted in self.scene.observed.config_maps:
            namespace = self.scene.deployment.metadata.namespace
            message = f"ConfigMap {serving.admitted} does not say any more what is served: somebody has changed it."
            advice = f"kubectl delete configmap {serving.admitted} -n {namespace}, and bring it back from a backup;"
            return Complaint("AdmittedMissing", f"{message} {advice} it is made again from what the project has.")
        message = f"ConfigMap {serving.admitted} is gone, which says what is served. What runs goes on as it was told."
        return Complaint("AdmittedMissing", f"{message} Bring it back from a backup, or {instead(serving.run)}.")

    def _without_gateways(self, serving: Served) -> Complaint | None:
        gateways = self.scene.observed.gateways
        if gateways.ready and self.heard is None and (unfit := self._unfit(serving)):
            return self._untold(unfit)  # they go on with what they know
        if gateways.ready and self.heard is not None and self.heard.acknowledged:
            return None
        if self.heard is not None and self.heard.unheard:
            return self._as_before()
        # A gateway that is ready has routes: for a moment those of before.
        if gateways.ready and self._was_ready and self.routes is not None and not self._told_for_a_while:
            return None
        if self._refusals:
            return self._refusals
        starting = Complaint("Starting", "No gateway is ready yet.")
        return gateways.complaint() or starting

    def _untold(self, unfit: NotAdmitted) -> Complaint | None:
        """Return that nobody can tell gateways that begin anew what the others know, if it is known nowhere else."""
        if self.scene.observed.last_told is not None:
            return None
        name = routes_name(self.scene.deployment.metadata.name)
        message = f"ConfigMap {name} does not say what gateways were told last, and by this spec they cannot be told"
        message += " anything. What runs goes on as it was told; a gateway that begins anew does not."
        advice = "Take back the change of the spec, or bring the ConfigMap back from a backup."
        return Complaint("AdmittedMissing", f"{message} {advice} {unfit.message}")

    @property
    def _told_for_a_while(self) -> bool:
        return self.routes is not None and self.scene.now - moment(self.routes.since) >= PATIENCE

    @property
    def _refusals(self) -> Complaint | None:
        said = self.heard.refusals if self.heard is not None else ()
        return Complaint("RoutesRefused", " ".join(said)) if said else None

    def _serves(self, serving: Served) -> str:
        where = f"{serving.title} (release {serving.short}) answers at {endpoint(self.scene.deployment)}."
        return where + self._who_may_ask

    @property
    def _who_may_ask(self) -> str:
        keys = self.routes.client_keys if self.routes else None
        return client_keys.words(self.scene.deployment, keys, rolled=self.scene.observed.gateways.rolled())

    def _loaded(self, serving: Served) -> Fact:
        if pods(self.scene.deployment) == 0:
            # Nobody knows whether it would: so that what comes of it later is dated from when pods are wanted again.
            return Fact("Loaded", None, SCALED.reason, SCALED.message)
        answering = self._answering
        if answering.everywhere:
            return Fact(
                "Loaded", True, "Answers", f"All {answering.pods} ready pods of engine {serving.engine} answer."
            )
        waits = self._unknown(serving) if self.scene.document(serving) is None else answering.waits
        before = of(self.scene.deployment.status.conditions, "Loaded")
        if before is not None and answering.unheard:
            return said(before)
        if answering.pods == 0:
            if before is not None and before.reason in (SCALED.reason, COLD_START):
                # A version before said False while nobody wanted pods: so that it is dated from now.
                since_then = before.reason == SCALED.reason and before.status is ConditionStatus.FALSE
                words = f"spec.replicas was 0, and pods have to start: {waits.message}"
                return Fact("Loaded", None if since_then else False, COLD_START, words)
            return self._said("Loaded", waits)
        return Fact(
            "Loaded", True, "SomeAnswer", f"{answering.pods} pods of engine {serving.engine} answer. {waits.message}"
        )

    def _admitted(self) -> Fact:
        wish = self.scene.wish
        if isinstance(wish, NotAdmitted):
            return Fact("CandidateAdmitted", False, wish.reason, wish.message)
        if wish.override is not None:
            return overriding.admitted(wish, wish.override)
        newest = f" {wish.instead_of.message}" if wish.instead_of else ""
        passed = ", ".join(f"{each.gate} ({each.evaluation})" for each in wish.gates) + (
            OF_THEN if wish.of_then else ""
        )
        return Fact("CandidateAdmitted", True, "Admitted", f"{wish.title} has passed {passed}.{newest}")

    def _trouble(self, serving: Served) -> Complaint | None:
        """Return what is asked for and will not come without a person, while something else is served."""
        return self._of_serving or self._not_taken(serving)

    @cached_property
    def _of_serving(self) -> Complaint | None:
        """What keeps what serves from being as it should be, whatever is about to take over."""
        stuck = self._stuck(self.course.serving) if self.course.serving else None
        return self._beside_refused(stuck) if stuck is not None else self.scene.refused.rest

    def _stuck(self, serving: Served) -> Complaint | None:
        """Return why not all pods do what they should, while some do: in the place of others, or beside them."""
        engine = self.scene.observed.engine(serving.engine)
        lacks = self.heard is not None and not self.heard.everywhere and self._told_for_a_while
        return (
            (self._refusals if lacks else None)
            or self._stuck_gateways
            or stuck.complaint(engine.found, engine.pods, self.scene.now)
        )

    @property
    def _stuck_gateways(self) -> Complaint | None:
        """Why not all gateways are as they should be, with who may ask until then, where that is to be others."""
        gateways = self.scene.observed.gateways
        why = stuck.complaint(gateways.found, gateways.pods, self.scene.now)
        if why is None or self.scene.deployment.spec.api_keys is None:
            return why
        return Complaint(why.reason, f"{why.message}{self._who_may_ask}")

    def _stays(self, serving: Served) -> NotAdmitted | None:
        """Return why what serves does not move to the engine that is wanted."""
        scene, project = self.scene, self.scene.observed.project
        admitted = scene.document(serving)
        if admitted is None or project is None or scene.fits(serving, admitted, project):
            return None
        return switching.stays(scene, serving)

    def _not_taken(self, serving: Served) -> Complaint | None:
        """Return why another release, or another engine, does not take over."""
        scene, model = self.scene, self.scene.deployment.spec.model
        if unfit := self._unfit(serving):
            return Complaint(unfit.reason, f"Clients are answered as before this change of the spec: {unfit.message}")
        if self.course.candidate is None and (stays := self._stays(serving)):
            return Complaint(stays.reason, f"{serving.title} stays on its engine: {stays.message}")
        for each in scene.observed.rejected if self.course.candidate is None else ():
            if each.release == serving.release:  # on another engine
                return Complaint("Rejected", f"{each.title} stays on its engine: {each.message}")
        not_admitted = scene.wish.instead_of if isinstance(scene.wish, Wanted) else scene.wish
        if not_admitted is None or scene.named(serving):
            return None
        if not_admitted.reason != "Rejected" and (model.latest is not None or not_admitted.reason in GOES_ON):
            return None
        return Complaint(not_admitted.reason, not_admitted.message)

    def _kstatus(self, missing: Complaint | None, trouble: Complaint | None) -> tuple[Fact, ...]:
        """Return whether it is being worked on, or needs somebody."""
        candidate, waits = self.course.candidate, self.course.waits
        if candidate is not None:
            words = f"{candidate.title} is about to take over."
            if (serves := self._of_serving) is not None:
                words += f" {waits.message}" if waits and waits.message not in serves.message else ""
                return (Fact("Stalled", True, serves.reason, f"{serves.message} {words}"),)
            words += f" {waits.message if waits else 'Nothing to do.'}"
            words += f" {trouble.message}" if trouble and trouble != waits else ""
            return (Fact("Reconciling", True, "TakingOver", words),)
        if missing is not None:
            kind = "Stalled" if missing.reason in NEEDS_SOMEBODY else "Reconciling"
            return (Fact(kind, True, missing.reason, missing.message),)
        return (Fact("Stalled", True, trouble.reason, trouble.message),) if trouble else ()

    def _phase(self, missing: Complaint | None, *, degraded: bool) -> DeploymentPhase:
        if missing is not None:
            gone = missing.reason == "AdmittedMissing"
            return DeploymentPhase.DEGRADED if gone else DeploymentPhase.UNAVAILABLE
        if self.course.candidate is not None and self._of_serving is None:
            return DeploymentPhase.PROGRESSING
        return DeploymentPhase.DEGRADED if degraded else DeploymentPhase.AVAILABLE

    def _rests(self, missing: Complaint | None) -> bool:
        settled = self.heard is not None and self.heard.everywhere
        if missing is not None and missing.reason in NEEDS_SOMEBODY:
            return self.course.candidate is None
        return missing is None and self.course.candidate is None and settled and self._answering.everywhere

    def _said(self, kind: str, why: Complaint) -> Fact:
        return Fact(kind, False, why.reason, why.message)
