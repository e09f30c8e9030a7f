"""What a deployment is to serve for another one does: which release that is, and whether it has for long enough."""

from datetime import datetime

from stagecoach.api.common import duration, whose
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.modeldeployment.neighbours import followed_key
from stagecoach.kinds.plan import Object, key_of
from stagecoach.kinds.view import View
from stagecoach.policies.admission import Followed, NotAdmitted

FIELD = "spec.model.follow.deployment"


def observe(view: View, raw: Object, deployment: ModelDeployment, now: datetime) -> Followed | NotAdmitted | None:
    """Return it, or why it is not known yet; None where the spec names what it wants itself."""
    follow, key = deployment.spec.model.follow, followed_key(raw)
    if follow is None or key is None:
        return None
    other = view.get(key)
    if other is None or "deletionTimestamp" in other["metadata"]:
        gone = "is being deleted" if other is not None else f"is not in namespace {key.namespace!r}"
        message = f"{FIELD}: ModelDeployment {key.name!r} {gone}. Create it, or name another."
        return NotAdmitted("FollowedMissing", message)
    if unsuited := _unsuited(view, raw, other):
        return NotAdmitted("FollowedUnsuited", f"{FIELD}: {unsuited}")
    serving = asked.serving(other)
    if not serving:
        message = f"{FIELD}: ModelDeployment {key.name!r} serves nothing. See its condition Ready: what it comes to"
        return NotAdmitted("FollowedServesNothing", f"{message} serve is followed after {follow.soak}.")
    until = moment(serving["since"]) + duration(follow.soak)
    if now < until:
        of = whose(serving.get("run"), serving.get("base"))
        serves = f"ModelDeployment {key.name!r} serves {of} (release {serving['short']})"
        message = f"spec.model.follow.soak: {serves} since {serving['since']}, and is followed once it has for"
        return NotAdmitted("Soaking", f"{message} {follow.soak}, at {timestamp(until)}. Nothing to do.", until)
    run, created, base = (str(serving.get(each, "")) for each in ("run", "runCreated", "base"))
    return Followed(key.name, run, created, serving["release"], base)


def _unsuited(view: View, raw: Object, other: Object) -> str:
    """Return why what another deployment serves can say nothing of what is wanted here."""
    name, project = other["metadata"]["name"], other["spec"].get("project")
    if project != raw["spec"]["project"]:
        of = f"ModelDeployment {name!r} is of project {project!r}, and this one of {raw['spec']['project']!r}"
        return f"{of}. Choose one of the same project."
    if _in_a_ring(view, raw):
        ring = f"ModelDeployment {name!r} comes to follow this one in turn."
        return f"{ring} Give one of them latest, run, release or candidate."
    return ""


def _in_a_ring(view: View, raw: Object) -> bool:
    """Whether those that a deployment follows, one after the other, come to follow it."""
    seen, met = set(), followed_key(raw)
    while met is not None and met not in seen:
        seen.add(met)
        found = view.get(met)
        met = followed_key(found) if found is not None else None
    return key_of(raw) in seen
