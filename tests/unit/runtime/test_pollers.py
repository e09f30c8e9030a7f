"""Facts about pods."""

import pytest

from stagecoach.kinds.plan import Object
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.errors import ApiError, ServerError, Throttled
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.lease import Leadership
from stagecoach.runtime.pollers import RATE, Fact, Poller, ProgressFact, WarningFact, last_progress
from stagecoach.runtime.resources import PODS
from tests.unit.runtime.fakes import Clock, Woken, controller, key, pod

LINE = '{"progress": {"step": %d, "steps": 10, "percent": 10, "at": "2026-01-01T00:00:00Z"}}'


class Logs:
    """Answers for logs and events."""

    def __init__(self) -> None:
        self.log = ""
        self.events: list[Object] = []
        self.asked: list[str] = []
        self.error: ApiError | None = None

    async def pod_log(self, _namespace: str, name: str, container: str, lines: int) -> str:
        assert (container, lines) == ("trainer", 5)
        return self._answer(name, self.log)

    async def list_all(self, _resource: object, _namespace: str, *, fields: str) -> list[Object]:
        self._answer(fields, "")
        return self.events

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
        self.cache = Cache((controller(),), self.clock)
        intake = Intake(self.cache, (controller(),), self.woken.add)
        made: Fact = fact(self.logs, self.cache)  # type: ignore[arg-type]
        self.poller = Poller(made, self.cache, intake, Leadership(self.clock), self.clock)

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
    await progress.poller.tick()
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
    await progress.pass_time(3)
    assert progress.logs.asked == []


async def test_of_several_pods_that_of_index_0_is_asked_for_progress(progress: World) -> None:
    for index in ("0", "1"):
        each = pod(f"p-{index}")
        each["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = index
        progress.see(each)
    await progress.pass_time(3)
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
    await progress.pass_time(1)
    assert len(progress.logs.asked) == RATE
    await progress.pass_time(4)
    assert len(set(progress.logs.asked)) == 100


async def test_a_server_that_wants_a_pause_gets_it_whatever_pod_it_was_about(progress: World) -> None:
    for number in range(30):
        progress.see(pod(f"p{number}"))
    progress.logs.error = Throttled("slow down", 7)
    await progress.pass_time(7)
    assert len(progress.logs.asked) == 1
    progress.logs.error = None
    await progress.pass_time(1)
    assert len(progress.logs.asked) == 1 + RATE


@pytest.mark.parametrize("log", ["", "no json", '{"progress": 1}', '{"progress": {"step": 1, "unknown": 2}}'])
def test_what_is_no_progress_is_none(log: str) -> None:
    assert last_progress(log) is None


def waiting(phase: str = "Pending") -> Object:
    return pod("p", phase=phase, containerStatuses=[{"name": "trainer", "state": {"waiting": {"reason": "X"}}}])


async def test_the_newest_warning_is_kept_after_a_grace(warning: World) -> None:
    warning.see(waiting())
    warning.logs.events = [
        {"reason": "FailedMount", "message": "old", "lastTimestamp": "2026-01-01T00:00:00Z"},
        {"reason": "FailedMount", "message": "new", "eventTime": "2026-01-01T00:00:01.000000Z", "lastTimestamp": None},
    ]
    await warning.pass_time(5)
    assert warning.logs.asked == []
    await warning.pass_time(1)
    assert warning.cache.warning("uid-p") == "FailedMount: new"
    assert warning.woken == [key("a")]
    assert warning.logs.asked == ["involvedObject.uid=uid-p,type=Warning"]


async def test_a_warning_goes_when_the_pod_starts(warning: World) -> None:
    warning.see(waiting())
    warning.logs.events = [{"reason": "Failed", "message": "pull", "lastTimestamp": "2026-01-01T00:00:00Z"}]
    await warning.pass_time(6)
    warning.see(pod("p", version=2))
    await warning.pass_time(1)
    assert warning.cache.warning("uid-p") is None
    assert warning.woken == [key("a"), key("a")]


async def test_a_container_that_waits_again_is_asked_about(warning: World) -> None:
    warning.see(waiting(phase="Running"))
    await warning.pass_time(7)
    assert len(warning.logs.asked) == 1


async def test_a_pod_without_a_node_is_the_scheduler_s(warning: World) -> None:
    homeless = waiting()
    del homeless["spec"]["nodeName"]
    warning.see(homeless)
    await warning.pass_time(10)
    assert warning.logs.asked == []
