"""Several operators, of which one acts."""

import time

from tests.cluster import ControlPlane
from tests.integration.runtime.conftest import StartToys
from tests.integration.runtime.test_loop import wait_phase, writes
from tests.integration.runtime.toy import toy
from tests.integration.support.eventually import eventually
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube

DURATION = ("--lease-duration", "6")


def pair(start_toys: StartToys) -> tuple[OperatorProcess, OperatorProcess]:
    """Return a leader, and a second one that is ready and does nothing."""
    leader = start_toys(*DURATION).wait_ready().wait_leading()
    other = start_toys(*DURATION).wait_ready()
    eventually(lambda: other.records("waiting for the Lease"), 10, "it says what it waits for")
    assert other.metric("stagecoach_leader") == 0
    return leader, other


def loud(operator: OperatorProcess) -> list[str]:
    """Return what the log holds to be worth a look."""
    ours = [record for record in operator.records() if record["logger"].startswith("stagecoach.")]
    return [record["message"] for record in ours if record["level"] not in ("DEBUG", "INFO")]


def test_a_replica_that_does_not_lead_is_ready_and_does_nothing(start_toys: StartToys, kube: Kube) -> None:
    _, other = pair(start_toys)
    kube.create(toy("one", value=1))
    wait_phase(kube, "one", "Idle")
    assert other.metric("stagecoach_status_writes_total") == 0
    assert other.metric("stagecoach_objects", kind="Toy") == 1


def test_a_killed_leader_is_replaced_and_nothing_is_made_twice(
    control_plane: ControlPlane, start_toys: StartToys, kube: Kube
) -> None:
    """NothingTwice: what was in the dead leader's hands is made once."""
    leader, other = pair(start_toys)
    for number in range(20):
        kube.create(toy(f"t{number}", job="a"))
    eventually(lambda: len(kube.select("Job")) >= 5)
    leader.kill()
    killed = time.monotonic()
    other.wait_leading(15)
    assert time.monotonic() - killed < 10
    eventually(lambda: len(kube.select("Job")) == 20, 30)
    # What was in flight may have been tried again: that was told that the name exists.
    assert writes(control_plane, kube, code=201).count(("create", "jobs", "")) <= 20
    uids = {job["metadata"]["uid"] for job in kube.select("Job")}
    assert len(uids) == 20


def test_a_frozen_leader_that_wakes_changes_nothing(start_toys: StartToys, kube: Kube) -> None:
    """StaleWriterHarmless: by its own fence."""
    leader, other = pair(start_toys)
    kube.create(toy("shared", value=0))
    wait_phase(kube, "shared", "Idle")
    leader.freeze()
    for number in range(1, 30):
        kube.patch("Toy", "shared", {"spec": {"value": number}})
    other.wait_leading(20)
    eventually(lambda: kube.get("Toy", "shared")["status"]["value"] == 29)
    version = kube.get("Toy", "shared")["metadata"]["resourceVersion"]
    leader.thaw()
    eventually(lambda: leader.records("leadership lost"), 10)
    eventually(lambda: leader.metric("stagecoach_leader") == 0, 10)
    kube.patch("Toy", "shared", {"spec": {"value": 30}})
    eventually(lambda: kube.get("Toy", "shared")["status"]["value"] == 30)
    assert leader.metric("stagecoach_status_writes_total") == 1
    assert int(kube.get("Toy", "shared")["metadata"]["resourceVersion"]) > int(version)


def test_a_graceful_stop_hands_over_at_once(start_toys: StartToys, kube: Kube) -> None:
    leader, other = pair(start_toys)
    began = time.monotonic()
    assert leader.stop() == 0
    assert time.monotonic() - began < 10
    other.wait_leading(4)
    assert loud(leader) == loud(other) == [], "nothing of this is worth a look"
    words = [record["message"].split()[0].rstrip(":") for record in other.records() if record["level"] == "INFO"]
    assert words == ["started", "synced", "waiting", "leading"]
    spec = kube.get("Lease", "stagecoach-operator")["spec"]
    assert spec["leaseTransitions"] == 2


def test_a_stop_leaves_a_free_lease(start_toys: StartToys, kube: Kube) -> None:
    operator = start_toys().wait_ready().wait_leading()
    assert operator.stop() == 0
    assert kube.get("Lease", "stagecoach-operator")["spec"]["holderIdentity"] == ""
    assert operator.records("stopped")


def test_a_restart_finds_everything_done(control_plane: ControlPlane, start_toys: StartToys, kube: Kube) -> None:
    first = start_toys().wait_ready().wait_leading()
    for number in range(5):
        kube.create(toy(f"t{number}", job="a"))
    eventually(lambda: len(kube.select("Pod")) == 5)
    eventually(lambda: {each["status"]["phase"] for each in kube.select("Toy")} == {"Running"})
    first.stop()
    before = len(writes(control_plane, kube))
    second = start_toys().wait_ready().wait_leading()
    eventually(lambda: second.metric("stagecoach_reconcile_seconds_count", kind="Toy") >= 5)
    eventually(lambda: second.metric("stagecoach_queue_depth") == 0)
    assert len(writes(control_plane, kube)) == before
