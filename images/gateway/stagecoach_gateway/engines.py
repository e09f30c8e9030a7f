"""HTTP/1.1 to engines, over connections that are kept: nothing of a client's request is in it but what is put there.

Who stops to read an answer before its end closes the connection: an engine notices, and stops to compute.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from stagecoach_gateway import limits
from stagecoach_gateway.engine_connection import EngineConnection, Lost
from stagecoach_gateway.errors import Refusal


class Engine:
    """One address, and the connections to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.host, self.port = host, int(port)
        self.idle: list[EngineConnection] = []
        self.active: set[EngineConnection] = set()

    def forget(self, connection: EngineConnection) -> None:
        """Let go of a connection that is gone."""
        self.active.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    async def connect(self) -> EngineConnection:
        """Return a new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(limits.CONNECT_SECONDS):
            _, connection = await loop.create_connection(lambda: EngineConnection(self, loop), self.host, self.port)
        return connection

    def sweep(self, now: float) -> None:
        """End what has taken too long, and connections that nobody needs."""
        for connection in list(self.active):
            if connection.deadline is not None and now > connection.deadline:
                connection.fail(Refusal("engine_timeout", "The engine did not answer in time: try again."))
        for connection in list(self.idle):
            if now > connection.idle_since + limits.ENGINE_IDLE_SECONDS:
                connection.abort()


class Engines:
    """All engines that were ever asked, by address."""

    def __init__(self, key: str | None) -> None:
        self._by_url: dict[str, Engine] = {}
        self._authorization = f"authorization: Bearer {key}\r\n".encode() if key else b""
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look at the clock."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(limits.SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for engine in self._by_url.values():
                engine.sweep(now)

    def ask(self, urls: Sequence[str], path: str, body: bytes, seconds: float, headers: bytes = b"") -> "Asking":
        """Return what asks, within `async with`, the least busy of these engines."""
        engines = []
        for url in urls:
            engine = self._by_url.get(url)
            if engine is None:
                engine = self._by_url[url] = Engine(url)
            engines.append(engine)
        return Asking(engines, path.encode(), body, seconds, headers or self._authorization)

    @property
    def open(self) -> int:
        """How many requests engines are answering."""
        return sum(len(engine.active) for engine in self._by_url.values())


class Asking:
    """One question to an engine, and its answer.

    It is asked again only where it surely was not answered: when no connection can be made, of another engine; when a
    connection that was kept turns out to be closed, once, on a new one.
    """

    def __init__(self, engines: Sequence[Engine], path: bytes, body: bytes, seconds: float, headers: bytes) -> None:
        self._engines = engines
        self._path = path
        self._body = body
        self._seconds = seconds
        self._headers = headers
        self._connection: EngineConnection  # from `__aenter__` on
        self._engine: Engine | None = None

    async def __aenter__(self) -> Self:
        """Ask, and wait for the head of the answer. Raises Refusal."""
        try:
            await self._ask()
        except BaseException:
            self._leave(reuse=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep the connection, or close it where the answer was not read to its end."""
        del error, trace
        self._leave(reuse=kind is None)

    @property
    def status(self) -> int:
        """The engine's status."""
        return self._connection.status

    async def whole(self) -> bytes:
        """Return the whole body. Raises Refusal."""
        try:
            return await self._connection.whole()
        except Lost as error:
            raise _broken_off() from error

    async def part(self) -> bytes:
        """Return the next part of the body, b"" at its end. Raises Refusal."""
        try:
            return await self._connection.parts(asyncio.get_running_loop().time() + self._seconds)
        except Lost as error:
            raise _broken_off() from error

    async def _ask(self) -> None:
        tried: list[Engine] = []
        while len(tried) < min(2, len(self._engines)):
            engine = min((each for each in self._engines if each not in tried), key=lambda each: len(each.active))
            try:
                await self._ask_of(engine)
            except (OSError, TimeoutError):
                tried.append(engine)
            except Lost as error:
                raise Refusal("engine_error", "The engine closed the connection without an answer.") from error
            else:
                return
        raise Refusal("engine_unavailable", "No engine can be reached: try again.")

    async def _ask_of(self, engine: Engine) -> None:
        while engine.idle:
            connection = engine.idle.pop()
            if not connection.usable:
                continue
            try:
                await self._send(engine, connection)
            except Lost:
                if connection.touched:
                    raise
                engine.active.discard(connection)
                break
            else:
                return
        await self._send(engine, await engine.connect())

    async def _send(self, engine: Engine, connection: EngineConnection) -> None:
        self._engine, self._connection = engine, connection
        engine.active.add(connection)
        head = b"POST %b HTTP/1.1\r\nhost: %b:%d\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (
            self._path,
            engine.host.encode(),
            engine.port,
            self._headers,
            len(self._body),
        )
        connection.send(head + self._body, asyncio.get_running_loop().time() + self._seconds)
        await connection.head()

    def _leave(self, *, reuse: bool) -> None:
        engine = self._engine
        if engine is None:  # none could be reached
            return
        connection = self._connection
        engine.active.discard(connection)
        if reuse and connection.keeps:
            connection.idle_since = asyncio.get_running_loop().time()
            engine.idle.append(connection)
        else:
            connection.abort()


def _broken_off() -> Refusal:
    return Refusal("engine_error", "The engine broke its answer off: try again.")
