"""The gateways of a deployment: what clients reach, what they are told, and the keys by which they are told it."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from stagecoach.api.common import LocalSecret, duration
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.api.pods import PodSettings
from stagecoach.build import samples, serving
from stagecoach.build.jobs import Demand
from stagecoach.build.labels import COMPONENT, GATEWAY, OWNER_UID, REVISION
from stagecoach.build.pods import SECRET_MODE, SECURITY, Reach, chosen, confined, escaped, spread
from stagecoach.build.serving import Settings
from stagecoach.contract import loading, mounts
from stagecoach.contract.access import Credential
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.gateway_routes import ROUTES_FILE, SignedRoutes
from stagecoach.contract.jobs import ModelSource
from stagecoach.policies.keys import Purpose

Object = dict[str, Any]

PORT, ADMIN_PORT = 8080, 9090
TOKENIZERS_PROGRAM = "stagecoach_evaluator.tokenizers"
# Tokenizers are a few files, of bases that may have many.
TOKENIZERS_DEMAND = Demand(cpu="100m", memory="1Gi")
CLIENTS_FILE = "clients.json"
FEEDBACK = "feedback"
ADMITTED_FILE = "admitted.json"
CONTRACT_FILE = "openapi.json"
# A gateway that is asked to stop takes requests for so long still, from who has not heard of it.
LEAVING_SECONDS = 10
# Then it ends what was begun, for so long at least and at most, and itself.
DRAIN_SECONDS, MOST_DRAIN, ENDING_SECONDS = 60, 580, 10


def endpoint(deployment: ModelDeployment) -> str:
    """Return where clients in the cluster ask."""
    return f"http://{deployment.metadata.name}.{deployment.metadata.namespace}.svc"


def gateway_name(deployment: ModelDeployment) -> str:
    """Return the name of the gateways' Deployment."""
    return f"{deployment.metadata.name}-gateway"


def routes_name(deployment: str) -> str:
    """Return the name of the ConfigMap with the routes of the deployment of this name."""
    return f"{deployment}-routes"


def contract_name(deployment: ModelDeployment) -> str:
    """Return the name of the ConfigMap with the API contract."""
    return f"{deployment.metadata.name}-contract"


def routes_volume(deployment: ModelDeployment) -> Object:
    """Return the volume with the routes, which may come later than the pod."""
    return {"name": "routes", "configMap": {"name": routes_name(deployment.metadata.name), "optional": True}}


def gateway(
    deployment: ModelDeployment,
    bases: Sequence[Admitted],
    pods: PodSettings,
    credentials: Sequence[Credential],
    settings: Settings,
) -> Object:
    """Return the Deployment of the gateways, which know the tokenizers of these releases' bases."""
    labels = serving.selector(deployment, GATEWAY)
    metadata = serving.metadata(deployment, gateway_name(deployment), pods.labels | labels)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": deployment.spec.gateway.replicas,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": _pod(deployment, bases, credentials, settings, labels) | chosen(pods),
            },
        },
    }


def gateway_service(deployment: ModelDeployment) -> Object:
    """Return the Service that clients ask; the port of operator and metrics is none of it."""
    labels = serving.selector(deployment, GATEWAY)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": serving.metadata(deployment, deployment.metadata.name, labels),
        "spec": {
            "type": "ClusterIP",
            "selector": labels,
            "ports": [{"name": "http", "port": 80, "targetPort": PORT}],
        },
    }


def gateway_budget(deployment: ModelDeployment) -> Object:
    """Return what lets nodes be emptied without taking two gateways at a time."""
    pods = {"matchLabels": serving.selector(deployment, GATEWAY)}
    return serving.budget(deployment, gateway_name(deployment), pods)


def routes_config_map(deployment: ModelDeployment, signed: SignedRoutes, revision: int) -> Object:
    """Return the ConfigMap from which gateways that begin take their routes."""
    metadata = serving.metadata(deployment, routes_name(deployment.metadata.name), {COMPONENT: GATEWAY})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata | {"annotations": {REVISION: str(revision)}},
        "data": {ROUTES_FILE: signed.line()},
    }


def contract_config_map(deployment: ModelDeployment, text: str) -> Object:
    """Return the ConfigMap with the API contract, for those who write clients."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": serving.metadata(deployment, contract_name(deployment), {COMPONENT: GATEWAY}),
        "data": {CONTRACT_FILE: text},
    }


def keys_secret(deployment: ModelDeployment, master_key: bytes) -> Object:
    """Return the Secret with the keys of engines and gateways; to be created, since it never changes."""
    keys = serving.keys(deployment, master_key)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": serving.metadata(deployment, serving.keys_name(deployment, master_key)),
        "type": "Opaque",
        "immutable": True,
        "data": {name: base64.b64encode(key.encode()).decode() for name, key in keys.items()},
    }


def admitted_config_map(deployment: ModelDeployment, admitted: Admitted) -> Object:
    """Return the ConfigMap that says what a release is, by its content's digest; to be created: it never changes."""
    name = _admitted_name(deployment.metadata.name, deployment.metadata.uid, admitted)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": serving.metadata(deployment, name),
        "immutable": True,
        "data": {ADMITTED_FILE: admitted.line()},
    }


def read_admitted(config_map: Object) -> Admitted:
    """Return what a ConfigMap says of a release. Raises ValueError when that is not what its name stands for."""
    metadata = config_map["metadata"]
    name, uid = metadata["name"], metadata["labels"][OWNER_UID]
    try:
        admitted = Admitted.model_validate_json(config_map["data"][ADMITTED_FILE])
    except (KeyError, ValueError) as error:
        raise ValueError(f"ConfigMap {name} does not say what was admitted: {type(error).__name__}") from error
    if name != _admitted_name(name.rpartition("-r-")[0], uid, admitted):
        raise ValueError(f"ConfigMap {name} says something else than what was admitted under this name")
    return admitted


def _admitted_name(owner: str, uid: str, admitted: Admitted) -> str:
    return f"{owner}-r-{hashlib.sha256(f'{uid} {admitted.digest}'.encode()).hexdigest()[:32]}"


def _pod(
    deployment: ModelDeployment,
    bases: Sequence[Admitted],
    credentials: Sequence[Credential],
    settings: Settings,
    labels: dict[str, str],
) -> Object:
    sources = _sources(each.base for each in bases)
    reach = Reach(
        storage=None,
        sources=tuple(source.uri for source in sources),
        credentials=tuple(credentials),
        network=settings.network,
    )
    volumes, places = reach.volumes()
    kept, kept_places = samples.volumes(deployment, volumes)
    drain = _drain_seconds(deployment)
    return confined() | {
        "terminationGracePeriodSeconds": LEAVING_SECONDS + drain + ENDING_SECONDS,
        "initContainers": [_tokenizers(sources, reach, places, settings)],
        "containers": [_gateway(deployment, drain, settings, kept_places)],
        "volumes": [
            *volumes,
            {"name": "tokenizers", "emptyDir": {}},
            *_told(deployment, settings),
            *kept,
        ],
        "topologySpreadConstraints": [spread(labels, matchLabelKeys=["pod-template-hash"])],
    }


def _drain_seconds(deployment: ModelDeployment) -> int:
    timeout = round(duration(deployment.spec.contract.timeout).total_seconds())
    return min(max(DRAIN_SECONDS, timeout), MOST_DRAIN)


def _sources(bases: Iterable[ModelSource]) -> list[ModelSource]:
    """Return one place for each tokenizer, in an order that says nothing: the same ones are no reason to begin anew."""
    ordered = sorted(bases, key=lambda base: (base.tokenizer or "", base.uri), reverse=True)
    found = {base.tokenizer: base.model_copy(update={"license": None}) for base in ordered}
    return list(found.values())


def _tokenizers(sources: Sequence[ModelSource], reach: Reach, places: list[Object], settings: Settings) -> Object:
    """Return the container that lays the bases' tokenizers, before the gateway begins."""
    told = json.dumps([source.document() for source in sources], ensure_ascii=False, separators=(",", ":"))
    return {
        "name": "tokenizers",
        "image": settings.evaluator_image,
        "imagePullPolicy": settings.evaluator_pull_policy,
        "command": ["python3", "-m", TOKENIZERS_PROGRAM],
        "env": [
            {"name": loading.TOKENIZERS_VARIABLE, "value": escaped(told)},
            *reach.environment(),
            *settings.network.environment(),
        ],
        "resources": TOKENIZERS_DEMAND.resources(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": SECURITY,
        "volumeMounts": [*places, {"name": "tokenizers", "mountPath": mounts.TOKENIZERS}],
    }


def _gateway(deployment: ModelDeployment, drain: int, settings: Settings, kept_places: list[Object]) -> Object:
    asked = deployment.spec.gateway.resources
    told = {"STAGECOACH_DEPLOYMENT": deployment.metadata.uid, "STAGECOACH_DRAIN_SECONDS": str(drain)}
    places = {"tokenizers": "tokenizers", "routes": "routes", "keys": "gateway"}
    places |= {name: name for name in _people(deployment)}
    return {
        "name": "gateway",
        "image": settings.gateway_image,
        "imagePullPolicy": settings.gateway_pull_policy,
        "env": [{"name": name, "value": value} for name, value in told.items()],
        "ports": [{"name": "http", "containerPort": PORT}, {"name": "admin", "containerPort": ADMIN_PORT}],
        "readinessProbe": _asked("/ready") | {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 2},
        "livenessProbe": _asked("/live") | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "resources": Demand(asked.cpu, asked.memory).resources(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": SECURITY,
        "volumeMounts": [
            *({"name": name, "mountPath": f"{mounts.ROOT}/{at}", "readOnly": True} for name, at in places.items()),
            *kept_places,
        ],
    }


def _told(deployment: ModelDeployment, settings: Settings) -> list[Object]:
    """Return the volumes with what a gateway reads: routes, keys, and those of people."""
    keys = serving.keys_volume(deployment, settings.master_key, (Purpose.ROUTES, Purpose.ADMIN, Purpose.ENGINE))
    found: list[Object] = [routes_volume(deployment), keys]
    items = [{"key": CLIENTS_FILE, "path": CLIENTS_FILE}]
    for name, secret in _people(deployment).items():
        # Without its file a gateway refuses all feedback; without that of clients it is not to start.
        optional = {"optional": True} if name == FEEDBACK else {}
        source = {"secretName": secret.name, "defaultMode": SECRET_MODE, "items": items} | optional
        found.append({"name": name, "secret": source})
    return found


def _people(deployment: ModelDeployment) -> dict[str, LocalSecret]:
    """Return the Secrets that name who may ask, and who may give feedback, by the folders where gateways read them."""
    access = deployment.spec.access
    named = {"clients": access.api_keys, FEEDBACK: access.feedback} if access else {}
    return {folder: secret for folder, secret in named.items() if secret is not None}


def _asked(path: str) -> Object:
    return {"httpGet": {"path": path, "port": ADMIN_PORT}}
