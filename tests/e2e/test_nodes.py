"""Trainings by several pods, on real nodes: on a cluster of one node, both pods on that."""

import pytest

from stagecoach.contract.reports import ProgressLine
from tests import builders
from tests.e2e.conftest import POLL_SECONDS, SMALL, Desk
from tests.integration.support.eventually import eventually

pytestmark = pytest.mark.long

# Those that are left must take longer than a pod takes to hear that it is deleted.
STEPS, EVERY = 250, 25


def pods(desk: Desk) -> dict[str, builders.Object]:
    """Return the run's pods that train, by index."""
    listed = desk.kube.select("Pod", "batch.kubernetes.io/job-completion-index")
    live = [pod for pod in listed if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]: pod for pod in live}


def test_two_pods_train_one_model_and_go_on_after_one_was_deleted(desk: Desk) -> None:
    desk.bases("ReadWriteMany")
    desk.claim("store", "ReadWriteMany")
    desk.ready_project()
    resources = SMALL | {"nodes": 2}
    settings = {"maxSteps": STEPS, "learningRate": 1.0e-3}
    desk.apply(
        builders.run(
            namespace=desk.namespace, resources=resources, hyperparameters=settings, checkpoints={"everySteps": EVERY}
        )
    )
    desk.awaits("ftr", "first", "Running", seconds=300)

    def saved() -> bool:
        # The status tells it later, and the training would have to be longer for it.
        if "0" not in (found := pods(desk)):
            return False
        log = desk.kube.log(found["0"]["metadata"]["name"])
        told = [ProgressLine.parse(line) for line in log.splitlines() if '"progress"' in line]
        return bool(told and told[-1] and (told[-1].checkpoint or 0) >= EVERY)

    eventually(saved, 300, "it trains, and has saved itself", every=POLL_SECONDS)
    second = pods(desk)["1"]["metadata"]["name"]
    desk.tools.kubectl("delete", "pod", second, "-n", desk.namespace, "--wait=false")
    run = desk.awaits("ftr", "first", "Succeeded", "Failed", seconds=900)
    assert run["status"]["phase"] == "Succeeded", desk.ready("ftr", "first")
    attempts = run["status"]["attempts"]
    assert [(item["outcome"], item["counted"]) for item in attempts] == [("Preempted", False), ("Succeeded", False)]
    assert "index 1" in attempts[0]["message"]
    assert attempts[0]["checkpoint"] >= EVERY
    services = "app.kubernetes.io/managed-by=stagecoach"
    eventually(lambda: not desk.kube.select("Service", services), 60, "the Service goes", every=POLL_SECONDS)


def test_a_claim_for_one_node_is_refused(office: Desk) -> None:
    office.apply(builders.run("nodes", office.namespace, resources=SMALL | {"nodes": 2}))
    assert "ReadWriteMany" in office.awaits_reason("ftr", "nodes", "StorageNotShared")
    assert "nodes" not in [job["metadata"]["labels"]["stagecoach.dev/name"] for job in office.jobs()]
