"""Server-side apply against a server that knows the rules about versions."""

from typing import Any

import pytest

from stagecoach.build.labels import APPLIED
from stagecoach.kinds.controller import OWNER_UID
from stagecoach.kinds.plan import Object
from stagecoach.runtime.applying import Applier
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.errors import Conflict, NameTaken
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.resources import BUDGETS, CONFIG_MAPS, Resource
from tests.unit.runtime.fakes import NAMESPACE, Clock, FakeServer, Woken, controller, toy

OWNER = toy("a")


class World:
    def __init__(self) -> None:
        self.server, self.clock = FakeServer(), Clock()
        kinds = (controller(),)
        self.cache = Cache(kinds, self.clock)
        self.cache.store(OWNER)
        client: Any = self.server
        self.applier = Applier(client, Intake(self.cache, kinds, Woken().add), self.clock)

    async def apply(self, resource: Resource, **details: Any) -> None:
        await self.applier.apply(OWNER, resource, wanted(resource, **details))

    def there(self, resource: Resource, owner: str) -> Object:
        obj = wanted(resource, value="theirs", owner=owner)
        metadata = {"uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}
        return self.server.add(obj | {"metadata": obj["metadata"] | metadata})

    def value(self, resource: Resource) -> str:
        return str(self.server.objects[resource.kind, "a-x"]["data"]["value"])


def wanted(resource: Resource, value: str = "ours", owner: str = "uid-a", **metadata: Any) -> Object:
    known: Object = {"name": "a-x", "namespace": NAMESPACE, "labels": {OWNER_UID: owner} if owner else {}}
    known["ownerReferences"] = [{"uid": owner}] if owner else []
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": known | metadata,
        "data": {"value": value},
    }


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("resource", [CONFIG_MAPS, BUDGETS])
async def test_what_is_not_there_is_made_by_the_apply_itself(world: World, resource: Resource) -> None:
    await world.apply(resource)
    assert [verb for verb, _, _ in world.server.calls] == ["apply"]
    assert world.value(resource) == "ours"


@pytest.mark.parametrize("resource", [CONFIG_MAPS, BUDGETS])
@pytest.mark.parametrize("owner", ["uid-of-another", ""])
async def test_what_is_somebody_elses_is_left_alone(world: World, resource: Resource, owner: str) -> None:
    before = world.there(resource, owner)
    with pytest.raises(NameTaken, match=f"{resource.kind} ns/a-x exists and was not made for this Toy: its? .*Delete"):
        await world.apply(resource)
    assert world.server.objects[resource.kind, "a-x"] == before


@pytest.mark.parametrize("resource", [CONFIG_MAPS, BUDGETS])
async def test_what_has_our_label_alone_is_left_alone(world: World, resource: Resource) -> None:
    world.there(resource, "uid-a")["metadata"]["ownerReferences"] = []
    with pytest.raises(NameTaken, match=r"its ownerReferences do not have the uid uid-a\. Delete it"):
        await world.apply(resource)


@pytest.mark.parametrize("resource", [CONFIG_MAPS, BUDGETS])
async def test_what_is_ours_and_was_not_known_is_applied_as_it_was_found(world: World, resource: Resource) -> None:
    world.there(resource, "uid-a")
    await world.apply(resource)
    assert [verb for verb, _, _ in world.server.calls] == ["apply", "touch", "apply"]
    assert [world.server.bodies[-1]["metadata"][field] for field in ("uid", "resourceVersion")] == ["u", "7"]
    assert world.value(resource) == "ours"


async def test_what_goes_while_it_is_looked_at_is_decided_anew(world: World) -> None:
    world.server.fail("apply", Conflict("changed", 409))
    with pytest.raises(Conflict, match="went away"):
        await world.apply(CONFIG_MAPS)


async def test_a_stale_writer_is_refused_and_looks_no_further(world: World) -> None:
    world.there(CONFIG_MAPS, "uid-a")
    with pytest.raises(Conflict):
        await world.apply(CONFIG_MAPS, uid="u", resourceVersion="6")
    assert [verb for verb, _, _ in world.server.calls] == ["apply"]
    await world.apply(CONFIG_MAPS, uid="u", resourceVersion="7")
    assert world.value(CONFIG_MAPS) == "ours"


async def test_what_is_watched_is_applied_whenever_a_plan_says_so_and_is_remembered(world: World) -> None:
    for _ in range(2):
        await world.apply(CONFIG_MAPS)
    assert world.server.made("apply") == ["a-x"] * 3, "the second one finds it there"
    assert [each["metadata"]["name"] for each in world.cache.config_maps("uid-a")] == ["a-x"]


async def test_what_is_not_watched_is_applied_when_it_changes_and_now_and_then(world: World) -> None:
    await world.apply(BUDGETS)
    world.clock.now += 599
    await world.apply(BUDGETS)
    assert world.server.made("apply") == ["a-x"]
    await world.apply(BUDGETS, value="new")
    assert world.value(BUDGETS) == "new"
    world.server.objects["PodDisruptionBudget", "a-x"]["data"] = {"value": "changed by somebody"}
    world.clock.now += 600
    await world.apply(BUDGETS, value="new")
    assert world.value(BUDGETS) == "new"


async def test_what_nobody_wants_any_more_is_forgotten_now_and_then(world: World) -> None:
    await world.apply(BUDGETS)
    await world.apply(BUDGETS, name="other")
    world.clock.now += 599
    await world.apply(BUDGETS)
    assert len(world.applier._applied) == 2
    world.clock.now += 1
    await world.apply(BUDGETS)
    assert [name for _, _, name in world.applier._applied] == ["a-x"]


async def test_what_is_watched_says_as_what_it_was_applied_until_somebody_changes_it(world: World) -> None:
    annotations: Any = {APPLIED: "sha256:abc"}

    def told() -> bool:
        [found] = world.cache.config_maps("uid-a")
        return "annotations" in found["metadata"]

    world.cache.store_child(CONFIG_MAPS, world.there(CONFIG_MAPS, "uid-a") | {"data": {}})
    await world.apply(CONFIG_MAPS, annotations=annotations)
    assert told()
    changed = dict(world.server.objects["ConfigMap", "a-x"])
    changed["metadata"] = changed["metadata"] | {"resourceVersion": "1000"}
    world.server.objects["ConfigMap", "a-x"], world.server.version = changed, 1000
    world.cache.store_child(CONFIG_MAPS, changed)
    assert told(), "who changes it again and again is not answered each time"
    world.clock.now += 60
    assert not told()
    await world.apply(CONFIG_MAPS, annotations=annotations)
    assert told()
    world.clock.now += 600
    assert told()


async def test_what_was_refused_is_not_taken_for_done(world: World) -> None:
    world.there(BUDGETS, "")
    for _ in range(2):
        with pytest.raises(NameTaken):
            await world.apply(BUDGETS)
    del world.server.objects["PodDisruptionBudget", "a-x"]
    await world.apply(BUDGETS)
    assert world.value(BUDGETS) == "ours"
