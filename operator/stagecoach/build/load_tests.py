"""The Job of a load test: a spare pod of an engine, as it would serve, and beside it what asks it."""

import inspect
from typing import Any

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build import bench, serving
from stagecoach.build.jobs import Demand
from stagecoach.build.pods import chosen, confined, escaped
from stagecoach.build.recipes import Recipe
from stagecoach.build.serving import Settings
from stagecoach.build.serving_engine import key_variable, parts, server
from stagecoach.contract import serving as contract
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from stagecoach.contract.load_tests import KEY_VARIABLE, TOKEN_VARIABLE, LoadTestJob
from stagecoach.contract.reports import TERMINATION_LOG
from stagecoach.policies.keys import Purpose
from stagecoach.policies.pods import CONTAINER

Object = dict[str, Any]

KEEP_SECONDS = 3600
GRACE_SECONDS = 30
ASKER = Demand(cpu="250m", memory="2Gi")


def load_test(deployment: ModelDeployment, recipe: Recipe, name: str, told: LoadTestJob, settings: Settings) -> Object:
    """Return the Job. It waits in no queue, as engines do not."""
    metadata = serving.metadata(deployment, name, recipe.pods.labels)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": _pod(deployment, recipe, told, settings),
            },
        },
    }


def _pod(deployment: ModelDeployment, recipe: Recipe, told: LoadTestJob, settings: Settings) -> Object:
    made_of = parts(deployment, recipe, settings)
    # Nobody outside of the pod reaches it.
    engine = server(deployment, made_of, contract.arguments(contract.HOST), settings) | {"restartPolicy": "Always"}
    return (
        confined()
        | {
            "restartPolicy": "Never",
            # The pod, with its images, may take as long to start as the model in it.
            "activeDeadlineSeconds": 2 * told.start_seconds + told.load_seconds,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "initContainers": [made_of.loader, engine],
            "containers": [_asker(deployment, engine, told, settings)],
            "volumes": made_of.volumes,
        }
        | chosen(recipe.pods)
    )


def _asker(deployment: ModelDeployment, engine: Object, told: LoadTestJob, settings: Settings) -> Object:
    """Return what asks: in the engine's image, where vLLM's benchmark is, and with its mounts, for the tokenizer."""
    own = ("image", "imagePullPolicy", "securityContext", "volumeMounts")
    others = [each for each in engine["env"] if each["name"] not in ("OMP_NUM_THREADS", "VLLM_API_KEY")]
    return {name: engine[name] for name in own} | {
        "name": CONTAINER,
        "command": ["python3", "-c", inspect.getsource(bench)],
        "env": [
            *others,
            {"name": "OMP_NUM_THREADS", "value": "1"},
            {"name": ENVIRONMENT_VARIABLE, "value": escaped(told.line())},
            key_variable(deployment, TOKEN_VARIABLE, Purpose.LOADER, settings),
            key_variable(deployment, KEY_VARIABLE, Purpose.ENGINE, settings),
        ],
        "resources": ASKER.resources(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
    }
