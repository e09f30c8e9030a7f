"""vLLM on a CPU, as a native sidecar in a restricted pod, beside what asks it over loopback and compares its answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import deploy
from tests.cluster.errors import ClusterError
from tests.e2e.conftest import Desk, Ground, new_desk

HERE = Path(__file__).parent
MODELS = {"name": "models", "mountPath": "/models"}
# Among the tests that are in the image.
PROGRAMS = {"name": "programs", "mountPath": "/opt/tests/tests/engine"}
PORT = 8000
# The likeliest answers of both are the same but where two tokens are as good as equally likely.
LOGARITHMS = 1e-4
PROBABILITIES = 1e-5
HEALTH = f"import urllib.request as web; web.urlopen('http://127.0.0.1:{PORT}/health', timeout=5)"
# No pod but its own reaches an engine that listens on loopback, the kubelet neither: it asks from inside. To start
# takes a minute of a CPU; where others want it too, several.
PROBE = {"exec": {"command": ["python3", "-c", HEALTH]}, "periodSeconds": 5, "timeoutSeconds": 10}
COMMON = [
    *("--host", "127.0.0.1", "--port", str(PORT), "--dtype", "float32", "--enforce-eager"),
    # Without it, a classifier's engine too asks for 0.92 of the node's memory, and does not start where others have it.
    *("--kv-cache-memory-bytes", str(256 * 1024**2)),
]
DECODER = [
    *COMMON,
    *("--served-model-name", "base", "--max-model-len", "256", "--block-size", "32"),
    *("--enable-lora", "--max-lora-rank", "8"),
]
ENCODER = [*COMMON, "--served-model-name", "classifier", "--runner", "pooling"]
RUNTIME_ADAPTERS = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_LORA_RESOLVER_CACHE_DIR": "/models/adapters"}


@pytest.fixture(scope="module")
def ground() -> Ground:
    """The cluster and the trainer's images; the operator has no part in this."""
    try:
        tools = deploy.up()
        deploy.image("trainer")
        return Ground(tools, deploy.image("trainer-tests"), evaluator_tests_image="not needed")
    except (ClusterError, RuntimeError) as error:
        pytest.exit(f"there is nothing to test on: {error}", returncode=1)


@pytest.fixture(scope="module")
def engine() -> str:
    """The image."""
    return deploy.image("engine-cpu")


@pytest.fixture(scope="module")
def desk(ground: Ground) -> Iterator[Desk]:
    """A namespace with a claim for models, and the programs of this folder."""
    with new_desk(ground) as made:
        made.claim("models")
        made.data(
            {name: (HERE / name).read_text() for name in ("__init__.py", "asking.py", "compare.py", "prepare.py")},
            "programs",
        )
        yield made


@pytest.fixture(scope="module")
def names(desk: Desk) -> dict[str, str]:
    """What the trainer made, by its digests."""
    job = deploy.restricted_job("prepare", of_tests(desk, "prepare", "/models"), volumes())
    found: dict[str, str] = made(desk, job)
    return found


def volumes() -> list[Any]:
    return [
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "programs", "configMap": {"name": "programs"}},
        {"name": "engine-scratch", "emptyDir": {}},
        # The engine's processes exchange what they compute there; a container has 64 MiB by default.
        {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
    ]


def of_tests(desk: Desk, program: str, *arguments: str, names: dict[str, str] | None = None) -> Any:
    return {
        "image": desk.tests_image,
        "command": ["python3", "-m", f"tests.engine.{program}", *arguments],
        "env": [{"name": "NAMES", "value": json.dumps(names)}],
        "resources": {"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "3Gi"}},
        "volumeMounts": [MODELS | {"readOnly": bool(names)}, PROGRAMS],
    }


def beside(desk: Desk, image: str, arguments: list[str], names: dict[str, str], comparison: str) -> Any:
    """Run an engine as a sidecar, and a comparison beside it; return what that found."""
    job = deploy.restricted_job(comparison, of_tests(desk, "compare", comparison, names=names), volumes())
    pod = job["spec"]["template"]["spec"]
    sidecar = {
        "name": "engine",
        "image": image,
        "args": arguments,
        "restartPolicy": "Always",
        "env": [
            {"name": name, "value": value} for name, value in ({"OMP_NUM_THREADS": "1"} | RUNTIME_ADAPTERS).items()
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
        "securityContext": pod["containers"][0]["securityContext"],
        "startupProbe": PROBE | {"failureThreshold": 180},
        "volumeMounts": [
            MODELS | {"readOnly": True},
            {"name": "engine-scratch", "mountPath": "/stagecoach/scratch"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - it is this very place
        ],
    }
    pod["initContainers"] = [sidecar]
    return made(desk, job)


def made(desk: Desk, job: Any) -> Any:
    """Run a Job to its end; return the JSON in its last line. Where it fails, the engine's words are shown too."""
    name = job["metadata"]["name"]
    desk.tools.kubectl("create", "-n", desk.namespace, "-f", "-", stdin=json.dumps(job))
    try:
        log = deploy.await_job(desk.tools, desk.namespace, name, seconds=1500)
    except RuntimeError as error:
        log = desk.tools.kubectl(
            *("logs", "-n", desk.namespace, f"job/{name}", "-c", "engine", "--tail=200"), check=False
        )
        raise RuntimeError(f"{error}\n{log}") from None
    return json.loads(log.strip().splitlines()[-1])


def test_a_decoder_and_an_adapter_answer_as_in_transformers(desk: Desk, engine: str, names: dict[str, str]) -> None:
    found = beside(desk, engine, ["--model", f"/models/{names['base']}", *DECODER], names, "decoder")
    print(found)
    for each in ("base", "adapter"):
        rows = len(found[each]["written"])
        assert found[each]["alone"] == rows, "asked one by one, every answer is that of transformers"
        assert found[each]["together"] >= rows - 1, "in a batch, sums are added in another order"
        assert found[each]["chosen"] >= rows - 1
        assert found[each]["labels"] > 1
        assert found[each]["difference"] < LOGARITHMS
    assert found["differ"] > 0, "the adapter is asked, not the base"
    refused = found["refused"]
    assert refused["an adapter that is not there"].startswith("404")
    assert refused["a folder elsewhere"].startswith("404")
    assert refused["DoRA"].startswith(("400", "404")), refused
    assert refused["too long"].startswith("400")
    assert refused["an unknown token"].startswith("400")
    assert found["afterwards"], "what it refused did it no harm"


def test_a_classifier_gives_the_probabilities_of_transformers(desk: Desk, engine: str, names: dict[str, str]) -> None:
    folder = f"/models/{names['classifier']}"
    found = beside(desk, engine, ["--model", folder, "--tokenizer", f"{folder}/tokenizer", *ENCODER], names, "encoder")
    print(found)
    assert found["difference"] < PROBABILITIES
    assert found["rows"] > 1
