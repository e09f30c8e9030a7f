"""One connection of a client: what is read from it, what is answered, and what ends it."""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from stagecoach_gateway import limits
from stagecoach_gateway.errors import Closing, Refusal
from stagecoach_gateway.http_messages import Answer, Request

if TYPE_CHECKING:
    from stagecoach_gateway.http_server import Server

log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One connection of a client; one request at a time."""

    def __init__(self, server: "Server", loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._client = ""
        self._task: asyncio.Task[None] | None = None
        self._requests: deque[Request] = deque()  # complete ones, which wait for the one that is being answered
        self._waiting = bytearray()  # what came after them and is not parsed yet
        self._deadline: float | None = None
        self._began = False
        self._lingering = self._closing = False
        self._held = 0  # bytes of bodies, until they are answered
        self._unread = 0
        self.idle_since = loop.time()
        self._reset()
        self.paused_since: float | None = None
        self._drained: asyncio.Future[None] | None = None

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._header_count = self._length = 0
        self._request: Request | None = None
        self._body = bytearray()  # of parts that may be of a byte each
        self._pending = 0  # bytes of a head whose end has not come

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=limits.WRITE_BYTES)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        self.server.make_room()
        if len(self.server.connections) >= self.server.most:
            headers = {"retry-after": "1"}
            self._refuse(Refusal("too_many_connections", "There are too many connections: try again.", headers=headers))
            return
        self.server.connections.add(self)
        self._deadline = self._loop.time() + limits.HEAD_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to answer: nobody would read it."""
        del exc
        self.server.connections.discard(self)
        self.server.leaving.discard(self)
        self._transport = None
        self._let_go(self._held)
        if self._task:
            self._task.cancel()
        if self._drained and not self._drained.done():
            self._drained.set_exception(Closing())

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it has to wait."""
        if self._lingering:
            return
        if self._task is not None or self._requests:
            self._waiting += data
            if len(self._waiting) > limits.PIPELINED_BYTES:
                self.abort()
            return
        self._feed(data)

    def pause_writing(self) -> None:
        """The client reads more slowly than is written."""
        self.paused_since = self._loop.time()
        self._unread = self._unsent

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused_since = None
        if self._drained and not self._drained.done():
            self._drained.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request; time is taken from its first byte."""
        self._reset()
        self._began = True
        self._deadline = self._loop.time() + limits.HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._url += url
        self._head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, of which nothing is used."""
        self._head(len(name) + len(value) + 4)
        self._header_count += 1
        if self._header_count > limits.HEADERS:
            raise Refusal("headers_too_large", f"There are more than {limits.HEADERS} headers.")
        if self._request is not None:
            return
        name = name.lower()
        if name in self._headers:
            if name in (b"host", b"authorization", b"content-type", b"content-length", b"transfer-encoding"):
                raise Refusal("bad_http", f"There are two headers {name.decode()}.")
            value = self._headers[name] + b", " + value
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Refuse what will not be read; then wait for the body."""
        headers, version = self._headers, self._parser.get_http_version()
        if version not in ("1.0", "1.1") or (version == "1.0" and b"transfer-encoding" in headers):
            raise Refusal("bad_http", "Use HTTP/1.1.")
        if version == "1.1" and b"host" not in headers:
            raise Refusal("bad_http", "There is no header host.")
        if int(headers.get(b"content-length", b"0")) > limits.BODY_BYTES:
            raise _too_large()
        self._request = Request(self._parser.get_method(), self._url.partition(b"?")[0], headers, self._client)
        self._request.version = version
        self._request.keep_alive = self._parser.should_keep_alive()
        long = int(headers.get(b"content-length", b"0")) > self.server.unchecked or b"transfer-encoding" in headers
        if long and self.server.admit:
            self.server.admit(self._request)
        self._deadline = self._loop.time() + limits.BODY_SECONDS
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._length += len(data)
        if self._length > limits.BODY_BYTES:
            raise _too_large()
        if self.server.held + len(data) > limits.ALL_BODY_BYTES:
            headers = {"retry-after": "1"}
            raise Refusal("too_many_connections", "The bodies being read are too many: try again.", headers=headers)
        self._held += len(data)
        self.server.held += len(data)
        self._body += data

    def on_message_complete(self) -> None:
        """Answer it, or let it wait for its turn."""
        self._began = False
        if self._request is None:
            raise Refusal("bad_http", "The request has no head.")
        self._request.body = bytes(self._body)
        self._body = bytearray()
        self._requests.append(self._request)
        if len(self._requests) > 32:
            raise Refusal("bad_http", "There are too many requests at once on one connection.")

    # What the answers call.

    def write(self, data: bytes) -> None:
        """Write; into nothing when the client has left."""
        if self._transport:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has read what was written."""
        if self._transport is None:
            raise Closing
        self._drained = self._loop.create_future()
        await self._drained

    # What ends it.

    def check(self, now: float) -> None:
        """End it when its time is over."""
        if self.paused_since is not None and self._transport:
            unread = self._transport.get_write_buffer_size()
            if unread <= self._unread - limits.SLOW_BYTES:
                self.paused_since, self._unread = now, unread
        if self.paused_since is not None and now > self.paused_since + limits.SLOW_SECONDS:
            self.abort()
        elif self._deadline is not None and now > self._deadline:
            if self._lingering or self._closing:
                self.abort()
            elif self._began:
                self._refuse(Refusal("request_timeout", "The request took too long to arrive."))
            else:
                self._close()

    def close_if_idle(self) -> None:
        """Close it unless a request is being answered, or is on its way."""
        if self.idle:
            self._close()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered, and none is on its way."""
        return self._task is None and not self._requests and not self._began and not self._closing

    @property
    def gives_way(self) -> bool:
        """Whether nothing is asked for on it, and all that was answered is sent.

        Where probes come first, what is asked for without a whole head, and an answer that nobody reads, are nothing.
        """
        if not self.server.for_probes:
            return self.idle and not self._unsent
        asks = self._began and self._request is not None
        return self._task is None and not self._requests and not asks

    @property
    def _unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport else 0

    def abort(self) -> None:
        """End it at once, whatever is not yet sent."""
        if self._transport:
            self._transport.abort()

    def _close(self) -> None:
        if self._transport:
            self._transport.close()
        # Who neither reads nor leaves is ended by `check`.
        self._closing = True
        self._deadline = self._loop.time() + limits.CLOSE_SECONDS

    def _let_go(self, length: int) -> None:
        self._held -= length
        self.server.held -= length

    def _head(self, length: int) -> None:
        self._head_bytes += length
        if max(self._head_bytes, self._pending) > limits.HEAD_BYTES:
            raise Refusal("headers_too_large", f"The head has more than {limits.HEAD_BYTES} bytes.")

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
            if self._began and self._request is None:
                # A header whose end has not come is in the parser, uncounted.
                self._pending += len(data)
                self._head(0)
        except httptools.HttpParserUpgrade:
            self._requests.clear()
            self._refuse(Refusal("bad_http", "The gateway speaks HTTP/1.1 only."))
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            cause = error.__context__
            said = cause if isinstance(cause, Refusal) else Refusal("bad_http", f"This is not HTTP/1.1: {error}."[:200])
            self._refuse(said)
        else:
            self._next()

    def _next(self) -> None:
        if self._requests and self._task is None and self._transport:
            self._deadline = None
            request = self._requests.popleft()
            self._task = self._loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        answer = Answer(self, request)
        try:
            await self.server.handler(request, answer)
        except Refusal as refusal:
            if answer.started:
                self.abort()
            else:
                answer.refuse(refusal)
        except Closing:
            self.abort()
        except Exception:
            log.exception("request %s failed", request.id)
            if answer.started:
                self.abort()
            else:
                answer.refuse(Refusal("internal_error", "The gateway failed; its log says more."))
        self._task = None
        self._let_go(min(len(request.body), self._held))
        self.idle_since = self._loop.time()
        if not request.keep_alive or self.server.draining:
            self._close()
            return
        self._deadline = self._loop.time() + (limits.HEAD_SECONDS if self._began else limits.IDLE_SECONDS)
        if self._requests:
            self._next()
        elif self._waiting:
            data = bytes(self._waiting)
            self._waiting.clear()
            self._feed(data)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read any further, and close.

        What still comes is thrown away for a moment: a connection that is closed with bytes unread is reset, and the
        client would never read the answer.
        """
        request = Request(b"", b"", {}, self._client)
        request.keep_alive = False
        answer = Answer(self, request)
        if self.server.refused:
            self.server.refused(request, answer, refusal)
        if self._task or self._transport is None or len(self.server.leaving) >= limits.LEAVING:
            self.abort()
            return
        answer.refuse(refusal)
        self._body = bytearray()
        self._let_go(self._held)
        self._lingering = True
        self._deadline = self._loop.time() + limits.LINGER_SECONDS
        self._transport.write_eof()
        self.server.connections.discard(self)
        self.server.leaving.add(self)


def _too_large() -> Refusal:
    return Refusal("body_too_large", f"The body has more than {limits.BODY_BYTES} bytes.")
