"""Stand-ins for what the runtime talks to."""

from collections.abc import Callable
from typing import Any

from stagecoach.kinds.controller import OWNER_KIND, OWNER_NAME, OWNER_UID, REPORTS_PROGRESS, Controller
from stagecoach.kinds.plan import Key, Object, Plan, key_of
from stagecoach.kinds.view import View
from stagecoach.runtime.errors import AlreadyExists, Conflict, NotFound
from stagecoach.runtime.resources import PODS, Resource

NAMESPACE = "ns"


class Clock:
    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def toy(name: str, version: int = 1, **details: Any) -> Object:
    """Return a Toy as the API server would send it."""
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": details.pop("uid", f"uid-{name}"),
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": details.pop("created", "2026-01-01T00:00:00Z"),
    } | details.pop("metadata", {})
    spec = details.pop("spec", {})
    return {"apiVersion": "stagecoach.dev/v1alpha1", "kind": "Toy", "metadata": metadata, "spec": spec} | details


def pod(name: str, owner: str = "a", version: int = 1, **details: Any) -> Object:
    """Return a pod made for the Toy of this name."""
    labels = {OWNER_KIND: "Toy", OWNER_NAME: owner, OWNER_UID: f"uid-{owner}", REPORTS_PROGRESS: "true"}
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {
        "metadata": metadata | {"labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "node", "containers": [{"name": "trainer", "image": "x"}]},
        "status": {"phase": "Running"} | details,
    }


def owned(name: str, owner: str = "a", **details: Any) -> Object:
    """Return a child that is a Toy's own, and says so."""
    made = pod(name, owner)
    reference = {"apiVersion": "stagecoach.dev/v1alpha1", "kind": "Toy", "name": owner, "uid": f"uid-{owner}"}
    return made | {"metadata": made["metadata"] | {"ownerReferences": [reference]} | details}


def key(name: str) -> Key:
    return Key("Toy", NAMESPACE, name)


def controller(reconcile: Callable[..., Plan] = lambda *_: Plan()) -> Controller:
    def references(obj: Object) -> tuple[Key, ...]:
        return (key(obj["spec"]["parent"]),) if "parent" in obj["spec"] else ()

    def wakes(own: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
        others = [each["spec"]["wakes"] for each in (before, after) if each and "wakes" in each["spec"]]
        return (*(key_of(each) for each in view.referrers(own)), *map(key, others))

    return Controller("Toy", "toys", references, wakes, reconcile)


class Woken(list[Key]):
    """The keys that were put on a queue, and those of them that may wait."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Key] = []

    def add(self, key: Key, *, later: bool = False) -> None:
        self.append(key)
        if later:
            self.later.append(key)


class FakeServer:
    """The part of the API server that the executor and the elector use, with its rules about versions."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.bodies: list[Object] = []
        self.version = 100
        self.failures: dict[str, list[BaseException]] = {}
        self.logs: dict[str, str] = {}

    def add(self, obj: Object) -> Object:
        self.objects[obj["kind"], obj["metadata"]["name"]] = obj
        return obj

    def fail(self, verb: str, *errors: BaseException) -> None:
        """Let the next calls of a verb fail."""
        self.failures.setdefault(verb, []).extend(errors)

    def made(self, verb: str) -> list[str]:
        """Return the names that a verb was used on."""
        return [name for each, _, name in self.calls if each == verb]

    async def get(self, resource: Resource, _namespace: str, name: str) -> Object:
        self._note("get", resource, name)
        if (resource.kind, name) not in self.objects:
            raise NotFound("no such object", 404)
        found: Object = self.objects[resource.kind, name]
        return {**found, "metadata": dict(found["metadata"]), "spec": dict(found.get("spec") or {})}

    async def create(self, resource: Resource, namespace: str, obj: Object, *, dry_run: bool = False) -> Object:
        name = obj["metadata"]["name"]
        if dry_run:
            self._note("try", resource, name)
            return obj
        self._note("create", resource, name, obj)
        if (resource.kind, name) in self.objects:
            raise AlreadyExists("exists", 409, "AlreadyExists")
        metadata = {"uid": f"uid-{name}", "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
        return self.add(self._bumped({**obj, "metadata": metadata | obj["metadata"]}))

    async def update(self, resource: Resource, _namespace: str, name: str, obj: Object) -> Object:
        self._note("update", resource, name, obj)
        self._check(resource, name, obj["metadata"]["resourceVersion"])
        return self.add(self._bumped(obj))

    async def patch_status(self, resource: Resource, _namespace: str, name: str, patch: Object) -> Object:
        self._note("patch", resource, name, patch)
        found = self._check(resource, name, patch["metadata"]["resourceVersion"])
        return self.add(self._bumped(found | {"status": merged(found.get("status") or {}, patch["status"])}))

    async def apply(self, resource: Resource, obj: Object) -> Object:
        """Create, when there is none, whatever the version says; else it has to be the current one, as must the uid."""
        name, metadata = obj["metadata"]["name"], obj["metadata"]
        self._note("apply", resource, name, obj)
        found = self.objects.get((resource.kind, name))
        if found is None and "uid" in metadata:
            raise Conflict("uid mismatch", 409)
        if found is not None and metadata.get("resourceVersion") not in (None, found["metadata"]["resourceVersion"]):
            raise Conflict("changed", 409)
        known = found["metadata"] if found else {"uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        return self.add(self._bumped({**obj, "metadata": known | metadata}))

    async def touch(self, resource: Resource, _namespace: str, name: str) -> Object:
        self._note("touch", resource, name)
        if (resource.kind, name) not in self.objects:
            raise NotFound("no such object", 404)
        return {"metadata": dict(self.objects[resource.kind, name]["metadata"])}

    async def delete(self, resource: Resource, _namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        self._note("delete", resource, name)
        found = self._check(resource, name, resource_version)
        if found["metadata"]["uid"] != uid:
            raise Conflict("another object", 409)
        del self.objects[resource.kind, name]

    async def pod_log(self, _namespace: str, name: str, _container: str, _lines: int, size: int = 0) -> str:
        self._note("log", PODS, name)
        if name not in self.logs:
            raise NotFound("no such pod", 404)
        return self.logs[name][-size:]

    def _note(self, verb: str, resource: Resource, name: str, body: Object | None = None) -> None:
        if self.failures.get(verb):
            raise self.failures[verb].pop(0)
        self.calls.append((verb, resource.kind, name))
        if body is not None:
            self.bodies.append(body)

    def _check(self, resource: Resource, name: str, version: str) -> Object:
        if (resource.kind, name) not in self.objects:
            raise NotFound("no such object", 404)
        found: Object = self.objects[resource.kind, name]
        if found["metadata"]["resourceVersion"] != version:
            raise Conflict("changed", 409)
        return found

    def _bumped(self, obj: Object) -> Object:
        self.version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}


def merged(before: Any, patch: Any) -> Any:
    """Apply a JSON merge patch as RFC 7386 writes it down."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
