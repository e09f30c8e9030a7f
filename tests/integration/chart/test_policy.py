"""VerdictIsFinal: the operator alone writes Evaluations, whatever rights others have."""

import copy
import json

import pytest

from tests import builders
from tests.integration.chart.conftest import Installer
from tests.integration.chart.test_rights import LIMITED, OPERATOR
from tests.integration.chart.tools import Cluster, Object, Refused
from tests.integration.support.eventually import eventually
from tests.unit.kinds import gates

WORDS = "Evaluations are written by the operator alone, from what its evaluator's pod reports"
OF_DEPLOYMENTS = "The status of a ModelDeployment is written by the operator alone, which goes by it"
ADMIN = "admin@example.com"
MANAGER = "system:kube-controller-manager"
OF_THE_CLUSTER = "system:serviceaccount:kube-system"
PASSED = json.dumps({"status": {"verdict": "Passed", "phase": "Decided", "completionTime": builders.CREATED}})


@pytest.fixture(scope="module")
def installed(cluster: Cluster, module_installer: Installer) -> Cluster:
    """A release for one namespace, one for another, and a person with all rights over Evaluations in both."""
    for name, team, first in (("sc", "stagecoach", True), ("sc-limited", "limited", False)):
        served = cluster.namespace(f"served-by-{team}")
        shared = {"crds": {"install": first}, "rbac": {"aggregate": first}}
        module_installer.install(name, team, watchNamespaces=[served], crds=shared["crds"], rbac=shared["rbac"])
        cluster.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "all", "namespace": served},
                "rules": [{"apiGroups": ["stagecoach.dev"], "resources": ["*"], "verbs": ["*"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "all", "namespace": served},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "all"},
                # The operator too, which has no right to get one: kubectl asks for it before it patches.
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ADMIN},
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": MANAGER},
                    {"kind": "ServiceAccount", "name": "default", "namespace": "kube-system"},
                    {"kind": "ServiceAccount", "name": f"{name}-stagecoach", "namespace": team},
                ],
            },
        )
    eventually(
        lambda: refuses(cluster, "served-by-stagecoach") and refuses(cluster, "served-by-limited"), 60, "policies"
    )
    return cluster


def refuses(cluster: Cluster, namespace: str) -> bool:
    """Whether a cluster administrator is refused, which takes a moment after a policy is there."""
    document = json.dumps(evaluation(namespace, "dry"))
    try:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", document=document)
    except Refused as refused:
        return WORDS in str(refused)
    return False


def evaluation(namespace: str, name: str = "made") -> Object:
    made = copy.deepcopy(gates.evaluation())
    return made | {"metadata": {"name": name, "namespace": namespace}}


def create(cluster: Cluster, obj: Object) -> None:
    cluster.kubectl("create", "-f", "-", document=json.dumps(obj))


@pytest.mark.parametrize("user", ["", ADMIN, "system:serviceaccount:stagecoach:default", LIMITED])
def test_nobody_else_creates_one(installed: Cluster, user: str) -> None:
    with pytest.raises(Refused, match=WORDS if user in ("", ADMIN) else "forbidden"):
        create(installed.impersonating(user), evaluation("served-by-stagecoach", "forged"))


def test_the_operator_does_and_nobody_else_changes_it(installed: Cluster) -> None:
    operator = installed.impersonating(OPERATOR)
    place = ("evaluation", "made", "-n", "served-by-stagecoach")
    create(operator, evaluation("served-by-stagecoach"))
    for user in ("", ADMIN):
        person = installed.impersonating(user)
        with pytest.raises(Refused, match=WORDS):
            person.kubectl("patch", *place, "--subresource=status", "--type=merge", "-p", PASSED)
        with pytest.raises(Refused, match=WORDS):
            person.kubectl("annotate", *place, "a=b")
        with pytest.raises(Refused, match=WORDS):
            person.kubectl("replace", "--subresource=status", "-f", "-", document=json.dumps(decided(installed)))
    operator.kubectl("patch", *place, "--subresource=status", "--type=merge", "-p", PASSED)
    assert installed.get(*place)["status"]["verdict"] == "Passed"
    # Deleting is for people; here in the way in which Kubernetes itself changes the metadata on the way.
    installed.impersonating(ADMIN).kubectl("delete", *place, "--cascade=foreground", "--timeout=150s")


def test_controllers_of_the_cluster_take_finalizers_away_and_nothing_else(installed: Cluster) -> None:
    """An add-on of kube-system is none of them."""
    place = ("evaluation", "kept", "-n", "served-by-stagecoach")
    create(installed.impersonating(OPERATOR), evaluation("served-by-stagecoach", "kept"))
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"}
    changes: list[Object] = [{"labels": {"a": "b"}}, {"annotations": {"a": "b"}}, {"ownerReferences": [owner]}]
    finalizers: Object = {"finalizers": ["example.com/kept"]}
    for user in (MANAGER, f"{OF_THE_CLUSTER}:generic-garbage-collector", f"{OF_THE_CLUSTER}:default"):
        controller = installed.impersonating(user)

        def write(metadata: Object, by: Cluster = controller) -> None:
            by.kubectl("patch", *place, "--type=merge", "-p", json.dumps({"metadata": metadata}))

        for change in changes:
            with pytest.raises(Refused, match=WORDS):
                write(change)
        if user.endswith(":default"):
            with pytest.raises(Refused, match=WORDS):
                write(finalizers)
        else:
            write(finalizers)
            write({"finalizers": None})
    installed.kubectl("delete", *place)


def test_what_it_says_of_a_deployment_is_the_operators_alone(installed: Cluster) -> None:
    place = ("modeldeployment", "answers", "-n", "served-by-stagecoach")
    forged = json.dumps({"status": {"phase": "Available"}})
    person = installed.impersonating(ADMIN)
    create(person, builders.deployment(namespace="served-by-stagecoach"))
    for user in ("", ADMIN, LIMITED):
        with pytest.raises(Refused, match=OF_DEPLOYMENTS if user != LIMITED else "forbidden"):
            installed.impersonating(user).kubectl("patch", *place, "--subresource=status", "--type=merge", "-p", forged)
    operator = installed.impersonating(OPERATOR)
    operator.kubectl("patch", *place, "--subresource=status", "--type=merge", "-p", forged)
    person.kubectl("annotate", *place, "a=b")
    person.kubectl("scale", *place, "--replicas=2")
    assert installed.get(*place)["status"]["phase"] == "Available"
    person.kubectl("delete", *place)


def decided(cluster: Cluster) -> Object:
    found: Object = cluster.get("evaluation", "made", "-n", "served-by-stagecoach") | json.loads(PASSED)
    return found


def test_each_release_has_its_own_namespaces(installed: Cluster) -> None:
    create(installed.impersonating(LIMITED), evaluation("served-by-limited"))
    with pytest.raises(Refused):
        create(installed.impersonating(OPERATOR), evaluation("served-by-limited", "other"))
    installed.kubectl("delete", "evaluation", "made", "-n", "served-by-limited")


def test_people_of_the_roles_read_and_delete(installed: Cluster) -> None:
    create(installed.impersonating(OPERATOR), evaluation("served-by-stagecoach", "seen"))
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "editors", "namespace": "served-by-stagecoach"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "editor@example.com"}],
    }
    installed.apply(binding)
    editor = installed.impersonating("editor@example.com")
    place = ("evaluation", "seen", "-n", "served-by-stagecoach")

    def may_read() -> bool:
        try:
            return bool(editor.kubectl("get", *place))
        except Refused as refused:  # a controller puts the rules together
            raise AssertionError from refused

    eventually(may_read, 60, "the editor may read it")
    with pytest.raises(Refused, match="forbidden"):
        editor.kubectl("annotate", *place, "a=b")
    editor.kubectl("delete", *place)
