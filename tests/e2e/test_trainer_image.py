"""The trainer's own tests, in its image and with its libraries: real trainings of a tiny model."""

import json

from tests import builders, deploy
from tests.cluster import build_image, load_image
from tests.e2e.conftest import Desk


def test_the_trainers_tests_pass_in_its_image(desk: Desk) -> None:
    build_image("stagecoach/trainer-tests", deploy.ROOT / "tests/unit/trainer", context=deploy.ROOT)
    job = tests_job(desk.namespace, load_image("stagecoach/trainer-tests"))
    desk.tools.kubectl("create", "-f", "-", stdin=json.dumps(job))
    output = deploy.await_job(desk.tools, desk.namespace, job["metadata"]["name"], seconds=900)
    last = output.strip().splitlines()[-1]
    assert " passed" in last, output
    assert "failed" not in last
    assert "skipped" not in last, "in its image every one of them runs"


def tests_job(namespace: str, image: str) -> builders.Object:
    """Return the Job that runs them."""
    container = {
        "name": "tests",
        "image": image,
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/stagecoach/scratch"}],
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": user,
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    metadata = {"name": "trainer-tests", "namespace": namespace}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
