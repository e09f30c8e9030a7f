"""What of an object is worth remembering. Memory is the operator's scarcest resource with ten thousand runs."""

from collections.abc import Callable
from typing import Any

import orjson

from stagecoach.build.gateway import ADMITTED_FILE, routes_name
from stagecoach.build.labels import API_VERSION, APPLIED, COMPONENT, OWNER_KIND, OWNER_NAME, OWNER_UID
from stagecoach.contract.gateway_routes import ROUTES_FILE
from stagecoach.kinds.plan import Object
from stagecoach.policies.fitting import MOST_BYTES
from stagecoach.runtime.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SERVICES, Resource

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
_DEPLOYMENT_METADATA = (*_METADATA, "generation")  # what observedGeneration is compared with
_JOB_SPEC = ("suspend", "parallelism")
_JOB_STATUS = ("active", "terminating", "conditions")
_POD_STATUS = ("phase", "reason", "message", "startTime")
_POD_CONDITIONS = ("PodScheduled", "DisruptionTarget")
_READY = ("type", "status", "lastTransitionTime")
_CONDITION = (*_READY, "reason", "message")
_DEPLOYMENT_STATUS = ("observedGeneration", "replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
_SERVING_END = ("reason", "exitCode", "message")
_LAST_WORDS = 600
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
    """Return what the pure part reads of a child."""
    return {
        "apiVersion": resource.api_version,  # items of a list do not carry these two
        "kind": resource.kind,
        "metadata": _metadata(resource, obj["metadata"]),
        **_PARTS[resource](obj),
    }


def same(one: Object, other: Object) -> bool:
    """Whether two states of a child, as they are remembered, are the same to whoever decides by them.

    Every write of a Job's or a pod's keeper is another version, and most of them are about what nobody here reads.
    """
    return _told(one) == _told(other)


def _told(child: Object) -> Object:
    status = {field: value for field, value in child["status"].items() if field not in _COUNTERS}
    return child | {"metadata": child["metadata"] | {"resourceVersion": ""}, "status": status}


def _metadata(resource: Resource, metadata: Object) -> Object:
    kept = _only(metadata, _DEPLOYMENT_METADATA if resource == DEPLOYMENTS else _METADATA)
    # Of what was applied it says as what: nothing else tells whether it has to be applied again.
    if digest := (metadata.get("annotations") or {}).get(APPLIED):
        kept["annotations"] = {APPLIED: digest}
    return kept


def _job(job: Object) -> Object:
    return {"spec": _only(job.get("spec") or {}, _JOB_SPEC), "status": _only(job.get("status") or {}, _JOB_STATUS)}


def _pod(pod: Object) -> Object:
    spec = pod.get("spec") or {}
    # The names are for reading logs: a pod may have sidecars that somebody injected.
    containers = [{"name": each["name"]} for each in spec.get("containers") or ()]
    serves = COMPONENT in (pod["metadata"].get("labels") or ())
    return {
        "spec": _only(spec, ("nodeName",)) | {"containers": containers},
        "status": _pod_status(pod.get("status") or {}, serves=serves),
    }


def _pod_status(status: Object, *, serves: bool) -> Object:
    told: dict[str, Any] = _only(status, _POD_STATUS)
    present = status.get("conditions") or ()
    conditions = [each for each in present if each["type"] in _POD_CONDITIONS]
    if serves:  # others nobody asks, and there are ten thousand of them
        told |= _only(status, ("podIP",))
        conditions += [_only(each, _READY) for each in present if each["type"] == "Ready"]
    if conditions:
        told["conditions"] = conditions
    for field in _CONTAINERS:
        if field in status:
            told[field] = [_only(each, ("name", "state")) | _before(each, serves=serves) for each in status[field]]
    return told


def _before(container: Object, *, serves: bool) -> dict[str, Any]:
    """Return why a container ended that was started again, such as for want of memory; nothing of one that was not.

    Of what serves, and has no other end, its last words as well.
    """
    ended = container.get("lastState", {}).get("terminated", {})
    told = _only(ended, _SERVING_END if serves else ("reason",))
    if "message" in told:
        told["message"] = told["message"][-_LAST_WORDS:]
    return {"lastState": {"terminated": told}} if told else {}


def _deployment(deployment: Object) -> Object:
    status = deployment.get("status") or {}
    told = _only(status, _DEPLOYMENT_STATUS)
    if conditions := status.get("conditions"):
        told["conditions"] = [_only(each, _CONDITION) for each in conditions]
    return {"spec": _only(deployment.get("spec") or {}, ("replicas", "selector")), "status": told}


def _config_map(config_map: Object) -> Object:
    """Return what a deployment admitted, once and for all, and what its gateways were told, which is signed.

    Others may label theirs like ours, in any number and a mebibyte each: what is neither, or larger than an admission
    may be, is not kept. Routes hold two of these, and schemas: they may fill their ConfigMap, which each deployment has
    once.
    """
    kept = {"spec": {}, "status": {}} | _only(config_map, ("immutable",))
    metadata = config_map["metadata"]
    file = ADMITTED_FILE if config_map.get("immutable") else ROUTES_FILE
    text = (config_map.get("data") or {}).get(file, "")
    fits = _has_routes(metadata) if file == ROUTES_FILE else len(text.encode()) <= MOST_BYTES
    ours = (metadata.get("labels") or {}).get(OWNER_KIND) == "ModelDeployment" and text and fits
    return kept | {"data": {file: text}} if ours else kept


def _has_routes(metadata: Object) -> bool:
    """Whether it is the one that a deployment has for its routes: by its name, and by its owner.

    Kubernetes deletes what names an owner that is not there, of this uid; a finalizer may keep that, but nothing of it
    is kept here.
    """
    labels = metadata.get("labels") or {}
    name, uid = labels.get(OWNER_NAME, ""), labels.get(OWNER_UID)
    owner = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "name": name, "uid": uid}
    owned = any(owner.items() <= each.items() for each in metadata.get("ownerReferences") or ())
    return owned and metadata["name"] == routes_name(name) and "deletionTimestamp" not in metadata


def _service(service: Object) -> Object:
    return {"spec": _only(service.get("spec") or {}, ("selector",)), "status": {}}


def _only(document: Object, fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: document[field] for field in fields if field in document}


_PARTS: dict[Resource, Callable[[Object], Object]] = {
    JOBS: _job,
    PODS: _pod,
    SERVICES: _service,
    DEPLOYMENTS: _deployment,
    CONFIG_MAPS: _config_map,
}
