"""HTTP/1.1 to engines, over connections that are kept: nothing of a client's request is in it but what is put there.

Who stops to read an answer before its end closes the connection: an engine notices, and stops to compute.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self, cast

import httptools

from stagecoach_gateway import limits
from stagecoach_gateway.errors import Refusal


class _Lost(Exception):
    """The connection ended before the answer did."""


class EngineConnection(asyncio.Protocol):
    """A connection to an engine; one request at a time."""

    def __init__(self, engine: "Engine", loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.idle_since = 0.0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.deadline: float | None = None
        self.status = 0
        self.complete = self._keeps = False
        self.touched = False  # whether anything has come back
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._read = 0
        self._error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to ask."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._transport = None
        self._engine.forget(self)
        if not self.complete:
            self.fail(_Lost(str(exc or "the engine closed the connection")))

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.touched = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(error.__context__ if isinstance(error.__context__, Refusal) else _Lost(str(error)))
            self.abort()

    def on_headers_complete(self) -> None:
        """The status is known."""
        self.status = self._parser.get_status_code()
        self._keeps = self._parser.should_keep_alive()  # only now does the parser know
        self._wake()

    def on_body(self, data: bytes) -> None:
        """Keep a part until it is read; what is not read in time holds the engine up."""
        self._parts.append(data)
        self._size += len(data)
        if self._transport and self._size - self._read > limits.STREAM_BYTES and self.deadline is None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def on_message_complete(self) -> None:
        """That was all."""
        self.complete = True
        self._wake()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def keeps(self) -> bool:
        """Whether the engine lets another request follow."""
        return self.complete and self.usable and self._keeps

    def send(self, data: bytes, deadline: float) -> None:
        """Ask. Raises _Lost."""
        self._begin()
        self.deadline = deadline
        if self._transport is None:
            raise _Lost("the engine closed the connection")
        self._transport.write(data)

    def fail(self, error: Exception) -> None:
        """Let who waits fail."""
        self._error = self._error or error
        self._wake()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport:
            self._transport.abort()

    async def head(self) -> int:
        """Return the status, once it is known."""
        while not self.status:
            await self._wait()
        return self.status

    async def whole(self) -> bytes:
        """Return the whole body."""
        while not self.complete:
            if self._size > limits.ANSWER_BYTES:
                raise Refusal("engine_error", "The engine's answer is too long.")
            await self._wait()
        return b"".join(self._parts)

    async def parts(self, deadline: float) -> bytes:
        """Return what has come since the last time, b"" at the end; each time within a deadline of its own."""
        self.deadline = deadline
        while not self._parts:
            if self.complete:
                return b""
            await self._wait()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._read += len(data)
        self.deadline = None  # the engine has answered: whatever takes time now is the client's
        if self._paused and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self) -> None:
        if self._error:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error:
            raise self._error

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


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
        except _Lost as error:
            raise _broken_off() from error

    async def part(self) -> bytes:
        """Return the next part of the body, b"" at its end. Raises Refusal."""
        try:
            return await self._connection.parts(asyncio.get_running_loop().time() + self._seconds)
        except _Lost as error:
            raise _broken_off() from error

    async def _ask(self) -> None:
        tried: list[Engine] = []
        while len(tried) < min(2, len(self._engines)):
            engine = min((each for each in self._engines if each not in tried), key=lambda each: len(each.active))
            try:
                await self._ask_of(engine)
            except (OSError, TimeoutError):
                tried.append(engine)
            except _Lost as error:
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
            except _Lost:
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
