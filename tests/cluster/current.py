"""The cluster that kubectl already talks to."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import docker, references
from tests.cluster.buildah import Buildah
from tests.cluster.errors import ClusterError
from tests.cluster.paths import State
from tests.cluster.shell import run


class Current:
    """A backend that starts and stops nothing. Images go to the registry that REGISTRY names."""

    name = "current"

    def __init__(self, state: State) -> None:
        self._state = state
        self._buildah = Buildah(state)

    def up(self) -> None:
        """Check that the cluster answers."""
        run(["kubectl", "--kubeconfig", self.kubeconfig(), "get", "--raw", "/readyz"])

    def down(self) -> None:
        """Leave somebody's cluster alone."""

    def kubeconfig(self) -> Path:
        """The first file of KUBECONFIG, or the usual one."""
        named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        path = Path(named) if named else Path.home() / ".kube" / "config"
        if not path.exists():
            raise ClusterError(f"CLUSTER=current, but there is no kubeconfig at {path}. Set KUBECONFIG.")
        return path

    def build(self, name: str, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
        """Build with docker where it runs, else with buildah."""
        if docker.is_running():
            docker.build(name, dockerfile, context, arguments)
        else:
            self._buildah.build(name, dockerfile, context, arguments)

    def load(self, name: str) -> str:
        """Push an image to REGISTRY."""
        registry = os.environ.get("REGISTRY")
        if not registry:
            raise ClusterError(
                "CLUSTER=current needs a registry that the cluster pulls from. "
                "Set REGISTRY, for example REGISTRY=registry.example.com/team."
            )
        push = docker.push if docker.is_running() else self._buildah.push
        return references.remember(self._state, name, push(name, registry))

    def image_reference(self, name: str) -> str:
        """The reference by digest of an image that was loaded."""
        return references.recall(self._state, name)

    def status(self) -> dict[str, str]:
        """Facts for people."""
        program = shutil.which("kubectl")
        return {"registry": os.environ.get("REGISTRY", "none (set REGISTRY)"), "kubectl": program or "none"}
