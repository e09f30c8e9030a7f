"""When a run of a benchmark has ended, and what the crowd gets over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from stagecoach.build.labels import OWNER_NAME
from stagecoach.runtime.errors import AlreadyExists, Throttled, Unreachable
from stagecoach.runtime.resources import JOBS
from tests import builders
from tests.bench import crowd as module
from tests.bench.crowd import Crowd

Object = dict[str, Any]


def job(name: str, condition: str = "Complete", **labels: str) -> Object:
    conditions = [{"type": condition, "status": "True"}]
    return {"metadata": {"name": name, "labels": labels, "resourceVersion": "7"}, "status": {"conditions": conditions}}


class Client:
    """Answers as it is told to, and then not at all."""

    def __init__(self, *answers: Exception | list[Object]) -> None:
        self.answers = list(answers)
        self.lists = 0

    async def create(self, *_: Any) -> Object:
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return {}

    async def pages(self, *_: Any) -> AsyncIterator[tuple[list[Object], str]]:
        self.lists += 1
        yield [job("listed")], "5"

    async def watch(self, *_: Any, since: str, **__: Any) -> AsyncIterator[Object]:
        assert since in ("5", "7")
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        for event in answer:
            yield event
        if not self.answers:
            await asyncio.Event().wait()


def crowd_of(client: Client) -> Crowd:
    crowd = Crowd(Path())
    crowd._client = cast(Any, client)
    return crowd


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRIES", (0.0, 0.0))


async def test_a_run_has_ended_when_its_job_has() -> None:
    crowd = crowd_of(Client())
    seen = asyncio.create_task(crowd.see_through([builders.run("first")], within=10))
    await asyncio.sleep(0)
    crowd._note(("FineTuneRun", "first"), "Succeeded")
    await asyncio.sleep(0.2)
    assert not seen.done()
    crowd._note(("Job", "first"), "Succeeded")
    assert await seen > 0.2


async def test_a_run_that_failed_without_a_job_has_ended() -> None:
    crowd = crowd_of(Client())
    seen = asyncio.create_task(crowd.see_through([builders.run("first")], within=10))
    await asyncio.sleep(0)
    crowd._note(("FineTuneRun", "first"), "Failed")
    await seen
    assert crowd.failed("FineTuneRun") == ["first"]
    assert crowd.failed("Job") == []


async def test_what_has_not_ended_in_time_is_named() -> None:
    with pytest.raises(RuntimeError, match="not within 0 s: 1 objects have ended") as raised:
        await crowd_of(Client()).see_through([builders.run("first")], within=0)
    assert raised.value.__notes__ == ["2 have not: [('FineTuneRun', 'first'), ('Job', 'first')]"]


async def test_a_watch_that_breaks_is_taken_up_again() -> None:
    told = [
        {"type": "MODIFIED", "object": job("of-run", **{OWNER_NAME: "run-1"})},
        {"type": "ERROR", "object": {"message": "too old resource version"}},
    ]
    client = Client(told, Unreachable("reset"), [{"type": "MODIFIED", "object": job("bare", "Failed")}])
    crowd = crowd_of(client)
    watch = asyncio.create_task(crowd._watch(JOBS, module._job_phase))
    try:
        async with asyncio.timeout(10):
            while not crowd.failed("Job"):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
    finally:
        watch.cancel()
    assert client.lists == 3
    assert {name: phase for (_, name), (phase, _) in crowd._phases.items()} == {
        "listed": "Succeeded",
        "run-1": "Succeeded",
        "bare": "Failed",
    }


@pytest.mark.parametrize("second", [{}, AlreadyExists("made")])
async def test_a_creation_that_is_refused_for_now_is_repeated(second: Any) -> None:
    client = Client(Throttled("busy", 1.0), second)
    await crowd_of(client).make([builders.run("first")])
    assert not client.answers


async def test_an_api_server_that_goes_on_refusing_ends_it() -> None:
    with pytest.raises(Unreachable):
        await crowd_of(Client(*[Unreachable("reset")] * 3)).make([builders.run("first")])
