"""What a deployment may go back to: releases that it has served, by the verdicts by which they were admitted then."""

from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.plan import Object


def window(deployment: Object) -> int:
    """Return how many of the releases that were served before what is served may come back."""
    return int(deployment["spec"].get("rollout", {}).get("rollbackWindow", 0))


def key(deployment: Object, gate: str, run: str, release: str) -> str:
    """Return the key of the verdict of a gate by which a release may come back; nothing, if by none.

    It has to be named. What serves may have come back: it need not be named any more.
    """
    model = deployment["spec"].get("model", {})
    if release not in (asked.serving(deployment).get("release"), model.get("release")) and run != model.get("run"):
        return ""
    newest: dict[str, Object] = {}
    for each in deployment.get("status", {}).get("history", ()):
        newest.setdefault(each["release"], each)
    entry = newest[release] if release in list(newest)[: window(deployment) + 1] else {}
    if "override" in entry:  # it was served without the verdicts of its gates
        return ""
    return next((str(each["key"]) for each in entry.get("gates", ()) if each["gate"] == gate), "")
