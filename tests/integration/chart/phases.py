"""A project and runs in every phase that there is, with what was made for them, for what has to leave them alone."""

import json
from typing import Any

from tests import builders
from tests.integration.kinds.test_nodes import claim
from tests.integration.support.desk import TRAINED, Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.kube import Kube

Object = dict[str, Any]

OURS = ("TransformerProject", "FineTuneRun")
# Phase and reason of each when everything has come to rest.
PHASES = {
    "desk": ("Ready", "Resolved"),
    "slow": ("Resolving", "Resolving"),
    "wrong": ("Incomplete", "BadThing"),
    "missing": ("Blocked", "ProjectMissing"),
    "early": ("Blocked", "ProjectNotReady"),
    "queued": ("Queued", "Starting"),
    "running": ("Running", "Running"),
    "twin": ("Blocked", "SameInputs"),
    "again": ("Running", "Running"),
    "several": ("Running", "Running"),
    "stopped": ("Suspended", "Suspended"),
    "idle": ("Suspended", "Suspended"),
    "trained": ("Succeeded", "Trained"),
    "failed": ("Failed", "BadThing"),
    "looking": ("Queued", "Starting"),
}
PROGRESS = {"step": 40, "steps": 100, "percent": 40, "loss": 0.5, "checkpoint": 40, "at": "2026-01-02T03:04:05Z"}
BAD = json.dumps({"outcome": "BadInput", "problem": {"reason": "BadThing", "message": "It is wrong."}})
EVICTED = "The node was low on memory."
NOTHING_FOUND = json.dumps({"outcome": "Done"})


class Phases:
    """A namespace with all of them. Pods have no node: nothing but the test and the Job controller touches them."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.kubelet = FakeKubelet(kube)
        self.desk = Desk(kube, self.kubelet)

    def begin(self) -> None:
        """Bring every object into its phase."""
        self.desk.make_ready_project()
        for name in ("slow", "wrong"):
            self.kube.create(builders.project(name, self.kube.namespace))
        for name in ("store", "models"):
            claim(self.kube, name)
        self.run("missing", project="nowhere")
        self.run("early", project="slow")
        self.run("idle", suspend=True)
        self.run("several", resources={"nodes": 2})
        for name in ("queued", "running", "again", "stopped", "trained", "failed"):
            self.run(name)
        self.kubelet.running(self.kubelet.pod_of(self.desk.job_of("TransformerProject", "slow")))
        self.kubelet.ended(self.kubelet.pod_of(self.desk.job_of("TransformerProject", "wrong")), 64, BAD)
        self._runs()
        for name in PHASES:
            self.comes(name)

    def _runs(self) -> None:
        for pod in self.pods("several", 2):
            self.kubelet.running(pod)
        self.kubelet.failed_pod(self.pod("again"), "Evicted", EVICTED)
        self.kubelet.ended(self.pod("failed"), 64, BAD)
        for name in ("running", "stopped"):
            self.kubelet.running(self.pod(name))
            self.desk.awaits("FineTuneRun", name, "Running")
            # There is no node from which a log could be had: as the operator writes it.
            self.kube.patch("FineTuneRun", name, {"status": {"progress": PROGRESS}}, "status")
        self.run("twin", like="running")
        self.suspend("stopped")
        self.kubelet.running(self.pod("again", 2))
        self.kubelet.succeeded(self.pod("trained"), TRAINED)
        self.desk.awaits("FineTuneRun", "trained", "Succeeded")
        # From now on there are records to be looked for.
        eventually(lambda: self.kube.get("TransformerProject", "desk")["status"]["storage"]["records"], 60, "records")
        self.kubelet.succeeded(self.pod("twin"), NOTHING_FOUND)
        self.run("looking")

    def run(self, name: str, *, like: str = "", **changes: Any) -> None:
        """Create a run with inputs of its own, or those of another."""
        seed = sorted(PHASES).index(like or name)
        hyperparameters = {"learningRate": 1.0e-3, "epochs": 1, "seed": seed}
        self.kube.create(builders.run(name, self.kube.namespace, hyperparameters=hyperparameters, **changes))

    def suspend(self, name: str, suspend: bool = True) -> None:
        """Suspend a run, or resume it."""
        self.kube.patch("FineTuneRun", name, {"spec": {"suspend": suspend}})

    def comes(self, name: str) -> None:
        """Wait until an object is in its phase, for its reason."""
        kind = "TransformerProject" if name in ("desk", "slow", "wrong") else "FineTuneRun"

        def look() -> bool:
            status = self.kube.get(kind, name).get("status", {})
            return (status.get("phase"), self.desk.reason(kind, name)[0]) == PHASES[name]

        eventually(look, 60, f"{name} is {': '.join(PHASES[name])}")

    def reason(self, name: str) -> str:
        """Return why a run is in its phase."""
        return self.desk.reason("FineTuneRun", name)[0]

    def status(self, name: str) -> Object:
        """Return the status of a run."""
        status: Object = self.kube.get("FineTuneRun", name)["status"]
        return status

    def job(self, name: str, number: int = 1) -> str:
        """Return the name of the Job of an attempt of a run, once it is decided."""
        return self.desk.job_of("FineTuneRun", name, number)

    def pod(self, name: str, number: int = 1) -> str:
        """Return the pod of an attempt of a run, once it is there."""
        return self.kubelet.pod_of(self.job(name, number), 40)

    def pods(self, name: str, several: int) -> list[str]:
        """Return the pods of the first attempt of a run on several nodes, once they are there."""
        selector = f"batch.kubernetes.io/job-name={self.job(name)}"

        def look() -> list[str]:
            pods = [pod["metadata"]["name"] for pod in self.kube.select("Pod", selector)]
            return sorted(pods) if len(pods) == several else []

        return eventually(look, 60, f"the pods of {name}")

    def children(self) -> dict[str, tuple[str, str]]:
        """Return uid and version of all that was made."""
        found = ((kind, each["metadata"]) for kind in ("Job", "Pod", "Service") for each in self.kube.select(kind))
        return {f"{kind} {each['name']}": (each["uid"], each["resourceVersion"]) for kind, each in found}

    def statuses(self) -> dict[str, Object]:
        """Return the status of each object."""
        return {each["metadata"]["name"]: each["status"] for kind in OURS for each in self.kube.select(kind)}

    def at_rest(self) -> tuple[dict[str, tuple[str, str]], dict[str, Object]]:
        """Return both when the Job controller, which is a little behind, and everybody else have nothing to add."""
        before: tuple[dict[str, tuple[str, str]], dict[str, Object]] = ({}, {})

        def look() -> bool:
            nonlocal before
            earlier, before = before, (self.children(), self.statuses())
            return earlier == before

        eventually(look, 60, "everything rests", every=2.0)
        return before

    def forget(self) -> None:
        """Leave nothing. The definitions go after it: without them nobody knows that the owners are gone."""
        body = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        for kind in (*OURS, "Job", "Pod", "PersistentVolumeClaim"):
            self.kube.request("DELETE", self.kube.path(kind), body)
        for each in self.kube.select("Service"):
            self.kube.delete("Service", each["metadata"]["name"])


def lost(before: Any, after: Any, place: str = "") -> list[str]:
    """Return what of one status is not in a later one; additions and other words are no loss."""
    if isinstance(before, dict):
        kept = {key: value for key, value in before.items() if key not in ("observedGeneration", "message")}
        pairs = ((f"{place}.{key}", value, (after or {}).get(key)) for key, value in kept.items())
        return [each for name, one, other in pairs for each in lost(one, other, name)]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            each
            for number, pair in enumerate(zip(before, after, strict=True))
            for each in lost(*pair, f"{place}[{number}]")
        ]
    return [] if before == after else [f"{place}: {before!r} became {after!r}"]
