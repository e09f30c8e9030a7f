"""The work queue's promises, by example and for any order of calls."""

import asyncio
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stagecoach.kinds.plan import Key
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.queue import SHARE, QueueClosed, WorkQueue

A, B = Key("Toy", "ns", "a"), Key("Toy", "ns", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock, lambda: Backoff(first=1.0, longest=8.0, spread=lambda: 0.5))


def test_first_in_first_out(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(B)
    assert [queue.take(), queue.take(), queue.take()] == [A, B, None]


def test_what_nothing_happened_to_waits_behind(queue: WorkQueue) -> None:
    queue.add(A, later=True)
    queue.add(B)
    assert (queue.depth, queue.take(), queue.take(), queue.take()) == (2, B, A, None)


def test_what_something_happens_to_goes_ahead(queue: WorkQueue) -> None:
    queue.add(A, later=True)
    queue.add(B, later=True)
    queue.add(B)
    queue.add(B, later=True)
    assert (queue.depth, queue.take(), queue.take(), queue.take()) == (2, B, A, None)


@pytest.mark.parametrize(("happens", "order"), [(False, [B, A]), (True, [A, B])])
def test_a_key_that_runs_is_put_into_the_lane_that_it_was_added_to(
    queue: WorkQueue, happens: bool, order: list[Key]
) -> None:
    queue.add(A)
    queue.take()
    queue.add(A, later=True)
    if happens:
        queue.add(A)
    queue.done(A)
    queue.add(B)
    assert [queue.take(), queue.take(), queue.take()] == [*order, None]


def test_neither_lane_stands_still(queue: WorkQueue) -> None:
    behind = [Key("Toy", "ns", str(number)) for number in range(10)]
    for key in behind:
        queue.add(key, later=True)
    taken = []
    for _ in range(10 * SHARE):  # something happens to one all the time
        queue.add(A)
        took = queue.take()
        assert took is not None
        queue.done(took)
        taken.append(took)
    assert [key for key in taken if key != A] == behind
    assert taken[: SHARE + 1] == [A] * (SHARE - 1) + [behind[0], A]


def test_a_key_is_in_it_once(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(A)
    assert (queue.depth, queue.take(), queue.take()) == (1, A, None)


def test_a_key_added_while_it_runs_runs_again_but_not_at_once(queue: WorkQueue) -> None:
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    assert queue.take() is None
    queue.done(A)
    assert queue.take() == A


def test_a_deadline_makes_a_key_ready(queue: WorkQueue, clock: Clock) -> None:
    queue.put_after(A, 5)
    clock.now += 4.9
    assert queue.take() is None
    clock.now += 0.1
    assert queue.take() == A


@pytest.mark.parametrize("delays", [(9, 3), (3, 9)])
def test_the_earlier_deadline_wins(queue: WorkQueue, clock: Clock, delays: tuple[int, int]) -> None:
    for delay in delays:
        queue.put_after(A, delay)
    clock.now += 3
    assert queue.take() == A
    queue.done(A)
    clock.now += 6
    assert queue.take() is None


def test_a_run_drops_the_deadline_that_was_set_before_it(queue: WorkQueue, clock: Clock) -> None:
    queue.put_after(A, 5)
    queue.add(A)
    assert queue.take() == A
    queue.done(A)
    clock.now += 10
    assert queue.take() is None


def test_a_deadline_set_while_a_key_runs_stays(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    queue.take()
    queue.put_after(A, 5)
    queue.done(A)
    clock.now += 5
    assert queue.take() == A


def test_no_delay_is_now(queue: WorkQueue) -> None:
    queue.put_after(A, 0)
    assert queue.take() == A


def test_retries_wait_longer_until_forgotten(queue: WorkQueue) -> None:
    assert [queue.retry(A) for _ in range(5)] == [1, 2, 4, 8, 8]
    queue.forget(A)
    assert queue.retry(A) == 1


def test_a_server_that_asks_for_more_time_gets_it(queue: WorkQueue) -> None:
    assert queue.retry(A, at_least=30) == 30


def test_jitter_spreads_retries() -> None:
    delays = {Backoff(first=1.0).next() for _ in range(20)}
    assert len(delays) > 10
    assert all(0.8 <= delay <= 1.2 for delay in delays)


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(first=1.0, longest=60.0)
    assert max(backoff.next() for _ in range(2000)) <= 72


def test_how_long_a_key_waited_is_told(clock: Clock) -> None:
    waits: list[float] = []
    queue = WorkQueue(clock, on_wait=waits.append)
    queue.add(A)
    clock.now += 2
    queue.add(A)
    queue.take()
    assert waits == [2]
    queue.add(B, later=True)
    clock.now += 5
    queue.add(B)
    clock.now += 1
    assert queue.take() == B
    queue.done(A)
    queue.add(A, later=True)
    assert queue.take() == A
    assert waits == [2, 1], "from the first event on; without one there is nothing to tell"


def test_far_deadlines_that_no_longer_count_do_not_pile_up(queue: WorkQueue, clock: Clock) -> None:
    for _ in range(1000):
        clock.now += 0.1
        queue.put_after(A, 3600)
        queue.add(A)
        queue.take()
        queue.done(A)
    assert len(queue._heap) <= 70


def test_a_closed_queue_gives_nothing(queue: WorkQueue) -> None:
    queue.add(A)
    queue.close()
    queue.add(B)
    assert queue.take() is None


async def test_get_waits_for_a_key(queue: WorkQueue) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    assert await waiting == A


async def test_get_waits_for_the_earliest_deadline() -> None:
    queue = WorkQueue()
    queue.put_after(A, 60)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_after(B, 0.01)
    assert await asyncio.wait_for(waiting, 5) == B


async def test_closing_ends_those_who_wait(queue: WorkQueue) -> None:
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, QueueClosed) for each in results)


async def test_a_cancelled_worker_loses_no_wake_up(queue: WorkQueue) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    first.cancel()
    assert await asyncio.wait_for(second, 5) == A
    await asyncio.gather(first, return_exceptions=True)


async def test_workers_never_share_a_key_and_lose_none() -> None:
    queue = WorkQueue()
    keys = [Key("Toy", "ns", str(number)) for number in range(20)]
    running: Counter[Key] = Counter()
    runs: Counter[Key] = Counter()
    most = 0

    async def work() -> None:
        nonlocal most
        while True:
            try:
                key = await queue.get()
            except QueueClosed:
                return
            running[key] += 1
            most = max(most, running[key])
            await asyncio.sleep(0)
            running[key] -= 1
            runs[key] += 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for turn in range(200):
        queue.add(keys[turn * 7 % 20])
        if turn % 3 == 0:
            await asyncio.sleep(0)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert (queue.depth, queue.running) == (0, 0)
    queue.close()
    await asyncio.gather(*workers)
    assert most == 1
    assert set(runs) == set(keys)


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls: a model of what is owed to each key is compared with what the queue gives."""

    keys = st.sampled_from([Key("Toy", "ns", name) for name in "abc"])

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = WorkQueue(self.clock)
        self.owed: set[Key] = set()  # added since it was last taken
        self.deadlines: dict[Key, float] = {}
        self.running: set[Key] = set()

    @rule(key=keys, later=st.booleans())
    def add(self, key: Key, later: bool) -> None:
        self.queue.add(key, later=later)
        self.owed.add(key)

    @rule(key=keys, seconds=st.integers(1, 20))
    def put_after(self, key: Key, seconds: int) -> None:
        self.queue.put_after(key, seconds)
        self.deadlines[key] = min(self.deadlines.get(key, float("inf")), self.clock.now + seconds)

    @rule(seconds=st.integers(1, 15))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        for due in [key for key, deadline in self.deadlines.items() if deadline <= self.clock.now]:
            del self.deadlines[due]
            self.owed.add(due)
        ready = self.owed - self.running
        key = self.queue.take()
        assert (key in ready) if ready else (key is None)
        if key is not None:
            self.owed.discard(key)
            self.deadlines.pop(key, None)
            self.running.add(key)

    @rule(key=keys)
    def done(self, key: Key) -> None:
        if key in self.running:
            self.running.discard(key)
            self.queue.done(key)

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.running == len(self.running)

    def teardown(self) -> None:
        """Whatever was owed is given in the end."""
        self.clock.now += 100
        for running in list(self.running):
            self.queue.done(running)
        given = set()
        while (key := self.queue.take()) is not None:
            given.add(key)
        assert given == self.owed | set(self.deadlines)


TestAnyOrder = QueueMachine.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40)
