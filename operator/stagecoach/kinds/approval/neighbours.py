"""What an Approval has to do with other objects: the Evaluation that it is about, which it wakes."""

from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View


def evaluation_key(raw: Object) -> Key:
    """Return the Evaluation that an Approval is about."""
    return Key("Evaluation", raw["metadata"]["namespace"], raw["spec"].get("subject", {}).get("name", ""))


def references(raw: Object) -> tuple[Key, ...]:
    """Return the Evaluation."""
    return (evaluation_key(raw),)


def wakes(_key: Key, _view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return for whom it counts that somebody decided or took a decision back; what is said of it wakes nobody."""
    if _told(before) == _told(after):
        return ()
    return tuple({evaluation_key(raw): None for raw in (before, after) if raw is not None})


def _told(raw: Object | None) -> tuple[object, ...] | None:
    if raw is None:
        return None
    metadata = raw["metadata"]
    return metadata["uid"], metadata["generation"], "deletionTimestamp" in metadata
