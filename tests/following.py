"""Following a run until it has ended, its Evaluation until it is decided, and a deployment until it serves the run; or
until they will not get on."""

import time
from collections.abc import Callable

from stagecoach.build.labels import GROUP
from tests.deploy import OPERATOR_NAMESPACE, RELEASE, Object
from tests.kube import Kube

POLL_SECONDS = 2
# How long something may be in the way: an image that is being pulled, a claim that is made a moment later.
PATIENCE = 600.0
# What Ready says while nothing is in the way, however long it takes.
UNDER_WAY = {
    "Resolving",
    "ProjectNotReady",
    "SameInputs",
    "SameRelease",
    "Starting",
    "Running",
    "Stopping",
    "Retrying",
    "Judging",
}


def follow(kube: Kube, project: str, run: str, tell: Callable[[Object], object] = lambda _: None) -> str:
    """Tell the run's status again and again; return nothing once it has succeeded, or what is wrong if it will not."""
    patience = Patience()
    while True:
        known = kube.get("TransformerProject", project), kube.get("FineTuneRun", run)
        status = known[1].get("status", {})
        tell(status)
        if status.get("phase") == "Succeeded":
            return ""
        for obj in known:
            if words := patience.lost(obj):
                return words
        time.sleep(POLL_SECONDS)


def verdict(kube: Kube, gate: str, run: str, tell: Callable[[Object], object] = lambda _: None) -> Object | str:
    """Tell an Evaluation's status again and again; return it once it is decided, or what is wrong if it will not be."""
    patience = Patience()
    selector = f"{GROUP}/gate={gate},{GROUP}/run={run}"
    while True:
        found = max(kube.select("Evaluation", selector), key=_created, default=None)
        tell(found.get("status", {}) if found else {})
        if found and found.get("status", {}).get("phase") == "Decided":
            return found
        for obj in (kube.get("EvalGate", gate), *([found] if found else [])):
            if words := patience.lost(obj):
                return words
        time.sleep(POLL_SECONDS)


def served(kube: Kube, deployment: str, run: str, tell: Callable[[Object], object] = lambda _: None) -> str:
    """Tell a deployment's status again and again; return nothing once all requests went to a run, or what is wrong.

    What had them before, and was replaced by what is newer, does not get them again.
    """
    patience = Patience()
    while True:
        found = kube.get("ModelDeployment", deployment)
        status = found.get("status", {})
        tell(status)
        if run in {each["run"] for each in status.get("history", [])} and is_settled(found):
            return ""
        if words := refused(status, run) or patience.lost(found):
            return words
        time.sleep(POLL_SECONDS)


def has_all_requests(deployment: Object, run: str) -> bool:
    """Whether a run is served, and nothing else is about to be."""
    return bool(deployment.get("status", {}).get("serving", {}).get("run") == run and is_settled(deployment))


def is_settled(deployment: Object) -> bool:
    """Whether a deployment serves, has no candidate, and every gateway knows it."""
    status = deployment.get("status", {})
    routes = status.get("routes", {})
    everywhere = 0 < routes.get("gateways", 0) == routes.get("acknowledged")
    return bool(_condition(deployment, "Ready").get("status") == "True" and everywhere and "candidate" not in status)


def refused(status: Object, run: str) -> str:
    """Return why a deployment has tried a run and serves it no more, if that is so."""
    found = next((each for each in status.get("rejected", []) if each["run"] == run), None)
    return f"ModelDeployment: run {run} was rejected ({found['reason']}): {found['message']}" if found else ""


def _created(obj: Object) -> str:
    return str(obj["metadata"]["creationTimestamp"])


class Patience:
    """How long each kind of object has had something in its way."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def lost(self, obj: Object) -> str:
        """Return what an object says that waits for a person, or has been in trouble for long; else nothing.

        A trouble is not over because it is tried again: the object has to be ready, or to run.
        """
        kind, ready = obj["kind"], _condition(obj, "Ready")
        reason = ready.get("reason", "")
        if ready.get("status") == "True" or reason == "Running":
            self._since.pop(kind, None)
            return ""
        what = f"{kind} {obj['metadata']['name']}"
        if _is_stalled(obj):
            return f"{what}: {reason}: {ready.get('message', '')}"
        if reason in UNDER_WAY:
            return ""
        since = self._since.setdefault(kind, self._clock())
        if self._clock() - since < PATIENCE:
            return ""
        if not reason:
            return f"{what}: the operator has not seen it: kubectl logs -n {OPERATOR_NAMESPACE} deployment/{RELEASE}"
        return f"{what}: {reason}: {ready.get('message', '')} It has been in trouble for {PATIENCE / 60:.0f} minutes."


def _is_stalled(obj: Object) -> bool:
    """Whether it waits for a person, about the spec as it is now."""
    stalled = _condition(obj, "Stalled")
    return stalled.get("status") == "True" and stalled.get("observedGeneration") == obj["metadata"]["generation"]


def _condition(obj: Object, kind: str) -> Object:
    return next((item for item in obj.get("status", {}).get("conditions", []) if item["type"] == kind), {})
