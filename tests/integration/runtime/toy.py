"""A kind made for these tests: it takes every path through the runtime, and its decisions fit on a page.

Run as a module it is an operator with this one kind.
"""

import base64
import sys
from datetime import datetime
from typing import Any

from stagecoach.build.labels import APPLIED, COMPONENT, ENGINE
from stagecoach.kinds.controller import (
    API_VERSION,
    MANAGED_BY,
    OWNER_KIND,
    OWNER_NAME,
    OWNER_UID,
    REPORTS_PROGRESS,
    Controller,
    Settings,
)
from stagecoach.kinds.plan import Call, Event, Key, Object, Plan, key_of
from stagecoach.kinds.view import View
from stagecoach.runtime import main, options

_CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap"}
_DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment"}
_SECRET = {"apiVersion": "v1", "kind": "Secret"}
_POLICY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "toys.stagecoach.dev"},
    "spec": {
        "group": "stagecoach.dev",
        "scope": "Namespaced",
        "names": {"kind": "Toy", "plural": "toys", "singular": "toy"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"spec": _ANYTHING, "status": _ANYTHING}}
                },
            }
        ],
    },
}


def toy(name: str, **spec: Any) -> Object:
    """Return a Toy.

    `job`: make one; `parent`: another Toy; `raise`: fail; `every`: tick; `bad`: an invalid Job; `serve`: apply this word,
    and ask pods on `port`.
    """
    return {"apiVersion": API_VERSION, "kind": "Toy", "metadata": {"name": name}, "spec": spec}


def reconcile(view: View, obj: Object, now: datetime, _settings: Settings) -> Plan:
    """Decide for a Toy."""
    spec, status = obj["spec"], obj.get("status") or {}
    if spec.get("raise"):
        raise RuntimeError(spec["raise"])
    new = _status(view, obj)
    if spec.get("every"):
        new["ticks"] = int(status.get("ticks", 0)) + 1
        new["at"] = now.isoformat()
        return Plan(status=new, requeue_after=spec["every"])
    if spec.get("serve"):
        return _serving(view, obj, new)
    if not spec.get("job"):
        return Plan(status=new | {"phase": "Idle"})
    return _with_job(view, obj, new)


def _with_job(view: View, obj: Object, new: Object) -> Plan:
    status = obj.get("status") or {}
    name = f"{obj['metadata']['name']}-{obj['spec']['job']}"
    if status.get("intent") != name:
        event = Event("Decided", f"Job {name} is decided.")
        return Plan(status=new | {"intent": name, "phase": "Decided"}, events=(event,))
    new["intent"] = name
    jobs = view.jobs(obj["metadata"]["uid"])
    others = tuple(job for job in jobs if job["metadata"]["name"] != name)
    job = next((job for job in jobs if job["metadata"]["name"] == name), None)
    if job is None:
        return Plan(status=new | {"phase": "Decided"}, create=(_job(obj, name),), delete=others)
    true = {each["type"] for each in job["status"].get("conditions", ()) if each["status"] == "True"}
    ended = next(iter(true & {"Complete", "Failed"}), "")
    if ended:
        event = Event(ended, f"Job {name} ended: {ended}.", warning=ended == "Failed")
        return Plan(status=new | {"phase": ended}, events=(event,), delete=others)
    return Plan(status=new | {"phase": "Running"} | _facts(view, obj), delete=others)


def _serving(view: View, obj: Object, new: Object) -> Plan:
    """Bring a ConfigMap, a Deployment, a policy and a Secret to the word, and ask the Deployment's pods."""
    uid, word = obj["metadata"]["uid"], obj["spec"]["serve"]
    seen = {each["kind"]: each for each in (*view.config_maps(uid), *view.deployments(uid))}
    told = {kind: each["metadata"].get("annotations", {}).get(APPLIED) for kind, each in seen.items()}
    wanted = [_applied(obj, sort) for sort in (_CONFIG_MAP, _DEPLOYMENT)]
    apply = [_at(each, seen.get(each["kind"])) for each in wanted if told.get(each["kind"]) != word]
    calls = tuple(_call(obj, pod) for pod in view.pods(uid) if pod["status"].get("podIP"))
    answers = [view.answer(call.pod_uid, call.method, call.path) for call in calls]
    new["words"] = told
    new["ready"] = seen.get("Deployment", {}).get("status", {}).get("readyReplicas", 0)
    new["answers"] = [f"{each.status} {each.body.decode()} to {each.asked.decode()}" for each in answers if each]
    phase = "Applying" if apply else "Serving"
    create = (_applied(obj, _SECRET),) if apply else ()
    plan = Plan(status=new | {"phase": phase}, create=create, apply=(*apply, _applied(obj, _POLICY)), ask=calls)
    return plan.within(0.5) if calls else plan


def _call(obj: Object, pod: Object) -> Call:
    body = str(obj["spec"]["serve"]).encode()
    port = obj["spec"]["port"]
    return Call(pod["metadata"]["uid"], pod["status"]["podIP"], port, "PUT", "/models", "token", body)


def _at(wanted: Object, seen: Object | None) -> Object:
    known = {field: seen["metadata"][field] for field in ("uid", "resourceVersion")} if seen else {}
    return wanted | {"metadata": wanted["metadata"] | known}


def _applied(obj: Object, sort: Object) -> Object:
    """Return an object of this sort with the Toy's word in it, where there is a place for it, and in its annotation."""
    word = obj["spec"]["serve"]
    made = _job(obj, f"{obj['metadata']['name']}-x")
    metadata = made["metadata"] | {"annotations": {APPLIED: word}}
    labels = {"toy": obj["metadata"]["name"]}
    if sort is _DEPLOYMENT:
        template = {
            "metadata": {"labels": metadata["labels"] | labels | {COMPONENT: ENGINE}},
            "spec": {"containers": [{"name": "engine", "image": "registry.example/nothing"}]},
        }
        return sort | {"metadata": metadata, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    if sort is _POLICY:
        return sort | {"metadata": metadata, "spec": {"podSelector": {"matchLabels": labels | {"word": word}}}}
    if sort is _SECRET:
        metadata["name"] += f"-{word}"
    return sort | {"metadata": metadata, "data": {word: base64.b64encode(word.encode()).decode()}}


def _facts(view: View, obj: Object) -> Object:
    facts: Object = {}
    for pod in view.pods(obj["metadata"]["uid"]):
        uid = pod["metadata"]["uid"]
        if warning := view.warning(uid):
            facts["warning"] = warning
        if progress := view.progress(uid):
            facts["step"] = progress.step
    return facts


def _status(view: View, obj: Object) -> Object:
    metadata, spec = obj["metadata"], obj["spec"]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    since = next((each["lastTransitionTime"] for each in conditions if each["status"] == "True"), "")
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Fine",
        "message": "",
        "lastTransitionTime": since or "2026-01-01T00:00:00Z",
    }
    new: Object = {"observedGeneration": metadata["generation"], "conditions": [ready]}
    if "value" in spec:
        new["value"] = spec["value"]
    parent = view.get(Key("Toy", metadata["namespace"], spec["parent"])) if spec.get("parent") else None
    if parent is not None:
        new["parentValue"] = parent["spec"].get("value")
    return new


def _job(obj: Object, name: str) -> Object:
    metadata = obj["metadata"]
    labels = MANAGED_BY | {OWNER_KIND: "Toy", OWNER_NAME: metadata["name"], OWNER_UID: metadata["uid"]}
    owner = {"apiVersion": API_VERSION, "kind": "Toy", "name": metadata["name"], "uid": metadata["uid"]}
    container = {"name": "trainer", "image": "registry.example/nothing", "resources": obj["spec"].get("resources", {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": False}],
        },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels | {REPORTS_PROGRESS: "true"}},
                "spec": {"restartPolicy": obj["spec"].get("restartPolicy", "Never"), "containers": [container]},
            },
        },
    }


def references(obj: Object) -> tuple[Key, ...]:
    """A Toy's parent."""
    parent = obj["spec"].get("parent")
    return (Key("Toy", obj["metadata"]["namespace"], parent),) if parent else ()


def wakes(key: Key, view: View, _before: Object | None, _after: Object | None) -> tuple[Key, ...]:
    """Its children."""
    return tuple(key_of(each) for each in view.referrers(key))


CONTROLLER = Controller("Toy", "toys", references, wakes, reconcile)

if __name__ == "__main__":
    sys.exit(main.run(options.parse(sys.argv[1:]), (CONTROLLER,)))
