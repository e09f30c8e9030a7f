"""What an Approval has to do with other objects: what it is about, which it wakes."""

from stagecoach.api.approval import SubjectKind
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View


def subject_key(raw: Object) -> Key:
    """Return the Evaluation, or the ModelDeployment, that an Approval is about."""
    subject = raw["spec"].get("subject", {})
    kind = subject.get("kind", SubjectKind.EVALUATION.value)
    return Key(kind, raw["metadata"]["namespace"], subject.get("name", ""))


def references(raw: Object) -> tuple[Key, ...]:
    """Return what it is about."""
    return (subject_key(raw),)


def wakes(_key: Key, _view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return for whom it counts that somebody decided or took a decision back, or that the decision is accepted.

    What else is said of it wakes nobody.
    """
    if _told(before) == _told(after):
        return ()
    return tuple({subject_key(raw): None for raw in (before, after) if raw is not None})


def _told(raw: Object | None) -> tuple[object, ...] | None:
    if raw is None:
        return None
    metadata = raw["metadata"]
    accepted = "accepted" in raw.get("status", {})
    return metadata["uid"], metadata["generation"], "deletionTimestamp" in metadata, accepted
