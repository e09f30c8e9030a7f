"""What people have decided on releases of a deployment: which may not be served, and which may whatever gates say."""

from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.approval import Approval, Decision
from stagecoach.api.deployment_status import Decided, Overridden
from stagecoach.contract.digests import short
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.conditions import shortened
from stagecoach.kinds.plan import Object, key_of
from stagecoach.kinds.view import View
from stagecoach.policies import decisions
from stagecoach.policies.admission import NotAdmitted, People
from stagecoach.policies.decisions import Decisions

MOST = 1024


def observe(view: View, raw: Object, now: datetime) -> Decisions:
    """Return the decisions about a deployment that count."""
    read: list[Approval] = []
    unread: list[tuple[str, str]] = []
    for each in view.referrers(key_of(raw)):
        if each["kind"] != "Approval":
            continue
        try:
            found = view.read(key_of(each), Approval.model_validate)
        except ValidationError:
            if _may_revoke(each):
                unread.append((str(each["spec"].get("release", "")), each["metadata"]["name"]))
            continue
        read += [found] if found else []
    return decisions.counting(read, moment(raw["metadata"]["creationTimestamp"]), now, sorted(unread))


def people(found: Decisions) -> People:
    """Return what they come to for admission."""
    refused = {release: _unread(name) for release, name in found.unread}
    refused |= {each.spec.release: _revoked(each) for each in reversed(found.revokes)}
    overrides = {each.spec.release for each in found.overrides}
    return People(refused, {release: by for release in overrides if (by := overridden(found, release))})


def overridden(found: Decisions, release: str) -> Overridden | None:
    """Return by whom a release may be admitted whatever gates say."""
    override = found.override(release)
    if override is None:
        return None
    return Overridden(**decided(override), until=timestamp(decisions.ends(override)))


def decided(approval: Approval) -> dict[str, str]:
    """Return who has decided, and why, as the status has it."""
    return {
        "approval": approval.metadata.name,
        "uid": approval.metadata.uid,
        "reviewer": approval.spec.reviewer,
        "reason": shortened(approval.spec.reason or "", MOST),
    }


def who(by: Decided) -> str:
    """Return who has decided what by which Approval, and why."""
    return f"by {by.reviewer} (Approval {by.approval}): {by.reason.rstrip('. ')}."


def _may_revoke(raw: Object) -> bool:
    """Whether what cannot be read may be there to keep a release out."""
    lets_in = raw["spec"].get("decision") in (Decision.PROMOTE.value, Decision.OVERRIDE.value)
    return not lets_in and "deletionTimestamp" not in raw["metadata"]


def _revoked(approval: Approval) -> NotAdmitted:
    by = Decided(**decided(approval))
    message = f"release {short(approval.spec.release)} was revoked {who(by)} Try another one; or let it be admitted"
    return NotAdmitted(
        "Revoked", f"{message} anew: kubectl delete appr/{by.approval} -n {approval.metadata.namespace}."
    )


def _unread(name: str) -> NotAdmitted:
    message = f"Approval {name} about it cannot be read by this version of the operator, and may be a Revoke."
    return NotAdmitted("ApprovalUnread", f"{message} Upgrade the operator, or delete that Approval.")
