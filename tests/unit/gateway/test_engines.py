"""Connections to engines that are kept, and engines that do not keep to what was agreed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stagecoach_gateway import limits
from stagecoach_gateway.engine_connection import EngineConnection
from stagecoach_gateway.engines import Engine as Address
from stagecoach_gateway.engines import Engines
from stagecoach_gateway.errors import Refusal
from tests.unit.gateway import running

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
Behaves = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


class Engine:
    """Reads requests, and answers each as it is told to; counts requests and connections."""

    def __init__(self, behaves: Behaves) -> None:
        self.requests = self.connections = self.open = 0
        self._behaves = behaves

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                self.requests += 1
                await self._behaves(writer, self.requests)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def served(behaves: Behaves) -> AsyncIterator[tuple[Engine, Engines, str]]:
    """Run such an engine, and what asks it."""
    engine, engines = Engine(behaves), Engines(None)
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    yield engine, engines, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    engines.sweep(float("inf"))
    server.close()
    await running.until(lambda: engine.open == 0)


async def ask(engines: Engines, url: str) -> bytes:
    async with engines.ask([url], "/a", b"{}", 5) as reply:
        return await reply.whole()


async def test_what_an_engine_may_have_begun_is_not_asked_again() -> None:
    async def behaves(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 2:
            writer.transport.abort()
        else:
            writer.write(OK)

    async with served(behaves) as (engine, engines, url):
        assert await ask(engines, url) == b"{}"
        with pytest.raises(Refusal) as caught:
            await ask(engines, url)
        assert (caught.value.code, engine.requests) == ("engine_error", 2)
        assert await ask(engines, url) == b"{}"


async def test_connections_are_kept_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leads to one pod: one that is new gets requests although there are no more of them, and one that leaves none."""

    async def behaves(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(OK)

    async with served(behaves) as (engine, engines, url):
        for _ in range(3):
            await ask(engines, url)
        assert (engine.requests, engine.connections) == (3, 1)
        monkeypatch.setattr(limits, "ENGINE_AGE_SECONDS", -1.0)
        await ask(engines, url)
        assert (engine.requests, engine.connections) == (4, 2)
        await running.until(lambda: engine.open == 1)


def names_looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every name lead to this machine; return those that are looked up, as they are."""
    loop, asked = asyncio.get_running_loop(), list[str]()
    look_up = loop.getaddrinfo

    async def looks_up(host: str, port: int, **more: Any) -> Any:
        asked.append(host)
        return await look_up("127.0.0.1", port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", looks_up)
    return asked


async def test_a_name_is_looked_up_again_only_when_its_address_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behaves(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(OK)

    asked = names_looked_up(monkeypatch)
    async with served(behaves) as (_, engines, url):
        named = url.replace("127.0.0.1", "engine.svc")
        assert await ask(engines, named) == b"{}"
        engines.sweep(float("inf"))
        assert await ask(engines, named) == b"{}"
        assert asked == ["engine.svc"]
    with pytest.raises(Refusal):
        await ask(engines, named)
    assert asked == ["engine.svc", "engine.svc"]


async def test_a_name_that_was_in_no_route_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has its address by then may be anybody's."""

    async def behaves(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(OK)

    asked = names_looked_up(monkeypatch)
    async with served(behaves) as (_, engines, url):
        one, other = (url.replace("127.0.0.1", name) for name in ("one.svc", "other.svc"))
        routes: list[tuple[set[str], str, list[str]]] = [
            ({one}, one, ["one.svc"]),
            ({one, other}, one, []),
            ({other}, one, ["one.svc"]),  # a request that began before, and asks once more
            ({other, one}, one, ["one.svc"]),
            ({one}, one, []),
        ]
        for routed, ask_of, looked_up in routes:
            asked.clear()
            engines.routed(routed)
            assert await ask(engines, ask_of) == b"{}"
            assert asked == looked_up


async def test_what_is_asked_of_an_engine_that_is_forgotten_ends_all_the_same() -> None:
    async def behaves(_writer: asyncio.StreamWriter, _number: int) -> None:
        await asyncio.sleep(0)

    async with served(behaves) as (engine, engines, url):
        asking = asyncio.create_task(ask(engines, url))
        await running.until(lambda: engine.requests == 1)
        engines.routed(set())
        assert engines.open == 1
        engines.sweep(float("inf"))
        with pytest.raises(Refusal, match="did not answer in time"):
            await asking
        assert engines.open == 0


async def test_an_address_that_could_not_be_reached_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behaves(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(OK)

    connect, tried = Address.connect, []

    async def connects(address: Address) -> EngineConnection:
        tried.append(address.url)
        if len(tried) == 1:
            raise TimeoutError
        return await connect(address)

    monkeypatch.setattr(Address, "connect", connects)
    async with served(behaves) as (engine, engines, url):
        assert await ask(engines, url) == b"{}"
        assert (tried, engine.requests) == ([url, url], 1)


def test_connections_rest_less_than_engines_keep_them() -> None:
    assert limits.ENGINE_IDLE_SECONDS < 5  # uvicorn's default, and vLLM's


@pytest.mark.parametrize("more", [OK.replace(b"{}", b"[]"), b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("pause", [0.0, 0.1])
async def test_what_nobody_asked_for_is_in_no_answer(more: bytes, pause: float) -> None:
    async def behaves(writer: asyncio.StreamWriter, number: int) -> None:
        if number > 1:
            writer.write(OK)
            return
        if not pause:
            writer.write(OK + more)
            return
        writer.write(OK)
        await asyncio.sleep(pause)
        writer.write(more)

    async with served(behaves) as (engine, engines, url):
        assert await ask(engines, url) == b"{}"
        await asyncio.sleep(2 * pause)
        assert await ask(engines, url) == b"{}"
        assert engine.connections == 2
