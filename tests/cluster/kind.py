"""A cluster of kind, with a registry beside it.

Untested: written after kind's guide for a local registry, on a machine that has no docker daemon.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import docker, references
from tests.cluster.paths import State
from tests.cluster.progress import Step
from tests.cluster.shell import run, succeeds

_NAME = "stagecoach"
_REGISTRY = "stagecoach-registry"
_PORT = 5055
_CONFIGURATION = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "containerdConfigPatches": [
        '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"'
    ],
}


class Kind:
    """The backend for machines with docker and kind."""

    name = "kind (untested)"

    def __init__(self, state: State) -> None:
        self._state = state
        self._directory = state.run("kind")

    def up(self) -> None:
        """Create the cluster and the registry, each unless it is there."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if not succeeds(["docker", "inspect", _REGISTRY]):
            run(
                [
                    "docker",
                    "run",
                    "-d",
                    "--restart=always",
                    "-p",
                    f"127.0.0.1:{_PORT}:5000",
                    "--name",
                    _REGISTRY,
                    "registry:2",
                ]
            )
        if _NAME not in run(["kind", "get", "clusters"]).split():
            self._create()
        self.kubeconfig().write_text(run(["kind", "get", "kubeconfig", "--name", _NAME]))

    def _create(self) -> None:
        configuration = self._directory / "kind.json"
        configuration.write_text(json.dumps(_CONFIGURATION))
        with Step("creating a kind cluster") as step:
            files: list[str | Path] = ["--config", configuration, "--kubeconfig", self.kubeconfig()]
            step.run(["kind", "create", "cluster", "--name", _NAME, "--wait", "120s", *files])
        succeeds(["docker", "network", "connect", "kind", _REGISTRY])
        directory = f"/etc/containerd/certs.d/127.0.0.1:{_PORT}"
        hosts = f'[host."http://{_REGISTRY}:5000"]'
        for node in run(["kind", "get", "nodes", "--name", _NAME]).split():
            write = f"mkdir -p '{directory}' && echo '{hosts}' > '{directory}/hosts.toml'"
            run(["docker", "exec", node, "sh", "-c", write])

    def down(self) -> None:
        """Delete the cluster and the registry."""
        run(["kind", "delete", "cluster", "--name", _NAME])
        succeeds(["docker", "rm", "--force", "--volumes", _REGISTRY])

    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self._directory / "kubeconfig"

    def build(self, name: str, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
        """Build an image with docker."""
        docker.build(name, dockerfile, context, arguments)

    def load(self, name: str) -> str:
        """Push an image to the registry beside the cluster."""
        return references.remember(self._state, name, docker.push(name, f"127.0.0.1:{_PORT}"))

    def image_reference(self, name: str) -> str:
        """The reference by digest of an image that was loaded."""
        return references.recall(self._state, name)

    def status(self) -> dict[str, str]:
        """Facts for people."""
        exists = _NAME in run(["kind", "get", "clusters"]).split()
        return {"cluster": _NAME if exists else "none", "registry": f"127.0.0.1:{_PORT}"}
