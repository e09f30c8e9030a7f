"""Clients that ask as fast as they are answered, or hold streams open, on bare sockets."""

import asyncio
import time
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class Asked:
    """What came of asking for a while."""

    requests: int  # that were answered with 200
    failed: int  # that were answered otherwise, or not at all
    seconds: float
    median: float  # seconds of one request


class _Client(asyncio.Protocol):
    """Sends a request, reads the answer, sends the next."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._expected = 0
        self._sent = 0.0
        self._ended = False
        self.times: list[float] = []
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._data, self._expected, self._sent = b"", 0, time.perf_counter()
        if self._transport:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._expected:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            start = self._data.lower().find(b"content-length:", 0, end)
            self._expected = end + 4 + int(self._data[start + 15 :].split(b"\r\n", 1)[0])
        if len(self._data) >= self._expected:
            if self._data.startswith(b"HTTP/1.1 200"):
                self.times.append(time.perf_counter() - self._sent)
            else:
                self.failed += 1
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the request that was not answered; who has lost the connection asks no more."""
        del exc
        self.failed += not self._ended
        self._transport = None

    def close(self) -> None:
        self._ended = True
        if self._transport:
            self._transport.abort()


class Stream(asyncio.Protocol):
    """Asks for a stream, and counts its parts."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.parts = 0
        self._transport: asyncio.Transport | None = None

    @property
    def flows(self) -> bool:
        """Whether it is open, and has had a part: who is refused has none, and costs nothing."""
        return self._transport is not None and self.parts > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._transport = None

    def close(self) -> None:
        """Leave."""
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.parts += data.count(b"data: {")


def request(path: str, body: bytes, key: str) -> bytes:
    """Return a request as it is sent."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\n"
    )
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


async def ask(port: int, data: bytes, clients: int, seconds: float) -> Asked:
    """Ask for so long, by so many clients at once."""
    loop = asyncio.get_running_loop()
    found = [(await loop.create_connection(lambda: _Client(data), "127.0.0.1", port))[1] for _ in range(clients)]
    begin = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - begin
    times = sorted(each for client in found for each in client.times)
    for client in found:
        client.close()
    failed = sum(client.failed for client in found)
    return Asked(len(times), failed, took, times[len(times) // 2] if times else float("nan"))


async def streams(port: int, data: bytes, number: int) -> list[Stream]:
    """Open so many streams."""
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(number):
        found.append((await loop.create_connection(lambda: Stream(data), "127.0.0.1", port))[1])
        await asyncio.sleep(0.002)
    return found
