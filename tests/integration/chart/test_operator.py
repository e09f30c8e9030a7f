"""The operator runs with the chart's rights: it needs no others, and uses every one of them."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import services
from stagecoach.build.gateway import admitted_config_map
from stagecoach.kinds import releases
from stagecoach.kinds.approval import guard
from tests import builders
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.conftest import Installer
from tests.integration.chart.process import Requests, start_operator
from tests.integration.chart.test_rights import OPERATOR, rights
from tests.integration.chart.tools import DIGEST, Cluster, Object
from tests.integration.chart.yaml_blocks import example
from tests.integration.kinds.test_nodes import make_run, running, succeed
from tests.integration.support.court import Court
from tests.integration.support.desk import Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.house import House
from tests.integration.support.jury import Jury
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.logs import FakeLogs
from tests.integration.support.operator import OperatorProcess
from tests.integration.support.players import Players
from tests.kube import Kube
from tests.unit.kinds import gates

# Made to look like one of the operator's.
POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "work",
        "namespace": "support",
        "labels": {
            "app.kubernetes.io/managed-by": "stagecoach",
            "stagecoach.dev/kind": "FineTuneRun",
            "stagecoach.dev/name": "support-desk-1",
            "stagecoach.dev/uid": "0",
            "stagecoach.dev/reports-progress": "true",
        },
    },
    "spec": {"containers": [{"name": "trainer", "image": "trainer"}]},
}


@pytest.fixture
def requests(chart_control_plane: ControlPlane) -> Requests:
    """What is asked for from now on."""
    return Requests(chart_control_plane)


# What was admitted and is not served any more goes an hour later.
LATER = {("delete", "", "configmaps")}


@pytest.fixture(params=[[], ["support", "serving"]], ids=["all-namespaces", "two-namespaces"])
def operator(
    request: pytest.FixtureRequest, requests: Requests, cluster: Cluster, installer: Installer, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """The operator with the account and the options that the chart gives it, outside of a pod."""
    assert requests.events() == []
    for name in ("support", "serving"):
        cluster.namespace(name)
    serves = {"image": {"repository": "registry.example.com/stagecoach/serves", "digest": DIGEST}}
    installer.install("sc", "stagecoach", watchNamespaces=request.param, engineCpu=serves, gateway=serves)
    cluster.kubectl("-n", "stagecoach", "scale", "deployment/sc-stagecoach", "--replicas=0")
    process = start_operator(cluster, tmp_path)
    yield process
    process.end()
    for name in ("support", "serving"):
        cluster.kubectl("delete", "stagecoach", "--all", "-n", name)
        # Before the definitions go: without them the garbage collector no longer knows that the owners are gone.
        made = "jobs,services,deployments,configmaps,secrets,networkpolicies,poddisruptionbudgets"
        cluster.kubectl("delete", made, "-n", name, "-l", "app.kubernetes.io/managed-by=stagecoach")
    cluster.kubectl("delete", "pod", "work", "-n", "support", "--ignore-not-found", "--force")
    cluster.kubectl("delete", "pvc", "--all", "-n", "support")
    cluster.kubectl("delete", "lease/sc-stagecoach", "secret/sc-stagecoach-key", "-n", "stagecoach")


@pytest.mark.long
def test_it_uses_every_right_and_needs_no_other(
    operator: OperatorProcess,
    cluster: Cluster,
    requests: Requests,
    chart_control_plane: ControlPlane,
    tmp_path: Path,
) -> None:
    operator.wait_ready().wait_leading()
    kube = Kube(chart_control_plane.kubeconfig, "support")
    desk = Court(kube, FakeKubelet(kube))
    # A run that waits: a status, and an Event.
    cluster.apply(example("finetunerun"))
    eventually(lambda: _phase(cluster, "ftr", "support-desk-1") == "Blocked", what="the run is blocked")
    eventually(lambda: "ProjectMissing" in cluster.kubectl("get", "events", "-n", "support"), what="an Event")
    # A project: a Job; and another, after the first was deleted. Somebody else has its name at first.
    cluster.apply(example("transformerproject"))
    first = eventually(lambda: _job(cluster), what="the project's Job")
    second = first.removesuffix("1") + "2"
    somebody_elses = {"template": {"spec": {"restartPolicy": "Never", "containers": POD["spec"]["containers"]}}}
    kube.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": second}, "spec": somebody_elses})
    cluster.kubectl("annotate", "txp", "support-desk", "-n", "support", "stagecoach.dev/requested-at=now")
    _awaits_taken_name(desk, "TransformerProject", "support-desk", second)
    kube.delete("Job", second)
    eventually(lambda: _job(cluster) == second, 60, what="the project's second Job, alone")
    # A pod that does not start: its events. One that runs: its log.
    # On a node of its own: pods of one that has been missing for a while are collected.
    cluster.apply(POD | {"spec": POD["spec"] | {"nodeName": f"absent-{operator.port}"}})
    eventually(lambda: ("list", "", "events") in requests.rights(), what="a look at the pod's events")
    runs = '{"status": {"phase": "Running"}}'
    cluster.kubectl("patch", "pod", "work", "-n", "support", "--subresource=status", "--type=merge", "-p", runs)
    eventually(lambda: ("get", "", "pods/log") in requests.rights(), what="a look at the pod's log")
    # A training on several nodes: its claims are looked at, and its Service comes, again after somebody else's, and goes.
    make_run(desk)
    taken = services.service_name(FineTuneRun.model_validate(kube.get("FineTuneRun", "first")))
    port = {"ports": [{"port": 80}], "clusterIP": "None"}
    kube.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": taken}, "spec": port})
    desk.make_project_with_canary()
    _awaits_taken_name(desk, "FineTuneRun", "first", taken)
    kube.delete("Service", taken)
    succeed(desk, running(desk))
    eventually(lambda: not kube.select("Service"), 60, "the Service goes")
    # A gate: an Evaluation of that run, its Job, and people who are asked, once the policy was seen to hold.
    kube.create(builders.gate(namespace="support", **gates.reviewed_spec()))
    with FakeLogs(kube, tmp_path) as logs:
        jury = Jury(kube, desk.kubelet, logs)
        judged = jury.measured()
        jury.awaits("Evaluation", judged, "AwaitingReview", 30)
    reviewer = cluster.impersonating("qa@example.com")
    decision = builders.approval("fine", "support", subject={"kind": "Evaluation", "name": judged})
    reviewer.kubectl("create", "--as-group=system:masters", "-f", "-", document=json.dumps(decision))
    jury.said("fine", "OtherRelease")
    _serve(kube.within("serving"), cluster.impersonating(OPERATOR))
    granted = {right[:3] for namespace in ("stagecoach", "support") for right in _rights(cluster, namespace)}
    # What has just been done is in the audit log a moment later.
    with suppress(AssertionError):  # what is not used is named below
        eventually(lambda: requests.rights() >= granted - LATER)
    operator.end()
    used = requests.rights()
    assert granted - used == LATER, "granted by the chart, and used by nothing"
    assert used - granted == set(), "used, and granted by the chart in no namespace"
    refused = [_words(each) for each in requests.events() if each["responseStatus"]["code"] == 403]
    # The only thing that it asks for to be refused: an Approval in the name of another.
    assert [each for each in refused if guard.REFUSAL not in each] == [], "refused"
    assert refused


def _serve(kube: Kube, operator: Cluster) -> None:
    """Deploy what passes: what was admitted is written, again after somebody else's; then another engine takes over."""
    house = House(kube, FakeKubelet(kube))
    house.open()
    house.make_candidate()
    house.deploy()
    deployment = ModelDeployment.model_validate(kube.get("ModelDeployment", "answers"))
    run = FineTuneRun.model_validate(kube.get("FineTuneRun", "first"))
    project = TransformerProject.model_validate(kube.get("TransformerProject", "desk"))
    taken = admitted_config_map(deployment, releases.admitted(run, project))["metadata"]["name"]
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": taken}})
    house.judge("first")
    _awaits_taken_name(house, "ModelDeployment", "answers", taken, "Refused")
    kube.delete("ConfigMap", taken)
    with Players(kube, house.kubelet).playing():
        house.serves("first", 60)
        engine = house.status["serving"]["engine"]
        kube.patch("ModelDeployment", "answers", {"spec": {"engine": {"maxConcurrent": 8}}})
        goes = eventually(lambda: house.status.get("retiring", []), 60, "the engine of before goes")
        assert [each["name"] for each in goes] == [engine]
        long_ago = json.dumps({"status": {"retiring": [{"name": engine, "since": builders.CREATED}]}})
        status = ("-n", "serving", "--subresource=status", "--type=merge")
        operator.kubectl("patch", "mdep", "answers", *status, "--as-group=system:masters", "-p", long_ago)
        eventually(lambda: kube.find("Deployment", engine) is None, 60, "it is gone")


def _rights(cluster: Cluster, namespace: str) -> set[tuple[str, str, str, str]]:
    return rights(cluster.impersonating(OPERATOR), namespace)


def _words(event: Object) -> str:
    return f"{event['verb']} {event['requestURI']}: {event['responseStatus'].get('message', '')}"


def _awaits_taken_name(desk: Desk, kind: str, name: str, taken: str, told: str = "NameTaken") -> None:
    def look() -> bool:
        reason, message = desk.reason(kind, name)
        return reason == told and taken in message

    eventually(look, 60, f"the name {taken} is taken")


def _phase(cluster: Cluster, kind: str, name: str) -> str:
    return str(cluster.get(kind, name, "-n", "support").get("status", {}).get("phase", ""))


def _job(cluster: Cluster) -> str:
    """Return the project's Job, if it has exactly one."""
    found: list[Object] = cluster.get("jobs", "-n", "support", "-l", "stagecoach.dev/name=support-desk")["items"]
    return str(found[0]["metadata"]["name"]) if len(found) == 1 else ""
