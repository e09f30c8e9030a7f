"""The plugin with the chart's role of reviewers, past the chart's admission policies."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.chart.conftest import Installer
from tests.integration.chart.test_rights import OPERATOR
from tests.integration.chart.tools import Cluster, Object
from tests.integration.plugin.conftest import Person, acting_as
from tests.unit.plugin import samples

TEAM = "reviewed-by-plugin"
QA, LEAD = "qa@example.com", "lead@example.com"
NAME = samples.NAME


@pytest.fixture(scope="module")
def installed(cluster: Cluster, module_installer: Installer) -> Cluster:
    """A release, its reviewers, and an Evaluation that awaits their review."""
    cluster.namespace(TEAM)
    module_installer.install("sc", "stagecoach")
    everything: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "all", "namespace": TEAM},
        "rules": [{"apiGroups": ["stagecoach.dev"], "resources": ["*"], "verbs": ["*"]}],
    }
    # kubectl asks for an object before it patches, for which the operator itself has no right.
    cluster.apply(everything, bound("all", "Role", "all", OPERATOR))
    cluster.apply(bound("reviewers", "ClusterRole", "sc-stagecoach-reviewer", QA, LEAD))
    obj: Object = {"apiVersion": "stagecoach.dev/v1alpha1"} | copy.deepcopy(samples.awaiting())
    obj["metadata"] = {"name": NAME, "namespace": TEAM}
    status = json.dumps({"status": obj.pop("status")})
    operator = cluster.impersonating(OPERATOR)
    operator.kubectl("create", "-f", "-", document=json.dumps(obj))
    operator.kubectl("patch", "evaluation", NAME, "-n", TEAM, "--subresource=status", "--type=merge", "-p", status)
    return cluster


def bound(name: str, kind: str, role: str, *users: str) -> Object:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": TEAM},
        "roleRef": {"apiGroup": group, "kind": kind, "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user} for user in users],
    }


@pytest.fixture
def person(installed: Cluster, tmp_path: Path) -> Callable[..., Person]:
    def make(user: str, *groups: str) -> Person:
        return Person(acting_as(installed.kubeconfig, tmp_path, user, *groups), TEAM)

    return make


@pytest.mark.parametrize(("user", "groups"), [(QA, ()), (LEAD, ("ml-leads",))])
def test_a_reviewer_decides(
    installed: Cluster, person: Callable[..., Person], user: str, groups: tuple[str, ...]
) -> None:
    answer = person(user, *groups).run(
        "approve", NAME, "--score", "fluency=5", "--score", "accuracy=4", "--yes", "--wait", "0"
    )
    assert "is made, and the operator has not decided yet" in answer.words
    made = [each["spec"] for each in installed.get("approvals", "-n", TEAM)["items"]]
    [mine] = [each for each in made if each["reviewer"] == user]
    assert mine.get("group") == (groups[0] if groups else None)
    assert person(user, *groups).run("report", NAME).code == 0
    assert "FineTuneRun support-desk-lora is not shown" in person(user, *groups).run("why", NAME).words


def test_somebody_of_the_group_who_is_not_bound(person: Callable[..., Person]) -> None:
    answer = person("stranger@example.com", "ml-leads").run("approve", NAME, "--yes")
    assert answer.code == 1
    assert "You lack the right to get evaluations.stagecoach.dev" in answer.words
