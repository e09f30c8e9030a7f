"""OpenAI's API, and vLLM's classify and rerank: a body is passed on with the release's name for the model in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from stagecoach.contract import readings
from stagecoach.contract.inputs import OfTask
from stagecoach.contract.readings import Reads
from stagecoach_gateway import openai_schemas
from stagecoach_gateway.errors import Refusal
from stagecoach_gateway.schemas import Schema
from stagecoach_gateway.streaming import relay

if TYPE_CHECKING:
    from stagecoach_gateway.asking import Ask

# What is ours to read, and no engine's.
_OURS = ("user",)


@dataclass(frozen=True)
class Endpoint:
    """A path that an engine knows by the same name."""

    path: str
    summary: str
    document: dict[str, Any]
    text: str  # the field that holds what is read
    schema: Schema
    streams: bool = False

    def check(self, ask: "Ask") -> None:
        """Raise Refusal for a body that no engine should see."""
        self.schema.check(ask.body)
        name = ask.loaded.routes.name
        if ask.body["model"] != name:
            raise Refusal("model_not_found", f"The model here is {name}.", param="model")
        if self.streams and ask.body.get("stream") and ask.loaded.output:
            message = "Answers are checked as a whole before they are sent: leave stream out."
            raise Refusal("invalid_request", message, param="stream")

    def session(self, body: dict[str, Any]) -> str | None:
        """Return what binds a request to others."""
        user: str | None = body.get("user")
        return user

    def texts(self, body: dict[str, Any]) -> list[str]:
        """Return what is read, for counts of what texts look like: of a conversation all but the system's turns."""
        found = body[self.text]
        if self.text == "messages":
            return ["\n".join(_said(found))]
        return found if isinstance(found, list) else [found]

    async def answer(self, ask: "Ask") -> None:
        """Ask an engine, and pass its answer on. Raises Refusal."""
        target, name = ask.ready.target, ask.loaded.routes.name
        body = {key: value for key, value in ask.body.items() if key not in _OURS} | {"model": target.model}
        streams = self.streams and bool(body.get("stream"))
        if streams:
            body["stream_options"] = {"include_usage": True}
        ask.count_texts(self.texts(ask.body))
        async with ask.engine(self.path, orjson.dumps(body)) as reply:
            if reply.status != 200:
                raise ask.refused(reply.status, await reply.whole())
            if streams:
                options = ask.body.get("stream_options") or {}
                await relay(ask, reply, name, usage=bool(options.get("include_usage")))
                return
            content = await reply.whole()
        document = ask.parsed(content)
        if "model" in document:
            document["model"] = name
        usage = document.get("usage")
        if isinstance(usage, dict):
            ask.counted.usage(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        ask.send(document)


def _said(messages: list[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif content:
            yield from (part["text"] for part in content)


def _endpoint(path: str, summary: str, document: dict[str, Any], text: str, *, streams: bool = False) -> Endpoint:
    return Endpoint(path, summary, document, text, Schema(document), streams)


_WRITE = (
    _endpoint("/v1/chat/completions", "Answer a conversation", openai_schemas.CHAT, "messages", streams=True),
    _endpoint("/v1/completions", "Go on with a text", openai_schemas.COMPLETIONS, "prompt", streams=True),
)
# By what an encoder makes of a text, what its engine answers: it knows no other of these paths.
_READ = {
    Reads.VECTORS: (
        _endpoint(readings.EMBED, "Make vectors of texts", openai_schemas.EMBEDDINGS, "input"),
        _endpoint("/rerank", "Put documents in the order of a query", openai_schemas.RERANK, "query"),
    ),
    Reads.LABELS: (_endpoint(readings.CLASSIFY, "Give each label a probability", openai_schemas.CLASSIFY, "input"),),
}


def endpoints(of: OfTask | None) -> tuple[Endpoint, ...]:
    """Return the paths at which such a model can be asked; None: all that there may be, once something is served."""
    if of is None:
        return (*_WRITE, *(endpoint for each in _READ.values() for endpoint in each))
    what = readings.reads(of)
    return _READ[what] if what else _WRITE
