"""The previous chart with live runs becomes this one: nothing restarts, and nothing is lost."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from tests import builders
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.conftest import Installer
from tests.integration.chart.phases import NOTHING_FOUND, PHASES, Phases, lost
from tests.integration.chart.previous import unpack
from tests.integration.chart.process import NAMESPACE, Requests, start_operator
from tests.integration.chart.tools import DIGEST, Cluster, Object
from tests.integration.kinds.test_nodes import succeed
from tests.integration.kinds.test_runs import document_of
from tests.integration.support.desk import ADOPTED, DONE, TRAINED
from tests.integration.support.eventually import eventually
from tests.integration.support.operator import ROOT, OperatorProcess
from tests.kube import Kube

TRAINER = "registry.example.com/stagecoach/trainer"
OLD, NEW = f"{TRAINER}@sha256:{'b' * 64}", f"{TRAINER}@{DIGEST}"
# A trainer of the previous state does not tell who made what is adopted.
ADOPTED_BEFORE = json.dumps(
    {
        "outcome": "Done",
        "artifact": {k: v for k, v in builders.artifact_report(adopted=True)["artifact"].items() if k != "maker"},
    }
)
# Kinds that the previous chart does not know.
NEWER = {"approvals", "evalgates", "evaluations", "modeldeployments"}
READ = "from stagecoach.contract.jobs import read_job; print(read_job().inputs.digest)"


class Upgrade:
    """A release of the previous chart, with its operator and objects in every phase, and what it becomes."""

    def __init__(self, cluster: Cluster, installer: Installer, phases: Phases, folder: Path) -> None:
        self.phases = phases
        self._team = phases.kube.namespace
        self.previous = unpack(folder / "previous")
        self.operators: list[OperatorProcess] = []
        self._cluster, self._installer, self._folder = cluster, installer, folder

    def install_previous(self) -> None:
        """Install the previous chart, with another trainer image than this one's."""
        repository, _, digest = OLD.partition("@")
        chart = self.previous / "charts" / "stagecoach"
        trainer = {"image": {"repository": repository, "digest": digest}}
        self._installer.install(
            "sc", NAMESPACE, chart=chart, watchNamespaces=[self._team], trainer=trainer, evaluator=None
        )

    def upgrade(self) -> None:
        """Upgrade to this chart."""
        self._installer.install("sc", NAMESPACE, watchNamespaces=[self._team])

    def roll_back(self) -> None:
        """Go back to the previous chart."""
        self._cluster.helm("rollback", "sc", "-n", NAMESPACE)

    def start(self, code: Path) -> OperatorProcess:
        """Start an operator, ready to lead."""
        name = f"operator-{len(self.operators)}"
        self.operators.append(start_operator(self._cluster, self._folder, name, code=code / "operator"))
        return self.operators[-1].wait_ready()


@pytest.fixture
def upgrade(
    request: pytest.FixtureRequest,
    chart_control_plane: ControlPlane,
    cluster: Cluster,
    installer: Installer,
    tmp_path: Path,
) -> Iterator[Upgrade]:
    """The previous release, which serves a namespace of this test's own."""
    team = cluster.namespace(request.node.name.replace("_", "-"))
    phases = Phases(Kube(chart_control_plane.kubeconfig, team))
    found = Upgrade(cluster, installer, phases, tmp_path)
    found.install_previous()
    yield found
    for each in found.operators:
        each.end()
        print(f"the operator's log:\n{each.text()[-4000:]}")  # shown with a test that fails
    phases.forget()
    cluster.kubectl("delete", "lease", "sc-stagecoach", "-n", NAMESPACE, "--ignore-not-found")


@pytest.fixture
def requests(chart_control_plane: ControlPlane) -> Requests:
    """What the operators ask for."""
    return Requests(chart_control_plane)


def looked_at_everything(operator: OperatorProcess) -> None:
    """Wait until a new leader has judged every object on complete lists."""
    operator.wait_leading()
    eventually(lambda: operator.metric("stagecoach_reconcile_seconds_count") >= len(PHASES), 60, "all is looked at")
    eventually(lambda: operator.metric("stagecoach_queue_depth") == 0, 60, "nothing waits")


def unchanged(phases: Phases, before: tuple[Object, Object]) -> None:
    """Assert that nothing was made, changed or deleted, and that each status says at least what it said."""
    children, statuses = phases.at_rest()
    assert children == before[0]
    assert statuses.keys() == before[1].keys()
    assert [each for name in before[1] for each in lost(before[1][name], statuses[name], name)] == []


def read_by_previous(upgrade: Upgrade, job: str) -> str:
    """Return the digest of the inputs in a Job's document as code of the previous state reads it."""
    document = document_of(upgrade.phases.kube.get("Job", job))
    environment = {"PYTHONPATH": str(upgrade.previous / "operator"), ENVIRONMENT_VARIABLE: document}
    done = subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def image(phases: Phases, name: str, number: int = 1) -> str:
    """Return the image of an attempt of a run."""
    pod = phases.kube.get("Pod", phases.pod(name, number))
    return str(pod["spec"]["containers"][0]["image"])


@pytest.mark.long
def test_an_upgrade_stops_nothing(upgrade: Upgrade, requests: Requests) -> None:
    phases = upgrade.phases
    old = upgrade.start(upgrade.previous).wait_leading()
    phases.begin()
    before = phases.at_rest()
    upgrade.upgrade()
    assert old.stop() == 0
    looked_at_everything(upgrade.start(ROOT))
    unchanged(phases, before)
    new_runs_of_old_inputs(phases)
    what_was_stopped_goes_on(upgrade)
    everything_ends(phases)
    assert [each for each in requests.events() if each["responseStatus"]["code"] == 403] == []


def new_runs_of_old_inputs(phases: Phases) -> None:
    """One adopts what was made before the upgrade, one waits for what is under way since then."""
    for name, like, found, reason in (
        ("same", "trained", ADOPTED, "Adopted"),
        ("later", "running", NOTHING_FOUND, "SameInputs"),
    ):
        phases.run(name, like=like)
        phases.kubelet.succeeded(phases.pod(name), found)
        eventually(lambda name=name, reason=reason: phases.reason(name) == reason, 60, f"{name}: {reason}")  # type: ignore[misc]
        earlier, inputs = phases.status(like)["inputs"], phases.status(name)["inputs"]
        assert inputs == earlier | {"image": NEW, "asked": inputs["asked"]}
        assert (earlier["image"], image(phases, name)) == (OLD, NEW)


def what_was_stopped_goes_on(upgrade: Upgrade) -> None:
    """The next attempt of a run is for the trainer that it began with, which understands what it is told."""
    phases = upgrade.phases
    phases.suspend("stopped", False)
    phases.kubelet.running(phases.pod("stopped", 2))
    phases.kubelet.succeeded(phases.pod("looking"), NOTHING_FOUND)
    for name in ("stopped", "looking"):
        assert image(phases, name, 2) == OLD
        assert read_by_previous(upgrade, phases.job(name, 2)) == phases.status(name)["inputs"]["digest"]
    assert phases.status("stopped")["totals"]["checkpoint"] == 40


def everything_ends(phases: Phases) -> None:
    """All that was under way or waited goes its way, and in the end there is nothing that has not succeeded."""
    kubelet = phases.kubelet
    kubelet.succeeded(kubelet.pod_of(phases.desk.job_of("TransformerProject", "slow")), DONE)
    phases.suspend("idle", False)
    numbers = {"early": 1, "queued": 1, "running": 1, "again": 2, "stopped": 2, "looking": 2}
    for name, number in numbers.items():
        kubelet.succeeded(phases.pod(name, number), TRAINED)
    succeed(phases.desk, phases.pods("several", 2))
    kubelet.succeeded(phases.pod("idle"), ADOPTED)
    kubelet.succeeded(phases.pod("twin", 2), ADOPTED_BEFORE)
    kubelet.succeeded(phases.pod("later", 2), ADOPTED)
    for name in (*numbers, "several", "idle", "twin", "later"):
        phases.desk.awaits("FineTuneRun", name, "Succeeded", 30)
    outcomes = {name: [each["outcome"] for each in phases.status(name)["attempts"]] for name in ("again", "stopped")}
    assert outcomes == {"again": ["PodLost", "Succeeded"], "stopped": ["Suspended", "Succeeded"]}
    eventually(lambda: not phases.kube.select("Service"), 60, "the Service goes")


def without_asked(seen: tuple[Object, Object]) -> tuple[Object, Object]:
    """Return the same without what only the newer definitions know: it is dropped with them, and can be made out anew."""
    children, statuses = seen
    for status in statuses.values():
        status.get("inputs", {}).pop("asked", None)
    return children, statuses


@pytest.mark.long
def test_a_rolling_update_and_back(upgrade: Upgrade, requests: Requests) -> None:
    phases = upgrade.phases
    old = upgrade.start(upgrade.previous).wait_leading()
    phases.begin()
    before = phases.at_rest()
    upgrade.upgrade()
    new = upgrade.start(ROOT)
    assert (old.metric("stagecoach_leader"), new.metric("stagecoach_leader")) == (1, 0)
    unchanged(phases, before)
    assert old.stop() == 0
    looked_at_everything(new)
    unchanged(phases, before)
    # And back, with a training that the newer version began.
    phases.run("newer", like="missing", force=True)
    phases.kubelet.running(phases.pod("newer"))
    phases.desk.awaits("FineTuneRun", "newer", "Running")
    before = without_asked(phases.at_rest())
    upgrade.roll_back()
    assert new.stop() == 0
    looked_at_everything(upgrade.start(upgrade.previous))
    unchanged(phases, before)
    for name, trainer in (("running", OLD), ("newer", NEW)):
        assert image(phases, name) == trainer
        phases.kubelet.succeeded(phases.pod(name), TRAINED)
        phases.desk.awaits("FineTuneRun", name, "Succeeded")
    refused = [each for each in requests.events() if each["responseStatus"]["code"] == 403]
    # For a moment the newer operator still watches what the older chart gives no right to.
    assert [each for each in refused if each["objectRef"]["resource"] not in NEWER] == []
    assert {each["verb"] for each in refused} <= {"list", "watch"}
