"""A real cluster with the operator of this checkout on it."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests import builders, deploy
from tests.integration.support.eventually import eventually

_numbers = itertools.count(1)
# What the pods of a test ask for: several fit beside each other on a small machine.
SMALL = {"cpu": "100m", "memory": "2Gi"}
# Each look is a kubectl, whose start takes a third of a second of CPU from the trainings that are waited for.
POLL_SECONDS = 1.0
ROWS = "".join(f"where is parcel {number},delivery\nmy bill {number} is wrong,billing\n" for number in range(20))
DATA = {"train.csv": f"text,label\n{ROWS}", "valid.csv": "text,label\nwhere is it,delivery\nwrong bill,billing\n"}
TINY_BASE = Path(__file__).with_name("tiny_base.py")


@dataclass(frozen=True)
class Once:
    """What several processes of one test run share: the first one makes it, the others wait and read."""

    folder: Path

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `make` returned, in whichever process it ran; it has to have a JSON form."""
        answer = self.folder / f"{name}.json"
        with FileLock(answer.with_suffix(".lock")):
            if not answer.exists():
                answer.write_text(json.dumps(make()))
            return json.loads(answer.read_text())


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Once:
    """What this test run makes once."""
    folder = tmp_path_factory.getbasetemp().parent / f"once-{testrun_uid}"
    folder.mkdir(exist_ok=True)
    return Once(folder)


@pytest.fixture(scope="session")
def tools() -> deploy.Tools:
    """The cluster; it is left up, so that the next session starts fast."""
    return deploy.up()


@pytest.fixture(scope="session")
def images(tools: deploy.Tools, once: Once) -> deploy.Images:
    """The images of this checkout."""
    assert tools
    return deploy.Images(**once.get("images", lambda: asdict(deploy.build_images())))


@pytest.fixture(scope="session")
def installed(tools: deploy.Tools, images: deploy.Images, once: Once) -> deploy.Tools:
    """The operator, installed by its chart."""
    once.get("operator", lambda: deploy.install(tools, images))
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

    def tiny_project(self, mode: str = "ReadWriteOnce") -> None:
        """Create the project `desk` on the tiny base, with small data in a ConfigMap, and wait until it is ready."""
        self.tiny_base(mode)
        self.claim("store", mode)
        self.data(DATA)
        self.apply(tiny_project(self.namespace))
        self.awaits("txp", "desk", "Ready")

    def tiny_base(self, mode: str = "ReadWriteOnce") -> None:
        """Write a random model of some thousand weights into the claim `models`."""
        self.claim("models", mode)
        self.data({TINY_BASE.name: TINY_BASE.read_text()}, name="tiny-base")
        self.apply(_tiny_base_job(self.images.trainer))
        self.tools.kubectl("wait", "-n", self.namespace, "--for=condition=complete", "job/tiny-base", "--timeout=9m")


@pytest.fixture
def make_desk(installed: deploy.Tools, images: deploy.Images, worker_id: str) -> Iterator[Callable[[], Desk]]:
    """Make namespaces in which only restricted pods run; they go with the test."""
    made = []

    def make() -> Desk:
        desk = Desk(installed, f"e2e-{worker_id}-{next(_numbers)}", images)
        installed.kubectl("delete", "namespace", desk.namespace, "--ignore-not-found", "--wait")
        deploy.make_namespace(installed, desk.namespace)
        made.append(desk)
        return desk

    yield make
    for desk in made:
        installed.kubectl("delete", "namespace", desk.namespace, "--wait=false")


@pytest.fixture
def desk(make_desk: Callable[[], Desk]) -> Desk:
    """A namespace of the test's own."""
    return make_desk()


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
