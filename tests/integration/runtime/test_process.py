"""The process: how it starts, what it says, how it ends."""

from tests.integration.runtime.conftest import StartToys
from tests.integration.runtime.test_loop import wait_phase
from tests.integration.runtime.toy import CRD, toy
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube


def test_it_waits_for_its_kinds_and_says_so(start_toys: StartToys, kube: Kube) -> None:
    kube.delete("CustomResourceDefinition", "toys.stagecoach.dev")
    eventually(lambda: kube.find("CustomResourceDefinition", "toys.stagecoach.dev") is None)
    operator = start_toys()
    try:
        [record, *_] = eventually(lambda: operator.records("custom resource definitions"), 60)
        assert record["missing"] == ["toys"]
        assert operator.probe("/readyz") == 503
        assert operator.probe("/healthz") == 200
    finally:
        kube.apply(CRD)
    operator.wait_ready().wait_leading()
    kube.create(toy("one", value=1))
    wait_phase(kube, "one", "Idle")


def test_warnings_about_a_pod_reach_its_owner(toys: OperatorProcess, kube: Kube, kubelet: FakeKubelet) -> None:
    kube.create(toy("ill", job="a"))
    pod = kubelet.pod_of("ill-a")
    kubelet.bind(pod)
    kubelet.waiting(pod, "ContainerCreating")
    kubelet.complain(pod, "FailedMount", "no such claim")
    eventually(lambda: kube.get("Toy", "ill")["status"].get("warning") == "FailedMount: no such claim", 60)
    kubelet.running(pod)
    eventually(lambda: "warning" not in kube.get("Toy", "ill")["status"])
    assert toys.metric("stagecoach_api_requests_total", verb="list", resource="events") >= 1


def test_a_log_that_cannot_be_read_is_counted_and_nothing_else(
    toys: OperatorProcess, kube: Kube, kubelet: FakeKubelet
) -> None:
    kube.create(toy("mute", job="a"))
    pod = kubelet.pod_of("mute-a")
    kubelet.bind(pod)
    kubelet.running(pod)
    eventually(lambda: toys.metric("stagecoach_facts_failed_total", fact="progress") >= 1)
    wait_phase(kube, "mute", "Running")


def test_metrics_and_logs_speak(toys: OperatorProcess, kube: Kube) -> None:
    kube.create(toy("one", value=1))
    wait_phase(kube, "one", "Idle")
    assert toys.metric("stagecoach_status_writes_total", kind="Toy") == 1
    assert toys.metric("stagecoach_objects", kind="Toy", phase="Idle") == 1
    assert toys.metric("stagecoach_api_requests_total", verb="patch", resource="toys", code="200") == 1
    assert toys.metric("stagecoach_queue_wait_seconds_count") >= 1
    lines = toys.text().splitlines()
    assert all(line.startswith("{") for line in lines), lines
    assert {"time", "level", "logger", "message"} <= toys.records("leading")[0].keys()


def test_a_dead_part_ends_the_process(start_toys: StartToys, kube: Kube) -> None:
    operator = start_toys().wait_ready().wait_leading()
    kube.delete("CustomResourceDefinition", "toys.stagecoach.dev")
    eventually(lambda: kube.find("CustomResourceDefinition", "toys.stagecoach.dev") is None)
    try:
        code = eventually(lambda: operator.process.poll(), 90, "kopf ends without its kind")
    finally:
        kube.apply(CRD)
    assert code == 1
    assert operator.records("a part of the operator failed")
