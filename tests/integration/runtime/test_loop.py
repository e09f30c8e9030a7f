"""From an event to a status and a Job, through kopf and a real API server."""

import pytest

from tests.cluster import ControlPlane
from tests.integration.runtime.toy import toy
from tests.integration.support.eventually import eventually, stays
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube


def phase(kube: Kube, name: str) -> str:
    return str(kube.get("Toy", name).get("status", {}).get("phase", ""))


def wait_phase(kube: Kube, name: str, wanted: str, seconds: float = 60) -> None:
    eventually(lambda: phase(kube, name) == wanted, seconds, f"{name} is {wanted}")


def wait_job(kube: Kube, name: str) -> None:
    eventually(lambda: kube.find("Job", name), what=f"Job {name} is there")


def writes(control_plane: ControlPlane, kube: Kube, code: int | None = None) -> list[tuple[str, str, str]]:
    """Return (verb, resource, subresource) of what operators wrote in this test's namespace, as far as answered so."""
    found = []
    for event in control_plane.audit_events():
        target = event.get("objectRef", {})
        if code is not None and event.get("responseStatus", {}).get("code") != code:
            continue
        if target.get("namespace") == kube.namespace and event["userAgent"].startswith("stagecoach-operator"):
            found.append((event["verb"], target["resource"], target.get("subresource", "")))
    return found


@pytest.mark.usefixtures("toys")
def test_a_job_is_made_and_followed_to_its_end(kube: Kube, kubelet: FakeKubelet) -> None:
    kube.create(toy("one", job="a"))
    pod = kubelet.pod_of("one-a")
    wait_phase(kube, "one", "Running")
    kubelet.succeeded(pod)
    wait_phase(kube, "one", "Complete")


@pytest.mark.usefixtures("toys")
def test_a_life_that_goes_well_costs_three_status_writes_one_job_and_two_events(
    control_plane: ControlPlane, kube: Kube, kubelet: FakeKubelet
) -> None:
    kube.create(toy("thrifty", job="a"))
    kubelet.succeeded(kubelet.pod_of("thrifty-a"))
    wait_phase(kube, "thrifty", "Complete")
    # The last event is told after the status that it is about was written.
    eventually(lambda: writes(control_plane, kube).count(("create", "events", "")) == 2, what="two events")
    made = writes(control_plane, kube)
    by_sort = {each: made.count(each) for each in set(made)}
    assert by_sort.pop(("create", "secrets", ""), 0) == 1  # its own key, at its start
    assert by_sort.pop(("update", "leases", ""), 0) == 0  # leases are not audited here
    assert by_sort == {
        ("patch", "toys", "status"): by_sort[("patch", "toys", "status")],
        ("create", "jobs", ""): 1,
        ("create", "events", ""): 2,
    }
    assert by_sort[("patch", "toys", "status")] <= 3


@pytest.mark.usefixtures("toys")
def test_kopf_writes_nothing(control_plane: ControlPlane, kube: Kube, kubelet: FakeKubelet) -> None:
    kube.create(toy("plain", job="a"))
    kubelet.succeeded(kubelet.pod_of("plain-a"))
    wait_phase(kube, "plain", "Complete")
    metadata = kube.get("Toy", "plain")["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    by_kopf = [event for event in control_plane.audit_events() if "kopf" in event["userAgent"]]
    assert by_kopf == []


def test_an_object_can_be_deleted_with_the_operator_down(toys: OperatorProcess, kube: Kube) -> None:
    kube.create(toy("gone", value=1))
    wait_phase(kube, "gone", "Idle")
    toys.kill()
    kube.delete("Toy", "gone")
    eventually(lambda: kube.find("Toy", "gone") is None)


@pytest.mark.usefixtures("toys")
def test_a_change_of_an_object_reaches_those_that_name_it(kube: Kube) -> None:
    kube.create(toy("child", parent="parent"))
    kube.create(toy("parent", value=1))
    eventually(lambda: kube.get("Toy", "child").get("status", {}).get("parentValue") == 1)
    kube.patch("Toy", "parent", {"spec": {"value": 2}})
    eventually(lambda: kube.get("Toy", "child")["status"].get("parentValue") == 2)
    kube.delete("Toy", "parent")
    eventually(lambda: "parentValue" not in kube.get("Toy", "child")["status"], what="the removed key is gone")


@pytest.mark.usefixtures("toys")
def test_a_deadline_comes_without_an_event(kube: Kube) -> None:
    kube.create(toy("clock", every=0.3))
    eventually(lambda: kube.get("Toy", "clock").get("status", {}).get("ticks", 0) >= 4)


@pytest.mark.usefixtures("control_plane", "toys")
def test_an_idle_object_is_not_written(kube: Kube) -> None:
    kube.create(toy("idle", value=1))
    wait_phase(kube, "idle", "Idle")
    version = kube.get("Toy", "idle")["metadata"]["resourceVersion"]
    stays(lambda: kube.get("Toy", "idle")["metadata"]["resourceVersion"] == version, 1.0)


@pytest.mark.usefixtures("toys")
def test_a_job_of_another_name_is_replaced(kube: Kube) -> None:
    kube.create(toy("swap", job="a"))
    eventually(lambda: kube.find("Job", "swap-a"))
    kube.patch("Toy", "swap", {"spec": {"job": "b"}})
    eventually(lambda: kube.find("Job", "swap-b"))
    eventually(lambda: kube.find("Job", "swap-a") is None)


@pytest.mark.usefixtures("toys")
def test_a_deleted_job_is_made_again(kube: Kube) -> None:
    kube.create(toy("again", job="a"))
    eventually(lambda: kube.find("Job", "again-a"))
    first = kube.get("Job", "again-a")
    kube.delete("Job", "again-a")

    def another() -> bool:
        job = kube.find("Job", "again-a")
        return job is not None and job["metadata"]["uid"] != first["metadata"]["uid"]

    eventually(another)
