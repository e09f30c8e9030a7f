"""What a deployment may go back to: releases that it has served, by the verdicts by which they were admitted then."""

from collections.abc import Mapping

from stagecoach.api.modeldeployment import MAX_ROLLBACK
from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.plan import Object

WINDOW = "spec.rollout.rollbackWindow"


class NoWayBack(Exception):
    """What was served does not come back by its verdict of then; the text says why."""


def is_meant(deployment: Object, of: Mapping[str, str | None], release: str) -> bool:
    """Whether a release is named. What serves may have come back: it need not be named any more.

    `of`: whose it is, a run's or a base itself.
    """
    model = deployment["spec"].get("model", {})
    named = {("run", model.get("run")), ("base", model.get("candidate"))}
    return not named.isdisjoint(of.items()) or release in (
        model.get("release"),
        asked.serving(deployment).get("release"),
    )


def verdict(deployment: Object, gate: str, of: Mapping[str, str | None], release: str) -> Object | None:
    """Return the verdict of a gate by which a release may come back; None, if it is not meant, or was never served.

    Raises NoWayBack.
    """
    newest: dict[str, Object] = {}
    for each in deployment.get("status", {}).get("history", ()):
        newest.setdefault(each["release"], each)
    if release not in newest or not is_meant(deployment, of, release):
        return None
    place, window = list(newest).index(release), int(deployment["spec"].get("rollout", {}).get("rollbackWindow", 0))
    if not window or place > window:
        raise NoWayBack(_too_far(place))
    entry = newest[release]
    if "override" in entry:  # it was served without the verdicts of its gates
        raise NoWayBack(f"it was let in by Override {entry['override'].get('approval')}; another one lets it in again")
    found: Object | None = next((each for each in entry.get("gates", ()) if each["gate"] == gate), None)
    if found is None:
        raise NoWayBack(f"status.history names no verdict of gate {gate} by which it was admitted")
    return found


def _too_far(place: int) -> str:
    if place > MAX_ROLLBACK:
        return f"it is further back than {WINDOW} reaches, {MAX_ROLLBACK}; an Override lets it in again"
    return f"for that {WINDOW} has to be {max(place, 1)} at least"
