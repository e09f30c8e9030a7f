"""Events: told once, and not lost while the API server does not take them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stagecoach.kinds.plan import Event
from stagecoach.runtime import metrics, recorder
from stagecoach.runtime.errors import ApiError, Fenced, Forbidden, ServerError, Throttled, Unreachable
from stagecoach.runtime.recorder import Recorder
from tests.unit.runtime.fakes import FakeServer, toy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class World:
    def __init__(self) -> None:
        self.server = FakeServer()
        self.slept: list[float] = []
        client: Any = self.server
        self.recorder = Recorder(client, "me", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def tell(self, *reasons: str) -> None:
        for reason in reasons:
            await self.recorder.tell(toy("a"), Event(reason, "Something was decided."), NOW)

    def told(self) -> list[str]:
        """Return the reasons of the Events that were written, the first one first."""
        return [event["reason"] for event in self.server.objects.values()]


@pytest.fixture
def world() -> World:
    return World()


def given_up() -> float:
    [told] = metrics.EVENTS_FAILED.collect()
    return next(each.value for each in told.samples if each.name.endswith("_total"))


async def test_an_event_is_told_again_once_the_server_has_forgotten_it() -> None:
    server, obj, event = FakeServer(), toy("a"), Event("Suspended", "Nothing is started.")
    client: Any = server
    recorder = Recorder(client, "me")
    for minutes, told in ((0, 1), (59, 1), (61, 2), (119, 2), (121, 3)):
        server.objects.clear()
        await recorder.tell(obj, event, NOW + timedelta(minutes=minutes))
        assert len(server.made("create")) == told, minutes


@pytest.mark.parametrize("error", [Throttled("slow down", 7), ServerError("down", 503), Unreachable("timeout")])
async def test_what_is_not_taken_now_is_written_later_and_in_order(world: World, error: ApiError) -> None:
    before = given_up()
    world.server.fail("create", error)
    await world.tell("First", "Second", "First")
    assert world.told() == []
    await world.recorder.catch_up()
    assert world.told() == ["First", "Second"]
    await world.tell("First", "Third")
    assert world.told() == ["First", "Second", "Third"], "it is written at once again"
    assert given_up() == before


async def test_a_server_that_wants_a_pause_gets_it(world: World) -> None:
    world.server.fail("create", Throttled("slow down", 7), Throttled("slow down", 40), Fenced("not the leader"))
    await world.tell("First", "Second")
    writing = asyncio.create_task(world.recorder.run())
    async with asyncio.timeout(5):
        while len(world.told()) < 2:  # noqa: ASYNC110 - writing sets no event
            await asyncio.sleep(0)
    writing.cancel()
    assert world.slept[:2] == [7, 40]
    assert len(world.slept) == 3


async def test_once_something_is_taken_the_rest_need_not_wait_as_long(world: World) -> None:
    """Else who is killed meanwhile takes with it what could have been told long ago."""
    world.server.fail("create", *[Unreachable("timeout")] * 9)
    await world.tell("First", "Second")
    for _ in range(8):
        await world.recorder.catch_up()
    assert world.recorder._pause > 20
    create = world.server.create

    async def takes_one(*arguments: Any) -> Any:
        made = await create(*arguments)
        world.server.fail("create", Fenced("not the leader"))
        return made

    world.server.create = takes_one  # type: ignore[assignment,method-assign]
    await world.recorder.catch_up()
    assert world.told() == ["First"]
    assert world.recorder._pause < 1


async def test_what_a_former_leader_may_not_write_waits(world: World) -> None:
    world.server.fail("create", Fenced("not the leader"))
    await world.tell("First")
    await world.recorder.catch_up()
    assert world.told() == ["First"]


async def test_those_that_are_refused_alone_hold_up_no_others(world: World) -> None:
    poison, before = ServerError("a webhook failed", 500), given_up()
    world.server.fail("create", poison, poison)
    await world.tell("First", "Second", "Third")
    assert world.told() == ["Third"]
    world.server.fail("create", poison, poison)
    await world.recorder.catch_up()
    await world.tell("Fourth")
    assert world.told() == ["Third", "Fourth"]
    for _ in range(recorder.REFUSALS - 1):
        world.server.fail("create", poison)
        await world.recorder.catch_up()
    assert world.told() == ["Third", "Fourth", "Second"]
    assert given_up() - before == 1
    await world.tell("Fifth")
    assert world.told()[-1] == "Fifth"


async def test_what_a_stopped_worker_was_writing_waits(world: World) -> None:
    world.server.fail("create", asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await world.tell("First")
    await world.recorder.stop(1)
    assert world.told() == ["First"]


@pytest.mark.parametrize("error", [Unreachable("refused"), ValueError("a bug")])
async def test_what_cannot_be_written_when_the_operator_stops_is_said_to_be_lost(
    world: World, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    before = given_up()
    world.server.fail("create", Unreachable("refused"), error)
    await world.tell("First", "Second")
    await world.recorder.stop(1)
    assert given_up() - before == 2
    assert [each.__dict__["about"] for each in caplog.records if "not written" in each.message] == ["Toy ns/a"] * 2
    await world.recorder.catch_up()
    assert world.told() == []


async def test_only_so_many_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "WAITING", 2)
    before = given_up()
    world.server.fail("create", Unreachable("refused"))
    await world.tell("First", "Second", "Third")
    assert given_up() - before == 1
    await world.recorder.catch_up()
    assert world.told() == ["Second", "Third"]


async def test_what_is_refused_for_good_holds_up_no_other(world: World) -> None:
    before = given_up()
    world.server.fail("create", Unreachable("refused"), Forbidden("the namespace goes", 403))
    await world.tell("First", "Second")
    await world.recorder.catch_up()
    assert world.told() == ["Second"]
    assert given_up() - before == 1
