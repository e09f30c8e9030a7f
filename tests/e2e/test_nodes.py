"""Trainings by several pods, on real nodes: on a cluster of one node, both pods on that."""

import re

import pytest

from stagecoach.contract.reports import ProgressLine
from tests import builders
from tests.e2e.conftest import LATE, POLL_SECONDS, SMALL, SOON, Desk
from tests.integration.support.eventually import eventually

pytestmark = pytest.mark.long

# Those that are left must take longer than a pod takes to be killed, and another to hear that it is deleted.
STEPS, EVERY = 400, 25
# Each waits for the other at every step: an engine that starts beside them must not take all processors.
PROCESSORS = {"cpu": "200m"}
# In a pod: what trains there goes without a warning. What started it, and tells of its end, has another command.
KILL = """
import os, signal
from pathlib import Path
commands = {each.parent.name: each.read_bytes().split(b"\\0") for each in Path("/proc").glob("[0-9]*/cmdline")}
[work] = [process for process, command in commands.items() if command[1:3] == [b"-m", b"stagecoach_trainer.work"]]
os.kill(int(work), signal.SIGKILL)
"""


def pods(desk: Desk) -> dict[str, builders.Object]:
    """Return the run's pods that train, by index."""
    listed = desk.kube.select("Pod", "batch.kubernetes.io/job-completion-index")
    live = [pod for pod in listed if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]: pod for pod in live}


def second(desk: Desk) -> str:
    """Return the name of the pod that does not tell how far they are."""
    return str(pods(desk)["1"]["metadata"]["name"])


def log(desk: Desk) -> str:
    """Return what the pod has printed that tells how far they are. The status tells it later."""
    found = pods(desk).get("0")
    return desk.kube.log(found["metadata"]["name"]) if found else ""


def saved(told: str) -> int:
    """Return the step of the newest checkpoint of which a pod tells."""
    lines = filter(None, map(ProgressLine.parse, told.splitlines()))
    return max((progress.checkpoint or 0 for progress in lines), default=0)


def saved_again(told: str) -> bool:
    """Whether a training that goes on from a checkpoint has made another."""
    begun = re.search(r"going on from the checkpoint of step (\d+)", told)
    return bool(begun and saved(told) > int(begun[1]))


def test_two_pods_train_one_model_and_go_on_after_one_was_killed_and_one_deleted(desk: Desk) -> None:
    desk.bases("ReadWriteMany")
    desk.claim("store", "ReadWriteMany")
    desk.ready_project()
    resources = SMALL | PROCESSORS | {"nodes": 2}
    settings = {"maxSteps": STEPS, "learningRate": 1.0e-3}
    desk.apply(
        builders.run(
            namespace=desk.namespace, resources=resources, hyperparameters=settings, checkpoints={"everySteps": EVERY}
        )
    )
    desk.awaits("ftr", "first", "Running", seconds=SOON)
    eventually(lambda: saved(log(desk)) >= EVERY, SOON, "it trains, and has saved itself", every=POLL_SECONDS)
    desk.tools.kubectl("exec", "-n", desk.namespace, second(desk), "--", "python3", "-c", KILL)
    eventually(lambda: saved_again(log(desk)), LATE, "it goes on, and has saved itself again", every=POLL_SECONDS)
    desk.tools.kubectl("delete", "pod", second(desk), "-n", desk.namespace, "--wait=false")
    run = desk.awaits("ftr", "first", "Succeeded", "Failed", seconds=1500)
    assert run["status"]["phase"] == "Succeeded", desk.ready("ftr", "first")
    killed, deleted, last = run["status"]["attempts"]
    assert (killed["outcome"], killed["counted"]) == ("ProgramFailed", True)
    assert killed["message"].startswith("Index 1: the work")
    assert "left no report" in killed["message"]
    assert (deleted["outcome"], deleted["counted"]) == ("Preempted", False)
    assert "index 1" in deleted["message"]
    assert deleted["checkpoint"] >= 2 * EVERY
    assert (last["outcome"], last["counted"]) == ("Succeeded", False)
    services = "app.kubernetes.io/managed-by=stagecoach"
    eventually(lambda: not desk.kube.select("Service", services), SOON, "the Service goes", every=POLL_SECONDS)


def test_a_claim_for_one_node_is_refused(office: Desk) -> None:
    office.apply(builders.run("nodes", office.namespace, resources=SMALL | {"nodes": 2}))
    assert "ReadWriteMany" in office.awaits_reason("ftr", "nodes", "StorageNotShared")
    assert "nodes" not in [job["metadata"]["labels"]["stagecoach.dev/name"] for job in office.jobs()]
