"""Who decides does so in their own name, by admission: whatever rights they have."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from stagecoach.kinds.approval import guard
from tests import builders
from tests.integration.chart.conftest import Installer
from tests.integration.chart.test_rights import OPERATOR, _reviewed
from tests.integration.chart.tools import Cluster, Object, Refused
from tests.integration.support.eventually import eventually

TEAM = "reviewed"
QA, LEAD, ADMIN, EDITOR = (f"{name}@example.com" for name in ("qa", "lead", "admin", "editor"))
GIT = "system:serviceaccount:argocd:argocd-application-controller"
ODD = "CN=git: <a & b> #1"  # as a certificate may have it, and YAML would not
OWN_NAME = "everybody decides in their own name"
PLACE = ("approval", "fine", "-n", TEAM)


def bound(name: str, role: str, *users: str, kind: str = "ClusterRole") -> Object:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": TEAM},
        "roleRef": {"apiGroup": group, "kind": kind, "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user} for user in users],
    }


@pytest.fixture(scope="module")
def installed(cluster: Cluster, module_installer: Installer) -> Cluster:
    """A release with a Git account, reviewers, an editor who is none, and somebody with all rights."""
    cluster.namespace(TEAM)
    module_installer.install("sc", "stagecoach", approvals={"gitAccounts": [GIT, ODD]})
    everything: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "all", "namespace": TEAM},
        "rules": [{"apiGroups": ["stagecoach.dev"], "resources": ["*"], "verbs": ["*"]}],
    }
    cluster.apply(
        everything,
        bound("all", "all", ADMIN, OPERATOR, GIT, ODD, kind="Role"),
        bound("reviewers", "sc-stagecoach-reviewer", QA, LEAD),
        bound("editors", "edit", EDITOR),
        bound("admins", "admin", "owner@example.com"),
    )

    def refuses() -> bool:
        try:
            create(cluster.impersonating(ADMIN), approval("dry"), "--dry-run=server")
        except Refused as refused:
            return OWN_NAME in str(refused)
        return False

    eventually(refuses, 60, "the policy is in force")
    return cluster


def approval(name: str = "fine", **changes: object) -> Object:
    return builders.approval(name, TEAM, **changes)


def create(cluster: Cluster, obj: Object, *more: str) -> None:
    cluster.kubectl("create", *more, "-f", "-", document=json.dumps(obj))


def test_a_reviewer_decides_in_their_own_name(installed: Cluster) -> None:
    create(installed.impersonating(QA), approval())
    assert installed.get(*PLACE)["spec"]["reviewer"] == QA
    installed.kubectl("delete", *PLACE)


@pytest.mark.parametrize(
    "user", [LEAD, ADMIN, OPERATOR, ""], ids=["reviewer", "all rights", "operator", "cluster admin"]
)
def test_nobody_decides_in_the_name_of_another(installed: Cluster, user: str) -> None:
    with pytest.raises(Refused, match=OWN_NAME):
        create(installed.impersonating(user), approval())


def test_the_operator_is_refused_in_the_words_that_it_expects(installed: Cluster) -> None:
    """By the very Approval by which it finds out whether the policy holds."""
    assert guard.REFUSAL == OWN_NAME
    with pytest.raises(Refused, match=f"{guard.NOBODY}.*{guard.REFUSAL}"):
        create(installed.impersonating(OPERATOR), guard.in_the_name_of_another(TEAM), "--dry-run=server")


def test_nobody_is_of_a_group_that_they_are_not_in(installed: Cluster) -> None:
    with pytest.raises(Refused, match=r"spec.group is ml-leads, of which qa@example.com is no member"):
        create(installed.impersonating(QA), approval(group="ml-leads"))
    member = ("--as-group=ml-leads", "--as-group=system:authenticated")
    create(installed.impersonating(QA), approval(group="ml-leads"), *member)
    installed.kubectl("delete", *PLACE)


def override(reviewer: str, **ends: int) -> Object:
    """Return an Override that ends so long from now."""
    expires = (datetime.now(UTC) + timedelta(**ends)).isoformat(timespec="seconds")
    subject = {"kind": "ModelDeployment", "name": "answers"}
    return approval(subject=subject, decision="Override", reviewer=reviewer, reason="Incident 4711.", expires=expires)


def test_who_decides_on_a_release_does_so_in_their_own_name_and_for_a_day_at_most(installed: Cluster) -> None:
    with pytest.raises(Refused, match=OWN_NAME):
        create(installed.impersonating(ADMIN), override(QA, hours=1))
    with pytest.raises(Refused, match="an Override ends after 24 hours at the latest"):
        create(installed.impersonating(QA), override(QA, hours=25))
    with pytest.raises(Refused, match="an Override ends after 24 hours at the latest"):
        create(installed.impersonating(GIT), override("somebody@example.com", days=300))
    with pytest.raises(Refused, match="forbidden"):
        create(installed.impersonating(EDITOR), override(EDITOR, hours=1))
    create(installed.impersonating(QA), override(QA, hours=23))
    later = json.dumps({"spec": {"expires": "2999-01-01T00:00:00Z"}})
    with pytest.raises(Refused, match=r"A decision is never changed|spec cannot change"):
        installed.impersonating(ADMIN).kubectl("patch", *PLACE, "--type=merge", "-p", later)
    accepted = json.dumps({"status": {"accepted": "2026-01-01T00:00:00Z"}})
    with pytest.raises(Refused, match="written by the operator alone"):
        installed.impersonating(ADMIN).kubectl("patch", *PLACE, "--subresource=status", "--type=merge", "-p", accepted)
    installed.kubectl("delete", *PLACE)


def test_an_editor_who_is_no_reviewer_may_not_decide(installed: Cluster) -> None:
    with pytest.raises(Refused, match="forbidden"):
        create(installed.impersonating(EDITOR), approval(reviewer=EDITOR))
    with pytest.raises(Refused, match="forbidden"):
        create(installed.impersonating("stranger@example.com"), approval(reviewer="stranger@example.com"))


def test_a_namespaces_administrator_makes_nobody_a_reviewer(installed: Cluster) -> None:
    owner = installed.impersonating("owner@example.com")
    binding = bound("more-reviewers", "sc-stagecoach-reviewer", "owner@example.com")
    eventually(lambda: may_bind_view(owner), 60, "the owner administers the namespace")
    with pytest.raises(Refused, match="attempting to grant RBAC permissions not currently held"):
        create(owner, binding)


def may_bind_view(owner: Cluster) -> bool:
    try:
        create(owner, bound("viewers", "view", "viewer@example.com"), "--dry-run=server")
    except Refused:
        return False
    return True


def test_an_account_that_brings_objects_from_git_names_the_reviewer(installed: Cluster) -> None:
    git = installed.impersonating(GIT)
    create(git, approval(reviewer="somebody@example.com", group="ml-leads"))
    git.kubectl("annotate", *PLACE, "argocd.argoproj.io/tracking-id=x")
    with pytest.raises(Refused, match=r"A decision is never changed|spec cannot change"):
        git.kubectl("patch", *PLACE, "--type=merge", "-p", json.dumps({"spec": {"reviewer": QA}}))
    installed.kubectl("delete", *PLACE)


def test_the_name_of_an_account_may_be_any(installed: Cluster) -> None:
    create(installed.impersonating(ODD), approval(reviewer="somebody@example.com"))
    installed.kubectl("delete", *PLACE)


def test_what_became_of_it_is_written_by_the_operator_alone(installed: Cluster) -> None:
    create(installed.impersonating(QA), approval())
    counted = json.dumps({"status": {"observedGeneration": 1}})
    for user in ("", ADMIN, GIT):
        with pytest.raises(Refused, match="written by the operator alone"):
            installed.impersonating(user).kubectl(
                "patch", *PLACE, "--subresource=status", "--type=merge", "-p", counted
            )
    installed.impersonating(OPERATOR).kubectl("patch", *PLACE, "--subresource=status", "--type=merge", "-p", counted)
    with pytest.raises(Refused, match=r"A decision is never changed|spec cannot change"):
        installed.impersonating(ADMIN).kubectl(
            "patch", *PLACE, "--type=merge", "-p", json.dumps({"spec": {"reason": "x"}})
        )
    installed.impersonating(ADMIN).kubectl("delete", *PLACE, "--cascade=foreground", "--timeout=150s")


def test_reviewers_create_approvals_and_touch_nothing_else(installed: Cluster) -> None:
    everybody = _reviewed(installed.impersonating("nobody@example.com"), TEAM)
    mine = _reviewed(installed.impersonating(QA), TEAM) - everybody
    read = {
        (verb, "stagecoach.dev", kind, "")
        for verb in ("get", "list", "watch")
        for kind in ("approvals", "evalgates", "evaluations", "modeldeployments")
    }
    assert mine == read | {("create", "stagecoach.dev", "approvals", "")}
