"""One connection to an engine: one request at a time, and what comes back."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from stagecoach_gateway import limits
from stagecoach_gateway.errors import Refusal

if TYPE_CHECKING:
    from stagecoach_gateway.engines import Engine


class Lost(Exception):
    """The connection ended before the answer did."""


class EngineConnection(asyncio.Protocol):
    """A connection to an engine; one request at a time."""

    def __init__(self, engine: "Engine", loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.since, self.idle_since = loop.time(), 0.0
        self._begin()
        self.complete = True  # nothing is asked yet

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.deadline: float | None = None
        self.status = 0
        self.complete = self._keeps = False
        self.release = b""
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
            self.fail(Lost(str(exc or "the engine closed the connection")))

    def data_received(self, data: bytes) -> None:
        """Parse what came; where nothing is asked, whatever comes ends the connection."""
        if self.complete:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self.complete:  # the answer is whole: what follows it is nobody's
                self.abort()
                return
            self.fail(error.__context__ if isinstance(error.__context__, Refusal) else Lost(str(error)))
            self.abort()

    def on_message_begin(self) -> None:
        """Take no second answer to one question. Raises Lost."""
        if self.complete:
            raise Lost("the engine answered what nobody asked")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the one header that is used."""
        if name.lower() == b"x-stagecoach-release":
            self.release = value

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
        """Ask. Raises Lost."""
        self._begin()
        self.deadline = deadline
        if self._transport is None:
            raise Lost("the engine closed the connection")
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
        content = b"".join(self._parts)
        self._parts.clear()
        return content

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
