"""A serving engine: a Deployment whose pods have vLLM, and beside it the loader that brings models to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stagecoach.api.common import duration
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build import engines, serving
from stagecoach.build.engines import EngineWork
from stagecoach.build.gateway import routes_volume
from stagecoach.build.jobs import Demand, threads
from stagecoach.build.labels import ENGINE, ENGINE_NAME, GATEWAY
from stagecoach.build.pods import SECURITY, Reach, chosen, confined, escaped, spread
from stagecoach.build.recipes import Recipe, engine_name
from stagecoach.build.serving import Settings
from stagecoach.contract import loading, mounts
from stagecoach.contract import serving as contract
from stagecoach.contract.loading import Serve
from stagecoach.policies.keys import Purpose

Object = dict[str, Any]

LOADER_PROGRAM = "stagecoach_evaluator.loader"
# In this time nobody sends requests any more to a pod that ends.
LEAVING_SECONDS = 10
# It ends what was begun, and itself.
MOST_SECONDS, ENDING_SECONDS = 570, 20
# Nothing but the loader says how long an engine may take to begin: a day is longer than any of it.
BEGINS = {"periodSeconds": 5, "failureThreshold": 86400 // 5}


def engine(deployment: ModelDeployment, recipe: Recipe, settings: Settings, replicas: int) -> Object:
    """Return the Deployment of an engine: as it was decided, with as many pods as are wanted now."""
    name, pods = engine_name(deployment, recipe), recipe.pods
    labels = _labels(deployment, name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": serving.metadata(deployment, name, pods.labels | labels),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": round(duration(deployment.spec.engine.start_deadline).total_seconds()),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": serving.metadata(deployment, name, pods.labels | labels)["labels"]},
                "spec": _pod(deployment, recipe, settings, labels) | chosen(pods),
            },
        },
    }


def engine_service(deployment: ModelDeployment, name: str) -> Object:
    """Return the Service of an engine, by which gateways ask it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": serving.metadata(deployment, name, _labels(deployment, name)),
        "spec": {
            "type": "ClusterIP",
            "selector": _labels(deployment, name),
            "ports": [{"name": "http", "port": contract.PORT, "targetPort": contract.PORT}],
        },
    }


def engine_url(deployment: ModelDeployment, name: str) -> str:
    """Return where gateways ask an engine."""
    return f"http://{name}.{deployment.metadata.namespace}.svc:{contract.PORT}"


def engine_policy(deployment: ModelDeployment, settings: Settings) -> Object:
    """Return who reaches engines: their gateways and the chart's Prometheus; and their loaders, the operator.

    An engine asks for its key on some of its paths alone.
    """
    gateways = {"podSelector": {"matchLabels": serving.selector(deployment, GATEWAY)}}
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}}}
    prometheus = operator | {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "prometheus"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": serving.metadata(deployment, f"{deployment.metadata.name}-engines"),
        "spec": {
            "podSelector": {"matchLabels": serving.selector(deployment, ENGINE)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [gateways, prometheus], "ports": [{"protocol": "TCP", "port": contract.PORT}]},
                {"from": [operator], "ports": [{"protocol": "TCP", "port": loading.PORT}]},
            ],
        },
    }


def engine_budget(deployment: ModelDeployment, names: Iterable[str]) -> Object:
    """Return what lets nodes be emptied without taking two pods of these engines at a time."""
    pods = {
        "matchLabels": serving.selector(deployment, ENGINE),
        "matchExpressions": [{"key": ENGINE_NAME, "operator": "In", "values": sorted(names)}],
    }
    return serving.budget(deployment, f"{deployment.metadata.name}-engines", pods)


def _labels(deployment: ModelDeployment, name: str) -> dict[str, str]:
    return serving.selector(deployment, ENGINE) | {ENGINE_NAME: name}


@dataclass(frozen=True)
class Parts:
    """What a pod of an engine is made of, but for the engine's own container."""

    loader: Object
    engine: EngineWork
    demand: Demand  # of the engine: what the loader leaves of the pod's memory
    places: list[Object]  # the loader's mounts of storage and sources, of which the engine sees the models
    volumes: list[Object]


def parts(deployment: ModelDeployment, recipe: Recipe, settings: Settings) -> Parts:
    """Return it of a pod that serves, and of one on which that is tried."""
    told, asked = recipe.serve, recipe.resources
    reach = Reach(
        storage=told.storage,
        sources=(told.base.uri,),
        credentials=recipe.credentials,
        network=settings.network,
        only_reads=True,
    )
    volumes, places = reach.volumes()
    demand = Demand(asked.cpu, asked.memory, asked.gpu_resource, asked.gpus)
    own, rest = engines.shares(demand.memory)
    url = engine_url(deployment, engine_name(deployment, recipe))
    keys = serving.keys_volume(deployment, settings.master_key, (Purpose.LOADER, Purpose.ENGINE, Purpose.ROUTES))
    return Parts(
        loader=_loader(told, url, recipe.loader_image, own, reach, places, settings),
        engine=EngineWork(
            recipe.engine_image,
            settings.engine(asked.gpus).pull_policy,
            (told.base.uri,),
            threads(asked.cpu),
            on_a_gpu=asked.gpus > 0,
        ),
        demand=replace(demand, memory=str(rest)),
        places=places,
        volumes=[*volumes, *engines.volumes(), keys, routes_volume(deployment)],
    )


def server(deployment: ModelDeployment, made_of: Parts, arguments: Sequence[str], settings: Settings) -> Object:
    """Return the engine's container, as beside an evaluator, but that it asks for a key."""
    demand = made_of.demand
    found = engines.server(made_of.engine, arguments, demand.resources(), int(demand.memory), made_of.places, SECURITY)
    return found | {"env": [*found["env"], key_variable(deployment, "VLLM_API_KEY", Purpose.ENGINE, settings)]}


def key_variable(deployment: ModelDeployment, name: str, purpose: Purpose, settings: Settings) -> Object:
    """Return a variable with one of the deployment's keys."""
    secret = serving.keys_name(deployment, settings.master_key)
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": purpose.value}}}


def _pod(deployment: ModelDeployment, recipe: Recipe, settings: Settings, labels: dict[str, str]) -> Object:
    made_of = parts(deployment, recipe, settings)
    return confined() | {
        "terminationGracePeriodSeconds": LEAVING_SECONDS + _timeout(deployment) + ENDING_SECONDS,
        "initContainers": [made_of.loader],
        "containers": [_engine(deployment, made_of, settings)],
        "volumes": made_of.volumes,
        "topologySpreadConstraints": [spread(labels, matchLabelKeys=["pod-template-hash"])],
    }


def _loader(
    told: Serve, url: str, image: str, memory: int, reach: Reach, places: list[Object], settings: Settings
) -> Object:
    """Return the loader's container: a native sidecar, without which the engine has nothing to serve."""
    return {
        "name": loading.CONTAINER,
        "image": image,
        "imagePullPolicy": settings.evaluator_pull_policy,
        "restartPolicy": "Always",
        "command": ["python3", "-m", LOADER_PROGRAM],
        "env": [
            {"name": loading.ENVIRONMENT_VARIABLE, "value": escaped(told.line())},
            {"name": loading.URL_VARIABLE, "value": url},
            *reach.environment(),
            *settings.network.environment(),
        ],
        "ports": [{"name": "loader", "containerPort": loading.PORT}],
        # A pod is ready only when its models answer.
        "readinessProbe": _asked(loading.HEALTH_PATH, loading.PORT) | {"periodSeconds": 5, "timeoutSeconds": 5},
        "resources": Demand(engines.EVALUATOR_CPU, str(memory)).resources(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": SECURITY,
        "volumeMounts": [
            *places,
            *engines.mounts_beside(),
            {"name": "keys", "mountPath": mounts.KEYS, "readOnly": True},
            {"name": "routes", "mountPath": mounts.ROUTES, "readOnly": True},
        ],
    }


def _engine(deployment: ModelDeployment, made_of: Parts, settings: Settings) -> Object:
    """Return the engine's container, which others reach."""
    # Else it breaks off what it is computing, when it is asked to stop.
    arguments = (*contract.arguments(contract.EVERYWHERE), "--shutdown-timeout", str(_timeout(deployment)))
    alive = _asked("/health", contract.PORT)
    return server(deployment, made_of, arguments, settings) | {
        "ports": [{"name": "http", "containerPort": contract.PORT}],
        "startupProbe": alive | BEGINS,
        "readinessProbe": alive | {"periodSeconds": 5, "timeoutSeconds": 5},
        # It is busy at times, and ends by itself when it fails: this is for one that hangs.
        "livenessProbe": alive | {"periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVING_SECONDS}}},
    }


def _timeout(deployment: ModelDeployment) -> int:
    """Return how long what was begun may take when an engine ends: as long as an answer, but not for ever."""
    return min(round(duration(deployment.spec.contract.timeout).total_seconds()), MOST_SECONDS)


def _asked(path: str, port: int) -> Object:
    return {"httpGet": {"path": path, "port": port}}
