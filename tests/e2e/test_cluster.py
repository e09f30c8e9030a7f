"""The command that brings up a cluster: twice, after accidents, and down without a trace.

The cluster is one of these tests' own, beside the one that the others use; it runs the same programs.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import deploy
from tests.cluster import cgroups, node, packages, selection, sysctls
from tests.cluster.local import Local
from tests.cluster.network import cable_name
from tests.cluster.paths import State
from tests.cluster.processes import Processes
from tests.integration.support.eventually import eventually

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Other:
    """The other cluster, by its state directory, and how the machine was before it."""

    state: State
    rules: str
    settings: str

    @property
    def directory(self) -> Path:
        """Where all lies that `down` removes."""
        return self.state.run("cluster")

    @property
    def processes(self) -> Processes:
        """Whatever runs of it."""
        return Processes(self.directory)

    def pids(self) -> dict[str, int]:
        """Return the process of each component."""
        return {each.component: each.pid for each in self.processes.all() if each.component == each.command}

    def command(self, *arguments: str) -> str:
        """Run `python -m tests.cluster` and return what it prints."""
        environment = os.environ | {"STAGECOACH_STATE": str(self.state.root), "CLUSTER": "local"}
        return _output([sys.executable, "-m", "tests.cluster", *arguments], environment)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the kubectl that the cluster brings with it, on the kubeconfig that it names."""
        environment = os.environ | {"KUBECONFIG": self.command("kubeconfig").strip()}
        return _output([str(self.state.bin / "kubectl"), *arguments], environment, stdin)

    def runs_a_pod(self, name: str) -> None:
        """Run a pod with a claim, from an image of the registry."""
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        }
        container = {"name": "c", "image": node.PAUSE_IMAGE, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": [container], "volumes": volumes},
        }
        for each in (claim, pod):
            self.kubectl("create", "-f", "-", stdin=json.dumps(each))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")


def _output(command: list[str], environment: dict[str, str], stdin: str | None = None) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, env=environment, cwd=deploy.ROOT, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _rules() -> str:
    return _output([str(packages.path_of("nft")), "--stateless", "list", "ruleset"], dict(os.environ))


def _settings(file: Path) -> str:
    sysctls.remember(file)
    return file.read_text()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Other]:
    """The other cluster, which is down; what was built for the usual one is its own as well."""
    usual = State.from_environment()
    backend = selection.select(usual)
    if not isinstance(backend, Local):
        pytest.skip(f"the tests use a {backend.name} cluster, and not one that is made of packages")
    made = Other(State(usual.run("other")), _rules(), _settings(tmp_path_factory.mktemp("before") / "sysctls.json"))
    made.state.root.mkdir(parents=True, exist_ok=True)
    if not made.state.cache.is_symlink():
        made.state.cache.symlink_to(usual.cache)
    made.command("down")  # of tests that were killed
    yield made
    made.command("down")
    shutil.rmtree(made.state.root)


def test_up_again_is_a_health_check(other: Other) -> None:
    assert other.command("up").strip() == f"export KUBECONFIG={other.directory}/kubeconfig"
    before = other.pids()
    assert set(node.COMPONENTS) < set(before)
    other.command("up")
    assert other.pids() == before, "nothing has started again"


def test_status_and_kubeconfig_say_what_there_is(other: Other) -> None:
    other.command("up")
    told = dict(line.split(maxsplit=1) for line in other.command("status").splitlines() if len(line.split()) == 2)
    assert (told["backend"], told["health"], told["state"]) == ("local", "healthy", str(other.state.root))
    assert told["kubeconfig"] == other.command("kubeconfig").strip()
    assert f"kubelet                      pid {other.pids()['kubelet']}" in other.command("status")
    other.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")


def test_up_starts_what_was_killed(other: Other) -> None:
    other.command("up")
    before = other.pids()
    other.processes.end(node.KUBELET, signal.SIGKILL)
    assert "not healthy" in other.command("status")
    other.command("up")
    after = other.pids()
    assert {name for name in before | after if before.get(name) != after.get(name)} == {node.KUBELET}


def test_up_after_the_machine_ended_with_half_of_containerd(other: Other) -> None:
    other.command("up")
    other.runs_a_pod("before")
    other.processes.end_all()
    # Its database has an image whose content a disk may have lost: what was not written down yet.
    content = other.directory / "containerd/root/io.containerd.content.v1.content"
    assert any(content.rglob("blobs/sha256/*"))
    shutil.rmtree(content)
    other.command("up")
    assert "pod/before" in other.kubectl("get", "pods", "-o", "name"), "objects are still there"
    other.runs_a_pod("after")


def test_down_leaves_nothing(other: Other, tmp_path: Path) -> None:
    other.command("up")
    assert _cgroups(other), "there is something to remove"
    other.command("down")
    other.command("down")
    assert other.processes.all() == []
    assert _cgroups(other) == []
    assert not other.directory.exists()
    assert str(other.state.root) not in Path("/proc/self/mounts").read_text()
    assert _rules() == other.rules
    assert _settings(tmp_path / "sysctls.json") == other.settings
    cable = Path("/sys/class/net", cable_name(other.state.identity))
    eventually(lambda: not cable.exists(), 10, "the cable is gone, and routes with it")
    assert "does not run" in other.command("status")
    assert {path.name for path in other.state.root.iterdir()} == {"bin", "cache", "lock", "run"}, "what was built stays"
    assert list((other.state.root / "run").iterdir()) == []


def _cgroups(other: Other) -> list[Path]:
    name = cgroups.name(other.state.identity)
    root = Path("/sys/fs/cgroup")
    return [*root.glob(name), *root.glob(f"*/{name}")]
