"""What an Approval has to do with other objects: what it is about, which it wakes."""

from stagecoach.api.approval import Decision, SubjectKind
from stagecoach.kinds.evaluation.neighbours import judged_key
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View


def subject_key(raw: Object) -> Key:
    """Return the Evaluation, or the ModelDeployment, that an Approval is about."""
    subject = raw["spec"].get("subject", {})
    kind = subject.get("kind", SubjectKind.EVALUATION.value)
    return Key(kind, raw["metadata"]["namespace"], subject.get("name", ""))


def references(raw: Object) -> tuple[Key, ...]:
    """Return what it is about."""
    return subject_key(raw), *_rejected_keys(raw)


def _rejected_keys(raw: Object) -> tuple[Key, ...]:
    """Return what a Reject is about, in whichever Evaluation: an Evaluation's name begins with that of its gate."""
    if raw["spec"].get("decision") != Decision.REJECT.value:
        return ()
    subject = subject_key(raw)
    return (judged_key(subject.namespace, subject.name.rpartition("-")[0], raw["spec"].get("release", "")),)


def wakes(_key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return for whom it counts that somebody decided or took a decision back, or that the decision is accepted.

    What else is said of it wakes nobody.
    """
    if _told(before) == _told(after):
        return ()
    states = [raw for raw in (before, after) if raw is not None]
    rejected = dict.fromkeys(key for raw in states for key in _rejected_keys(raw))
    others = [key_of(item) for key in rejected for item in view.referrers(key) if item["kind"] == "Evaluation"]
    return tuple(dict.fromkeys((*map(subject_key, states), *others)))


def _told(raw: Object | None) -> tuple[object, ...] | None:
    if raw is None:
        return None
    metadata = raw["metadata"]
    accepted = "accepted" in raw.get("status", {})
    return metadata["uid"], metadata["generation"], "deletionTimestamp" in metadata, accepted
