"""What of an object is worth remembering. Memory is the operator's scarcest resource with ten thousand runs."""

from collections.abc import Callable
from typing import Any

import orjson

from stagecoach.kinds.plan import Object
from stagecoach.runtime.resources import JOBS, PODS, SERVICES, Resource

_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "creationTimestamp",
    "deletionTimestamp",
    "ownerReferences",
)
_JOB_SPEC = ("suspend", "parallelism")
_JOB_STATUS = ("active", "terminating", "conditions")
_POD_STATUS = ("phase", "reason", "message", "startTime")
_POD_CONDITIONS = ("PodScheduled", "DisruptionTarget")
_CONTAINERS = ("containerStatuses", "initContainerStatuses")
# What only the pollers read, and they look for themselves.
_COUNTERS = ("active", "terminating")


def own(obj: Object) -> Object:
    """Return a copy of an object of ours without what only the API server needs."""
    # Through orjson and not by copy(): its decoder shares the key strings of all objects, which halves their memory.
    copy: Object = orjson.loads(orjson.dumps(obj))
    metadata = copy["metadata"]
    metadata.pop("managedFields", None)
    annotations = metadata.get("annotations")
    if annotations:
        # kubectl apply's copy of the whole object
        annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return copy


def child(resource: Resource, obj: Object) -> Object:
    """Return what the pure part reads of a Job, a Pod or a Service."""
    return {
        "apiVersion": resource.api_version,  # items of a list do not carry these two
        "kind": resource.kind,
        "metadata": _only(obj["metadata"], _METADATA),
        "spec": _SPECS[resource](obj.get("spec") or {}),
        "status": _STATUSES[resource](obj.get("status") or {}),
    }


def same(one: Object, other: Object) -> bool:
    """Whether two states of a child, as they are remembered, are the same to whoever decides by them.

    Every write of a Job's or a pod's keeper is another version, and most of them are about what nobody here reads.
    """
    return _told(one) == _told(other)


def _told(child: Object) -> tuple[Object, Object, Object]:
    status = {field: value for field, value in child["status"].items() if field not in _COUNTERS}
    return child["metadata"] | {"resourceVersion": ""}, child["spec"], status


def _job_spec(spec: Object) -> Object:
    return _only(spec, _JOB_SPEC)


def _pod_spec(spec: Object) -> Object:
    # The names are for reading logs: a pod may have sidecars that somebody injected.
    containers = [{"name": each["name"]} for each in spec.get("containers") or ()]
    return _only(spec, ("nodeName",)) | {"containers": containers}


def _job_status(status: Object) -> Object:
    return _only(status, _JOB_STATUS)


def _pod_status(status: Object) -> Object:
    told: dict[str, Any] = _only(status, _POD_STATUS)
    if conditions := [each for each in status.get("conditions") or () if each["type"] in _POD_CONDITIONS]:
        told["conditions"] = conditions
    for field in _CONTAINERS:
        if field in status:
            told[field] = [_only(each, ("name", "state")) | _before(each) for each in status[field]]
    return told


def _before(container: Object) -> dict[str, Any]:
    """Return why a container ended that was started again, such as for want of memory; nothing of one that was not."""
    reason = container.get("lastState", {}).get("terminated", {}).get("reason")
    return {"lastState": {"terminated": {"reason": reason}}} if reason else {}


def _nothing(_: Object) -> Object:
    return {}


def _only(document: Object, fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: document[field] for field in fields if field in document}


_Part = Callable[[Object], Object]
_SPECS: dict[Resource, _Part] = {JOBS: _job_spec, PODS: _pod_spec, SERVICES: _nothing}
_STATUSES: dict[Resource, _Part] = {JOBS: _job_status, PODS: _pod_status, SERVICES: _nothing}
