"""The tests of trainer and evaluator, in their images and with their libraries: real trainings of tiny models."""

import json
from pathlib import Path

import pytest

from tests import deploy
from tests.cluster.paths import State
from tests.e2e.conftest import Desk, Ground

# Three processes that train, what they start, and the servers of S3 and MLflow.
RESOURCES = {"requests": {"cpu": "50m", "memory": "2Gi"}, "limits": {"memory": "6Gi"}}
# A disk that is soon full: in a pod nobody may mount one.
SMALL_DISK = "/small"
VOLUME = {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "24Mi"}}


@pytest.fixture(params=["trainer", "evaluator"])
def image(request: pytest.FixtureRequest, ground: Ground) -> str:
    """An image of tests."""
    return ground.tests_image if request.param == "trainer" else ground.evaluator_tests_image


@pytest.fixture
def selection(pytestconfig: pytest.Config) -> str:
    """Which tests are run here, by their marks: of those in images, too."""
    return str(pytestconfig.getoption("markexpr"))


@pytest.fixture
def passed(image: str, selection: str) -> Path:
    """The file that is there once an image's tests have passed: its digest is over all that they depend on."""
    found = State.from_environment().cache / "passed" / image.rpartition(":")[2]
    of_selection = found.with_name(f"{found.name}-{selection.replace(' ', '-')}") if selection else found
    for each in (found, of_selection):
        if each.exists():
            pytest.skip(f"they have passed in this very image; to run them again, remove {each}")
    return of_selection


# The order counts: what is skipped makes no namespace.
def test_the_tests_pass_in_their_image(passed: Path, desk: Desk, image: str, selection: str) -> None:
    container = {
        "image": image,
        "resources": RESOURCES,
        "env": [
            {"name": "SMALL_DISK", "value": SMALL_DISK},
            {"name": "PYTEST_ADDOPTS", "value": f"-m '{selection}' --durations=50"},
        ],
        "volumeMounts": [{"name": VOLUME["name"], "mountPath": SMALL_DISK}],
    }
    job = deploy.restricted_job("image-tests", container, [VOLUME])
    desk.tools.kubectl("create", "-n", desk.namespace, "-f", "-", stdin=json.dumps(job))
    output = deploy.await_job(desk.tools, desk.namespace, "image-tests", seconds=2700)
    print(output)
    last = output.strip().splitlines()[-1]
    assert " passed" in last
    assert "failed" not in last
    assert "skipped" not in last, "in their image every one of them runs"
    passed.parent.mkdir(parents=True, exist_ok=True)
    passed.touch()
