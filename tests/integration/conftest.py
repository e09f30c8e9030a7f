"""A real control plane without nodes, a namespace per test, and the operator as a process."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.cluster import ControlPlane
from tests.integration.support import policy
from tests.integration.support.eventually import eventually
from tests.integration.support.jury import Jury
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.logs import FakeLogs
from tests.integration.support.operator import ROOT, OperatorProcess
from tests.integration.support.players import BELIEVES_NODES
from tests.kube import Kube

StartOperator = Callable[..., OperatorProcess]

# Who wrote what, without bodies: enough to count the writes of each client.
_AUDIT = {
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "Metadata", "resources": [{"group": "stagecoach.dev"}, {"group": "batch"}, {"group": ""}]},
        {"level": "None"},
    ],
}
_numbers = itertools.count(1)
_CHART = "tests/integration/chart/"
# Half of the chart's time; the other half are releases, and who may do what on them.
_WHAT_IS_WRITTEN = (
    "test_definitions.py",
    "test_documentation.py",
    "test_prometheus.py",
    "test_rules.py",
    "test_values.py",
)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc] # a class of a library without types
    """Of processes that share the tests, one has all of a file. Those of the chart need a control plane more, and two do.

    Told from names, since marks of groups are not heard of with pytest 9.2 and pytest-xdist 3.8.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not file.startswith(_CHART):
            return file
        return f"{_CHART} {file.removeprefix(_CHART) in _WHAT_IS_WRITTEN}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Say how processes share the tests."""
    return _Scheduling(config, log)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The API server, etcd and the controller manager, with the project's kinds installed."""
    with ControlPlane(
        tmp_path_factory.mktemp("control-plane"), audit_policy=_AUDIT, controller_manager_arguments=(BELIEVES_NODES,)
    ) as running:
        install_kinds(Kube(running.kubeconfig), ROOT / "crds")
        policy.install(Kube(running.kubeconfig))
        yield running


@pytest.fixture
def namespace_labels() -> dict[str, str]:
    """Labels of the tests' namespaces."""
    return {}


@pytest.fixture
def kube(control_plane: ControlPlane, namespace_labels: dict[str, str]) -> Iterator[Kube]:
    """A client whose default is a namespace of this test's own."""
    admin = Kube(control_plane.kubeconfig)
    name = f"test-{next(_numbers)}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": namespace_labels}})
    yield admin.within(name)
    admin.delete("Namespace", name)


@pytest.fixture
def kubelet(kube: Kube) -> FakeKubelet:
    """Says what the kubelet would say about this test's pods."""
    return FakeKubelet(kube)


@pytest.fixture
def start_operator(kube: Kube, tmp_path: Path) -> Iterator[StartOperator]:
    """Start operators for this test's namespace; each call starts one more, all with the same lease."""
    started: list[OperatorProcess] = []

    def start(*arguments: str, **details: object) -> OperatorProcess:
        scope = ("--namespace", kube.namespace, "--lease-namespace", kube.namespace)
        log = tmp_path / f"operator-{len(started)}.log"
        kubeconfig = details.pop("kubeconfig", kube.kubeconfig)
        started.append(OperatorProcess(kubeconfig, log, (*scope, *arguments), **details))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.end()
        print(f"the operator's log:\n{each.text()[-4000:]}")  # shown with a test that fails


@pytest.fixture
def operator(start_operator: StartOperator) -> OperatorProcess:
    """The whole operator, leading, for this test's namespace."""
    return start_operator().wait_ready().wait_leading()


@pytest.fixture
def logs(kube: Kube, tmp_path: Path) -> Iterator[FakeLogs]:
    """Pods of this test's namespace have logs."""
    with FakeLogs(kube, tmp_path) as running:
        yield running


@pytest.fixture
def jury(kube: Kube, kubelet: FakeKubelet, operator: OperatorProcess, logs: FakeLogs) -> Jury:
    """A project that is ready, with rows for people to read."""
    assert operator
    jury = Jury(kube, kubelet, logs)
    jury.make_project_with_canary()
    return jury


def install_kinds(kube: Kube, directory: Path) -> None:
    """Apply the custom resource definitions of a directory and wait until they are served."""
    documents = [yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(directory.glob("*.yaml"))]
    for document in documents:
        install_kind(kube, document)


def install_kind(kube: Kube, document: dict[str, object]) -> None:
    """Apply one custom resource definition and wait until it is served."""
    applied = kube.apply(document)

    def established() -> bool:
        status = kube.get("CustomResourceDefinition", applied["metadata"]["name"]).get("status", {})
        return any(
            each["type"] == "Established" and each["status"] == "True" for each in status.get("conditions") or ()
        )

    eventually(established, 60, f"the kind is served: {json.dumps(applied['metadata']['name'])}")
