"""kopf's side: what its events become, when the first list is complete, and what was deleted unseen."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest

from stagecoach.kinds.plan import Object
from stagecoach.runtime import handlers, kopf_settings
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.errors import ApiError, Forbidden, Throttled, Unreachable
from stagecoach.runtime.handlers import OwnWatch
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.resources import Resources
from tests.unit.runtime.fakes import Woken, controller, key, toy


class Names:
    """Lists the names that exist."""

    def __init__(self) -> None:
        self.objects: list[Object] = []
        self.errors: list[ApiError] = []

    async def pages(self, *_: Any, metadata_only: bool) -> AsyncIterator[tuple[list[Object], str]]:
        assert metadata_only
        if self.errors:
            raise self.errors.pop(0)
        objects = list(self.objects)
        yield objects[:1], "1"
        await asyncio.sleep(0)
        yield objects[1:], "1"


class World:
    def __init__(self) -> None:
        kinds = (controller(),)
        self.names = Names()
        self.queued = Woken()
        self.cache = Cache(kinds)
        nothing: Any = None
        client: Any = self.names
        intake = Intake(self.cache, kinds, self.queued.add)
        self.watch = OwnWatch(nothing, client, Resources(kinds).own.values(), (), self.cache, intake)

    async def event(self, sort: str | None, obj: Object) -> None:
        await self.watch.on_event({"type": sort, "object": obj}, whatever="kopf adds")


@pytest.fixture
def world() -> World:
    return World()


async def test_an_event_becomes_memory_and_work(world: World) -> None:
    await world.event("ADDED", toy("a"))
    assert world.cache.get(key("a")) == toy("a")
    await world.event("DELETED", toy("a"))
    assert world.cache.get(key("a")) is None
    assert world.queued == [key("a"), key("a")]


async def test_what_is_listed_waits_behind_what_happens(world: World) -> None:
    await world.event(None, toy("listed"))
    await world.event("MODIFIED", toy("happened"))
    assert world.queued.later == [key("listed")]


async def test_the_echo_of_our_own_write_makes_no_work(world: World) -> None:
    await world.event("ADDED", toy("a", version=2))
    await world.event("MODIFIED", toy("a", version=2))
    await world.event("MODIFIED", toy("a", version=1))
    assert world.queued == [key("a")]


async def test_an_empty_cluster_is_synced(world: World) -> None:
    await world.watch._sync()
    assert world.watch.synced.is_set()


async def test_it_is_synced_when_all_that_exists_was_seen(world: World) -> None:
    world.names.objects = [toy("a"), toy("b")]
    await world.event(None, toy("a"))
    syncing = asyncio.create_task(world.watch._sync())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not world.watch.synced.is_set()
    await world.event(None, toy("b"))
    await asyncio.wait_for(syncing, 5)


async def test_what_was_deleted_unseen_is_dropped(world: World) -> None:
    for name in ("stays", "goes"):
        await world.event(None, toy(name))
    await world.event(None, toy("again", uid="old"))
    world.names.objects = [toy("stays"), toy("again", uid="new")]
    await world.watch.prune()
    assert world.cache.keys() == [key("stays")]


async def test_what_is_created_during_the_look_is_not_dropped(world: World) -> None:
    await world.event(None, toy("a"))
    world.names.objects = [toy("a")]
    looking = asyncio.create_task(world.watch.prune())
    await asyncio.sleep(0)
    await world.event("ADDED", toy("b"))
    await looking
    assert set(world.cache.keys()) == {key("a"), key("b")}


async def test_a_list_after_the_first_asks_for_a_look(world: World) -> None:
    await world.event(None, toy("a"))
    assert not world.watch._relisted.is_set()
    world.watch.synced.set()
    await world.event(None, toy("a"))
    assert world.watch._relisted.is_set()


async def test_only_a_right_that_is_missing_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handlers, "PRUNE_DELAY", 0.001)
    world.watch._started.set()
    keeping = asyncio.create_task(world.watch.keep_exact())
    await asyncio.wait_for(world.watch.synced.wait(), 5)
    await world.event(None, toy("goes"))
    world.names.errors = [Unreachable("refused"), Forbidden("list toys is forbidden", 403)]
    async with asyncio.timeout(5):
        while world.cache.keys():  # noqa: ASYNC110 - a deletion sets no event
            await asyncio.sleep(0.001)
    keeping.cancel()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "deletions could not be looked for: refused"),
        ("ERROR", "deletions could not be looked for: list toys is forbidden"),
    ]


async def test_a_server_that_wants_a_pause_gets_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def fast(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", fast)
    world.names.errors = [Throttled("slow down", 17)]
    await world.watch._sync()
    assert max(slept) == 17
    slept.clear()
    world.names.errors = [Throttled("slow down", 27)]
    world.watch._started.set()
    world.watch._relisted.set()
    keeping = asyncio.create_task(world.watch.keep_exact())
    async with asyncio.timeout(5):
        while 27 not in slept:
            await real(0)
    keeping.cancel()


async def test_a_bug_in_a_question_about_neighbours_does_not_lose_the_event(world: World) -> None:
    await world.event("ADDED", toy("a", spec={"parent": ["not", "a", "name"]}))
    await world.event("ADDED", toy("b", spec=None))
    assert world.queued == [key("a"), key("b")]


def test_kopf_is_patient_and_writes_nothing() -> None:
    settings = kopf_settings.quiet()
    backoffs = iter(settings.networking.error_backoffs)  # type: ignore[arg-type]
    assert [next(backoffs) for _ in range(100)][-1] == 10
    assert not settings.posting.enabled
    assert settings.queueing.worker_limit is None


def test_only_event_handlers_are_registered(world: World) -> None:
    registry: kopf.OperatorRegistry = world.watch._registry()
    assert len(registry._watching.get_all_handlers()) == 1
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
