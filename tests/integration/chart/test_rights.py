"""Rights: exactly those of the table, for the operator and for people."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stagecoach.api.crds import KINDS
from tests.integration.chart.conftest import Installer
from tests.integration.chart.tools import Cluster, Refused, template
from tests.integration.support.eventually import eventually

OPERATOR = "system:serviceaccount:stagecoach:sc-stagecoach"
LIMITED = "system:serviceaccount:limited:sc-limited-stagecoach"

Right = tuple[str, str, str, str]  # verb, group, resource, name

OWN = {(verb, "stagecoach.dev", kind.plural, "") for kind in KINDS for verb in ("list", "watch")}
STATUS = {("patch", "stagecoach.dev", f"{kind.plural}/status", "") for kind in KINDS}
JOBS = {(verb, "batch", "jobs", "") for verb in ("create", "delete", "get", "list", "watch")}
PODS = {("list", "", "pods", ""), ("watch", "", "pods", ""), ("get", "", "pods/log", "")}
EVENTS = {("create", "", "events", ""), ("list", "", "events", "")}
SERVICES = {(verb, "", "services", "") for verb in ("create", "delete", "get", "list", "patch", "watch")}
SERVING = {
    *((verb, "apps", "deployments", "") for verb in ("create", "delete", "list", "patch", "watch")),
    *((verb, "", "configmaps", "") for verb in ("create", "delete", "get", "list", "patch", "watch")),
    *((verb, "networking.k8s.io", "networkpolicies", "") for verb in ("create", "patch")),
    *((verb, "policy", "poddisruptionbudgets", "") for verb in ("create", "patch")),
    ("create", "", "secrets", ""),
}
CLAIMS = {("get", "", "persistentvolumeclaims", "")}
EVALUATIONS = {("create", "stagecoach.dev", kind, "") for kind in ("evaluations", "approvals")}
WORK = OWN | STATUS | JOBS | PODS | EVENTS | SERVICES | SERVING | CLAIMS | EVALUATIONS


def at_home(name: str) -> set[Right]:
    """Return the rights in the release's own namespace: to its lease and its key."""
    group = "coordination.k8s.io"
    lease = {("create", group, "leases", ""), ("get", group, "leases", name), ("update", group, "leases", name)}
    return lease | {("create", "", "secrets", ""), ("get", "", "secrets", f"{name}-key")}


@pytest.fixture(scope="module")
def installed(cluster: Cluster, module_installer: Installer) -> Cluster:
    """A release for all namespaces, and one for two of them."""
    for name in ("team-a", "team-b", "elsewhere"):
        cluster.namespace(name)
    module_installer.install("sc", "stagecoach")
    module_installer.install(
        "sc-limited",
        "limited",
        watchNamespaces=["team-a", "team-b"],
        crds={"install": False},
        rbac={"aggregate": False},
    )
    return cluster


def rights(cluster: Cluster, namespace: str) -> set[Right]:
    """Return what `kubectl auth can-i --list` is made of, less what every account may do."""
    everybody = cluster.impersonating(f"system:serviceaccount:{namespace}:nobody")
    return _reviewed(cluster, namespace) - _reviewed(everybody, namespace)


def _reviewed(cluster: Cluster, namespace: str) -> set[Right]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    answer: dict[str, Any] = json.loads(
        cluster.kubectl("create", "--raw", path, "-f", "-", document=json.dumps(review))
    )
    assert not answer["status"]["incomplete"]
    return {
        (verb, group, resource, name)
        for rule in answer["status"]["resourceRules"]
        for verb in rule["verbs"]
        for group in rule.get("apiGroups", [""])
        for resource in rule.get("resources", [])
        for name in rule.get("resourceNames", [""])
    }


def test_where_it_runs(installed: Cluster) -> None:
    assert rights(installed.impersonating(OPERATOR), "stagecoach") == WORK | at_home("sc-stagecoach")


def test_everywhere_else(installed: Cluster) -> None:
    assert rights(installed.impersonating(OPERATOR), "elsewhere") == WORK


@pytest.mark.parametrize("namespace", ["team-a", "team-b"])
def test_a_named_namespace(installed: Cluster, namespace: str) -> None:
    assert rights(installed.impersonating(LIMITED), namespace) == WORK


def test_its_own_namespace_when_it_is_not_named(installed: Cluster) -> None:
    assert rights(installed.impersonating(LIMITED), "limited") == at_home("sc-limited-stagecoach")


@pytest.mark.parametrize("namespace", ["elsewhere", "kube-system", "stagecoach"])
def test_a_namespace_that_is_not_named(installed: Cluster, namespace: str) -> None:
    assert rights(installed.impersonating(LIMITED), namespace) == set()


def test_no_cluster_roles_for_named_namespaces(tmp_path: Path) -> None:
    rendered = template(tmp_path / "values.yaml", watchNamespaces=["team-a"], rbac={"aggregate": False})
    assert not {"ClusterRole", "ClusterRoleBinding"} & {each["kind"] for each in rendered}


@pytest.mark.parametrize(
    "forbidden",
    [
        ("get", "secrets", "-n", "team-a"),
        ("get", "secrets", "-A"),
        ("get", "secret", "password", "-n", "stagecoach"),
        ("annotate", "secret", "password", "a=b", "-n", "team-a"),
        ("delete", "secret", "password", "-n", "team-a"),
        ("get", "namespaces"),
        ("get", "persistentvolumeclaims", "-n", "team-a"),
        ("delete", "persistentvolumeclaim", "any", "-n", "team-a"),
        ("get", "customresourcedefinitions"),
        ("get", "lease", "somebody-else", "-n", "stagecoach"),
        ("create", "token", "sc-stagecoach", "-n", "stagecoach"),
        ("get", "networkpolicies", "-n", "team-a"),
        ("create", "cronjob", "any", "--image=anything", "--schedule=0 0 * * *", "-n", "team-a"),
        ("delete", "pod", "any", "-n", "team-a"),
        ("delete", "finetunerun", "any", "-n", "team-a"),
        ("annotate", "finetunerun", "any", "a=b", "-n", "team-a"),
        ("delete", "evaluation", "any", "-n", "team-a"),
        ("annotate", "evaluation", "any", "a=b", "-n", "team-a"),
        ("delete", "approval", "any", "-n", "team-a"),
        ("annotate", "approval", "any", "a=b", "-n", "team-a"),
    ],
    ids=" ".join,
)
def test_what_the_operator_may_not_do(installed: Cluster, forbidden: tuple[str, ...]) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password", "namespace": "team-a"}}
    installed.apply(secret)
    with pytest.raises(Refused, match=r"Forbidden|forbidden"):
        installed.impersonating(OPERATOR).kubectl(*forbidden)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("view", {"get", "list", "watch"}),
        ("edit", {"get", "list", "watch", "create", "delete", "deletecollection", "patch", "update"}),
        ("admin", {"get", "list", "watch", "create", "delete", "deletecollection", "patch", "update"}),
    ],
)
def test_people(installed: Cluster, role: str, expected: set[str]) -> None:
    user = f"{role}er@example.com"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"people-{role}", "namespace": "team-a"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    installed.apply(binding)

    def verbs() -> dict[str, set[str]]:
        ours = [each for each in _reviewed(installed.impersonating(user), "team-a") if each[1] == "stagecoach.dev"]
        return {resource: {each[0] for each in ours if each[2] == resource} for _, _, resource, _ in ours}

    # A controller of the control plane puts the rules together.
    wanted = {kind.plural: expected for kind in KINDS}
    wanted["evaluations"] = expected - {"create", "patch", "update"}
    kept = {"delete", "deletecollection"} if role == "admin" else set()
    wanted["approvals"] = {"get", "list", "watch"} | kept
    wanted["modeldeployments/scale"] = expected & {"get", "patch", "update"}
    eventually(lambda: verbs() == wanted, what=f"{wanted} in role {role}")


def test_every_rule_is_for_a_kind_that_exists(installed: Cluster, tmp_path: Path) -> None:
    served = set(installed.kubectl("api-resources", "--no-headers", "-o", "name").split())
    for each in template(tmp_path / "values.yaml"):
        for rule in each.get("rules", []) if each["kind"] in ("ClusterRole", "Role") else []:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    name = resource.split("/")[0]
                    assert f"{name}.{group}".rstrip(".") in served, yaml.safe_dump(rule)
