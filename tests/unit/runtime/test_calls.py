"""Questions to pods, against a small HTTP server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stagecoach.kinds.controller import OWNER_KIND
from stagecoach.kinds.plan import Call
from stagecoach.kinds.view import Answer
from stagecoach.runtime import calls, metrics
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.calls import REST, Calls
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.lease import Leadership
from stagecoach.runtime.resources import PODS
from tests.unit.runtime.fakes import Clock, Woken, controller, key, pod

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HERE = "127.0.0.1"


class Pods:
    """Answers what it is told to, and remembers what was asked; it holds back what it is told to hold back."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, bytes]] = []
        self.requests: list[web.Request] = []
        self.status, self.body = 200, b"fine"
        self.headers: dict[str, str] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.asked.append((request.method, request.path, request.headers["Authorization"], await request.read()))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    @property
    def bodies(self) -> list[bytes]:
        return [body for *_, body in self.asked]


class World:
    def __init__(self, port: int) -> None:
        kinds = (controller(),)
        self.port = port
        self.clock = Clock()
        self.cache, self.woken = Cache(kinds), Woken()
        self.intake = Intake(self.cache, kinds, self.woken.add)
        self.leadership = Leadership(self.clock)
        self.leadership.extend(self.clock.now + 1e9)
        self.calls = Calls(self.cache, self.intake, self.leadership, lambda: NOW, self.clock)
        self.running(0)

    def running(self, number: int, **status: Any) -> None:
        self.cache.store_child(PODS, _serving(number, **status))

    def call(self, number: int = 0, **details: Any) -> Call:
        known: dict[str, Any] = {
            "address": HERE,
            "port": self.port,
            "method": "GET",
            "path": "/models",
            "token": "t",
        } | details
        return Call(f"uid-p{number}", **known)

    def answer(self, call: Call) -> Answer | None:
        return self.cache.answer(call.pod_uid, call.method, call.path)

    async def ask(self, *asked: Call) -> None:
        """Ask, and wait until everything is answered."""
        for each in asked:
            self.calls.ask(key("a"), each)
        await until(lambda: not (self.calls._waiting or self.calls._asking))


def _serving(number: int, **status: Any) -> dict[str, Any]:
    found = pod(f"p{number}", version=status.pop("version", 1), **({"podIP": HERE} | status))
    found["metadata"]["labels"]["stagecoach.dev/component"] = "engine"
    return found


def be_impatient(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pods answer within a moment, in which a question reaches them also on a busy machine."""
    monkeypatch.setattr(world.calls._session, "_timeout", aiohttp.ClientTimeout(total=0.25))


async def let_wait(world: World, pods: Pods) -> None:
    """Ask a pod that does not answer in time, so that it is to be asked once more."""
    pods.gate.clear()
    world.calls.ask(key("a"), world.call())
    await until(lambda: world.calls._again)


async def until(look: Callable[[], object]) -> None:
    for _ in range(1000):
        if look():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within 5 s: {look}")


@pytest.fixture
def pods() -> Pods:
    return Pods()


@pytest.fixture
async def world(pods: Pods) -> AsyncIterator[World]:
    app = web.Application(client_max_size=2**22)
    app.router.add_route("*", "/{path:.*}", pods.handle)
    async with TestServer(app) as server:
        assert server.port
        made = World(server.port)
        task = asyncio.create_task(made.calls.run())
        yield made
        pods.gate.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await made.calls.close()


async def test_a_pod_is_asked_and_its_answer_is_a_fact(world: World, pods: Pods) -> None:
    call = world.call(method="PUT", body=b'{"adapters":[]}')
    await world.ask(call)
    assert pods.asked == [("PUT", "/models", "Bearer t", b'{"adapters":[]}')]
    assert pods.requests[0].headers["Content-Type"] == "application/json"
    assert world.answer(call) == Answer(200, b"fine", NOW, b'{"adapters":[]}')
    assert world.woken == [key("a")]


async def test_an_answer_like_the_last_one_makes_no_work(world: World, pods: Pods) -> None:
    for _ in range(2):
        await world.ask(world.call())
        world.clock.now += 10
    assert (len(pods.asked), len(world.woken)) == (2, 1)
    pods.status = 503
    await world.ask(world.call())
    assert len(world.woken) == 2


async def test_the_same_is_asked_again_after_a_rest_and_something_else_at_once(world: World, pods: Pods) -> None:
    await world.ask(world.call(method="PUT", body=b"1"))
    world.calls.ask(key("a"), world.call(method="PUT", body=b"1"))
    await asyncio.sleep(0.05)
    assert pods.bodies == [b"1"]
    world.calls.ask(key("a"), world.call(method="PUT", body=b"2"))
    await until(lambda: len(pods.asked) == 2)
    assert pods.bodies == [b"1", b"2"]
    world.clock.now += REST - 0.02
    world.calls.ask(key("a"), world.call(method="PUT", body=b"2"))
    await asyncio.sleep(0.05)
    assert pods.bodies == [b"1", b"2"]
    world.clock.now += 0.03
    await until(lambda: len(pods.asked) == 3)


async def test_of_one_topic_one_question_is_asked_at_a_time_and_of_those_that_wait_the_newest(
    world: World, pods: Pods
) -> None:
    pods.gate.clear()
    for body in (b"1", b"2", b"3"):
        world.calls.ask(key("a"), world.call(method="PUT", body=body))
        await asyncio.sleep(0.02)
    world.calls.ask(key("a"), world.call())  # another method is another topic
    await until(lambda: len(pods.asked) == 2)
    assert pods.bodies == [b"1", b""]
    pods.gate.set()
    await world.ask()
    assert pods.bodies == [b"1", b"", b"3"]


async def test_what_is_being_asked_and_is_wanted_again_is_not_asked_twice(world: World, pods: Pods) -> None:
    pods.gate.clear()
    for body in (b"1", b"2", b"1"):
        world.calls.ask(key("a"), world.call(method="PUT", body=body))
        await asyncio.sleep(0.02)
    pods.gate.set()
    await world.ask()
    assert pods.bodies == [b"1"]


async def test_so_many_are_asked_at_once_and_of_each_namespace_its_share(world: World, pods: Pods) -> None:
    pods.gate.clear()
    for number in range(100):
        world.running(number)
        world.calls.ask(key("a"), world.call(number))
    await until(lambda: pods.at_once == calls.SHARE)
    await asyncio.sleep(0.05)
    assert pods.at_once == calls.SHARE
    for number in range(100, 200):
        found = _serving(number)
        found["metadata"]["namespace"] = namespace = f"ns{number}"
        world.cache.store_child(PODS, found)
        world.calls.ask(replace(key("a"), namespace=namespace), world.call(number))
    await until(lambda: pods.at_once == calls.CONCURRENCY)
    await asyncio.sleep(0.05)
    pods.gate.set()
    await world.ask()
    assert (len(pods.asked), pods.most_at_once) == (200, calls.CONCURRENCY)


async def test_what_comes_later_leaves_the_others_of_its_namespace_most_of_its_share(world: World, pods: Pods) -> None:
    pods.gate.clear()
    for number in range(20):
        world.running(number)
        world.calls.ask(key("a"), world.call(number, path="/load", later=True))
    await until(lambda: pods.at_once == calls.LATER_SHARE)
    for number in range(20):
        world.calls.ask(key("a"), world.call(number))
    await until(lambda: pods.at_once == calls.SHARE)
    await asyncio.sleep(0.05)
    assert [path for _, path, *_ in pods.asked].count("/load") == calls.LATER_SHARE
    pods.gate.set()
    await world.ask()
    paths = [path for _, path, *_ in pods.asked]
    assert sorted(paths) == ["/load"] * 20 + ["/models"] * 20
    assert pods.most_at_once == calls.SHARE


async def test_who_lets_us_wait_is_asked_ever_more_rarely_until_it_answers(
    world: World, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_impatient(world, monkeypatch)
    pods.gate.clear()
    asked = 0
    for _ in range(120):
        world.calls.ask(key("a"), world.call(path="/counts" if asked % 2 else "/models"))
        await asyncio.sleep(0.005)
        if world.calls._asking:
            await until(lambda: not world.calls._asking)
        asked = len(pods.asked)
        world.clock.now += 1.0
    assert 120 / 18 <= asked <= 4 + 2 * 120 / 12, "both questions together, when it is asked"
    pods.gate.set()
    world.clock.now += 20
    await world.ask(world.call())
    for number in range(3):
        await world.ask(world.call(method="PUT", body=str(number).encode()))
    assert pods.bodies[-3:] == [b"0", b"1", b"2"], "at once"


async def test_who_is_not_up_yet_is_asked_as_soon_as_ever(world: World, pods: Pods) -> None:
    for _ in range(5):
        await world.ask(world.call(port=1))
        world.clock.now += 1.01
    await world.ask(world.call())
    assert len(pods.asked) == 1


async def test_a_pod_that_hangs_is_no_answer_in_words(
    world: World, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_impatient(world, monkeypatch)
    await let_wait(world, pods)
    assert world.answer(world.call()) is None, "it is asked once more before that"
    world.calls.ask(key("a"), world.call(body=b"other"))  # whatever else is asked meanwhile
    world.clock.now += 2
    await world.ask()
    answer = world.answer(world.call())
    assert answer is not None
    assert (answer.status, answer.body) == (
        0,
        f"http://{HERE}:{world.port}/models did not answer in 5 seconds".encode(),
    )
    assert pods.bodies == [b"", b"other"]
    assert not world.calls._again


async def test_a_pod_that_lets_us_wait_once_still_answers(
    world: World, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask(world.call())
    be_impatient(world, monkeypatch)
    for _ in range(2):
        world.clock.now += 10
        await let_wait(world, pods)
        pods.gate.set()
        world.clock.now += 2
        await world.ask()
    assert world.woken == [key("a")], "nothing has changed"
    assert (len(pods.asked), world.calls._again) == (5, set())


async def test_a_pod_that_goes_while_it_lets_us_wait_is_forgotten(
    world: World, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_impatient(world, monkeypatch)
    await let_wait(world, pods)
    world.cache.remove_child(PODS, _serving(0))
    world.clock.now += 2
    await world.ask()
    assert (len(pods.asked), world.calls._again, world.answer(world.call())) == (1, set(), None)


async def test_a_port_where_nobody_listens_is_no_answer_and_the_same_one_each_time(world: World) -> None:
    call = world.call(port=1)
    for _ in range(2):
        await world.ask(call)
        world.clock.now += 10
    answer = world.answer(call)
    assert answer is not None
    assert answer.status == 0
    assert b"http://127.0.0.1:1/models did not answer: " in answer.body
    assert world.woken == [key("a")]


async def test_an_answer_that_is_too_long_is_none(world: World, pods: Pods) -> None:
    pods.body = b"x" * (calls.LONGEST_ANSWER + 1)
    await world.ask(world.call())
    answer = world.answer(world.call())
    assert answer == Answer(0, b"the answer is longer than 1048576 bytes", NOW, b"")
    world.clock.now += 10
    pods.body = b"x" * calls.LONGEST_ANSWER
    await world.ask(world.call())
    answer = world.answer(world.call())
    assert answer is not None
    assert len(answer.body) == calls.LONGEST_ANSWER


async def test_nobody_is_followed_elsewhere(world: World, pods: Pods) -> None:
    pods.status, pods.headers = 302, {"Location": f"http://{HERE}:{world.port}/elsewhere"}
    await world.ask(world.call())
    answer = world.answer(world.call())
    assert answer is not None
    assert answer.status == 302
    assert [path for _, path, *_ in pods.asked] == ["/models"]


async def test_the_environments_proxy_is_not_asked(world: World, pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    await world.ask(world.call())
    assert len(pods.asked) == 1


@pytest.mark.parametrize(
    "status",
    [{"podIP": "10.9.9.9"}, {"podIP": None}, {"phase": "Failed", "reason": "Evicted"}, {"phase": "Succeeded"}],
)
async def test_an_address_that_may_be_anothers_by_now_is_shown_no_token(
    world: World, pods: Pods, status: dict[str, Any]
) -> None:
    world.running(0, version=2, **status)
    await world.ask(world.call())
    assert pods.asked == []
    assert world.answer(world.call()) is None


@pytest.mark.parametrize("change", [{"namespace": "attackers"}, {"labels": {}}, {"labels": {OWNER_KIND: "Toy"}}])
async def test_a_pod_that_is_not_its_own_is_shown_no_token(world: World, pods: Pods, change: dict[str, Any]) -> None:
    found = _serving(1)
    found["metadata"] |= change
    world.cache.store_child(PODS, found)
    await world.ask(world.call(1))
    assert pods.asked == []


async def test_a_pod_that_is_gone_is_not_asked_and_its_late_answer_is_not_kept(world: World, pods: Pods) -> None:
    await world.ask(world.call(7))
    assert pods.asked == []
    pods.gate.clear()
    world.calls.ask(key("a"), world.call())
    await until(lambda: pods.at_once)
    world.cache.remove_child(PODS, _serving(0))
    pods.gate.set()
    await world.ask()
    assert world.answer(world.call()) is None
    assert world.woken == []


async def test_a_former_leader_asks_nothing(world: World, pods: Pods) -> None:
    world.leadership.end()
    await world.ask(world.call(method="PUT", body=b"old"))
    assert pods.asked == []
    world.leadership.extend(world.clock.now + 10)
    world.clock.now += 1
    await world.ask(world.call())
    assert pods.bodies == [b""], "what waited while it did not lead is not made up for"


async def test_a_bug_takes_no_other_question_down(
    world: World, pods: Pods, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(world.calls, "_send", None)
        await world.ask(world.call())
    assert "this is a bug" in caplog.text
    world.clock.now += 10
    await world.ask(world.call())
    assert len(pods.asked) == 1


async def test_what_was_asked_is_counted(world: World, pods: Pods) -> None:
    counted = metrics.CALLS.labels("GET", "/counts", 503)._value
    before = counted.get()
    pods.status = 503
    await world.ask(world.call(path="/counts"))
    assert counted.get() == before + 1
