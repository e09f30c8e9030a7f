"""A project has its storage looked through, on a real API server."""

import json
from typing import Any

import pytest

from tests import builders
from tests.integration.support.desk import DONE, TRAINED, Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.house import House
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube

FOUND = {"kept": 3, "leaving": 1, "announced": 1, "removed": 2, "bytes": 1000, "message": "Of 4 artifacts 3 stay."}


def test_a_storage_is_looked_through_after_a_run_and_stopped_with_its_rule(
    kube: Kube, kubelet: FakeKubelet, operator: OperatorProcess
) -> None:
    assert operator
    desk = Desk(kube, kubelet)
    storage = {"uri": "pvc://store/desk", "retention": {"runs": 1}}
    kube.create(builders.project(namespace=kube.namespace, storage=storage))
    kubelet.succeeded(kubelet.pod_of(desk.job_of("TransformerProject", "desk")), DONE)
    ready = desk.awaits("TransformerProject", "desk", "Ready")
    assert ready["spec"]["storage"]["retention"]["keepFor"] == "30d"
    assert "retention" not in ready["status"], "there is nothing yet"

    kube.create(builders.run(namespace=kube.namespace))
    kubelet.succeeded(kubelet.pod_of(desk.job_of("FineTuneRun", "first")), TRAINED)
    run = desk.awaits("FineTuneRun", "first", "Succeeded")
    trained = kube.get("Job", run["status"]["attempts"][0]["job"])
    environment = trained["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "STAGECOACH_PROJECT_UID", "value": ready["metadata"]["uid"]} in environment

    job = eventually(lambda: told(kube).get("job", ""), 60, "it is decided")
    pod = kubelet.pod_of(job)
    document = document_of(kube, pod)
    assert document["kind"] == "Retain"
    digests = {run["status"][part]["digest"].removeprefix("sha256:")[:12] for part in ("artifact", "inputs")}
    assert digests <= set(document["protected"])
    kubelet.succeeded(pod, json.dumps({"outcome": "Done", "retention": FOUND}))
    eventually(lambda: told(kube).get("outcome") == "Succeeded", 60, "it has ended")
    assert {key: told(kube)[key] for key in ("kept", "leaving", "removed")} == {"kept": 3, "leaving": 1, "removed": 2}
    assert desk.awaits("TransformerProject", "desk", "Ready")
    eventually(lambda: events(kube) >= {"ArtifactsLeave", "ArtifactsRemoved"}, 60, "events tell it")

    kube.patch("TransformerProject", "desk", {"spec": {"storage": {"retention": {"runs": 2}}}})
    second = eventually(lambda: told(kube)["job"] != job and told(kube)["job"], 60, "it is decided anew")
    kubelet.running(kubelet.pod_of(second))
    kube.patch("TransformerProject", "desk", {"spec": {"storage": {"retention": None}}})
    eventually(lambda: not told(kube), 60, "it is no more")
    eventually(lambda: kube.find("Job", second) is None, 60, "its Job is stopped")
    assert kube.find("Job", job)


@pytest.mark.usefixtures("players")
def test_what_is_served_or_was_lately_is_protected_by_the_deployment_alone(house: House) -> None:
    before, served = "7", "8"
    house.deploy()
    house.admit("first", before)
    house.serves("first")
    house.admit("second", served)
    house.serves("second")
    # Gates would have them judged again, and what is judged is protected too.
    for kind in ("EvalGate", "Evaluation", "FineTuneRun"):
        gone(house.kube, kind)
    assert {before * 12, served * 12} <= protected(house, runs=1)
    assert house.status["serving"]["run"] == "second"
    gone(house.kube, "ModelDeployment")
    eventually(
        lambda: not house.kube.select("ConfigMap", "stagecoach.dev/kind=ModelDeployment"), 60, "all goes with it"
    )
    assert not {before * 12, served * 12} & protected(house, runs=2)


def gone(kube: Kube, kind: str) -> None:
    """Delete all objects of a kind, and return when none is left."""
    for each in kube.select(kind):
        kube.delete(kind, each["metadata"]["name"])
    eventually(lambda: not kube.select(kind), 60, f"no {kind} is left")


def protected(house: House, runs: int) -> set[str]:
    """Have the storage looked through by another rule, and return what the Job is told to leave alone."""
    kube, last = house.kube, told(house.kube).get("job")
    kube.patch("TransformerProject", "desk", {"spec": {"storage": {"retention": {"runs": runs}}}})
    job = eventually(lambda: told(kube).get("job", last) != last and told(kube)["job"], 60, "it is decided")
    pod = house.kubelet.pod_of(str(job))
    house.kubelet.succeeded(pod, json.dumps({"outcome": "Done", "retention": FOUND}))
    eventually(lambda: told(kube).get("outcome") == "Succeeded", 60, "it has ended")
    return set(document_of(kube, pod)["protected"])


def document_of(kube: Kube, pod: str) -> dict[str, Any]:
    """Return what a pod of a Job is told."""
    found: dict[str, Any] = json.loads(kube.get("Pod", pod)["spec"]["containers"][0]["env"][0]["value"])
    return found


def told(kube: Kube) -> builders.Object:
    found: builders.Object = kube.get("TransformerProject", "desk")["status"].get("retention", {})
    return found


def events(kube: Kube) -> set[str]:
    return {event["reason"] for event in kube.select("Event") if event["involvedObject"]["name"] == "desk"}
