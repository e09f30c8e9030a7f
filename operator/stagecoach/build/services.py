"""The Service by which the pods of a run find the one of index 0: without it a pod has no name in DNS."""

from typing import Any

from stagecoach.api.common import CustomObject
from stagecoach.build.jobs import job_name, owner_labels, owner_reference
from stagecoach.build.labels import OWNER_UID

Object = dict[str, Any]


def service_name(owner: CustomObject) -> str:
    """Return the name of a run's Service: that of a Service begins with a letter, that of a run need not."""
    return f"n-{job_name(owner, 'pods')}"


def address(owner: CustomObject, job: str) -> str:
    """Return the name at which the pod of index 0 of a Job is found; Kubernetes names pods of Indexed Jobs so."""
    return f"{job}-0.{service_name(owner)}.{owner.metadata.namespace}.svc"


def service(owner: CustomObject) -> Object:
    """Return the Service: no address of its own, only names for the pods, before they are ready as well."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(owner),
            "namespace": owner.metadata.namespace,
            "labels": owner_labels(owner),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {OWNER_UID: owner.metadata.uid},
        },
    }
