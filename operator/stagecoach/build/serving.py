"""What all children of a ModelDeployment have in common: names, owner, keys, and what the operator was told."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build.engines import EngineImage
from stagecoach.build.jobs import owner_labels, owner_reference
from stagecoach.build.labels import COMPONENT, OWNER_UID
from stagecoach.build.pods import SECRET_MODE, Network
from stagecoach.policies.keys import Purpose, derive

Object = dict[str, Any]


class Settings(Protocol):
    """What the person who installed the operator chose, and children of a deployment depend on."""

    @property
    def evaluator_image(self) -> str:
        """It brings gateways their tokenizers."""

    @property
    def gateway_image(self) -> str:
        """Of the gateways."""

    @property
    def evaluator_pull_policy(self) -> str:
        """Of loaders, and of what brings tokenizers."""

    def engine(self, gpus: int) -> EngineImage:
        """Of engines with so many GPUs."""

    @property
    def gateway_pull_policy(self) -> str:
        """Of gateways."""

    @property
    def namespace(self) -> str:
        """The operator's own."""

    @property
    def network(self) -> Network:
        """How loaders reach what is not in the cluster."""

    @property
    def master_key(self) -> bytes:
        """From which all keys are derived."""


def metadata(deployment: ModelDeployment, name: str, labels: Mapping[str, str] | None = None) -> Object:
    """Return the metadata of a child, which goes when the deployment goes."""
    return {
        "name": name,
        "namespace": deployment.metadata.namespace,
        "labels": {**(labels or {}), **owner_labels(deployment)},
        "ownerReferences": [owner_reference(deployment)],
    }


def selector(deployment: ModelDeployment, component: str) -> dict[str, str]:
    """Return the labels by which the pods of a component are found: those of this deployment, and of no later one."""
    return {OWNER_UID: deployment.metadata.uid, COMPONENT: component}


def budget(deployment: ModelDeployment, name: str, pods: Object) -> Object:
    """Return what lets nodes be emptied without taking two of these pods at a time; one that is not ready may go."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(deployment, name),
        "spec": {"maxUnavailable": 1, "selector": pods, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
    }


def keys(deployment: ModelDeployment, master: bytes) -> dict[str, str]:
    """Return the keys of a deployment, by the names of their files."""
    return {purpose.value: derive(master, deployment.metadata.uid, purpose) for purpose in Purpose}


def keys_name(deployment: ModelDeployment, master: bytes) -> str:
    """Return the name of the Secret with the keys: of others the name is another.

    So it is created and never changed, and the operator needs no right to change Secrets: who has that can read them.
    """
    text = "\n".join(f"{name} {key}" for name, key in sorted(keys(deployment, master).items()))
    return f"{deployment.metadata.name}-keys-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def keys_volume(deployment: ModelDeployment, master: bytes, purposes: Iterable[Purpose]) -> Object:
    """Return the volume `keys`, with the keys for these purposes alone."""
    items = [{"key": purpose.value, "path": purpose.value} for purpose in purposes]
    secret = {"secretName": keys_name(deployment, master), "defaultMode": SECRET_MODE, "items": items}
    return {"name": "keys", "secret": secret}
