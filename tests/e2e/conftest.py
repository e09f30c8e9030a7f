"""A real cluster with the operator of this checkout on it."""

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import builders, deploy
from tests.cluster import build_image, load_image, programs
from tests.cluster.paths import State
from tests.integration.support.eventually import eventually

_numbers = itertools.count(1)
# What the pods of a test ask for: several fit beside each other on a small machine.
SMALL = {"cpu": "100m", "memory": "2Gi"}
# Each look is a kubectl, whose start takes a third of a second of CPU from the trainings that are waited for.
POLL_SECONDS = 1.0
ROWS = "".join(f"where is parcel {number},delivery\nmy bill {number} is wrong,billing\n" for number in range(20))
DATA = {"train.csv": f"text,label\n{ROWS}", "valid.csv": "text,label\nwhere is it,delivery\nwrong bill,billing\n"}
TRAINER_TESTS = "trainer-tests"
TINY_BASE = Path(__file__).with_name("tiny_base.py")


@pytest.fixture(scope="session")
def tools() -> deploy.Tools:
    """The cluster; it is left up, so that the next session starts fast."""
    return deploy.up()


@pytest.fixture(scope="session")
def images(tools: deploy.Tools) -> deploy.Images:
    """The images of this checkout."""
    assert tools
    return deploy.build_images()


@pytest.fixture(scope="session")
def installed(tools: deploy.Tools, images: deploy.Images) -> deploy.Tools:
    """The operator, installed by its chart."""
    deploy.install(tools, images)
    return tools


@dataclass(frozen=True)
class Desk:
    """A namespace for one test."""

    tools: deploy.Tools
    namespace: str
    images: deploy.Images

    def apply(self, *objects: builders.Object) -> None:
        """Create objects, or make them so."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.tools.kubectl(
            "apply", "--server-side", "--force-conflicts", "-n", self.namespace, "-f", "-", stdin=json.dumps(listed)
        )

    def data(self, files: dict[str, str], name: str = "desk") -> None:
        """Create a ConfigMap of files by key."""
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files})

    def claim(self, name: str, mode: str = "ReadWriteOnce") -> None:
        """Create a claim."""
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
        self.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})

    def object(self, kind: str, name: str) -> builders.Object:
        """Return one of our objects."""
        return self.tools.get(kind, name, "-n", self.namespace)

    def ready(self, kind: str, name: str) -> builders.Object:
        """Return the Ready condition, empty before there is one."""
        conditions = self.object(kind, name).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == "Ready"), {})

    def awaits(self, kind: str, name: str, *phases: str, seconds: float = 180) -> builders.Object:
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

    def awaits_reason(self, kind: str, name: str, reason: str, seconds: float = 240) -> str:
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
        listed = self.tools.get("jobs", "-n", self.namespace, "-l", "app.kubernetes.io/managed-by=stagecoach")
        return list(listed["items"])

    def ready_project(self) -> None:
        """Create the project `desk` on the tiny base, with small data in a ConfigMap, and wait until it is ready."""
        self.data(DATA)
        self.apply(tiny_project(self.namespace))
        self.awaits("txp", "desk", "Ready")

    def tiny_base(self, mode: str = "ReadWriteOnce") -> None:
        """Write a random model of some thousand weights into the claim `models`."""
        self.claim("models", mode)
        self.data({TINY_BASE.name: TINY_BASE.read_text()}, name="tiny-base")
        self.apply(_tiny_base_job(self.images.trainer))
        self.tools.kubectl("wait", "-n", self.namespace, "--for=condition=complete", "job/tiny-base", "--timeout=9m")


@contextmanager
def new_desk(installed: deploy.Tools, images: deploy.Images) -> Iterator[Desk]:
    """Make a namespace in which only restricted pods run; it goes in the end."""
    made = Desk(installed, f"e2e-{next(_numbers)}", images)
    installed.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait")
    deploy.make_namespace(installed, made.namespace)
    yield made
    installed.kubectl("delete", "namespace", made.namespace, "--wait=false")


@pytest.fixture(scope="session")
def tests_image(images: deploy.Images) -> str:
    """The image of the trainer's own tests: the trainer's, with the servers that these need."""
    assert images
    place = deploy.ROOT / "tests/unit/trainer/build"
    place.mkdir(exist_ok=True)
    shutil.copy2(programs.object_store(State.from_environment()), place / "versitygw")
    build_image("stagecoach/trainer-tests", deploy.ROOT / "tests/unit/trainer", context=deploy.ROOT)
    return load_image("stagecoach/trainer-tests")


def passed(image: str) -> Path:
    """Return the file that says that the tests of an image have passed: its digest is over all that they depend on."""
    return State.from_environment().cache / "passed" / image.rpartition(":")[2]


@pytest.fixture(scope="session", autouse=True)
def trainer_tests(
    request: pytest.FixtureRequest, installed: deploy.Tools, images: deploy.Images
) -> Iterator[Desk | None]:
    """A namespace with the Job of the trainer's own tests, where they are asked for and have not passed before.

    They need some CPU minutes and no cluster: started first, they take what the other tests leave while these wait.
    """
    asked = any(item.path.name == "test_images.py" for item in request.session.items)
    if not asked or passed(request.getfixturevalue("tests_image")).exists():
        yield None
        return
    # Two processes that train, what they start, and the servers of S3 and MLflow.
    resources = {"requests": {"cpu": "100m", "memory": "2Gi"}, "limits": {"memory": "5Gi"}}
    container = {"image": request.getfixturevalue("tests_image"), "resources": resources}
    job = deploy.restricted_job(TRAINER_TESTS, container, [])
    with new_desk(installed, images) as made:
        installed.kubectl("create", "-n", made.namespace, "-f", "-", stdin=json.dumps(job))
        yield made


@pytest.fixture
def desk(installed: deploy.Tools, images: deploy.Images) -> Iterator[Desk]:
    """A namespace of the test's own."""
    with new_desk(installed, images) as made:
        yield made


@pytest.fixture(scope="module")
def shelf(installed: deploy.Tools, images: deploy.Images) -> Iterator[Desk]:
    """A namespace that the tests of a module share, with the tiny base and a claim for storage."""
    with new_desk(installed, images) as made:
        made.tiny_base()
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


def _tiny_base_job(image: str) -> builders.Object:
    container = {
        "image": image,
        "command": ["python3", f"/script/{TINY_BASE.name}", "/models/small"],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}, {"name": "script", "mountPath": "/script"}],
    }
    volumes = [
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "script", "configMap": {"name": "tiny-base"}},
    ]
    return deploy.restricted_job("tiny-base", container, volumes)
