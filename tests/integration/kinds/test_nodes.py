"""Runs on several nodes, on a real API server: the tests play the kubelets."""

import json
from typing import Any

import pytest

from tests import builders
from tests.integration.kinds.test_interruptions import SAVED, admit, make_queued_project, remove
from tests.integration.kinds.test_runs import desk
from tests.integration.support.desk import TRAINED, Desk
from tests.integration.support.eventually import eventually
from tests.kube import Kube, KubeError

__all__ = ["desk"]

PROBLEM = {"reason": "BadThing", "message": "It is wrong."}
FAILED = json.dumps({"outcome": "Failed", "problem": PROBLEM})
LOST = json.dumps({"outcome": "PeerLost", "problem": {"reason": "PeerLost", "message": "It is gone."}})


def claim(kube: Kube, name: str, mode: str = "ReadWriteMany") -> None:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
    kube.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})


def make_run(desk: Desk, mode: str = "ReadWriteMany", **changes: Any) -> None:
    for name in ("store", "models"):
        claim(desk.kube, name, mode)
    desk.kube.create(builders.run(namespace=desk.kube.namespace, resources={"nodes": 2}, **changes))


def pods_of(desk: Desk, number: int = 1) -> list[str]:
    """Return the pods of an attempt by index, once they are there."""
    job = desk.job_of("FineTuneRun", "first", number)

    def look() -> list[str]:
        pods = desk.kube.select("Pod", f"batch.kubernetes.io/job-name={job}")
        index = "batch.kubernetes.io/job-completion-index"
        names = {pod["metadata"]["labels"][index]: pod["metadata"]["name"] for pod in pods}
        return [names["0"], names["1"]] if len(names) == 2 else []

    return eventually(look, 60, f"the pods of attempt {number}")


def running(desk: Desk, number: int = 1) -> list[str]:
    """Let all pods of an attempt run."""
    pods = pods_of(desk, number)
    for pod in pods:
        desk.kubelet.bind(pod)
        desk.kubelet.running(pod)
    desk.awaits("FineTuneRun", "first", "Running", 30)
    return pods


def succeed(desk: Desk, pods: list[str]) -> None:
    desk.kubelet.succeeded(pods[1])
    desk.kubelet.succeeded(pods[0], TRAINED)


def test_one_pod_fails_and_the_next_attempt_has_all_of_them(desk: Desk) -> None:
    desk.make_ready_project()
    make_run(desk)
    first, second = running(desk)
    job = desk.job_of("FineTuneRun", "first")
    made = desk.kube.get("Job", job)
    assert (made["spec"]["completionMode"], made["spec"]["completions"], made["spec"]["parallelism"]) == (
        "Indexed",
        2,
        2,
    )
    pod = desk.kube.get("Pod", first)
    [service] = desk.kube.select("Service", "app.kubernetes.io/managed-by=stagecoach")
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == (f"{job}-0", service["metadata"]["name"])
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    variables = {item["name"] for item in pod["spec"]["containers"][0]["env"]}
    assert "JOB_COMPLETION_INDEX" in variables, "a pod knows its index"
    # The effect is seen before its cause.
    desk.kubelet.ended(first, 70, LOST)
    desk.kubelet.ended(second, 70, FAILED)
    eventually(lambda: desk.reason("FineTuneRun", "first")[0] == "Retrying", 60, "the attempt has ended")
    again = running(desk, 2)
    succeed(desk, again)
    status = desk.awaits("FineTuneRun", "first", "Succeeded", 30)["status"]
    assert [(item["outcome"], item["counted"]) for item in status["attempts"]] == [
        ("ProgramFailed", True),
        ("Succeeded", False),
    ]
    assert status["attempts"][0]["message"].startswith("Index 1: It is wrong.")
    eventually(
        lambda: not desk.kube.select("Service", "app.kubernetes.io/managed-by=stagecoach"), 60, "the Service goes"
    )


def test_a_pod_that_is_deleted_preempts_all_and_does_not_count(desk: Desk) -> None:
    desk.make_ready_project()
    make_run(desk, retries=0)
    first, second = running(desk)
    desk.kube.delete("Pod", second)
    eventually(lambda: desk.reason("FineTuneRun", "first")[0] == "Stopping", 60, "the pod is given time")
    assert "(index 1)" in desk.reason("FineTuneRun", "first")[1]
    desk.kubelet.ended(second, 75, SAVED)
    desk.kubelet.ended(first, 75, SAVED)
    succeed(desk, running(desk, 2))
    status = desk.awaits("FineTuneRun", "first", "Succeeded", 30)["status"]
    assert [item["outcome"] for item in status["attempts"]] == ["Preempted", "Succeeded"]
    assert (status["attempts"][0]["counted"], status["attempts"][0]["checkpoint"]) == (False, 40)


@pytest.mark.long
def test_a_claim_for_one_node_is_refused_until_it_is_another(desk: Desk) -> None:
    desk.make_ready_project()
    make_run(desk, mode="ReadWriteOnce")
    eventually(lambda: desk.reason("FineTuneRun", "first")[0] == "StorageNotShared", 60, "it is refused")
    message = desk.reason("FineTuneRun", "first")[1]
    assert "ReadWriteOnce" in message
    assert "ReadWriteMany" in message
    assert desk.kube.get("FineTuneRun", "first")["status"]["phase"] == "Blocked"
    job = desk.job_of("FineTuneRun", "first")
    assert desk.kube.find("Job", job) is None
    for name in ("store", "models"):
        desk.kube.delete("PersistentVolumeClaim", name)
        eventually(lambda name=name: desk.kube.find("PersistentVolumeClaim", name) is None, 60, "the claim is gone")  # type: ignore[misc]
        claim(desk.kube, name)
    # Anything that happens to the project has the run looked at again, once what was seen of the claims is old.
    eventually(lambda: desk.kube.find("Job", job), 120, "the Job is made")
    succeed(desk, running(desk))
    desk.awaits("FineTuneRun", "first", "Succeeded", 30)


def test_a_queue_admits_all_pods_together_and_takes_them_back(desk: Desk) -> None:
    make_queued_project(desk)
    make_run(desk, retries=0)
    job = desk.job_of("FineTuneRun", "first")

    def waits() -> bool:
        return desk.reason("FineTuneRun", "first")[0] == "WaitingForQueue"

    eventually(waits, 60, "the run waits")
    assert not desk.kube.select("Pod", f"batch.kubernetes.io/job-name={job}")
    admit(desk, job)
    pods = running(desk)
    admit(desk, job, admitted=False)
    for pod in pods:
        eventually(lambda pod=pod: "deletionTimestamp" in desk.kube.get("Pod", pod)["metadata"], 60, "it is taken away")  # type: ignore[misc]
        desk.kubelet.ended(pod, 75, SAVED)
        remove(desk.kube, pod)
    eventually(waits, 60, "the run waits again")
    admit(desk, job)
    succeed(desk, running(desk))
    status = desk.awaits("FineTuneRun", "first", "Succeeded", 30)["status"]
    assert [item["outcome"] for item in status["attempts"]] == ["Succeeded"]


@pytest.mark.parametrize(
    ("resources", "words"), [({"nodes": 0}, "nodes"), ({"nodes": 33}, "nodes"), ({"gpusPerNode": 17}, "gpusPerNode")]
)
def test_the_number_of_processes_is_bounded(kube: Kube, resources: builders.Object, words: str) -> None:
    with pytest.raises(KubeError, match=words):
        kube.create(builders.run(namespace=kube.namespace, resources=resources))
