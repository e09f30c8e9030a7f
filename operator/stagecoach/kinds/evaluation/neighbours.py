"""What an Evaluation has to do with other objects: which it names, and which it wakes."""

from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.evalgate.words import artifact_keys
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View

KIND = "Evaluation"
# What it may wait for until somebody sees to it.
HELD_UP = {
    "Forbidden",
    "ImagePullFailed",
    "NameTaken",
    "PodMissing",
    "PodNotStarting",
    "PodRefused",
    "PolicyMissing",
    "ProjectMissing",
    "Unschedulable",
    "WaitingForQueue",
}


def project_key(raw: Object) -> Key:
    """Return the project that an Evaluation names."""
    return Key("TransformerProject", raw["metadata"]["namespace"], raw["spec"].get("project", ""))


def gate_key(raw: Object) -> Key:
    """Return the gate that made an Evaluation."""
    return Key("EvalGate", raw["metadata"]["namespace"], raw["spec"].get("gate", ""))


def release_key(raw: Object) -> Key:
    """Return what is judged, and where its answers are kept: the same for all Evaluations that use the same answers."""
    return _answers(raw, raw["spec"].get("release", {}))


def judged_key(namespace: str, gate: str, release: str) -> Key:
    """Return what a gate judges: the same for all Evaluations of a release, and for what rejects it in one of them."""
    return Key("Judged", namespace, f"{release} by {gate}")


def own_judged_key(raw: Object) -> Key:
    """Return what an Evaluation is about."""
    release = raw["spec"].get("release", {}).get("digest", "")
    return judged_key(raw["metadata"]["namespace"], raw["spec"].get("gate", ""), release)


def _asked(raw: Object) -> tuple[Key, ...]:
    """Return the same of what is judged, and of what is served."""
    served = raw["spec"].get("incumbent", {}).get("release")
    return (release_key(raw), _answers(raw, served)) if served else (release_key(raw),)


def _answers(raw: Object, release: Object) -> Key:
    where = raw["spec"].get("storage", "")
    return Key("Release", raw["metadata"]["namespace"], f"{release.get('digest', '')} in {where}")


def references(raw: Object) -> tuple[Key, ...]:
    """Return the gate, the project, the releases and the artifact that is judged."""
    return gate_key(raw), project_key(raw), own_judged_key(raw), *_asked(raw), *artifact_keys(raw)


def decided(raw: Object) -> bool:
    """Whether an Evaluation has its verdict."""
    return "completionTime" in raw.get("status", {})


def going_on(raw: Object) -> bool:
    """Whether an Evaluation will come to a verdict by itself."""
    return not decided(raw) and "deletionTimestamp" not in raw["metadata"]


def awaits_review(raw: Object) -> bool:
    """Whether people have to decide about an Evaluation: all is measured, and stored."""
    return going_on(raw) and "review" in raw.get("status", {})


def measured(raw: Object) -> bool:
    """Whether all that an Evaluation computes is computed, or will never be."""
    return not going_on(raw) or awaits_review(raw)


def held_up(raw: Object) -> str:
    """Return for what an Evaluation waits that may need somebody, in one word, or nothing."""
    status = raw.get("status", {})
    ready: Object = next((item for item in status.get("conditions", ()) if item["type"] == "Ready"), {})
    reason = str(ready.get("reason", ""))
    return reason if going_on(raw) and reason in HELD_UP else ""


def elder(view: View, raw: Object) -> str | None:
    """Return the eldest other Evaluation that asks for answers which this needs too, if it is elder than this.

    It judges the same release, or the one that is served, or compares with that where its answers are not known to be
    stored already.
    """
    own = raw["metadata"]["name"]
    others = [
        item
        for key in _asked(raw)
        for item in view.referrers(key)
        if item["metadata"]["name"] != own
        and not measured(item)
        and (release_key(item) == key or not _are_stored(view, key, raw))
    ]
    first = min(others, key=_order, default=None)
    return first["metadata"]["name"] if first and _order(first) < _order(raw) else None


def _are_stored(view: View, release: Key, raw: Object) -> bool:
    """Whether another Evaluation that needed the answers of a release to the rows of this one's suites has them all."""
    others = view.referrers(release)
    return any("report" in item.get("status", {}) and _rows(item) >= _rows(raw) for item in others)


def _rows(raw: Object) -> set[tuple[str, str]]:
    return {(each["digest"], each.get("task", "")) for each in raw["spec"].get("suites", ())}


def wakes(_key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return for whom it counts that an Evaluation came, waits, was decided or went.

    Its gate, the deployments that name the gate, who waits for it, and the decisions about it.
    """
    states = [raw for raw in (before, after) if raw is not None]
    woken: list[Key] = []
    if _told(before) != _told(after):
        woken += map(gate_key, states)
        woken += [key_of(item) for raw in states for item in asked.deployments(view, gate_key(raw))]
        released = dict.fromkeys(key for raw in states for key in _asked(raw))
        woken += [key_of(item) for key in released for item in view.referrers(key) if going_on(item)]
    if _of_review(before) != _of_review(after):
        woken += [key_of(item) for item in view.referrers(key_of(states[0])) if item["kind"] == "Approval"]
    return tuple(woken)


def _told(raw: Object | None) -> tuple[object, ...] | None:
    if raw is None:
        return None
    verdict = raw.get("status", {}).get("verdict")
    return raw["metadata"]["uid"], going_on(raw), verdict, held_up(raw), awaits_review(raw)


def _of_review(raw: Object | None) -> tuple[object, ...] | None:
    """Return what is said of an Approval."""
    if raw is None:
        return None
    status = raw.get("status", {})
    review = status.get("review", {})
    counted = [each["uid"] for each in review.get("approvals", ())]
    return raw["metadata"]["uid"], status.get("verdict"), review.get("asked"), counted, review.get("unguarded")


def _order(raw: Object) -> tuple[str, str]:
    metadata = raw["metadata"]
    return metadata["creationTimestamp"], metadata["uid"]
