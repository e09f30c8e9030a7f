"""Install, upgrade and uninstall on a real API server."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.integration.chart.conftest import Installer
from tests.integration.chart.tools import CHART, DIGEST, Cluster, Object, Refused, notes, run, values
from tests.integration.chart.yaml_blocks import example
from tests.integration.support.eventually import eventually

DEFINITIONS = {
    f"customresourcedefinition.apiextensions.k8s.io/{plural}.stagecoach.dev"
    for plural in ("approvals", "evalgates", "evaluations", "finetuneruns", "modeldeployments", "transformerprojects")
}
MADE = ("deployment,service,serviceaccount,role,rolebinding", "-l", "app.kubernetes.io/managed-by=Helm")
POLICIES = "validatingadmissionpolicies,validatingadmissionpolicybindings"
CLUSTERWIDE = (f"clusterrole,clusterrolebinding,{POLICIES}", "-l", "app.kubernetes.io/managed-by=Helm")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"replicas": 2, "watchNamespaces": ["default"]},
        {
            "allowTags": True,
            "image": {"repository": "operator", "tag": "dev"},
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "podLabels": {"team": "platform"},
            "podAnnotations": {"example.com/scan": "no"},
            "serviceAccount": {"annotations": {"example.com/identity": "x"}},
            "global": {"imageRegistry": "mirror.example.com"},
            "proxy": {"https": "http://proxy.example.com:3128"},
            "caBundle": {"configMap": "corporate-ca"},
            "metrics": {"port": 9090, "service": {"annotations": {"prometheus.io/scrape": "true"}}},
        },
        {
            "rbac": {"create": False, "aggregate": False},
            "serviceAccount": {"create": False, "name": "theirs"},
            "crds": {"install": False},
            "metrics": {"service": {"enabled": False}},
            "prometheus": {"enabled": False},
        },
    ],
    ids=["defaults", "two-replicas", "everything", "nothing"],
)
def test_the_api_server_takes_it(cluster: Cluster, tmp_path: Path, more: Object) -> None:
    namespace = cluster.namespace("stagecoach")
    rendered = run("helm", "template", "sc", str(CHART), "-n", namespace, "-f", values(tmp_path / "v.yaml", **more))
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", document=rendered)


OWN = {"image": {"repository": "registry.example.com/stagecoach/engine", "digest": DIGEST}}
NONE = {"image": {"repository": ""}}
ON_GPUS, WITHOUT = "vLLM runs on GPUs alone: set engineCpu.image", "vLLM runs without GPUs alone: set engine.image"
NOWHERE, TAGGED = "vLLM runs nowhere: set engine.image", "engine.image has no digest"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, {ON_GPUS, TAGGED}),
        ({"engine": {"image": {"digest": DIGEST}}, "engineCpu": OWN}, set()),
        ({"engineCpu": OWN}, {TAGGED}),
        ({"engine": NONE, "engineCpu": OWN}, {WITHOUT}),
        ({"engine": NONE}, {NOWHERE}),
    ],
)
def test_where_vllm_runs_is_said(cluster: Cluster, tmp_path: Path, more: Object, said: set[str]) -> None:
    text = notes(cluster, tmp_path / "values.yaml", **more)
    assert {each for each in (ON_GPUS, WITHOUT, NOWHERE, TAGGED) if each in text} == said


def test_install(cluster: Cluster, installer: Installer) -> None:
    namespace = cluster.namespace("restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})
    installer.install("sc", namespace, replicas=2)
    assert cluster.names("-n", namespace, *MADE) == {
        "deployment.apps/sc-stagecoach",
        "deployment.apps/sc-stagecoach-prometheus",
        "service/sc-stagecoach-metrics",
        "service/sc-stagecoach-prometheus",
        "serviceaccount/sc-stagecoach",
        "role.rbac.authorization.k8s.io/sc-stagecoach-lease",
        "rolebinding.rbac.authorization.k8s.io/sc-stagecoach-lease",
    }
    assert {name.split("/")[1] for name in cluster.names(*CLUSTERWIDE)} == {
        "sc-stagecoach",
        "sc-stagecoach-view",
        "sc-stagecoach-edit",
        "sc-stagecoach-admin",
        "sc-stagecoach-reviewer",
        "sc-stagecoach-evaluations.restricted",
        "sc-stagecoach-approvals.restricted",
    }
    assert cluster.names("crd") >= DEFINITIONS

    def containers() -> dict[str, Object]:
        pods = cluster.get("pods", "-n", namespace)["items"]
        return {each["name"]: each["resources"] for pod in pods for each in pod["spec"]["containers"]}

    # The namespace refuses pods that are not restricted.
    eventually(lambda: containers().keys() == {"operator", "prometheus"}, what="pods of operator and Prometheus")
    for asked in containers().values():
        assert {bound: set(asked[bound]) for bound in asked} == {
            "requests": {"cpu", "memory"},
            "limits": {"cpu", "memory"},
        }


def test_an_upgrade_upgrades_the_definitions(cluster: Cluster, installer: Installer, tmp_path: Path) -> None:
    older = shutil.copytree(CHART, tmp_path / "older")
    file = older / "files" / "crds" / "finetuneruns.yaml"
    definition = yaml.safe_load(file.read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["force"], spec["x-kubernetes-validations"]
    file.write_text(yaml.safe_dump(definition, sort_keys=False))
    installer.install("sc", "stagecoach", chart=older)
    assert "force" not in _spec(cluster)
    before = cluster.get("crd", "finetuneruns.stagecoach.dev")["metadata"]["uid"]
    installer.install("sc", "stagecoach")
    assert "force" in _spec(cluster)
    assert cluster.get("crd", "finetuneruns.stagecoach.dev")["metadata"]["uid"] == before


def test_an_upgrade_without_a_change_changes_nothing(cluster: Cluster, installer: Installer) -> None:
    installer.install("sc", "stagecoach")
    before = _generations(cluster)
    installer.install("sc", "stagecoach")
    assert _generations(cluster) == before


@pytest.mark.long
def test_uninstall_leaves_definitions_and_objects(cluster: Cluster, installer: Installer) -> None:
    installer.install("sc", "stagecoach")
    team = cluster.namespace("support")
    project, run_ = example("transformerproject"), example("finetunerun")
    cluster.apply(project, run_)
    installer.uninstall("sc", "stagecoach")
    assert cluster.names("-n", "stagecoach", *MADE) == set()
    assert cluster.names(*CLUSTERWIDE) == set()
    assert cluster.names("crd") >= DEFINITIONS
    left = cluster.get("stagecoach", "-n", team)["items"]
    assert {each["kind"] for each in left} == {"TransformerProject", "FineTuneRun"}
    assert not any("finalizers" in each["metadata"] for each in left)
    # With the operator gone, nothing keeps an object or a whole namespace from going.
    cluster.kubectl("delete", "stagecoach", "--all", "-n", team, "--timeout=10s")
    # And the operator can come back.
    installer.install("sc", "stagecoach")
    cluster.apply(project)


@pytest.mark.long
def test_definitions_that_are_no_longer_installed_stay(cluster: Cluster, installer: Installer) -> None:
    installer.install("sc", "stagecoach")
    installer.install("sc", "stagecoach", crds={"install": False})
    assert cluster.names("crd") >= DEFINITIONS


@pytest.mark.long
def test_definitions_from_elsewhere_can_be_taken_over(cluster: Cluster, installer: Installer) -> None:
    cluster.kubectl("apply", "--server-side", "-f", str(CHART / "files" / "crds"))
    with pytest.raises(Refused, match="cannot be imported into the current release"):
        installer.install("sc", "stagecoach")
    installer.install("sc", "stagecoach", "--take-ownership")
    assert (
        cluster.get("crd", "finetuneruns.stagecoach.dev")["metadata"]["annotations"]["helm.sh/resource-policy"]
        == "keep"
    )


@pytest.mark.long
def test_two_releases_of_two_namespaces(cluster: Cluster, installer: Installer) -> None:
    for team in ("team-a", "team-b"):
        cluster.namespace(team)
    installer.install("sc", "team-a", watchNamespaces=["team-a"])
    installer.install("sc", "team-b", watchNamespaces=["team-b"], crds={"install": False}, rbac={"aggregate": False})
    assert cluster.names("-n", "team-b", *MADE) >= {"role.rbac.authorization.k8s.io/sc-stagecoach"}


def _spec(cluster: Cluster) -> Object:
    version = cluster.get("crd", "finetuneruns.stagecoach.dev")["spec"]["versions"][0]
    spec: Object = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return spec


def _generations(cluster: Cluster) -> dict[str, int]:
    found = (
        cluster.get("deployment,role,service", "-n", "stagecoach")["items"] + cluster.get("crd,clusterrole")["items"]
    )
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"].get("generation", 0)
        for each in found
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "Helm"
    }
