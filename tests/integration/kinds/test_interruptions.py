"""Runs that are interrupted, suspended and queued, on a real API server: the tests play the kubelet and the queue."""

import json

import pytest

from stagecoach.contract.progress import DEADLINE_VARIABLE
from tests import builders
from tests.integration.kinds.test_runs import desk
from tests.integration.support.desk import DONE, TRAINED, Desk
from tests.integration.support.eventually import eventually
from tests.kube import Kube, KubeError

__all__ = ["desk"]

SAVED = json.dumps({"outcome": "Preempted", "checkpoint": 40})


def running(desk: Desk, number: int = 1) -> str:
    """Let the pod of an attempt run, and return its name."""
    pod = desk.kubelet.pod_of(desk.job_of("FineTuneRun", "first", number), seconds=40)
    desk.kubelet.bind(pod)
    desk.kubelet.running(pod)
    desk.awaits("FineTuneRun", "first", "Running", 30)
    return pod


def remove(kube: Kube, pod: str) -> None:
    """Have a pod gone that was told to go, as its kubelet would."""
    body = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
    kube.request("DELETE", kube.path("Pod", pod), body)


def leaves(desk: Desk, pod: str) -> bool:
    return "deletionTimestamp" in (desk.kube.find("Pod", pod) or {"metadata": {"deletionTimestamp": ""}})["metadata"]


def test_a_preempted_pod_does_not_count(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace, retries=0))
    first = running(desk)
    desk.kube.delete("Pod", first)
    eventually(lambda: desk.reason("FineTuneRun", "first")[0] == "Stopping", 60, "the pod is given time")
    desk.kubelet.ended(first, 75, SAVED)
    second = running(desk, 2)
    desk.kubelet.succeeded(second, TRAINED)
    status = desk.awaits("FineTuneRun", "first", "Succeeded")["status"]
    assert [item["outcome"] for item in status["attempts"]] == ["Preempted", "Succeeded"]
    assert (status["attempts"][0]["counted"], status["attempts"][0]["checkpoint"]) == (False, 40)
    assert (status["totals"]["failures"], status["totals"]["interruptions"]) == (0, 1)


STALLED = {
    "reason": "ProgressDeadlineExceeded",
    "message": "no progress for 1 minute while training, at about step 41; it was ended.",
    "remedy": "Where it hung is at the end of the log, as Python stacks.",
}


def test_an_attempt_that_hangs_counts_and_is_made_again(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace, retries=1, progressDeadline="1m"))
    first = running(desk)
    [container] = desk.kube.get("Pod", first)["spec"]["containers"]
    assert {"name": DEADLINE_VARIABLE, "value": "60"} in container["env"]
    desk.kubelet.ended(first, 70, json.dumps({"outcome": "Failed", "problem": STALLED}))
    eventually(lambda: desk.reason("FineTuneRun", "first")[0] == "Retrying", 60, "another attempt follows")
    assert (
        "Attempt 1 ended with ProgressDeadlineExceeded: no progress for 1 minute"
        in desk.reason("FineTuneRun", "first")[1]
    )
    desk.kubelet.ended(running(desk, 2), 70, json.dumps({"outcome": "Failed", "problem": STALLED}))
    status = desk.awaits("FineTuneRun", "first", "Failed")["status"]
    assert desk.reason("FineTuneRun", "first")[0] == "ProgressDeadlineExceeded"
    assert "at about step 41" in desk.reason("FineTuneRun", "first")[1]
    assert [item["counted"] for item in status["attempts"]] == [True, True]
    assert (status["totals"]["failures"], status["totals"]["interruptions"]) == (2, 0)


def test_suspending_deletes_the_job_and_resuming_makes_the_next(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    first = running(desk)
    job = desk.job_of("FineTuneRun", "first")
    desk.kube.patch("FineTuneRun", "first", {"spec": {"suspend": True}})
    desk.awaits("FineTuneRun", "first", "Suspended")
    eventually(lambda: desk.kube.find("Job", job) is None, 60, "the Job is deleted")
    eventually(lambda: leaves(desk, first), 60, "the pod is told to go")
    desk.kube.patch("FineTuneRun", "first", {"spec": {"suspend": False}})
    eventually(lambda: desk.reason("FineTuneRun", "first")[0] == "Stopping", 60, "the pod is given time")
    remove(desk.kube, first)
    desk.kubelet.succeeded(running(desk, 2), TRAINED)
    status = desk.awaits("FineTuneRun", "first", "Succeeded")["status"]
    assert [item["outcome"] for item in status["attempts"]] == ["Suspended", "Succeeded"]
    events = desk.kube.select("Event", "")
    about = {each["reason"] for each in events if each["involvedObject"].get("name") == "first"}
    assert {"Suspended", "Resumed"} <= about


def test_a_suspended_run_says_from_which_step_it_will_go_on(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    first = running(desk)
    desk.kube.patch("FineTuneRun", "first", {"spec": {"suspend": True}})
    assert "checkpoint" not in desk.awaits("FineTuneRun", "first", "Suspended")["status"]["totals"]
    eventually(lambda: leaves(desk, first), 60, "the pod is told to go")
    desk.kubelet.ended(first, 75, SAVED)

    def saved() -> int | None:
        return desk.kube.get("FineTuneRun", "first")["status"]["totals"].get("checkpoint")  # type: ignore[no-any-return]

    eventually(lambda: saved() == 40, 60, "what was saved is told")
    remove(desk.kube, first)
    status = desk.kube.get("FineTuneRun", "first")["status"]
    assert (status["phase"], status["attempts"][0]["checkpoint"]) == ("Suspended", 40)
    assert "of step 40" in desk.reason("FineTuneRun", "first")[1]


def test_a_run_made_suspended_starts_nothing(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace, suspend=True))
    run = desk.awaits("FineTuneRun", "first", "Suspended")
    assert run["status"]["attempts"] == []
    desk.kube.patch("FineTuneRun", "first", {"spec": {"suspend": False}})
    desk.kubelet.succeeded(desk.kubelet.pod_of(desk.job_of("FineTuneRun", "first")), TRAINED)
    desk.awaits("FineTuneRun", "first", "Succeeded")


def admit(desk: Desk, job: str, admitted: bool = True) -> None:
    """Do what a queue does."""
    desk.kube.patch("Job", job, {"spec": {"suspend": not admitted}})


def make_queued_project(desk: Desk) -> None:
    desk.kube.create(builders.project(namespace=desk.kube.namespace, pods={"queue": "gpu"}))
    job = desk.job_of("TransformerProject", "desk")
    eventually(lambda: desk.reason("TransformerProject", "desk")[0] == "WaitingForQueue", 60, "the project waits")
    admit(desk, job)
    desk.kubelet.succeeded(desk.kubelet.pod_of(job), DONE)
    desk.awaits("TransformerProject", "desk", "Ready")


def test_a_queue_admits_takes_back_and_admits_again(desk: Desk) -> None:
    make_queued_project(desk)
    desk.kube.create(builders.run(namespace=desk.kube.namespace, retries=0))
    job = desk.job_of("FineTuneRun", "first")

    def waits() -> bool:
        return desk.reason("FineTuneRun", "first")[0] == "WaitingForQueue"

    eventually(waits, 60, "the run waits")
    assert "'gpu'" in desk.reason("FineTuneRun", "first")[1]
    made = desk.kube.get("Job", job)
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu"
    assert made["spec"]["suspend"] is True
    admit(desk, job)
    first = running(desk)
    admit(desk, job, admitted=False)
    eventually(lambda: leaves(desk, first), 60, "the Job controller takes the pod away")
    desk.kubelet.ended(first, 75, SAVED)
    # Its last words go with it: they have to be heard before.
    eventually(waits, 60, "the run waits again")
    remove(desk.kube, first)
    run = desk.kube.get("FineTuneRun", "first")
    assert run["status"]["phase"] == "Queued"
    assert [item.get("end") for item in run["status"]["attempts"]] == [None]
    totals = run["status"]["totals"]
    assert (totals["interruptions"], totals["idleInterruptions"], totals["checkpoint"]) == (1, 0, 40)
    admit(desk, job)
    second = running(desk)
    assert second != first
    desk.kubelet.succeeded(second, TRAINED)
    status = desk.awaits("FineTuneRun", "first", "Succeeded")["status"]
    assert [item["outcome"] for item in status["attempts"]] == ["Succeeded"]


def test_a_queue_that_takes_back_again_and_again_ends_a_run_that_does_not_get_on(desk: Desk) -> None:
    make_queued_project(desk)
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    job = desk.job_of("FineTuneRun", "first")

    def interruptions() -> int:
        return int(desk.kube.get("FineTuneRun", "first")["status"].get("totals", {}).get("interruptions", 0))

    def taken_back(pod: str) -> None:
        admit(desk, job, admitted=False)
        eventually(lambda: leaves(desk, pod), 60, "the Job controller takes the pod away")

    def interrupted(times: int) -> None:
        pod = running(desk)
        taken_back(pod)
        desk.kubelet.ended(pod, 143, json.dumps({"outcome": "Terminated"}))
        remove(desk.kube, pod)
        eventually(lambda: interruptions() == times, 60, "it is counted")

    eventually(lambda: desk.kube.find("Job", job), 60, "the Job is there")
    admit(desk, job)
    pending = desk.kubelet.pod_of(job, seconds=30)
    taken_back(pending)
    eventually(lambda: desk.kube.find("Pod", pending) is None, 60, "it is gone")
    for times in (1, 2, 3):
        admit(desk, job)
        assert interruptions() == times - 1, "what did not run was not interrupted"
        interrupted(times)
    run = desk.awaits("FineTuneRun", "first", "Failed")
    assert desk.reason("FineTuneRun", "first")[0] == "NoProgress"
    assert "was suspended while its pod ran" in desk.reason("FineTuneRun", "first")[1]
    assert run["status"]["totals"]["failures"] == 0
    eventually(lambda: desk.kube.find("Job", job) is None, 60, "its Job goes")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"retries": 3}, "cannot change, apart from suspend"),
        ({"checkpoints": {"keep": 5}}, "cannot change, apart from suspend"),
        ({"hyperparameters": {"seed": 1}, "suspend": True}, "cannot change, apart from suspend"),
    ],
)
def test_only_suspend_may_change(kube: Kube, change: builders.Object, words: str) -> None:
    kube.create(builders.run(namespace=kube.namespace))
    kube.patch("FineTuneRun", "first", {"spec": {"suspend": True}})
    with pytest.raises(KubeError, match=words):
        kube.patch("FineTuneRun", "first", {"spec": change})
    kube.patch("FineTuneRun", "first", {"spec": {"suspend": False}})


def test_the_best_model_needs_validation_data(kube: Kube) -> None:
    run = builders.run(namespace=kube.namespace, checkpoints={"best": "eval_loss"}, data={"train": [{"name": "train"}]})
    with pytest.raises(KubeError, match=r"checkpoints\.best needs data\.validation"):
        kube.create(run)
