"""An engine that answers every request with the same bytes, as fast as it can, and streams at a given pace.

As a program: `python -m tests.bench.canned PORT`.
"""

import asyncio
import sys
from typing import ClassVar, cast

import uvloop

CHUNKS_PER_SECOND = 50
# Of more streams than these it is looked at what they hold, not what they cost: each has a chunk a second.
BUSY_STREAMS = 500
ANSWER = (
    b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1767225600,"model":"engine-model",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"The card can be blocked in the app, under Cards,'
    b' and a new one arrives within five working days."},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":34,"completion_tokens":20,"total_tokens":54}}'
)
CHUNK = (
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1767225600,'
    b'"model":"engine-model","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PART = b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK)


class Canned(asyncio.Protocol):
    """A connection; requests come one after the other."""

    streams: ClassVar[int] = 0  # of all connections

    def __init__(self) -> None:
        self._data = b""
        self._streams = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to stream."""
        del exc
        self._transport = None
        Canned.streams -= self._streams

    def data_received(self, data: bytes) -> None:
        """Answer once the request is there."""
        self._data += data
        head, _, body = self._data.partition(b"\r\n\r\n")
        start = head.lower().find(b"content-length:")
        if start < 0 or len(body) < int(head[start + 15 :].split(b"\r\n", 1)[0]) or self._transport is None:
            return
        self._data = b""
        if b'"stream":true' in body.replace(b" ", b""):
            self._streams = True
            Canned.streams += 1
            self._transport.write(_STREAM)
            self._part()
        else:
            self._transport.write(_HEAD + ANSWER)

    def _part(self) -> None:
        if self._transport is not None:
            self._transport.write(_PART)
            pause = 1 / CHUNKS_PER_SECOND if Canned.streams <= BUSY_STREAMS else 1
            asyncio.get_running_loop().call_later(pause, self._part)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1])))
