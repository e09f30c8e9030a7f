"""A real cluster with the operator of this checkout on it."""

import itertools
import os
import pickle
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests import builders, deploy
from tests.cluster.errors import ClusterError
from tests.integration.support.eventually import eventually
from tests.kube import Kube

_numbers = itertools.count(1)
# What the pods that train ask for: those of several tests, with three engines and an operator that was killed, fit into 24 GiB,
# and many of them beside an engine leave it processors.
SMALL = {"cpu": "10m", "memory": "700Mi"}
POLL_SECONDS = 0.5
# Seconds until a test gives up, with something to train or to start or without: far more than it takes on a machine that
# does little else. How long something takes is told by benchmarks.
SOON, LATE = 300, 900
# Our kinds by their short names.
KINDS = {"ftr": "FineTuneRun", "txp": "TransformerProject"}
ROWS = "".join(f"where is parcel {number},delivery\nmy bill {number} is wrong,billing\n" for number in range(20))
DATA = {"train.csv": f"text,label\n{ROWS}", "valid.csv": "text,label\nwhere is it,delivery\nwrong bill,billing\n"}
# Where the tests' image has tiny base models (bases.py).
BASES = "/opt/bases"


@dataclass(frozen=True)
class Ground:
    """What all tests stand on, made once and before the processes that run them: cluster, images, operator."""

    tools: deploy.Tools
    tests_image: str
    evaluator_tests_image: str

    @classmethod
    def make(cls) -> "Ground":
        """Make it, or find it made. The cluster is left up, so that the next time is fast."""
        tools = deploy.up()
        images = deploy.all_images()
        tests_image = deploy.image("trainer-tests")
        evaluator_tests_image = deploy.image("evaluator-tests")
        deploy.install(tools, images)
        return cls(tools, tests_image, evaluator_tests_image)


GROUND = pytest.StashKey[Ground]()
FAILED = pytest.StashKey[bool]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Make the ground, in the process that others are started by."""
    config = session.config
    if hasattr(config, "workerinput"):
        config.stash[GROUND] = pickle.loads(config.workerinput["ground"])  # noqa: S301 - from the process that started it
    elif not config.option.collectonly:
        try:
            config.stash[GROUND] = Ground.make()
        except (ClusterError, RuntimeError) as error:
            pytest.exit(f"there is nothing to test on: {error}", returncode=1)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the ground to a process that runs tests."""
    node.workerinput["ground"] = pickle.dumps(node.config.stash[GROUND])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that they do not run alone in the end.

    Short ones come next: each of three processes is handed its second file while it is at its first.
    """
    first = (
        "test_deployment.py",
        "test_engine.py",
        "test_nodes.py",
        "test_bad_input.py",
        "test_cluster.py",
        "test_hub.py",
    )
    order = {name: number for number, name in enumerate(first)}
    items.sort(key=lambda item: order.get(item.path.name, len(first)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know that their test has failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def ground(pytestconfig: pytest.Config) -> Ground:
    """What all tests stand on."""
    return pytestconfig.stash[GROUND]


@dataclass(frozen=True)
class Desk:
    """A namespace for one test."""

    tools: deploy.Tools
    namespace: str
    tests_image: str

    @property
    def kube(self) -> Kube:
        """A client for looking often."""
        return self.tools.kube(self.namespace)

    def apply(self, *objects: builders.Object) -> None:
        """Create objects, or make them so."""
        for each in objects:
            self.kube.apply(each)

    def data(self, files: dict[str, str], name: str = "desk") -> None:
        """Create a ConfigMap of files by key."""
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files})

    def claim(self, name: str, mode: str = "ReadWriteOnce") -> None:
        """Create a claim."""
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
        self.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})

    def object(self, kind: str, name: str) -> builders.Object:
        """Return one of our objects."""
        return self.kube.get(KINDS[kind], name)

    def ready(self, kind: str, name: str) -> builders.Object:
        """Return the Ready condition, empty before there is one."""
        conditions = self.object(kind, name).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == "Ready"), {})

    def awaits(self, kind: str, name: str, *phases: str, seconds: float = LATE) -> builders.Object:
        """Return the object once it is in one of these phases."""

        def look() -> builders.Object | None:
            obj = self.object(kind, name)
            return obj if obj.get("status", {}).get("phase") in phases else None

        try:
            found = eventually(look, seconds, f"{kind} {name} is {' or '.join(phases)}", every=POLL_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.ready(kind, name)}") from None
        assert found
        return found

    def awaits_reason(self, kind: str, name: str, reason: str, seconds: float = LATE) -> str:
        """Return the Ready condition's message once it has this reason."""

        def look() -> str:
            ready = self.ready(kind, name)
            return str(ready["message"]) if ready.get("reason") == reason else ""

        try:
            return str(eventually(look, seconds, f"{kind} {name} says {reason}", every=POLL_SECONDS))
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.ready(kind, name)}") from None

    def jobs(self) -> list[builders.Object]:
        """Return the operator's Jobs in this namespace."""
        return self.kube.select("Job", "app.kubernetes.io/managed-by=stagecoach")

    def ready_project(self) -> None:
        """Create the project `desk` on the tiny base, with small data in a ConfigMap, and wait until it is ready."""
        self.data(DATA)
        self.apply(tiny_project(self.namespace))
        self.awaits("txp", "desk", "Ready")

    def bases(self, mode: str = "ReadWriteOnce") -> None:
        """Copy the tiny base models into the claim `models`."""
        self.claim("models", mode)
        models = {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
        container = {
            "image": self.tests_image,
            "command": ["cp", "-r", f"{BASES}/.", "/models"],
            "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        }
        self.apply(deploy.restricted_job("bases", container, [models]))
        deploy.await_job(self.tools, self.namespace, "bases", seconds=LATE)


@contextmanager
def new_desk(ground: Ground) -> Iterator[Desk]:
    """Make a namespace in which only restricted pods run; it goes in the end."""
    process = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    made = Desk(ground.tools, f"e2e-{process}-{next(_numbers)}", ground.tests_image)
    made.tools.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait")
    deploy.make_namespace(made.tools, made.namespace)
    yield made
    made.kube.delete("Namespace", made.namespace)


@pytest.fixture
def desk(ground: Ground) -> Iterator[Desk]:
    """A namespace of the test's own."""
    with new_desk(ground) as made:
        yield made


@pytest.fixture(scope="module")
def shelf(ground: Ground) -> Iterator[Desk]:
    """A namespace that the tests of a module share, with the tiny base and a claim for storage."""
    with new_desk(ground) as made:
        made.bases()
        made.claim("store")
        yield made


@pytest.fixture(scope="module")
def office(shelf: Desk) -> Desk:
    """The same, with the project `desk` on it, which is ready."""
    shelf.ready_project()
    return shelf


def tiny_project(namespace: str, name: str = "desk", **changes: Any) -> builders.Object:
    """Return a project on the tiny base, with small data in a ConfigMap."""
    data = {"sets": builders.project_spec()["data"]["sets"][:2]}
    return builders.project(name, namespace, **({"data": data} | changes))
