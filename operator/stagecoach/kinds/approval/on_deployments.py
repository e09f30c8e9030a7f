"""What becomes of a decision on a release of a ModelDeployment: accepted, if who decides may, and told what came of it.

It counts when that it is accepted stands in its status: whoever loses the right to decide takes nothing back by that.
"""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.approval import Approval, Decision
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.digests import short
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.approval import guard
from stagecoach.kinds.approval.neighbours import subject_key
from stagecoach.kinds.conditions import Fact, dated, in_progress, ready, stalled
from stagecoach.kinds.plan import Object, Plan
from stagecoach.kinds.view import View
from stagecoach.policies import decisions

PATIENCE = 30.0  # in seconds, for a policy that does not hold


@dataclass(frozen=True)
class Observed:
    """A decision, and the deployment that it is about."""

    approval: Approval
    deployment: ModelDeployment | None
    guarded: bool | None  # everybody decides in their own name alone; None: nobody asked lately


def observe(view: View, raw: Object, approval: Approval) -> Observed:
    """Collect what is in memory."""
    try:
        deployment = view.read(subject_key(raw), ModelDeployment.model_validate)
    except ValidationError:
        deployment = None  # its own status says what is wrong with it
    return Observed(approval, deployment, view.guarded(approval.metadata.namespace))


def decide(observed: Observed, now: datetime) -> Plan:
    """Return whether it is accepted, and what to say of it."""
    approval, deployment = observed.approval, observed.deployment
    if deployment is None:
        name = approval.spec.subject.name
        message = f"spec.subject.name: there is no ModelDeployment {name!r} that can be read. kubectl get mdep lists"
        return _told(
            approval, stalled("NoSuchDeployment", f"{message} them: correct it, or delete this Approval."), now
        )
    if approval.status.accepted is None:
        return _weighed(observed, deployment, now)
    plan = _told(approval, _facts(approval, deployment, now), now)
    left = (decisions.ends(approval) - now).total_seconds() if approval.spec.decision is Decision.OVERRIDE else 0
    return plan.within(left) if left > 0 else plan


def _weighed(observed: Observed, deployment: ModelDeployment, now: datetime) -> Plan:
    """Return a plan by which a decision is accepted, if nothing is against it."""
    approval = observed.approval
    if why := decisions.objection(approval, deployment.spec.approvers, now):
        return _told(approval, stalled(*why), now)
    if observed.guarded is None:
        told = in_progress("Weighing", "Whether everybody decides in their own name alone is asked. Nothing to do.")
        plan = _told(approval, told, now)
        return Plan(status=plan.status, prove=True)
    if observed.guarded is False:
        return _told(approval, in_progress("PolicyMissing", guard.MISSING), now).within(PATIENCE)
    status = approval.status.model_copy(update={"accepted": timestamp(now)})
    accepted = approval.model_copy(update={"status": status})
    return _told(accepted, _facts(accepted, deployment, now), now)


def _told(approval: Approval, facts: tuple[Fact, ...], now: datetime) -> Plan:
    generation = approval.metadata.generation
    conditions = dated(facts, approval.status.conditions, generation, now)
    status = approval.status.model_copy(update={"observed_generation": generation, "conditions": conditions})
    return Plan(status=status.document())


def _facts(approval: Approval, deployment: ModelDeployment, now: datetime) -> tuple[Fact, ...]:
    """Return what came of a decision that is accepted."""
    release, name = short(approval.spec.release), deployment.metadata.name
    match approval.spec.decision:
        case Decision.REVOKE:
            words = f"{name} serves release {release} no more while this Approval is there. To let it be admitted anew:"
            own = f"kubectl delete appr/{approval.metadata.name} -n {approval.metadata.namespace}"
            return ready("Revoked", f"{words} {own}")
        case Decision.OVERRIDE:
            until = timestamp(decisions.ends(approval))
            if now < decisions.ends(approval):
                words = f"{name} may admit release {release} until {until}, whatever its gates say."
                return ready("Overridden", f"{words} What it serves by then stays.")
            return ready("RanOut", f"{name} could admit release {release} until {until}; what it serves stays.")
        case _:
            return _promoted(approval, deployment)


def _promoted(approval: Approval, deployment: ModelDeployment) -> tuple[Fact, ...]:
    """Return what came of a Promote: it lets something go on once."""
    status, release = deployment.status, approval.spec.release
    used = next((each for each in status.promotions if each.uid == approval.metadata.uid), None)
    if used is not None:
        return ready("Counted", f"It has let release {short(release)} go on, at {used.at}.")
    candidate = status.candidate
    held = candidate.held_since if candidate is not None and candidate.release == release else None
    waits = [held, *(each.at for each in status.rejected if each.release == release)]
    if any(since and decisions.counts_since(approval, moment(since), status.promotions) for since in waits):
        words = f"{deployment.metadata.name} takes it into account next; nothing to do."
        return in_progress("Weighing", f"{words} A release that was rejected is tried again once it is what is wanted.")
    words = (
        f"Nothing waited for it when it was made: release {short(release)} was neither held in a step, nor rejected."
    )
    return stalled("NotAwaiting", f"{words} Delete it, and create another when it is.")
