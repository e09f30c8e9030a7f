"""What a deployment has to do with other objects: which it names, and which it wakes."""

from collections.abc import Iterable

from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View


def project_key(raw: Object) -> Key:
    """Return the project that a deployment, or a run, names."""
    return Key("TransformerProject", raw["metadata"]["namespace"], raw["spec"].get("project", ""))


def deployments_of(raw: Object) -> Key:
    """Return what the deployments of a project have in common: a run finds them by it, and not among all runs."""
    return Key("DeploymentsOf", raw["metadata"]["namespace"], raw["spec"].get("project", ""))


def deployments(view: View, run: Object) -> Iterable[Key]:
    """Return the deployments that may serve what a run makes."""
    return map(key_of, view.referrers(deployments_of(run)))


def references(raw: Object) -> tuple[Key, ...]:
    """Return the project, its deployments together, and the gates: what these say decides what may be served."""
    return project_key(raw), deployments_of(raw), *asked.gates_of(raw)


def wakes(key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return the gates that are asked about something else now, and the decisions of people to which that counts."""
    return *asked.to_wake(before, after), *_approvals(key, view, before, after)


def _approvals(key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    if _awaits(before) == _awaits(after):
        return ()
    return tuple(key_of(each) for each in view.referrers(key) if each["kind"] == "Approval")


def _awaits(raw: Object | None) -> tuple[object, ...] | None:
    """Return who may decide on what, what is served, and which decisions have let something go on."""
    if raw is None:
        return None
    status = raw.get("status", {})
    candidate = status.get("candidate", {})
    held = candidate.get("release"), candidate.get("heldSince")
    rejected = [(each["release"], each["at"]) for each in status.get("rejected", ())]
    serves = status.get("serving", {}).get("release")
    return raw["metadata"]["uid"], raw["spec"].get("approvers"), held, serves, rejected, status.get("promotions")
