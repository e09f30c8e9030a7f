"""HTTP/1.1 for clients, over asyncio: the parser is llhttp's, in its strict mode; the limits are ours.

Why not a server of others: those at hand (uvicorn, aiohttp) do not bound the time that a head or a body may take. The
task that answers is cancelled in the moment in which the connection is lost.
"""

import asyncio
from collections.abc import Callable
from email.utils import formatdate

from stagecoach_gateway import limits
from stagecoach_gateway.errors import Refusal
from stagecoach_gateway.http_connection import Connection
from stagecoach_gateway.http_messages import Answer, Handler, Request


class Server:
    """Connections of clients, and what ends them."""

    def __init__(
        self,
        handler: Handler,
        connections: int = limits.CONNECTIONS,
        unchecked: int = limits.UNCHECKED_BYTES,
        admit: Callable[[Request], None] | None = None,
        refused: Callable[[Request, Answer, Refusal], None] | None = None,
        *,
        for_probes: bool = False,
    ) -> None:
        self.handler = handler
        self.unchecked = unchecked
        self.admit = admit  # looks at a head whose body is longer than that, and raises Refusal
        self.refused = refused  # is told of what is refused before the handler sees it
        self.for_probes = for_probes  # whether half a head, or an answer that nobody reads, keeps nobody out
        self.held = 0  # bytes of bodies
        self.connections: set[Connection] = set()
        self.leaving: set[Connection] = set()  # those that were refused, and read it
        self.most = connections
        self.draining = False
        self.date = b""
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self, loop), host, port, backlog=1024)
        self.sweep(loop.time())
        self._sweeper = loop.create_task(self._sweep_for_ever())
        port = self._listener.sockets[0].getsockname()[1]
        return int(port)

    def make_room(self) -> None:
        """Where there are as many connections as are taken, close the one that has asked for nothing for longest."""
        if len(self.connections) < self.most:
            return
        free = [each for each in self.connections if each.gives_way]
        if free:
            longest = min(free, key=lambda each: each.idle_since)
            self.connections.discard(longest)
            longest.abort()

    async def drain(self, seconds: float) -> None:
        """Take no more connections, let what is being answered end, for so long at most, and close."""
        self.draining = True
        if self._listener:
            self._listener.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for connection in list(self.connections):
            connection.close_if_idle()
        while self.connections and loop.time() < deadline:  # noqa: ASYNC110 - a set has no event
            await asyncio.sleep(0.05)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper:
            self._sweeper.cancel()

    async def _sweep_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.SWEEP_SECONDS)
            self.sweep(loop.time())

    def sweep(self, now: float) -> None:
        """End what has taken too long."""
        self.date = f"date: {formatdate(usegmt=True)}\r\n".encode()
        for connection in (*self.connections, *self.leaving):
            connection.check(now)
