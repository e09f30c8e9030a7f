"""A request of a client, and where its answer is written."""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from stagecoach_gateway.errors import Refusal

if TYPE_CHECKING:
    from stagecoach_gateway.http_connection import Connection

Header = tuple[bytes, bytes]
REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
JSON: Header = (b"content-type", b"application/json")


class Request:
    """A request whose body has arrived."""

    __slots__ = ("body", "client", "headers", "id", "keep_alive", "method", "path", "version")

    def __init__(self, method: bytes, path: bytes, headers: dict[bytes, bytes], client: str) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.client = client  # the address of who asks
        self.body = b""
        self.version = "1.1"
        self.keep_alive = True
        self.id = ""


Handler = Callable[[Request, "Answer"], Awaitable[None]]


class Answer:
    """Where a request's answer is written, once."""

    __slots__ = ("_chunked", "_connection", "_request", "headers", "started")

    def __init__(self, connection: "Connection", request: Request) -> None:
        self._connection = connection
        self._request = request
        self._chunked = False
        self.started = False
        # Sent with whatever is answered.
        self.headers: list[Header] = []

    def send(self, status: int, body: bytes, headers: Iterable[Header] = (JSON,)) -> None:
        """Write a whole answer."""
        length = (b"content-length", b"%d" % len(body))
        head = self._head(status, (*headers, length))
        self._connection.write(head if self._request.method == b"HEAD" else head + body)

    def refuse(self, refusal: Refusal) -> None:
        """Write an error."""
        extra = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
        self.send(refusal.kind.status, refusal.body, (JSON, *extra))

    def begin(self, headers: Iterable[Header]) -> None:
        """Write the head of an answer that comes in parts."""
        self._chunked = self._request.version == "1.1"
        if self._chunked:
            headers = (*headers, (b"transfer-encoding", b"chunked"))
        else:
            self._request.keep_alive = False
        self._connection.write(self._head(200, headers))

    async def part(self, data: bytes) -> None:
        """Write a part of it; waits for a client that reads slowly. Raises Closing when it does so for too long."""
        self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if self._connection.paused_since is not None:
            await self._connection.drained()

    def end(self) -> None:
        """Write the end of it."""
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")

    def _head(self, status: int, headers: Iterable[Header]) -> bytes:
        self.started = True
        parts = [REASONS[status], self._connection.server.date]
        for name, value in (*self.headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if not self._request.keep_alive or self._connection.server.draining:
            self._request.keep_alive = False
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)
