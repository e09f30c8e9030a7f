"""What people decide on releases of a deployment: who may, and what their decisions come to.

A decision counts from the moment that the operator has accepted it, by who could decide then. A Promote lets something
go on once; an Override holds until it ends, and a Revoke for as long as it is there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stagecoach.api.approval import MAX_OVERRIDE, Approval, Decision, expiry
from stagecoach.api.deployment_status import Promotion
from stagecoach.api.review import Reviewer
from stagecoach.policies.reviews import SKEW, created, is_among


@dataclass(frozen=True)
class Decisions:
    """The decisions about a deployment that count; of several about a release, those that were made first go first."""

    promotes: Sequence[Approval] = ()
    overrides: Sequence[Approval] = ()  # that have not ended
    revokes: Sequence[Approval] = ()
    unread: Sequence[tuple[str, str]] = ()  # release and name of those that a later version would understand

    def override(self, release: str) -> Approval | None:
        """Return the Override by which a release may be admitted: the one that ends last."""
        return max((each for each in self.overrides if each.spec.release == release), key=ends, default=None)

    def revoke(self, release: str) -> Approval | None:
        """Return the Revoke that keeps a release from being served."""
        return next((each for each in self.revokes if each.spec.release == release), None)

    def promoted(self, release: str, spent: Iterable[Promotion]) -> list[Approval]:
        """Return the Promotes of a release that were not taken into account, in the order in which they came."""
        known = {each.uid for each in spent}
        return [each for each in self.promotes if each.spec.release == release and each.metadata.uid not in known]

    def promotion(self, release: str, since: datetime, spent: Iterable[Promotion]) -> Approval | None:
        """Return a Promote of a release that has not let anything go on, and was made since then."""
        return next(
            (each for each in self.promotes if each.spec.release == release and counts_since(each, since, spent)), None
        )


def counting(
    approvals: Iterable[Approval], made: datetime, now: datetime, unread: Sequence[tuple[str, str]] = ()
) -> Decisions:
    """Return what counts of the decisions about a deployment. One that is being deleted is taken back.

    `made`: when the deployment was, by the API server's clock, as decisions are dated. An Override of before was of
    another with its name, in which others may have been trusted; a Revoke keeps its release out of this one, too.
    """
    accepted = [each for each in approvals if each.status.accepted and not each.metadata.deletion_timestamp]
    first = sorted(accepted, key=lambda each: (created(each), each.metadata.uid))
    of = {kind: [each for each in first if each.spec.decision is kind] for kind in Decision}
    return Decisions(
        promotes=of[Decision.PROMOTE],
        overrides=[each for each in of[Decision.OVERRIDE] if now < ends(each) and created(each) >= made],
        revokes=of[Decision.REVOKE],
        unread=unread,
    )


def counts_since(promote: Approval, since: datetime, spent: Iterable[Promotion]) -> bool:
    """Whether a Promote was made when there was something to decide on, and after what was decided before.

    `since`: by `since_held` or `since_rejected`.
    """
    before = [each for each in spent if each.release == promote.spec.release]
    newer = all(each.uid != promote.metadata.uid and _made(each) <= created(promote) for each in before)
    return newer and created(promote) >= since


def since_held(held: datetime) -> datetime:
    """Return from when on a Promote is of a step that waits for one since then, by the operator's clock.

    That may be ahead of the API server's, which dates decisions and tells whole seconds.
    """
    return held.replace(microsecond=0) - SKEW


def since_rejected(rejected: datetime) -> datetime:
    """Return from when on a Promote is of a release that was rejected then.

    What was made before was of a step that it had not failed in yet; and nobody has seen it within the same second.
    """
    return rejected.replace(microsecond=0) + timedelta(seconds=1)


def ends(override: Approval) -> datetime:
    """Return when an Override ends: when it says, and a day after it was made at the latest."""
    latest = created(override) + MAX_OVERRIDE
    return min(expiry(override.spec) or latest, latest)


def objection(approval: Approval, approvers: Sequence[Reviewer], now: datetime) -> tuple[str, str] | None:
    """Return why a decision is not accepted, as a reason and in words; None: it may be."""
    spec = approval.spec
    if not approvers:
        return "NoApprovers", "The ModelDeployment names nobody who may decide: add approvers to its spec."
    if not is_among(approval, approvers):
        names = ", ".join(f"user {each.user}" if each.user else f"group {each.group}" for each in approvers)
        group = f", nor is group {spec.group}" if spec.group else ", and spec.group names no group of theirs"
        message = f"spec.reviewer: {spec.reviewer} is none of the ModelDeployment's approvers{group}: {names}."
        return "NotAnApprover", f"{message} Let one of them decide, or add the reviewer to spec.approvers."
    if spec.decision is Decision.OVERRIDE and ends(approval) <= now:
        message = f"spec.expires: {spec.expires} was over before anything was admitted by it."
        return "Expired", f"{message} Create another Approval, with a time at most 24 hours from now."
    return None


def _made(promotion: Promotion) -> datetime:
    return datetime.fromisoformat(promotion.created)
