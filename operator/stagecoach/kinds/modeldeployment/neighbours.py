"""What a deployment has to do with other objects: which it names, and which it wakes."""

from collections.abc import Iterable, Iterator

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


def followed_key(raw: Object) -> Key | None:
    """Return the deployment that a deployment follows."""
    name = asked.follows(raw)
    return Key("ModelDeployment", raw["metadata"]["namespace"], name) if name else None


def references(raw: Object) -> tuple[Key, ...]:
    """Return the project, its deployments together, the gates, and whom it follows: they decide what may be served."""
    followed = followed_key(raw)
    return project_key(raw), deployments_of(raw), *asked.gates_of(raw), *((followed,) if followed else ())


def wakes(key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return whom it counts for: gates that are asked about something else now, followers, and decisions of people."""
    return (
        *asked.to_wake(before, after),
        *_of_followers(key, view, before, after),
        *_approvals(key, view, before, after),
    )


def _of_followers(key: Key, view: View, before: Object | None, after: Object | None) -> Iterator[Key]:
    """Yield those that follow a deployment which serves something else now, and the gates that they ask about it.

    Where it follows another one now, those that follow these as well: they may have been a ring, or have become one.
    """
    if _leads(before) == _leads(after):
        return
    follows = (followed_key(raw) if raw is not None else None for raw in (before, after))
    found, new = dict[Key, Object](), [key]
    all_of_them = len(set(follows)) > 1
    while new:
        met = {key_of(each): each for one in new for each in view.referrers(one) if followed_key(each) == one}
        new = [each for each in met if each not in found] if all_of_them else []
        found |= met
    for one, raw in found.items():
        yield from (one, *asked.gates_of(raw))


def _leads(raw: Object | None) -> tuple[object, ...] | None:
    """Return all that followers read of a deployment."""
    if raw is None:
        return None
    metadata, spec = raw["metadata"], raw["spec"]
    return "deletionTimestamp" in metadata, spec.get("project"), followed_key(raw), _told(asked.serving(raw))


def _told(serving: Object) -> tuple[object, ...]:
    return tuple(serving.get(each) for each in ("run", "runCreated", "base", "release", "since"))


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
