"""Containers with an engine: a native sidecar of an evaluating pod, or what a pod is there for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stagecoach.contract import mounts, serving, uris

Object = dict[str, Any]

# Of the pod's memory a quarter is the evaluator's: raising `resources.memory` helps whichever of the two was short of
# it. More than this it never needs: it holds rows and answers, and no model.
EVALUATOR_SHARE = 4
MOST_OF_EVALUATOR = 8 * 1024**3
EVALUATOR_CPU = "100m"
# Of the engine's memory so much is for keys and values, on a CPU; on a GPU vLLM takes what the weights leave.
CACHE_SHARE = 4
# What prompts have in common is kept by whole blocks, and the default on CPUs is longer than most prompts. There every
# token of a batch gets a copy of its adapter's weights for a moment: that bounds how many tokens there are.
ON_CPUS = ("--enforce-eager", "--block-size", "32", "--max-num-batched-tokens", "2048")
AT_ONCE = ("--max-num-seqs", str(serving.AT_ONCE))
READY_SECONDS = "1200"
UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

# Serves what the file says, until it says something else. Where the server ends by itself, so does the container: the
# kubelet starts it again, and tells why it ended.
SCRIPT = f"""\
server=
trap 'test -z "$server" || {{ kill "$server"; wait "$server"; }}; exit 0' TERM INT
while :; do
  until test -s {serving.SERVE}; do sleep 1; done
  told=$(cat {serving.SERVE})
  echo "$told" >> {serving.STARTS}
  python3 -m vllm.entrypoints.openai.api_server "$@" $told &
  server=$!
  (while test "$(cat {serving.SERVE})" = "$told"; do sleep 1; done; kill "$server") &
  watcher=$!
  wait "$server"
  code=$?
  kill "$watcher" 2> /dev/null
  test "$(cat {serving.SERVE})" != "$told" || exit "$code"
done
"""


@dataclass(frozen=True)
class EngineImage:
    """An image of the engine, as whoever installed the operator chose it."""

    value: str  # of the chart, by which it is given
    image: str  # empty: none
    pull_policy: str


@dataclass(frozen=True)
class EngineWork:
    """What an engine asks for."""

    image: str
    pull_policy: str
    bases: tuple[str, ...]  # URIs of the base models
    threads: int
    on_a_gpu: bool = False


def in_bytes(quantity: str) -> int:
    """Return what a quantity such as `8Gi` or `500M` comes to."""
    number = quantity.rstrip("kKMGTi")
    return int(number) * UNITS.get(quantity.removeprefix(number), 1)


def shares(memory: str) -> tuple[int, int]:
    """Return how many bytes of a pod's memory are the evaluator's, and how many the engine's."""
    whole = in_bytes(memory)
    evaluators = min(whole // EVALUATOR_SHARE, MOST_OF_EVALUATOR)
    return evaluators, whole - evaluators


def volumes() -> list[Object]:
    """Return what evaluator and engine have between them."""
    return [
        {"name": "models", "emptyDir": {}},
        {"name": "engine", "emptyDir": {}},
        # The server's processes exchange what they compute there; a container has 64 MiB by default.
        {"name": "engine-memory", "emptyDir": {"medium": "Memory"}},
    ]


def mounts_beside() -> list[Object]:
    """Return the evaluator's own of these: it says what is served, and sees how often the server was started."""
    return [
        {"name": "models", "mountPath": mounts.MODELS},
        {"name": "engine", "mountPath": mounts.ENGINE, "readOnly": True},
    ]


def container(engine: EngineWork, resources: Object, memory: int, places: list[Object], security: Object) -> Object:
    """Return the engine's container beside an evaluator, with whose work it ends."""
    arguments = (*serving.arguments(serving.HOST), *AT_ONCE)
    return {**server(engine, arguments, resources, memory, places, security), "restartPolicy": "Always"}


def server(
    engine: EngineWork,
    arguments: Sequence[str],
    resources: Object,
    memory: int,
    places: list[Object],
    security: Object,
) -> Object:
    """Return a container with the engine; `places` are the mounts of what is beside it, of which it sees the models."""
    bases = map(uris.parse, engine.bases)
    seen = {mounts.STORAGE, mounts.SCRATCH, *(mounts.folder_of(base) for base in bases if base.mounted)}
    on_cpus = () if engine.on_a_gpu else (*ON_CPUS, "--kv-cache-memory-bytes", str(memory // CACHE_SHARE))
    return {
        "name": serving.CONTAINER,
        "image": engine.image,
        "imagePullPolicy": engine.pull_policy,
        "command": ["sh", "-c", SCRIPT, serving.CONTAINER, *arguments, *on_cpus],
        "env": [{"name": name, "value": value} for name, value in _environment(engine).items()],
        "resources": resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": security,
        "volumeMounts": [
            {"name": "models", "mountPath": mounts.MODELS, "readOnly": True},
            {"name": "engine", "mountPath": mounts.ENGINE},
            {"name": "engine-memory", "mountPath": "/dev/shm"},  # noqa: S108 - it is this very place
            *(place | {"readOnly": True} for place in places if place["mountPath"] in seen),
        ],
    }


def _environment(engine: EngineWork) -> dict[str, str]:
    """Return what the server is told by its environment: where it may write, and to ask and tell nobody outside."""
    threads = {} if engine.on_a_gpu else {"OMP_NUM_THREADS": str(engine.threads)}
    return threads | {
        "HOME": mounts.ENGINE,
        "TMPDIR": mounts.ENGINE,
        "USER": "stagecoach",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": READY_SECONDS,
        # An adapter is loaded when it is first asked, by its digest, and no other plugin is.
        "VLLM_PLUGINS": "lora_filesystem_resolver",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_LORA_RESOLVER_CACHE_DIR": serving.ADAPTERS,
    }
