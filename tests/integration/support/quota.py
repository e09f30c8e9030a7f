"""Quotas that hold at once."""

from tests.integration.support.eventually import eventually
from tests.kube import Kube, KubeError, Object

NAME = "none"
# What is restricted would be refused for that, and not by a quota.
_CONTAINER = {
    "name": "x",
    "image": "x",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
_POD = {
    "restartPolicy": "Never",
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [_CONTAINER],
}


def job(name: str) -> Object:
    """Return the smallest Job."""
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": _POD}}}


def deployment(name: str) -> Object:
    """Return the smallest Deployment."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": _POD | {"restartPolicy": "Always"}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def allow_none(kube: Kube, resource: str, example: Object) -> None:
    """Make the quota NAME, by which the namespace may have nothing of this resource, and wait until it holds."""
    hard = {resource: "0"}
    kube.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": NAME}, "spec": {"hard": hard}})
    # As the quota controller will: after an API server's restart, or with new kinds, it may need minutes for it.
    kube.patch("ResourceQuota", NAME, {"status": {"hard": hard, "used": hard}}, "status")
    eventually(lambda: _refused(kube, example), 60, "the quota holds")


def pod(name: str) -> Object:
    """Return the smallest pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": _POD}


def _refused(kube: Kube, example: Object) -> bool:
    # The API server's own copy of a quota is a moment behind.
    try:
        kube.request("POST", kube.path(example["kind"]) + "?dryRun=All", example)
    except KubeError as error:
        return "exceeded quota" in str(error)
    return False
