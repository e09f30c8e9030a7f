"""EveryFailureSpeaks: what goes wrong with pods is told by their run within seconds, with what to do or what follows."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests import builders
from tests.integration.kinds.test_interruptions import SAVED
from tests.integration.kinds.test_runs import desk
from tests.integration.support.desk import Desk
from tests.integration.support.eventually import eventually
from tests.kube import Object
from tests.remedies import speaks

__all__ = ["desk"]

# From what Kubernetes shows to what the status says; a queue and a busy machine have their part in it.
SECONDS = 15.0
Pod = str


@dataclass(frozen=True)
class Fault:
    """What happens to a pod, and what its run has to say."""

    happens: Callable[[Desk, Pod], object]
    reason: str  # in the run's message, or as its reason
    says: str
    follows: str  # what is done next, or what to do
    running: bool = True  # whether the pod ran before
    outcome: str = ""  # of the attempt, where it has ended
    counted: bool = False


def _report(outcome: str, reason: str) -> str:
    return json.dumps({"outcome": outcome, "problem": {"reason": reason, "message": "It went wrong."}})


def _disrupted(desk: Desk, pod: Pod, why: str, words: str) -> None:
    desk.kubelet.condition(pod, "DisruptionTarget", why, words)


def _node_silent(desk: Desk, pod: Pod) -> None:
    """A node has not answered for long: the pod is taken from it, and its kubelet does not say a word."""
    _disrupted(desk, pod, "DeletionByTaintManager", "deleting due to NoExecute taint")
    desk.kube.delete("Pod", pod)


def _node_gone(desk: Desk, pod: Pod) -> None:
    _disrupted(desk, pod, "DeletionByPodGC", "node no longer exists")
    desk.kubelet.failed_pod(pod, "")


def _preempted(desk: Desk, pod: Pod) -> None:
    _disrupted(desk, pod, "PreemptionByScheduler", "preempting")
    desk.kubelet.ended(pod, 75, SAVED)


def _not_mounted(desk: Desk, pod: Pod) -> None:
    desk.kubelet.bind(pod)
    desk.kubelet.complain(pod, "FailedMount", "claim is in use")


NEXT = "Attempt 2 follows"
FAULTS = {
    "image": Fault(
        lambda desk, pod: desk.kubelet.waiting(pod, "ImagePullBackOff", "no such host"),
        *("ImagePullFailed", "no such host", "imagePullSecrets"),
        running=False,
    ),
    "unschedulable": Fault(
        lambda desk, pod: desk.kubelet.condition(pod, "PodScheduled", "Unschedulable", "0/1 nodes: no gpu.", "False"),
        *("Unschedulable", "0/1 nodes: no gpu", "kubectl delete job"),
        running=False,
    ),
    "mount": Fault(_not_mounted, "PodNotStarting", "claim is in use", "kubectl delete job", running=False),
    "oom-of-all": Fault(
        lambda desk, pod: desk.kubelet.ended(pod, 137, "", "OOMKilled"),
        *("OutOfMemory", "was killed at its memory limit", "raise resources.memory"),
        outcome="OutOfMemory",
    ),
    "oom-of-child": Fault(
        lambda desk, pod: desk.kubelet.ended(pod, 70, _report("OutOfMemory", "OutOfMemory")),
        *("OutOfMemory", "It went wrong", "raise resources.memory"),
        outcome="OutOfMemory",
    ),
    "evicted": Fault(
        lambda desk, pod: desk.kubelet.failed_pod(pod, "Evicted", "The node was low on resource: memory."),
        *("PodLost", "low on resource: memory", NEXT),
        outcome="PodLost",
    ),
    "node-silent": Fault(_node_silent, "Stopping", "due to NoExecute taint", "the time to save itself"),
    "node-gone": Fault(_node_gone, "PodLost", "node no longer exists", NEXT, outcome="PodLost"),
    "preempted": Fault(_preempted, "Preempted", "saved a checkpoint at step 40", NEXT, outcome="Preempted"),
    "disk-full": Fault(
        lambda desk, pod: desk.kubelet.failed_pod(pod, "Evicted", "The node was low on resource: ephemeral-storage."),
        *("NodeDiskFull", "ephemeral-storage", NEXT),
        outcome="NodeDiskFull",
        counted=True,
    ),
    "storage-away": Fault(
        lambda desk, pod: desk.kubelet.ended(pod, 69, _report("ServiceFailed", "StorageFailed")),
        *("StorageFailed", "It went wrong", NEXT),
        outcome="ServiceAway",
        counted=True,
    ),
    "not-a-number": Fault(
        lambda desk, pod: desk.kubelet.ended(pod, 70, _report("Failed", "LossNotFinite")),
        *("LossNotFinite", "It went wrong", "Lower hyperparameters.learningRate"),
        outcome="TrainingFailed",
    ),
    "silent": Fault(
        lambda desk, pod: desk.kubelet.ended(pod, 1),
        *("ProgramFailed", "exit code 1 and without a report", NEXT),
        outcome="ProgramFailed",
        counted=True,
    ),
    "too-long": Fault(
        lambda desk, pod: desk.kubelet.failed_pod(pod, "DeadlineExceeded", "Pod was active on the node longer"),
        *("DeadlineExceeded", "reached its time limit", "Raise maxDuration"),
        outcome="DeadlineExceeded",
    ),
}


def test_every_fault_is_told_within_seconds_with_what_follows(desk: Desk) -> None:
    desk.make_ready_project()
    for seed, name in enumerate(FAULTS):
        settings = {"learningRate": 1.0e-3, "epochs": 1, "seed": seed}
        desk.kube.create(builders.run(name, desk.kube.namespace, hyperparameters=settings))
    pods = {name: desk.kubelet.pod_of(desk.job_of("FineTuneRun", name), 60) for name in FAULTS}
    for name, fault in FAULTS.items():
        if fault.running:  # one by one: pods of a node that is not there are soon collected
            desk.kubelet.bind(pods[name])
            desk.kubelet.running(pods[name])
            desk.awaits("FineTuneRun", name, "Running")
        fault.happens(desk, pods[name])
        eventually(partial(_is_told, desk, name, fault), SECONDS, f"{name} is told")
    # Whatever it says: of one end no second Event.
    assert [name for name in FAULTS if len(_warnings(desk, name)) > 1] == []


def _is_told(desk: Desk, name: str, fault: Fault) -> bool:
    run = desk.kube.get("FineTuneRun", name)
    reason, message = desk.reason("FineTuneRun", name)
    assert fault.says in message, (reason, message)
    assert fault.follows in message, (reason, message)
    assert speaks(reason, message), (reason, message)
    assert fault.reason == reason or f"ended with {fault.reason}" in message, (reason, message)
    [first, *_] = run["status"]["attempts"]
    assert first.get("outcome", "") == fault.outcome, first
    assert first.get("counted", False) == fault.counted, first
    if fault.outcome:
        told = _warnings(desk, name)
        assert len(told) == 1, told
        assert told[0]["reason"] in (fault.reason, fault.outcome), told
        assert fault.says in told[0]["message"], told
    return True


def _warnings(desk: Desk, name: str) -> list[Object]:
    """Return the Events that warn of the first attempt of a run."""
    return [
        each
        for each in desk.kube.select("Event")
        if (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == ("FineTuneRun", name)
        and each["type"] == "Warning"
        and each["message"].startswith("Attempt 1: ")
    ]
