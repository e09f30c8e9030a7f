"""Every pod that the operator makes says what it asks for, and is restricted: the tests' namespaces admit no other."""

import json
import typing
from typing import Any

import pytest

from stagecoach.contract.jobs import AnyJob
from tests import builders
from tests.integration.conftest import StartOperator
from tests.integration.kinds.test_nodes import make_run, succeed
from tests.integration.kinds.test_nodes import running as all_running
from tests.integration.support.desk import Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.kube import Kube, KubeError

RESOLVED = json.dumps({"outcome": "Done", "resolution": builders.resolution(records=True)})
NOTHING_FOUND = json.dumps({"outcome": "Done"})
REGISTRY = [{"name": "registry"}]
SECRETS = [{"match": "http://mlflow:5000", "secret": {"name": "tracking"}}]
# All that adds to a pod: volumes, settings, a rule by which the storage is looked through.
PROJECT: dict[str, Any] = {
    "storage": {"uri": "pvc://store/desk", "retention": {"runs": 1}},
    "tracking": {"mlflow": {"uri": "http://mlflow:5000"}},
    "credentials": SECRETS,
    "pods": {
        "labels": {"team": "a"},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": REGISTRY,
    },
}
IMPORT = {"type": "Import", "uri": "pvc://made/adapter", "digest": builders.digest("a")}
OPTIONS = ("--https-proxy", "http://proxy.example:3128", "--ca-bundle", "authorities/ca.crt")


def pods(kube: Kube) -> dict[tuple[str, int], builders.Object]:
    """Return the operator's pods: the newest by what they do, and by how many GPUs they ask for."""
    found = sorted(
        kube.select("Pod", "app.kubernetes.io/managed-by=stagecoach"),
        key=lambda pod: pod["metadata"]["creationTimestamp"],
    )
    return {(kind_of(pod), gpus_of(pod)): pod for pod in found}


def kind_of(pod: builders.Object) -> str:
    environment = {each["name"]: each.get("value", "") for each in pod["spec"]["containers"][0]["env"]}
    return str(json.loads(environment["STAGECOACH_JOB"])["kind"])


def gpus_of(pod: builders.Object) -> int:
    return int(pod["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))


def test_every_pod_is_restricted_and_says_what_it_asks_for_and_how_its_image_is_pulled(
    kube: Kube, kubelet: FakeKubelet, start_operator: StartOperator
) -> None:
    start_operator(*OPTIONS).wait_ready().wait_leading()
    desk = Desk(kube, kubelet)
    kube.create(builders.project(namespace=kube.namespace, **PROJECT))
    kubelet.succeeded(kubelet.pod_of(desk.job_of("TransformerProject", "desk")), RESOLVED)
    desk.awaits("TransformerProject", "desk", "Ready")
    # Without a record: on several nodes, with a lookup before; then the storage is looked through.
    make_run(desk)
    kubelet.succeeded(kubelet.pod_of(desk.job_of("FineTuneRun", "first")), NOTHING_FOUND)
    succeed(desk, all_running(desk, 2))
    desk.awaits("FineTuneRun", "first", "Succeeded", 30)
    # At once: on GPUs, and an import.
    kube.create(builders.run("gpus", kube.namespace, force=True, resources={"gpusPerNode": 2}))
    imported = builders.run("imported", kube.namespace, force=True, method=IMPORT)
    del imported["spec"]["data"], imported["spec"]["hyperparameters"]
    kube.create(imported)
    wanted = {(typing.get_type_hints(kind)["kind"].__args__[0], 0) for kind in typing.get_args(AnyJob)} | {("Train", 2)}
    made = eventually(lambda: pods(kube) if set(pods(kube)) >= wanted else {}, 60, f"pods of {wanted}")
    for (kind, gpus), pod in made.items():
        containers: list[builders.Object] = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
        [container] = containers
        asked = container["resources"]
        also = {"nvidia.com/gpu"} if gpus else set()
        assert set(asked["requests"]) == {"cpu", "memory"} | also, kind
        assert set(asked["limits"]) == {"memory"} | also, f"{kind}: CPU time has no limit, as docs/install.md says"
        assert all(asked["requests"][what] == limit for what, limit in asked["limits"].items()), kind
        assert pod["spec"]["imagePullSecrets"] == REGISTRY, kind


def test_the_namespace_admits_no_other(kube: Kube) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    with pytest.raises(KubeError, match="restricted") as refused:
        kube.create(pod)
    assert refused.value.code == 403
