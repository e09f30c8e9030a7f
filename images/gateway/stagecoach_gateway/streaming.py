"""Answers that come in parts, as server-sent events: each is looked at, named, counted, and passed on at once."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import orjson

from stagecoach_gateway.errors import Refusal

if TYPE_CHECKING:
    from stagecoach_gateway.asking import Ask
    from stagecoach_gateway.engines import Asking

HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
MOST_BYTES = 4 << 20
_DONE = b"data: [DONE]"


class Events:
    """Cuts a stream into events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that are complete now, without the empty line at their end."""
        *events, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        if len(self._rest) > MOST_BYTES:
            raise Refusal("engine_error", "The engine's event is too long.")
        return events


class _Relay:
    """What becomes of each event."""

    def __init__(self, ask: "Ask", name: str, *, usage: bool) -> None:
        self._ask = ask
        self._name = name
        self._usage = usage
        self.done = False

    def passed(self, events: list[bytes]) -> Iterator[bytes]:
        """Return the events that the client gets."""
        for event in events:
            if event == _DONE:
                self.done = True
                yield b"data: [DONE]\n\n"
            elif event.startswith(b"data: {"):
                document = self._named(event[6:])
                if document is not None:
                    yield b"data: %b\n\n" % document
            elif event.startswith(b"data:"):
                raise Refusal("engine_error", "The engine's event is no JSON document.")
            # All else is comments and kinds of events that OpenAI's clients do not know.

    def _named(self, data: bytes) -> bytes | None:
        """Return an event with the deployment's name for the model; None for one that the client did not ask for."""
        document = self._ask.parsed(data)
        if "error" in document:
            raise Refusal("engine_error", "The engine failed in the middle of its answer.")
        if "model" in document:
            document["model"] = self._name
        usage = document.get("usage")
        if isinstance(usage, dict):
            self._ask.counted.usage(usage.get("prompt_tokens"), usage.get("completion_tokens"))
            if not self._usage and not document.get("choices"):
                return None
        if not self._usage:
            document.pop("usage", None)
        if self._ask.sampled:
            self._ask.hear(document)
        return orjson.dumps(document)


async def relay(ask: "Ask", reply: "Asking", name: str, *, usage: bool) -> None:
    """Pass a stream on; `usage` is whether the client asked for counts of tokens.

    Raises Refusal while nothing was sent; after that an error is an event, as OpenAI's clients expect it.
    """
    events, relayed = Events(), _Relay(ask, name, usage=usage)
    try:
        while data := await reply.part():
            out = b"".join(relayed.passed(events.feed(data)))
            if out:
                if not ask.answer.started:
                    ask.first()
                    ask.answer.begin(HEADERS)
                await ask.answer.part(out)
        if not relayed.done:
            raise Refusal("engine_error", "The engine broke its answer off: try again.")
    except Refusal as refusal:
        if not ask.answer.started:
            raise
        ask.request.keep_alive = False
        ask.failed(refusal)
        await ask.answer.part(b"data: %b\n\n" % refusal.body)
    ask.answer.end()
    ask.heard()
