"""Runs whose pods hold a container that never ends, on a real API server: the tests play the kubelet."""

import json

import pytest

from tests import builders
from tests.integration.kinds.test_interruptions import leaves, running
from tests.integration.kinds.test_nodes import make_run
from tests.integration.kinds.test_nodes import running as all_running
from tests.integration.kinds.test_runs import desk
from tests.integration.support.desk import DONE, TRAINED, Desk
from tests.integration.support.eventually import eventually

__all__ = ["desk"]

pytestmark = pytest.mark.long

# The operator waits 20 seconds for what was injected, and looks every 30.
SECONDS = 60
FAILED = json.dumps({"outcome": "Failed", "problem": {"reason": "Unexplained", "message": "It failed."}})


def gone(desk: Desk, job: str, *pods: str) -> None:
    """Wait until a Job is deleted and its pods are told to go."""
    eventually(lambda: desk.kube.find("Job", job) is None, SECONDS, "the Job is deleted")
    for pod in pods:
        eventually(lambda pod=pod: leaves(desk, pod), 60, "its pod is told to go")  # type: ignore[misc]


def test_a_run_succeeds_with_its_trainer_and_holds_no_pod(desk: Desk) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    pod = running(desk)
    desk.kubelet.ended_beside_another(pod, 0, TRAINED)
    desk.awaits("FineTuneRun", "first", "Succeeded", 10)
    gone(desk, desk.job_of("FineTuneRun", "first"), pod)


@pytest.mark.parametrize("message", [FAILED, ""], ids=["with a report", "without a report"])
def test_a_failed_attempt_is_followed_by_the_next(desk: Desk, message: str) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    first = running(desk)
    desk.kubelet.ended_beside_another(first, 70 if message else 139, message)
    desk.awaits("FineTuneRun", "first", "Queued", 10 if message else SECONDS)
    gone(desk, desk.job_of("FineTuneRun", "first"), first)
    desk.kubelet.succeeded(running(desk, 2), TRAINED)
    desk.awaits("FineTuneRun", "first", "Succeeded")


def test_a_run_on_several_nodes_holds_no_pod(desk: Desk) -> None:
    desk.make_ready_project()
    make_run(desk)
    first, second = all_running(desk)
    desk.kubelet.ended_beside_another(first, 0, TRAINED)
    desk.awaits("FineTuneRun", "first", "Succeeded", 10)
    desk.kubelet.ended_beside_another(second, 0)
    gone(desk, desk.job_of("FineTuneRun", "first"), first, second)


def test_a_project_is_ready_with_its_trainer_and_holds_no_pod(desk: Desk) -> None:
    desk.kube.create(builders.project(namespace=desk.kube.namespace))
    job = desk.job_of("TransformerProject", "desk")
    pod = desk.kubelet.pod_of(job)
    desk.kubelet.bind(pod)
    desk.kubelet.ended_beside_another(pod, 0, DONE)
    desk.awaits("TransformerProject", "desk", "Ready", 10)
    gone(desk, job, pod)
