"""NothingStuck: what is left when the chart is uninstalled in the middle of everything can go, all of it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.conftest import Installer
from tests.integration.chart.phases import OURS, PHASES, Phases, lost
from tests.integration.chart.process import start_operator
from tests.integration.chart.test_release import DEFINITIONS
from tests.integration.chart.tools import DOCUMENTS, Cluster
from tests.integration.support.desk import TRAINED
from tests.integration.support.eventually import eventually
from tests.kube import Kube

# As the page about it has them.
RELEASE, NAMESPACE = "stagecoach", "stagecoach-system"
# Of Kubernetes itself: the Job controller takes it off when it has counted the pod.
JOB_TRACKING = "batch.kubernetes.io/job-tracking"
# Every namespace has these, and there is one object of the API server's for each group of definitions.
EVERYWHERE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
SERVED = {"namespace/stagecoach", f"namespace/{NAMESPACE}", "apiservice.apiregistration.k8s.io/v1alpha1.stagecoach.dev"}
LEFT = {
    "lease.coordination.k8s.io/stagecoach",
    "secret/stagecoach-key",
    "persistentvolumeclaim/stagecoach-prometheus",
}


@pytest.fixture
def teams(chart_control_plane: ControlPlane, cluster: Cluster) -> Iterator[tuple[Phases, Phases]]:
    """Two namespaces that a release for all of them serves."""
    names = ("first-team", "second-team")
    one, two = (Phases(Kube(chart_control_plane.kubeconfig, cluster.namespace(name))) for name in names)
    yield one, two
    cluster.kubectl("delete", "namespace", *names, "--ignore-not-found", "--wait=false")


def documented() -> list[list[str]]:
    """Return the commands that remove the rest, as the page about it has them."""
    section = (DOCUMENTS / "install.md").read_text().partition("\n## Uninstall\n")[2]
    _, rest, *_ = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in rest.splitlines()]


def found(cluster: Cluster, scope: str, *arguments: str) -> set[str]:
    """Return all objects that these arguments choose, of every kind but Events."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", f"--namespaced={scope}", "-o", "name").split()
    return cluster.names(",".join(each for each in kinds if not each.startswith(("events", "component"))), *arguments)


def over_the_cluster(cluster: Cluster) -> set[str]:
    """Return what has our name and is in no namespace; namespaces of tests before this one may still be going."""
    ours = {each for each in found(cluster, "false") if "stagecoach" in each}
    return {each for each in ours if not each.startswith("namespace/served-by-")}


def finalizers(phases: Phases) -> set[str]:
    """Return those of all that there is of ours and of what was made for it."""
    kinds = (*OURS, "Job", "Pod", "Service")
    objects = [each["metadata"] for kind in kinds for each in phases.kube.select(kind)]
    assert objects
    return {name for each in objects for name in each.get("finalizers", ())}


@pytest.mark.long
def test_an_uninstall_leaves_what_goes_on_and_what_can_go(
    cluster: Cluster, installer: Installer, teams: tuple[Phases, Phases], tmp_path: Path
) -> None:
    one, two = teams
    installer.install(RELEASE, NAMESPACE)
    operator = start_operator(cluster, tmp_path, deployment=RELEASE, namespace=NAMESPACE).wait_ready().wait_leading()
    try:
        one.begin()
        two.desk.make_ready_project()
        two.run("running")
        two.kubelet.running(two.pod("running"))
        before = one.at_rest()
    finally:
        operator.end()
    installer.uninstall(RELEASE, NAMESPACE)
    assert over_the_cluster(cluster) - SERVED == DEFINITIONS
    eventually(lambda: found(cluster, "true", "-n", NAMESPACE) == EVERYWHERE | LEFT, 60, "nothing else is left")
    assert "finalizers" not in cluster.get("lease", RELEASE, "-n", NAMESPACE)["metadata"]
    assert finalizers(one) | finalizers(two) <= {JOB_TRACKING}
    taken_up(cluster, installer, one, before, tmp_path)
    gone(cluster, one, two)


def taken_up(cluster: Cluster, installer: Installer, one: Phases, before: tuple[dict, dict], folder: Path) -> None:  # type: ignore[type-arg]
    """Install it again: it goes on where it was, and is uninstalled again."""
    installer.install(RELEASE, NAMESPACE)
    operator = (
        start_operator(cluster, folder, "again", deployment=RELEASE, namespace=NAMESPACE).wait_ready().wait_leading()
    )
    try:
        eventually(lambda: operator.metric("stagecoach_reconcile_seconds_count") >= len(PHASES), 60, "all is looked at")
        children, statuses = one.at_rest()
        assert children == before[0]
        assert lost(before[1], statuses) == []
        one.kubelet.succeeded(one.pod("running"), TRAINED)
        one.desk.awaits("FineTuneRun", "running", "Succeeded")
    finally:
        operator.end()
    installer.uninstall(RELEASE, NAMESPACE)


def gone(cluster: Cluster, one: Phases, two: Phases) -> None:
    """With the operator gone, nothing keeps a whole namespace from going, nor an object, nor the definitions."""
    cluster.kubectl("delete", "namespace", two.kube.namespace, "--wait=false")
    objects, *others = documented()
    cluster.kubectl(*objects, "--timeout=60s")
    # The garbage collector learns of new kinds every 30 seconds.
    eventually(lambda: not one.children(), 90, "what was made for them goes with them")
    for each in others:
        cluster.kubectl(*each, "--timeout=60s")
    assert over_the_cluster(cluster) <= SERVED
    eventually(lambda: found(cluster, "true", "-n", NAMESPACE) == EVERYWHERE, 90, "nothing is left of the chart")
    # Kubernetes looks again after half of the time that the pods may take to end.
    team = f"namespace/{two.kube.namespace}"
    eventually(lambda: not cluster.names(team), 150, "the namespace is gone", every=1.0)
