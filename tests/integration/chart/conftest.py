"""A control plane for the tests of the chart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.tools import CHART, Cluster, values
from tests.integration.support.players import BELIEVES_NODES

DEFINITIONS = ("customresourcedefinitions", "-l", "app.kubernetes.io/part-of=stagecoach")


@pytest.fixture(scope="session", autouse=True)
def chart_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server on which the chart alone installs the kinds. Its log tells what the operator asked for."""
    policy = {
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": ["system:serviceaccounts:stagecoach"]},
            {"level": "None"},
        ],
    }
    with ControlPlane(
        tmp_path_factory.mktemp("chart"), audit_policy=policy, controller_manager_arguments=(BELIEVES_NODES,)
    ) as control_plane:
        yield control_plane


@pytest.fixture(scope="session")
def cluster(chart_control_plane: ControlPlane) -> Cluster:
    """An administrator's access."""
    return Cluster(chart_control_plane.kubeconfig)


class Installer:
    """Installs releases of the chart and removes them, together with the definitions that they leave."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._kube = cluster
        self._folder = folder
        self._releases: list[tuple[str, str]] = []

    def install(self, name: str, namespace: str, *arguments: str, chart: Path = CHART, **more: object) -> None:
        """Install or upgrade a release."""
        if (name, namespace) not in self._releases:
            self._releases.append((name, namespace))
        self._kube.namespace(namespace)
        file = values(self._folder / f"{name}.yaml", **more)
        self._kube.helm("upgrade", "--install", name, str(chart), "-n", namespace, "-f", file, *arguments)

    def uninstall(self, name: str, namespace: str) -> None:
        """Uninstall a release, if it is installed."""
        self._kube.helm("uninstall", name, "-n", namespace, "--ignore-not-found")

    def clean(self) -> None:
        """Leave nothing."""
        for name, namespace in self._releases:
            self.uninstall(name, namespace)
        self._kube.kubectl("delete", *DEFINITIONS)


@pytest.fixture
def installer(cluster: Cluster, tmp_path: Path) -> Iterator[Installer]:
    """Installs releases for one test."""
    installer = Installer(cluster, tmp_path)
    yield installer
    installer.clean()


@pytest.fixture(scope="module")
def module_installer(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installer]:
    """Installs releases for the tests of one file."""
    installer = Installer(cluster, tmp_path_factory.mktemp("values"))
    yield installer
    installer.clean()
