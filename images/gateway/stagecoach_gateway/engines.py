"""HTTP/1.1 to engines, over connections that are kept: nothing of a client's request is in it but what is put there.

Who stops to read an answer before its end closes the connection: an engine notices, and stops to compute.
"""

import asyncio
import re
from collections.abc import Sequence, Set
from types import TracebackType
from typing import Self
from weakref import WeakSet

from stagecoach_gateway import limits
from stagecoach_gateway.engine_connection import EngineConnection, Lost
from stagecoach_gateway.errors import Refusal

ATTEMPTS = 2
_RELEASE = re.compile(rb"sha256:[0-9a-f]{64}")


class Engine:
    """One address, and the connections to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.host, self.port = host, int(port)
        # What the name led to. A Service keeps its address for as long as it is there, and a busy DNS takes seconds.
        self._address = ""
        self.idle: list[EngineConnection] = []
        self.active: set[EngineConnection] = set()

    def forget(self, connection: EngineConnection) -> None:
        """Let go of a connection that is gone."""
        self.active.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    async def connect(self) -> EngineConnection:
        """Return a new connection. Raises OSError; after that the name is looked up anew."""
        loop, address = asyncio.get_running_loop(), self._address
        try:
            async with asyncio.timeout(limits.CONNECT_SECONDS if address else limits.LOOKUP_SECONDS):
                transport, connection = await loop.create_connection(
                    lambda: EngineConnection(self, loop), address or self.host, self.port
                )
        except (OSError, TimeoutError):
            self._address = ""
            raise
        self._address = transport.get_extra_info("peername")[0]
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
    """All engines that are asked, by address."""

    def __init__(self, key: str | None) -> None:
        self._by_url: dict[str, Engine] = {}
        self._all: WeakSet[Engine] = WeakSet()  # those too that are forgotten, while they are asked
        self._routed: Set[str] = frozenset()
        self._authorization = f"authorization: Bearer {key}\r\n".encode() if key else b""
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look at the clock."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(limits.SWEEP_SECONDS)
            self.sweep(asyncio.get_running_loop().time())

    def sweep(self, now: float) -> None:
        """End what has taken too long."""
        for engine in list(self._all):
            engine.sweep(now)

    def ask(
        self,
        urls: Sequence[str],
        path: str,
        body: bytes,
        seconds: float,
        headers: bytes = b"",
        until: float | None = None,
    ) -> "Asking":
        """Return what asks, within `async with`, the least busy of these engines.

        `until` is when the answer has to be there, if that is not so many seconds from now; each part of a stream has
        the seconds for itself.
        """
        engines = []
        for url in urls:
            engine = self._by_url.get(url)
            if engine is None:
                engine = self._by_url[url] = Engine(url)
                self._all.add(engine)
            engines.append(engine)
        until = until or asyncio.get_running_loop().time() + seconds
        return Asking(engines, path.encode(), body, seconds, headers or self._authorization, until)

    def routed(self, urls: Set[str]) -> None:
        """Know which engines are in the routes now, and forget what the names of others led to.

        One that comes back under its name may have another address, and what has the old one by then is to get neither
        the key nor what clients say. What is being answered ends.
        """
        for url in self._by_url.keys() - (self._routed & urls):
            del self._by_url[url]
        self._routed = urls

    @property
    def open(self) -> int:
        """How many requests engines are answering."""
        return sum(len(engine.active) for engine in self._all)


class Asking:
    """One question to an engine, and its answer.

    It is asked again only where no connection can be made: what was sent may have been begun. Where there is no other
    engine, the same address may lead to another pod, or this process was too busy to see the connection in time.
    """

    def __init__(
        self, engines: Sequence[Engine], path: bytes, body: bytes, seconds: float, headers: bytes, until: float
    ) -> None:
        self._engines = engines
        self._path = path
        self._body = body
        self._seconds = seconds
        self._headers = headers
        self._until = until
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

    @property
    def release(self) -> bytes | None:
        """The release that another deployment's gateway says has answered."""
        found = self._connection.release
        return found if _RELEASE.fullmatch(found) else None

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
        while len(tried) < ATTEMPTS:
            engine = min(self._engines, key=lambda each: (each in tried, len(each.active)))
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
            if asyncio.get_running_loop().time() <= connection.since + limits.ENGINE_AGE_SECONDS:
                await self._send(engine, connection)
                return
            connection.abort()
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
        connection.send(head + self._body, self._until)
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
