"""The trainer's own tests, in its image and with its libraries: real trainings of a tiny model."""

import json
import shutil

from tests import deploy
from tests.cluster import build_image, load_image, programs
from tests.cluster.paths import State
from tests.e2e.conftest import Desk


def test_the_trainers_tests_pass_in_its_image(desk: Desk) -> None:
    place = deploy.ROOT / "tests/unit/trainer/build"
    place.mkdir(exist_ok=True)
    shutil.copy2(programs.object_store(State.from_environment()), place / "versitygw")
    build_image("stagecoach/trainer-tests", deploy.ROOT / "tests/unit/trainer", context=deploy.ROOT)
    # Two processes that train, what they start, and the servers of S3 and MLflow.
    resources = {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "5Gi"}}
    container = {"image": load_image("stagecoach/trainer-tests"), "resources": resources}
    job = deploy.restricted_job("trainer-tests", container, [])
    desk.tools.kubectl("create", "-n", desk.namespace, "-f", "-", stdin=json.dumps(job))
    output = deploy.await_job(desk.tools, desk.namespace, "trainer-tests", seconds=900)
    last = output.strip().splitlines()[-1]
    assert " passed" in last, output
    assert "failed" not in last
    assert "skipped" not in last, "in its image every one of them runs"
