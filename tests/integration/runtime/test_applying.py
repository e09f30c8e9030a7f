"""Server-side apply on a real API server: of every kind that is applied, by whoever is late, on what is whose."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from stagecoach.build.labels import APPLIED, MANAGED_BY, OWNER_UID
from stagecoach.kinds.plan import Object
from stagecoach.runtime.applying import Applier
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.client import Client
from stagecoach.runtime.connection import Connection
from stagecoach.runtime.errors import Conflict, Forbidden, NameTaken
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.resources import SECRETS, Resources
from tests.integration.runtime.test_faults import account, right, with_token
from tests.integration.runtime.toy import CONTROLLER
from tests.kube import Kube

SELECTOR: Object = {"matchLabels": {"a": "b"}}
POD: Object = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x", "env": []}]}}
SPECS: dict[str, tuple[str, Object, Object]] = {
    "ConfigMap": ("v1", {"data": {"x": "1", "y": "1"}}, {"data": {"x": "2"}}),
    "Service": (
        "v1",
        {"spec": {"selector": {"a": "b", "c": "d"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": 8081}]}},
    ),
    "Deployment": (
        "apps/v1",
        {"spec": {"replicas": 0, "selector": SELECTOR, "template": POD, "minReadySeconds": 5}},
        {"spec": {"replicas": 0, "selector": SELECTOR, "template": POD}},
    ),
    "NetworkPolicy": (
        "networking.k8s.io/v1",
        {"spec": {"podSelector": SELECTOR, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 1}]}]}},
        {"spec": {"podSelector": SELECTOR, "policyTypes": ["Ingress"]}},
    ),
    "PodDisruptionBudget": (
        "policy/v1",
        {"spec": {"selector": SELECTOR, "maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}},
        {"spec": {"selector": {"matchLabels": {"a": "c"}}, "maxUnavailable": 2}},
    ),
}
KINDS = sorted(SPECS)


class Writer:
    """An applier as an operator has one, for one owner."""

    def __init__(self, client: Client, namespace: str, uid: str) -> None:
        self.resources = Resources((CONTROLLER,))
        self.namespace = namespace
        self.client = client
        self.applier = Applier(client, Intake(Cache((CONTROLLER,)), (CONTROLLER,), lambda *_, **__: None))
        self.owner: Object = {"kind": "Toy", "metadata": {"name": "a", "uid": uid, "namespace": namespace}}

    async def apply(self, obj: Object) -> None:
        await self.applier.apply(self.owner, self.resources.of(obj), obj)

    def wanted(self, kind: str, number: int = 0, **metadata: Any) -> Object:
        """Return the first or the second state of an object, which lacks something that the first one has."""
        version, *states = SPECS[kind]
        uid = self.owner["metadata"]["uid"]
        known: Object = {"name": "x", "namespace": self.namespace, "labels": MANAGED_BY | {OWNER_UID: uid}}
        known["annotations"] = {APPLIED: str(number)}
        known["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]
        return {"apiVersion": version, "kind": kind, "metadata": known | metadata, **states[number]}


@asynccontextmanager
async def client_of(kubeconfig: Path) -> AsyncIterator[Client]:
    configuration = Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    client = Client(Connection(configuration))
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def owner(kube: Kube) -> str:
    """Return the uid of an object that is there: what is owned by none is collected as garbage."""
    made = kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}})
    return str(made["metadata"]["uid"])


@pytest.fixture
async def writer(kube: Kube, owner: str) -> AsyncIterator[Writer]:
    async with client_of(kube.kubeconfig) as client:
        yield Writer(client, kube.namespace, owner)


def version(obj: Object) -> Object:
    return {field: obj["metadata"][field] for field in ("uid", "resourceVersion")}


def state(obj: Object) -> Object:
    """Return an object without what its controllers say of it, whenever they come to that."""
    known = {
        field: value for field, value in obj["metadata"].items() if field not in ("resourceVersion", "managedFields")
    }
    annotations = {name: value for name, value in known.get("annotations", {}).items() if "kubernetes.io" not in name}
    return obj | {"metadata": known | {"annotations": annotations}, "status": {}}


def managers(obj: Object) -> set[tuple[str, str]]:
    """Return by whom fields were set, other than controllers."""
    told = {(each["manager"], each["operation"]) for each in obj["metadata"]["managedFields"]}
    return {each for each in told if each[0] != "kube-controller-manager"}


async def until_taken(work: Callable[[], Awaitable[None]]) -> None:
    """The API server takes notice of new rights a moment later; and controllers write between a look and a write."""
    for _ in range(100):
        try:
            return await work()
        except (Forbidden, Conflict):
            await asyncio.sleep(0.1)
    return await work()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_apply_makes_and_changes_and_takes_away_and_is_nothing_the_second_time(
    writer: Writer, kube: Kube, owner: str, kind: str
) -> None:
    await writer.apply(writer.wanted(kind))
    made = kube.get(kind, "x")
    assert managers(made) == {("stagecoach", "Apply")}
    writer.applier = Writer(writer.client, kube.namespace, owner).applier  # another process
    await until_taken(lambda: writer.apply(writer.wanted(kind)))
    again = kube.get(kind, "x")
    assert state(again) == state(made)
    if kind in ("ConfigMap", "NetworkPolicy", "Service"):
        assert version(again) == version(made), "not even a version"
    await until_taken(lambda: writer.apply(writer.wanted(kind, 1)))
    changed = kube.get(kind, "x")
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert changed["metadata"]["annotations"][APPLIED] == "1"
    for gone in ("y", "minReadySeconds", "ingress", "unhealthyPodEvictionPolicy", "c"):
        assert gone not in changed.get("data", {}) | changed.get("spec", {}) | changed.get("spec", {}).get(
            "selector", {}
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_strangers_object_is_left_as_it_is(writer: Writer, kube: Kube, kind: str) -> None:
    kube.create(writer.wanted(kind, labels={"whose": "theirs"}))
    before = kube.get(kind, "x")
    with pytest.raises(NameTaken, match=f"{kind} {kube.namespace}/x exists and was not made for this Toy: it has no"):
        await writer.apply(writer.wanted(kind, 1))
    assert state(kube.get(kind, "x")) == state(before)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stale_writer_is_refused(writer: Writer, kube: Kube, kind: str) -> None:
    """StaleWriterHarmless: by the version that it saw, or by seeing none."""
    await writer.apply(writer.wanted(kind, 1))
    seen = kube.get(kind, "x")
    kube.patch(kind, "x", {"metadata": {"annotations": {"changed": "since"}}})
    before = kube.get(kind, "x")
    resource = writer.resources.of(seen)
    for stale in (version(seen), {"uid": "00000000-0000-0000-0000-000000000000"}, {"resourceVersion": "1"}):
        with pytest.raises(Conflict):
            await writer.client.apply(resource, writer.wanted(kind, **{"resourceVersion": "1"} | stale))
    assert state(kube.get(kind, "x")) == state(before)
    kube.delete(kind, "x")
    with pytest.raises(Conflict, match="uid mismatch"):
        await writer.client.apply(resource, writer.wanted(kind, **version(before)))
    assert kube.find(kind, "x") is None


async def test_what_others_set_besides_stays(writer: Writer, kube: Kube) -> None:
    await writer.apply(writer.wanted("ConfigMap"))
    kube.patch("ConfigMap", "x", {"metadata": {"annotations": {"team": "theirs"}}})
    await writer.apply(writer.wanted("ConfigMap", 1, **version(kube.get("ConfigMap", "x"))))
    assert kube.get("ConfigMap", "x")["metadata"]["annotations"] == {APPLIED: "1", "team": "theirs"}


@pytest.mark.parametrize("kind", ["NetworkPolicy", "Deployment"])
async def test_nothing_has_to_be_read(kube: Kube, owner: str, tmp_path: Path, kind: str) -> None:
    """The rights to create and to patch are enough."""
    token = account(kube, right("apps networking.k8s.io", "deployments networkpolicies", "create patch"))
    async with client_of(with_token(kube, token, tmp_path)) as client:
        for number in (0, 1):
            weak = Writer(client, kube.namespace, owner)
            await until_taken(lambda weak=weak, number=number: weak.apply(weak.wanted(kind, number)))  # type: ignore[misc]
    assert kube.get(kind, "x")["metadata"]["annotations"][APPLIED] == "1"


async def test_what_is_touched_does_not_show_what_is_in_it(writer: Writer, kube: Kube) -> None:
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"y": "MQ=="}})
    before = kube.get("Secret", "x")
    touched = await writer.client.touch(SECRETS, kube.namespace, "x")
    assert (touched["kind"], version(touched)) == ("PartialObjectMetadata", version(before))
    assert "data" not in touched
    assert kube.get("Secret", "x") == before
