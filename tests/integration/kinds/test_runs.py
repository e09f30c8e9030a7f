"""The operator's promises about runs, on a real API server: the tests play the kubelet."""

import json

import pytest

from tests import builders
from tests.integration.support import quota
from tests.integration.support.desk import ADOPTED, TRAINED, Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube


@pytest.fixture
def desk(kube: Kube, kubelet: FakeKubelet, operator: OperatorProcess) -> Desk:
    assert operator
    return Desk(kube, kubelet)


def test_a_run_waits_for_its_project_and_says_so(desk: Desk) -> None:
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    desk.awaits("FineTuneRun", "first", "Blocked")
    assert desk.reason("FineTuneRun", "first")[0] == "ProjectMissing"
    desk.make_ready_project()
    desk.awaits("FineTuneRun", "first", "Queued")


def test_a_claim_that_is_missing_is_told_in_the_schedulers_words_and_by_the_field_that_names_it(desk: Desk) -> None:
    desk.kube.create(builders.project(namespace=desk.kube.namespace))
    pod = desk.kubelet.pod_of(desk.job_of("TransformerProject", "desk"))
    message = '0/1 nodes are available: persistentvolumeclaim "store" not found.'
    desk.kubelet.condition(pod, "PodScheduled", "Unschedulable", message, "False")
    eventually(lambda: message in desk.reason("TransformerProject", "desk")[1], 60, "the scheduler's words")
    reason, told = desk.reason("TransformerProject", "desk")
    assert reason == "Unschedulable"
    assert "It is named by storage.uri." in told


def test_a_pod_that_the_quota_refuses_is_told_in_the_servers_words(desk: Desk) -> None:
    quota.allow_none(desk.kube, "pods", quota.pod("x"))
    desk.kube.create(builders.project(namespace=desk.kube.namespace))
    eventually(lambda: desk.reason("TransformerProject", "desk")[0] == "PodRefused", 60, "PodRefused")
    assert "exceeded quota" in desk.reason("TransformerProject", "desk")[1]


def test_deleting_a_run_takes_its_jobs_along(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    job = desk.job_of("FineTuneRun", "first")
    desk.kubelet.pod_of(job)
    desk.kube.delete("FineTuneRun", "first")
    # The garbage collector of a new control plane learns of new kinds every 30 seconds.
    eventually(lambda: desk.kube.find("Job", job) is None, 90, "the Job is gone")


def test_a_lost_pod_is_another_attempt_with_another_job(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    pod = desk.kubelet.pod_of(desk.job_of("FineTuneRun", "first"))
    desk.kubelet.bind(pod)
    desk.kubelet.failed_pod(pod, "Evicted", "The node was low on memory.")
    second = desk.kubelet.pod_of(desk.job_of("FineTuneRun", "first", number=2), seconds=30)
    desk.kubelet.succeeded(second, TRAINED)
    run = desk.awaits("FineTuneRun", "first", "Succeeded")
    assert [item["outcome"] for item in run["status"]["attempts"]] == ["PodLost", "Succeeded"]


def test_runs_of_the_same_inputs_are_computed_once(desk: Desk) -> None:
    """NothingTwice: one trains, the others adopt."""
    names = {"first", "second", "third"}
    for name in names:
        desk.kube.create(builders.run(name, desk.kube.namespace))
        desk.awaits("FineTuneRun", name, "Blocked")
    desk.make_ready_project()  # they all start at this moment
    eventually(lambda: len(same_inputs(desk, names)) == 2, 60, "two of them wait for the third")
    waiting = same_inputs(desk, names)
    [trains] = names - waiting
    desk.kubelet.succeeded(desk.kubelet.pod_of(desk.job_of("FineTuneRun", trains)), TRAINED)
    desk.awaits("FineTuneRun", trains, "Succeeded")
    eventually(lambda: not same_inputs(desk, names), 60, "both look for its record")
    for name in waiting:
        desk.kubelet.succeeded(desk.kubelet.pod_of(desk.job_of("FineTuneRun", name)), ADOPTED)
        run = desk.awaits("FineTuneRun", name, "Succeeded")
        assert desk.reason("FineTuneRun", name)[0] == "Adopted"
        assert run["status"]["adoptedFrom"] == json.loads(ADOPTED)["artifact"]["maker"]
    jobs = desk.kube.select("Job", "stagecoach.dev/kind=FineTuneRun")
    assert sorted(json.loads(document_of(job))["kind"] for job in jobs) == ["Lookup", "Lookup", "Train"]


def same_inputs(desk: Desk, names: set[str]) -> set[str]:
    """Return the runs that wait for another of the same inputs."""
    return {name for name in names if desk.reason("FineTuneRun", name)[0] == "SameInputs"}


def document_of(job: builders.Object) -> str:
    variable, *_ = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return str(variable["value"])


def _is_looked_at(desk: Desk, kind: str, name: str) -> bool:
    found = desk.kube.get(kind, name)
    return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])


def test_a_waiting_job_that_is_deleted_comes_back_with_the_pod_settings_of_now(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    job = desk.job_of("FineTuneRun", "first")
    old = desk.kubelet.pod_of(job)
    desk.kubelet.bind(old)
    desk.kubelet.waiting(old, "ContainerCreating")
    desk.kubelet.complain(old, "FailedMount", 'configmap "desk" not found')
    eventually(lambda: desk.reason("FineTuneRun", "first")[0] == "PodNotStarting", 60, "PodNotStarting")
    assert f"kubectl delete job {job} -n {desk.kube.namespace};" in desk.reason("FineTuneRun", "first")[1]

    desk.kube.patch("TransformerProject", "desk", {"spec": {"pods": {"nodeSelector": {"pool": "batch"}}}})
    eventually(lambda: _is_looked_at(desk, "TransformerProject", "desk"), what="the operator has seen the change")
    desk.kube.delete("Job", job)
    eventually(lambda: desk.kube.get("Pod", old)["metadata"].get("deletionTimestamp"), 60, "its pod is going")
    desk.kubelet.ended_unstarted(old)
    pod = eventually(lambda: next((name for name in [desk.kubelet.pod_of(job)] if name != old), ""), 60, "a new pod")
    assert desk.kube.get("Pod", pod)["spec"]["nodeSelector"] == {"pool": "batch"}
    desk.kubelet.succeeded(pod, TRAINED)
    run = desk.awaits("FineTuneRun", "first", "Succeeded")
    assert [item["outcome"] for item in run["status"]["attempts"]] == ["Succeeded"]


def test_what_a_run_trained_on_stays_what_its_status_says(desk: Desk) -> None:
    """FrozenInputs: whatever the project says later."""
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    pod = desk.kubelet.pod_of(desk.job_of("FineTuneRun", "first"))
    before = desk.kube.get("FineTuneRun", "first")["status"]["inputs"]
    desk.kube.patch("TransformerProject", "desk", {"spec": {"tokenization": {"maxLength": 64}}})
    number_two = desk.kube.get("TransformerProject", "desk")["metadata"]["generation"]
    eventually(
        lambda: desk.kube.get("TransformerProject", "desk")["status"]["observedGeneration"] == number_two,
        60,
        "the project is seen",
    )
    desk.kubelet.failed_pod(pod, "Evicted", "gone")
    run = desk.awaits("FineTuneRun", "first", "Failed", 40)
    assert run["status"]["inputs"] == before
    assert desk.reason("FineTuneRun", "first")[0] == "ProjectChanged"
