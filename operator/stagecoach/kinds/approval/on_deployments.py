"""What becomes of a decision on a release of a ModelDeployment: accepted, if who decides may, and told what came of it.

It counts when that it is accepted stands in its status: whoever loses the right to decide takes nothing back by that.
That it was refused stands there too: Ready may say anything else by the time that others may decide.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from stagecoach.api.approval import Approval, Decision
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.digests import short
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.approval import guard
from stagecoach.kinds.approval.neighbours import subject_key
from stagecoach.kinds.conditions import Fact, dated, in_progress, of, ready, stalled
from stagecoach.kinds.plan import Object, Plan
from stagecoach.kinds.view import View
from stagecoach.policies import decisions
from stagecoach.policies.reviews import created

PATIENCE = 30.0  # in seconds, for a policy that does not hold
# By who could decide when it was made, and not by whoever is named long after: so long it may take to be accepted.
LAPSES = timedelta(minutes=10)
# What Ready says of one that is refused.
REFUSED = ("NoSuchDeployment", "NoApprovers", "NotAnApprover", "Expired", "Lapsed")


@dataclass(frozen=True)
class Observed:
    """A decision, and the deployment that it is about."""

    approval: Approval
    deployment: ModelDeployment | None
    unread: bool  # the deployment is there, and cannot be read
    guarded: bool | None  # everybody decides in their own name alone; None: nobody asked lately


def observe(view: View, raw: Object, approval: Approval) -> Observed:
    """Collect what is in memory."""
    try:
        deployment, unread = view.read(subject_key(raw), ModelDeployment.model_validate), False
    except ValidationError:
        deployment, unread = None, True
    return Observed(approval, deployment, unread, view.guarded(approval.metadata.namespace))


def decide(observed: Observed, now: datetime) -> Plan:
    """Return whether it is accepted, and what to say of it."""
    approval, deployment = observed.approval, observed.deployment
    if approval.status.accepted is None:
        return _weighed(observed, now)
    if deployment is None:
        return _told(approval, _without(observed), now)
    plan = _told(approval, _facts(approval, deployment, now), now)
    left = (decisions.ends(approval) - now).total_seconds() if approval.spec.decision is Decision.OVERRIDE else 0
    return plan.within(left) if left > 0 else plan


def _weighed(observed: Observed, now: datetime) -> Plan:
    """Return a plan by which a decision is accepted, if nothing is against it.

    Whether it could be in any name is asked whatever else there is to say: nobody can tell once the policy is back.
    """
    approval, deployment = observed.approval, observed.deployment
    revokes = approval.spec.decision is Decision.REVOKE
    if not revokes and (observed.guarded is False or _was_unguarded(approval)):
        return _unguarded(approval, now)
    why = _refusal(observed, now)
    if why or _was_refused(approval):
        approval = _with(approval, refused=approval.status.refused or timestamp(now))
    if why:
        plan = _told(approval, stalled(*why), now)
    elif deployment is None:
        plan = _told(approval, _unread(approval), now)
    elif observed.guarded:
        accepted = _with(approval, accepted=timestamp(now))
        return _told(accepted, _facts(accepted, deployment, now), now)
    elif observed.guarded is False or _said(approval) == "PolicyMissing":  # which holds until the answer is there
        plan = _told(approval, in_progress("PolicyMissing", guard.MISSING), now).within(PATIENCE)
    else:
        plan = _told(approval, in_progress("Weighing", guard.UNPROVEN), now)
    return replace(plan, prove=observed.guarded is None)


def _refusal(observed: Observed, now: datetime) -> tuple[str, str] | None:
    """Return why a decision is not accepted, as far as that can be told."""
    approval, deployment = observed.approval, observed.deployment
    if observed.unread:
        return None
    if deployment is None:
        advice = "kubectl get mdep lists them: create another Approval with the right one, and delete this."
        return "NoSuchDeployment", f"{_missing(approval)}. {advice}"
    return decisions.objection(approval, deployment.spec.approvers, now) or _lapsed(approval, deployment, now)


def _was_refused(approval: Approval) -> bool:
    """Whether it was refused before; earlier versions said so in Ready alone."""
    return approval.status.refused is not None or _said(approval) in REFUSED


def _was_unguarded(approval: Approval) -> bool:
    """Whether a Promote or an Override was seen to be in any name; earlier versions said so in Ready alone."""
    return approval.status.unguarded is not None or _said(approval) == "PolicyMissing"


def _unguarded(approval: Approval, now: datetime) -> Plan:
    """Return how a decision is told that never counts."""
    unguarded = _with(approval, unguarded=approval.status.unguarded or timestamp(now))
    return _told(unguarded, stalled("PolicyMissing", guard.UNGUARDED), now)


def _without(observed: Observed) -> tuple[Fact, ...]:
    """Return what is said of a decision that was accepted, and whose deployment nobody can read."""
    approval = observed.approval
    if observed.unread:
        return _unread(approval)
    what = "keeps its release out of another of that name" if approval.spec.decision is Decision.REVOKE else "is over"
    message = f"{_missing(approval)} any more. This {what}: delete it, if nobody needs it."
    return stalled("NoSuchDeployment", message)


def _unread(approval: Approval) -> tuple[Fact, ...]:
    name = approval.spec.subject.name
    message = f"ModelDeployment {name} is not what this version of the operator can read, so nothing comes of this."
    return in_progress("DeploymentUnread", f"{message} See its condition Ready: it goes on by itself then.")


def _missing(approval: Approval) -> str:
    return f"spec.subject.name: there is no ModelDeployment {approval.spec.subject.name!r}"


def _lapsed(approval: Approval, deployment: ModelDeployment, now: datetime) -> tuple[str, str] | None:
    """Return why a decision that nobody refuses now is not accepted: it was refused, or is of another deployment."""
    if approval.spec.decision is Decision.OVERRIDE and (why := _of_another(approval, deployment)):
        return why
    if not _was_refused(approval) or now - created(approval) <= LAPSES:
        return None
    message = "It was not accepted within 10 minutes of its creation, and whoever may decide now has not decided so."
    return "Lapsed", f"{message} Create another Approval."


def _of_another(override: Approval, deployment: ModelDeployment) -> tuple[str, str] | None:
    """Return why an Override does not count for a deployment that is newer than it."""
    if created(override) >= moment(deployment.metadata.creation_timestamp):
        return None
    return "Lapsed", f"ModelDeployment {deployment.metadata.name} is newer than this. Create another Approval."


def _said(approval: Approval) -> str | None:
    """Return the reason that stands in its Ready."""
    before = of(approval.status.conditions, "Ready")
    return before.reason if before else None


def _with(approval: Approval, **told: str) -> Approval:
    """Return a decision of which this is written down."""
    return approval.model_copy(update={"status": approval.status.model_copy(update=told)})


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
            return _revoked(approval, deployment)
        case Decision.OVERRIDE:
            if why := _of_another(approval, deployment):
                return stalled(*why)
            until = timestamp(decisions.ends(approval))
            if now < decisions.ends(approval):
                words = f"{name} may admit release {release} until {until}, whatever its gates say."
                return ready("Overridden", f"{words} What it serves by then stays.")
            return ready("RanOut", f"{name} could admit release {release} until {until}; what it serves stays.")
        case _:
            return _promoted(approval, deployment)


def _revoked(approval: Approval, deployment: ModelDeployment) -> tuple[Fact, ...]:
    """Return what came of a Revoke: what is served leaves once the deployment could be looked at."""
    status, release, name = deployment.status, approval.spec.release, deployment.metadata.name
    if status.serving is not None and status.serving.release == release:
        words = f"{name} still serves release {short(release)}, and takes it out next."
        return in_progress("Weighing", f"{words} Should it not, see the conditions of ModelDeployment {name}.")
    words = f"{name} does not serve release {short(release)} while this Approval is there."
    told = {each.release for each in (status.candidate, status.revoked) if each is not None}
    told |= {each.release for each in status.history} | {each.release for each in status.rejected}
    if release not in told:
        words += " This deployment tells of no such release: see that all its digits are as you mean them."
    own = f"kubectl delete appr/{approval.metadata.name} -n {approval.metadata.namespace}"
    return ready("Revoked", f"{words} To let it be admitted anew: {own}")


def _promoted(approval: Approval, deployment: ModelDeployment) -> tuple[Fact, ...]:
    """Return what came of a Promote: it lets something go on once."""
    status, release = deployment.status, approval.spec.release
    used = next((each for each in status.promotions if each.uid == approval.metadata.uid), None)
    if any(used is not None and used.at == each.at and each.release == release for each in status.rejected):
        words = f"Release {short(release)} was rejected after it was made: Ready of the deployment says why."
        return stalled("NotAwaiting", f"{words} To have it tried again all the same, create another.")
    if used is not None:
        return ready("Counted", f"It was taken into account of release {short(release)}, at {used.at}, and is used up.")
    candidate = status.candidate
    rejected = [moment(each.at) for each in status.rejected if each.release == release]
    waits = [decisions.since_rejected(at) for at in rejected]
    if candidate is not None and candidate.release == release and candidate.held_since:
        waits.append(decisions.since_held(moment(candidate.held_since)))
    if any(decisions.counts_since(approval, since, status.promotions) for since in waits):
        words = f"{deployment.metadata.name} takes it into account next; nothing to do."
        return in_progress("Weighing", f"{words} A release that was rejected is tried again once it is what is wanted.")
    words = (
        f"Nothing waited for it when it was made: release {short(release)} was neither held in a step, nor rejected."
    )
    return stalled("NotAwaiting", f"{words} Delete it, and create another when it is.")
