"""Facts about pods."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stagecoach.kinds.plan import Object
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.errors import ApiError, ServerError, Throttled
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.lease import Leadership
from stagecoach.runtime.pollers import (
    PROGRESS_GRACE,
    WARNING_GRACE,
    Fact,
    Poller,
    ProgressFact,
    WarningFact,
    last_progress,
)
from stagecoach.runtime.resources import PODS
from tests.unit.runtime.fakes import Clock, Woken, controller, key, pod

GRACE = int(PROGRESS_GRACE)
START = int(WARNING_GRACE)  # for as long a pod may take to start
LINE = '{"progress": {"step": %d, "steps": 10, "percent": 10, "at": "2026-01-01T00:00:00Z"}}'


class Logs:
    """Answers for logs and events."""

    def __init__(self) -> None:
        self.log = ""
        self.events: list[Object] = []
        self.asked: list[str] = []
        self.busy = 0
        self.error: ApiError | None = None

    async def pod_log(self, _namespace: str, name: str, container: str, lines: int) -> str:
        assert (container, lines) == ("trainer", 5)
        return self._answer(name, self.log)

    async def pages(self, _resource: object, namespace: str, *, fields: str) -> AsyncIterator[tuple[list[Object], str]]:
        self._answer(f"{namespace}: {fields}", "")
        self.busy += 1
        await asyncio.sleep(0)
        assert self.busy == 1
        yield self.events[:1], "1"
        yield self.events[1:], "1"
        self.busy -= 1

    def _answer(self, what: str, answer: str) -> str:
        self.asked.append(what)
        if self.error:
            raise self.error
        return answer


class World:
    def __init__(self, fact: type[ProgressFact | WarningFact]) -> None:
        self.clock = Clock()
        self.logs = Logs()
        self.woken = Woken()
        self.pauses: list[tuple[int, float]] = []  # how much was asked before, and how long
        self.cache = Cache((controller(),), self.clock)
        intake = Intake(self.cache, (controller(),), self.woken.add)
        made: Fact = fact(self.logs, self.cache)  # type: ignore[arg-type]
        self.poller = Poller(made, self.cache, intake, Leadership(self.clock), self.clock, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.pauses.append((len(self.logs.asked), seconds))

    def see(self, obj: Object) -> None:
        self.cache.store_child(PODS, obj)

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += 1
            await self.poller.tick()


@pytest.fixture
def progress() -> World:
    return World(ProgressFact)


@pytest.fixture
def warning() -> World:
    return World(WarningFact)


async def test_progress_is_read_and_wakes_the_owner_when_it_changes(progress: World) -> None:
    progress.see(pod("p"))
    progress.logs.log = "noise\n" + LINE % 1 + "\n" + LINE % 2 + "\nmore noise"
    await progress.pass_time(GRACE)
    assert progress.logs.asked == []
    await progress.pass_time(1)
    found = progress.cache.progress("uid-p")
    assert found is not None
    assert found.step == 2
    assert progress.woken == [key("a")]
    await progress.pass_time(12)
    assert progress.logs.asked == ["p", "p"]
    assert progress.woken == [key("a")]


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
async def test_only_running_pods_are_asked_for_progress(progress: World, phase: str) -> None:
    progress.see(pod("p", phase=phase))
    await progress.pass_time(GRACE + 3)
    assert progress.logs.asked == []


async def test_of_several_pods_that_of_index_0_is_asked_for_progress(progress: World) -> None:
    for index in ("0", "1"):
        each = pod(f"p-{index}")
        each["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = index
        progress.see(each)
    await progress.pass_time(GRACE + 3)
    assert progress.logs.asked == ["p-0"]


async def test_unreadable_progress_stays_unknown_and_is_asked_for_less_often(progress: World) -> None:
    progress.see(pod("p"))
    progress.logs.error = ServerError("no kubelet", 502)
    await progress.pass_time(120)
    assert progress.cache.progress("uid-p") is None
    assert 3 <= len(progress.logs.asked) <= 5
    assert progress.woken == []


async def test_many_pods_are_asked_in_turn_at_a_bounded_rate(progress: World) -> None:
    for number in range(100):
        progress.see(pod(f"p{number}"))
    await progress.pass_time(GRACE + 1)
    assert len(progress.logs.asked) == ProgressFact.rate
    await progress.pass_time(100 // ProgressFact.rate - 1)
    assert len(set(progress.logs.asked)) == 100


async def test_what_is_asked_in_one_turn_is_spread_over_it(progress: World) -> None:
    for number in range(100):
        progress.see(pod(f"p{number}"))
    await progress.pass_time(GRACE + 1)
    assert progress.pauses == [(asked, 1 / ProgressFact.rate) for asked in range(1, ProgressFact.rate + 1)]


async def test_a_server_that_wants_a_pause_gets_it_whatever_pod_it_was_about(progress: World) -> None:
    for number in range(30):
        progress.see(pod(f"p{number}"))
    progress.logs.error = Throttled("slow down", 7)
    await progress.pass_time(GRACE + 7)
    assert len(progress.logs.asked) == 1
    progress.logs.error = None
    await progress.pass_time(1)
    assert len(progress.logs.asked) == 1 + ProgressFact.rate


@pytest.mark.parametrize("log", ["", "no json", '{"progress": 1}', '{"progress": {"step": 1, "unknown": 2}}'])
def test_what_is_no_progress_is_none(log: str) -> None:
    assert last_progress(log) is None


def waiting(name: str = "p", namespace: str = "ns", phase: str = "Pending") -> Object:
    made = pod(name, phase=phase, containerStatuses=[{"name": "trainer", "state": {"waiting": {"reason": "X"}}}])
    made["metadata"]["namespace"] = namespace
    return made


def event(message: str, name: str = "p", **times: str | None) -> Object:
    return {"reason": "FailedMount", "message": message, "involvedObject": {"uid": f"uid-{name}"}} | times


async def test_the_newest_warning_is_kept_after_a_grace(warning: World) -> None:
    warning.see(waiting())
    warning.logs.events = [
        event("new", eventTime="2026-01-01T00:00:01.000000Z", lastTimestamp=None),
        event("old", lastTimestamp="2026-01-01T00:00:00Z"),
        event("another's", "q", lastTimestamp="2026-01-01T00:00:02Z"),
    ]
    await warning.pass_time(START)
    assert warning.logs.asked == []
    await warning.pass_time(1)
    assert warning.cache.warning("uid-p") == "FailedMount: new"
    assert warning.woken == [key("a")]
    assert warning.logs.asked == ["ns: type=Warning"]


async def test_the_pods_of_a_namespace_are_asked_about_at_once(warning: World) -> None:
    names = [f"p{number}" for number in range(50)]
    for name in names:
        warning.see(waiting(name))
    warning.logs.events = [event(f"of {name}", name) for name in names]
    await warning.pass_time(START + 1)
    assert len(warning.logs.asked) == 1
    assert {warning.cache.warning(f"uid-{name}") for name in names} == {f"FailedMount: of {name}" for name in names}


async def test_namespaces_are_asked_about_one_after_the_other_and_all_in_time(warning: World) -> None:
    for number in range(18):
        warning.see(waiting(f"p{number}", f"ns-{number}"))
    await warning.pass_time(START + 1)
    assert len(warning.logs.asked) == WarningFact.rate
    await warning.pass_time(8)
    assert len(set(warning.logs.asked)) == 18


async def test_a_warning_is_told_in_less_than_15_seconds_wherever_it_falls(warning: World) -> None:
    warning.see(waiting())
    await warning.pass_time(START + 2)
    warning.logs.events = [event("just missed")]
    await warning.pass_time(12)
    assert warning.cache.warning("uid-p") == "FailedMount: just missed"


async def test_pods_that_wait_one_after_the_other_are_no_reason_to_ask_more_often(warning: World) -> None:
    each = START // 2
    for number in range(20):
        warning.see(waiting(f"p{number}"))
        await warning.pass_time(1)
        warning.see(pod(f"p{number - 2}", version=2))  # which has waited a moment too long
        await warning.pass_time(each - 1)
    assert 5 <= len(warning.logs.asked) <= 20 * each / 9 + 1


async def test_pods_of_which_each_starts_in_time_are_not_asked_about(warning: World) -> None:
    for number in range(30):
        warning.see(waiting(f"p{number}"))
        await warning.pass_time(START // 2)
        warning.see(pod(f"p{number - 1}", version=2))
    assert warning.logs.asked == []


async def test_a_warning_goes_when_the_pod_starts(warning: World) -> None:
    warning.see(waiting())
    warning.logs.events = [event("pull", lastTimestamp="2026-01-01T00:00:00Z")]
    await warning.pass_time(START + 1)
    warning.see(pod("p", version=2))
    await warning.pass_time(1)
    assert warning.cache.warning("uid-p") is None
    assert warning.woken == [key("a"), key("a")]


async def test_a_container_that_waits_again_is_asked_about(warning: World) -> None:
    warning.see(waiting(phase="Running"))
    await warning.pass_time(START + 2)
    assert len(warning.logs.asked) == 1


async def test_a_pod_without_a_node_is_the_scheduler_s(warning: World) -> None:
    homeless = waiting()
    del homeless["spec"]["nodeName"]
    warning.see(homeless)
    await warning.pass_time(10)
    assert warning.logs.asked == []
