"""Runs of the same inputs: which of them count for a run, and for which of them a run counts.

Whoever does not come first waits for the one that does, and for no other. The one that comes first looks for those that
are at work already. So what only one of many does is nothing to all the others, unless it is the first of them.
"""

from collections.abc import Sequence
from datetime import datetime

from stagecoach.api.run_status import Intent, Phase
from stagecoach.kinds.children import pods_of, unfinished
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View
from stagecoach.kinds.waiting import waits
from stagecoach.policies.twins import Twin

TRAIN = Intent.TRAIN.value
# Of how many that have ended a Job is told: it is no place for a list that grows.
MAX_ENDED = 20


def inputs_key(run: Object) -> Key | None:
    """Return what a run computes and where it keeps it, once that is fixed: the same for all runs that are twins."""
    inputs = run.get("status", {}).get("inputs")
    if not inputs:
        return None
    return Key("Inputs", run["metadata"]["namespace"], f"{inputs['digest']} in {inputs['storage']}")


def twins(view: View, raw: Object, now: datetime) -> tuple[Twin, ...]:
    """Return those of the other runs of the same inputs by which this one is decided."""
    key = inputs_key(raw)
    others = _others(view, key, raw["metadata"]["name"]) if key else []
    at_work = [item for item in others if _at_work(item)]
    first = min(at_work, key=_order, default=None)
    if first is not None and _order(first) < _order(raw):
        counted = [first]
    else:
        counted = [item for item in at_work if _trainings(item)]
    counted += [item for item in others if _succeeded(item)][:1]
    return tuple(_twin(item, has_job=_has_job(view, item, now)) for item in counted)


def ended_twins(view: View, raw: Object) -> tuple[str, ...]:
    """Return the uids of the newest other runs of the same inputs that have ended: they go on from nothing."""
    key = inputs_key(raw)
    others = _others(view, key, raw["metadata"]["name"]) if key else []
    ended = sorted(_order(item) for item in others if "completionTime" in item["status"])
    return tuple(uid for _, uid in ended[-MAX_ENDED:])


def to_wake(view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return the runs for which it counts that a run of their inputs came, or went, or is another to them than before.

    Its Job is not looked at: it comes and goes with what the status says, or soon after.
    """
    states = [raw for raw in (before, after) if raw is not None and _counts(raw)]
    seen = [(inputs_key(raw), _twin(raw, has_job=False)) for raw in states]
    if len(seen) == 2 and seen[0] == seen[1]:
        return ()
    found: list[Key] = []
    for key in {key: None for key, _ in seen if key}:
        found += _concerned(view, key, [raw for raw in states if inputs_key(raw) == key])
    return tuple(found)


def _concerned(view: View, key: Key, states: Sequence[Object]) -> list[Key]:
    """Return the runs of these inputs for which it counts that one of them was, or is, in these states."""
    others = _others(view, key, states[0]["metadata"]["name"])
    first = min((item for item in others if _at_work(item)), key=_order, default=None)
    if first is None:
        return []
    came_first = any(_at_work(raw) and _order(raw) < _order(first) for raw in states)
    # What was made may be adopted by all.
    everybody = came_first or any(_succeeded(raw) for raw in states)
    return [key_of(item) for item in (others if everybody else [first]) if waits(item)]


def _others(view: View, key: Key, name: str) -> list[Object]:
    return [item for item in view.referrers(key) if item["metadata"]["name"] != name and _counts(item)]


def _counts(raw: Object) -> bool:
    return "deletionTimestamp" not in raw["metadata"] and "inputs" in raw.get("status", {})


def _at_work(raw: Object) -> bool:
    """As `Twin.at_work`, which is too much to make for each of many."""
    status = raw["status"]
    return "completionTime" not in status and status.get("phase") != Phase.SUSPENDED.value


def _order(raw: Object) -> tuple[str, str]:
    metadata = raw["metadata"]
    return metadata["creationTimestamp"], metadata["uid"]


def _succeeded(raw: Object) -> bool:
    return bool(raw["status"].get("phase") == Phase.SUCCEEDED.value)


def _trainings(raw: Object) -> set[str]:
    return {attempt["job"] for attempt in raw["status"].get("attempts", ()) if attempt["intent"] == TRAIN}


def _twin(raw: Object, *, has_job: bool) -> Twin:
    metadata, status = raw["metadata"], raw["status"]
    attempts = status.get("attempts", [])
    reason = next((item["reason"] for item in status.get("conditions", ()) if item["type"] == "Ready"), "")
    current = attempts[-1] if attempts else {}
    return Twin(
        name=metadata["name"],
        reason=reason,
        order=_order(raw),
        ended="completionTime" in status,
        succeeded=_succeeded(raw),
        suspended=status.get("phase") == Phase.SUSPENDED.value,
        decided=current.get("decided", "") if current.get("intent") == TRAIN and "end" not in current else "",
        has_job=has_job,
    )


def _has_job(view: View, raw: Object, now: datetime) -> bool:
    """Whether a run has the Job of a training; that of one that failed holds the turn for the next, until given up."""
    uid, status, trainings = raw["metadata"]["uid"], raw["status"], _trainings(raw)
    gave_up = status.get("phase") == Phase.BLOCKED.value and "end" in (status.get("attempts") or [{}])[-1]
    held = unfinished(view, uid, pods_of(view, uid), now) if gave_up else view.jobs(uid)
    return any(job["metadata"]["name"] in trainings for job in held)
