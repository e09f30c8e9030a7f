"""What a gate has to do with other objects."""

from collections.abc import Iterable

from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View


def project_key(raw: Object) -> Key:
    """Return the project that a gate, or a run, names."""
    return Key("TransformerProject", raw["metadata"]["namespace"], raw["spec"].get("project", ""))


def _gates_of(raw: Object) -> Key:
    """Return what the gates of a project have in common: a run finds them by it, and not among thousands of runs."""
    return Key("GatesOf", raw["metadata"]["namespace"], raw["spec"].get("project", ""))


def references(raw: Object) -> tuple[Key, ...]:
    """Return the gate's project."""
    return project_key(raw), _gates_of(raw)


def gates(view: View, run: Object) -> Iterable[Key]:
    """Return the gates that judge what a run makes."""
    return map(key_of, view.referrers(_gates_of(run)))


def wakes(key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return the deployments that name a gate which says something else now: an Evaluation goes on with what it has."""
    if _says(before) == _says(after):
        return ()
    return tuple(map(key_of, asked.deployments(view, key)))


def _says(raw: Object | None) -> tuple[object, ...] | None:
    if raw is None:
        return None
    metadata = raw["metadata"]
    return metadata["uid"], metadata["generation"], "deletionTimestamp" in metadata
