"""What a gate has to do with other objects."""

from collections.abc import Iterable

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


def wakes(_key: Key, _view: View, _before: Object | None, _after: Object | None) -> tuple[Key, ...]:
    """Return nobody: an Evaluation goes on with what it was given."""
    return ()
