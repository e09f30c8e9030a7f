"""Lists and watches of children, when the server does as it likes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.kinds.plan import Object
from stagecoach.runtime import children
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.children import ChildWatch
from stagecoach.runtime.errors import ApiError, Forbidden, Gone, ServerError, Throttled, Unreachable
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.resources import PODS
from tests.unit.runtime.fakes import Woken, controller, key, pod

Step = Object | ApiError


class Script:
    """Lists what it was told to, and plays one watch after the other; then nothing happens any more."""

    def __init__(self) -> None:
        self.lists: list[list[Object] | ApiError] = []
        self.watches: list[list[Step]] = []
        self.since: list[str] = []
        self.listed = 0
        self.look: Callable[[], bool] = lambda: True
        self.looks: list[bool] = []  # from the first break on

    async def pages(self, *_: Any, labels: str) -> AsyncIterator[tuple[list[Object], str]]:
        assert labels == "app.kubernetes.io/managed-by=stagecoach"
        self.listed += 1
        items = self.lists.pop(0)
        self._see()
        if isinstance(items, ApiError):
            raise items
        for obj in items:
            yield [obj], "1000"
            self._see()
        yield [], "1000"

    async def watch(self, *_: Any, since: str, **__: Any) -> AsyncIterator[Object]:
        self.since.append(since)
        self._see()
        if not self.watches:
            await asyncio.Event().wait()
        for step in self.watches.pop(0):
            if isinstance(step, ApiError):
                raise step
            yield step

    def _see(self) -> None:
        if self.listed > 1:
            self.looks.append(self.look())


class World:
    def __init__(self) -> None:
        self.script = Script()
        self.woken = Woken()
        self.cache = Cache((controller(),))
        self.intake = Intake(self.cache, (controller(),), self.woken.add)
        client: Any = self.script
        self.watch = ChildWatch(client, PODS, None, self.cache, self.intake, Backoff(first=0.0, longest=0.0))

    async def play(self) -> None:
        task = asyncio.create_task(self.watch.run())
        for _ in range(200):
            await asyncio.sleep(0)
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @property
    def names(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.cache.children_of(PODS, None)}


@pytest.fixture
def world() -> World:
    return World()


def event(sort: str, obj: Object) -> Object:
    return {"type": sort, "object": obj}


def error(code: int) -> Object:
    return event("ERROR", {"kind": "Status", "code": code, "message": "x"})


async def test_what_is_listed_is_known_and_wakes_its_owner(world: World) -> None:
    world.script.lists = [[pod("p"), pod("q", owner="b")]]
    await world.play()
    assert world.names == {"p", "q"}
    assert world.woken == [key("a"), key("b")]
    assert world.watch.synced.is_set()
    assert world.script.since == ["1000"]


async def test_events_are_taken_in(world: World) -> None:
    world.script.lists = [[pod("p")]]
    changed = pod("p", version=1001, phase="Failed")
    world.script.watches = [
        [event("MODIFIED", changed), event("ADDED", pod("q", version=1002)), event("DELETED", pod("p", version=1003))]
    ]
    await world.play()
    assert world.names == {"q"}
    assert len(world.woken) == 4


async def test_a_watch_that_the_server_ends_goes_on_where_it_was(world: World) -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "1500"}})
    world.script.lists = [[]]
    world.script.watches = [[bookmark], [event("ADDED", pod("p", version=1600))]]
    await world.play()
    assert world.script.since == ["1000", "1500", "1600"]
    assert world.script.listed == 1
    assert world.names == {"p"}
    assert world.watch.synced.is_set()


@pytest.mark.parametrize(
    "end", [Unreachable("reset"), Throttled("later", 0.0), Forbidden("no more", 403), error(410), error(500)]
)
async def test_from_a_break_to_the_end_of_the_next_list_nothing_is_decided(world: World, end: Step) -> None:
    world.script.lists = [[pod("p")], Unreachable("still away"), [pod("q")]]
    world.script.watches = [[end]]
    world.script.look = world.watch.synced.is_set
    await world.play()
    assert world.script.looks == [False, False, False, True], "at each page, and at the watch after the last"
    assert world.names == {"q"}, "what happened meanwhile is known when it is decided again"


async def test_a_server_that_ends_streams_at_once_is_waited_for_like_one_that_is_away(world: World) -> None:
    world.script.lists = [[pod("p")], [pod("q")]]
    world.script.watches = [[]]
    await world.play()
    assert world.script.listed == 2
    assert world.names == {"q"}


@pytest.mark.parametrize("end", [error(410), Gone("expired", 410), ServerError("too large version", 504), error(500)])
async def test_a_version_that_is_too_old_means_a_new_list_in_which_the_deleted_are_missing(
    world: World, end: Step
) -> None:
    world.script.lists = [[pod("p"), pod("q")], [pod("q")]]
    world.script.watches = [[end]]
    await world.play()
    assert world.names == {"q"}
    assert world.script.listed == 2
    assert world.woken.count(key("a")) == 3  # two found, one lost


async def test_a_list_that_fails_half_way_deletes_nothing(world: World) -> None:
    world.script.lists = [[pod("p")], Unreachable("reset"), [pod("p")]]
    world.script.watches = [[error(410)]]
    await world.play()
    assert world.names == {"p"}
    assert world.script.listed == 3


async def test_not_synced_before_the_first_list(world: World) -> None:
    world.script.lists = [ServerError("starting", 503)] * 300
    await world.play()
    assert not world.watch.synced.is_set()
    assert not world.watch.stuck


async def test_a_watch_without_a_sign_of_life_is_stuck(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STUCK", -1.0)
    assert world.watch.stuck


class Silent:
    """Serves lists page by page, while pods come and go; its streams bring nothing, or end."""

    def __init__(self) -> None:
        self.pods: list[str] = []
        self.history = [frozenset[str]()]
        self.streams: list[asyncio.Event] = []

    def change(self, name: str) -> None:
        self.pods = [each for each in self.pods if each != name] if name in self.pods else [*self.pods, name]
        self.history.append(frozenset(self.pods))

    async def pages(self, *_: Any, **__: Any) -> AsyncIterator[tuple[list[Object], str]]:
        listed, version = list(self.pods), str(len(self.history))
        for name in listed:
            yield [pod(name)], version
            await asyncio.sleep(0)
        yield [], version

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[Object]:
        self.streams.append(asyncio.Event())
        yield event("BOOKMARK", {"metadata": {"resourceVersion": str(len(self.history))}})
        await self.streams[-1].wait()
        yield event("BOOKMARK", {"metadata": {"resourceVersion": str(len(self.history))}})


@given(st.lists(st.sampled_from(["p", "q", "r", "lead", "end", "turn", "turn"]), max_size=30))
def test_whoever_leads_knows_children_as_they_were_at_some_time_since(steps: list[str]) -> None:
    async def live() -> None:
        world, server, since = World(), Silent(), 0
        client: Any = server
        world.watch = ChildWatch(client, PODS, None, world.cache, world.intake, Backoff(first=0.0, longest=0.0))
        task = asyncio.create_task(world.watch.run())
        for step in [*steps, *["turn"] * 20]:
            if step == "lead":
                world.watch.renew()
                since = len(server.history) - 1
            elif step == "end":
                for stream in server.streams:
                    stream.set()
            elif step == "turn":
                await asyncio.sleep(0)
            else:
                server.change(step)
            assert not world.watch.synced.is_set() or world.names in server.history[since:], step
        assert world.watch.synced.is_set()
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(live())


@pytest.mark.parametrize(("watched", "covered"), [(None, True), ("ns", True), ("another", False)])
def test_whose_work_waits_for_a_watch(world: World, watched: str | None, covered: bool) -> None:
    client: Any = world.script
    assert ChildWatch(client, PODS, watched, world.cache, world.intake).covers("ns") is covered
