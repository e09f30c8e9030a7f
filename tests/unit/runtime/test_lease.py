"""Leadership: two candidates, a server with versions, and clocks that are nobody's but their own."""

from typing import Any

import pytest

from stagecoach.runtime.errors import Fenced, ServerError, Unreachable
from tests.unit.runtime.candidates import Candidate
from tests.unit.runtime.fakes import FakeServer


async def test_the_first_leads_and_the_second_waits(one: Candidate, two: Candidate) -> None:
    assert await one.tick()
    assert not await two.tick()
    assert one.gained == 1


async def test_who_renews_stays(one: Candidate, two: Candidate) -> None:
    for _ in range(20):
        assert await one.tick(after=2)
        assert not await two.tick(after=2)
    assert one.gained == 1


async def test_a_dead_leader_is_replaced_after_the_duration_and_not_before(one: Candidate, two: Candidate) -> None:
    await one.tick()
    assert not await two.tick()
    assert not await two.tick(after=14.9)
    assert await two.tick(after=0.1)


async def test_the_right_to_write_ends_before_anybody_else_may_begin(one: Candidate, two: Candidate) -> None:
    await one.tick()
    one.clock.now += 9.9
    assert one.leadership.valid()
    one.clock.now += 0.1
    assert not one.leadership.valid()
    with pytest.raises(Fenced):
        one.leadership.check()
    await two.tick()
    assert not await two.tick(after=14)


async def test_a_leader_that_was_frozen_does_not_lead_when_it_wakes(one: Candidate, two: Candidate) -> None:
    await one.tick()
    await two.tick()
    assert await two.tick(after=15)
    one.clock.now += 15
    assert not one.leadership.valid()
    assert not await one.tick()


async def test_a_leader_whose_lease_was_taken_stops_at_once(one: Candidate, two: Candidate) -> None:
    await one.tick()
    await two.tick()
    await two.tick(after=15)
    assert not await one.tick(after=1)  # its own clock says that there were nine seconds left


async def test_an_unreachable_server_does_not_end_leadership_before_the_deadline(
    server: FakeServer, one: Candidate
) -> None:
    await one.tick()
    server.fail("get", *[Unreachable("refused")] * 6)
    assert [await one.tick(after=2) for _ in range(6)] == [True, True, True, True, False, False]
    assert await one.tick(after=2)
    assert one.gained == 2


async def test_the_time_counts_from_before_the_renewal_was_sent(server: FakeServer, one: Candidate) -> None:
    original = server.create

    async def slow(*arguments: Any) -> Any:
        one.clock.now += 8
        return await original(*arguments)

    server.create = slow  # type: ignore[method-assign, assignment]
    await one.tick()
    one.clock.now += 2
    assert not one.leadership.valid()


async def test_a_renewal_that_took_too_long_gives_nothing(server: FakeServer, one: Candidate) -> None:
    original = server.create

    async def slow(*arguments: Any) -> Any:
        one.clock.now += 11
        return await original(*arguments)

    server.create = slow  # type: ignore[method-assign, assignment]
    assert not await one.tick()
    assert one.gained == 0


async def test_a_lost_race_for_the_lease_is_lost(server: FakeServer, one: Candidate, two: Candidate) -> None:
    await one.tick()
    await one.elector.release()
    original = server.get

    async def overtaken(*arguments: Any) -> Any:
        seen = await original(*arguments)
        server.get = original  # type: ignore[method-assign]
        assert await one.tick()
        return seen

    server.get = overtaken  # type: ignore[method-assign, assignment]
    assert not await two.tick()


async def test_a_released_lease_is_taken_at_once(one: Candidate, two: Candidate) -> None:
    await one.tick()
    await two.tick()
    await one.elector.release()
    assert not one.leadership.valid()
    assert await two.tick()


async def test_a_lease_that_somebody_else_holds_is_not_released(server: FakeServer, one: Candidate) -> None:
    await one.tick()
    server.objects["Lease", "lease"]["spec"]["holderIdentity"] = "two"
    await one.elector.release()
    assert server.objects["Lease", "lease"]["spec"]["holderIdentity"] == "two"


async def test_a_release_that_fails_is_no_error(server: FakeServer, one: Candidate) -> None:
    await one.tick()
    server.fail("get", ServerError("down", 503))
    await one.elector.release()
    assert not one.leadership.valid()


async def test_the_holder_s_own_duration_counts(server: FakeServer, one: Candidate, two: Candidate) -> None:
    await one.tick()
    server.objects["Lease", "lease"]["spec"]["leaseDurationSeconds"] = 40
    await two.tick()
    assert not await two.tick(after=39)
    assert await two.tick(after=1)


async def test_transitions_are_counted(server: FakeServer, one: Candidate, two: Candidate) -> None:
    await one.tick()
    await one.tick(after=2)
    await one.elector.release()
    await two.tick()
    assert server.objects["Lease", "lease"]["spec"]["leaseTransitions"] == 2
