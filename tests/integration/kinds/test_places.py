"""A project that keeps nothing in the cluster, on a real API server."""

from tests import builders
from tests.integration.support.desk import DONE, Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube

MISSING = 'MountVolume.SetUp failed for volume "secret-1" : secret "lake" not found'


def test_a_missing_secret_is_told_in_the_kubelets_words_and_waited_for(
    kube: Kube, kubelet: FakeKubelet, operator: OperatorProcess
) -> None:
    assert operator
    desk = Desk(kube, kubelet)
    project = builders.project(namespace=kube.namespace)
    project["spec"]["storage"] = {"uri": "s3://lake/desk"}
    project["spec"]["candidates"][0]["model"] = {"uri": "hf://desk/small"}
    for dataset in project["spec"]["data"]["sets"]:
        dataset["uri"] = f"s3://lake/{dataset['name']}.parquet"
    project["spec"]["credentials"] = [{"match": "s3://lake/", "secret": {"name": "lake"}}]
    kube.create(project)
    job = desk.job_of("TransformerProject", "desk")
    pod = kubelet.pod_of(job)
    volumes = {item["name"]: item for item in kube.get("Pod", pod)["spec"]["volumes"]}
    assert volumes["secret-1"]["secret"] == {"secretName": "lake", "defaultMode": 0o440}
    assert set(volumes) == {"scratch", "secret-1"}

    kubelet.bind(pod)
    kubelet.complain(pod, "FailedMount", MISSING)
    eventually(lambda: desk.reason("TransformerProject", "desk")[0] == "PodNotStarting", 90, "it is told")
    assert 'secret "lake" not found' in desk.reason("TransformerProject", "desk")[1]
    kubelet.succeeded(pod, DONE)
    assert desk.awaits("TransformerProject", "desk", "Ready")
