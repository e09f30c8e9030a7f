"""OpenAI's API, and vLLM's classify and rerank: a body is passed on with the release's name for the model in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from stagecoach.contract import client_api, openai_schemas, readings
from stagecoach.contract.inputs import OfTask
from stagecoach_gateway.errors import Refusal
from stagecoach_gateway.schemas import Schema
from stagecoach_gateway.streaming import relay

if TYPE_CHECKING:
    from stagecoach_gateway.asking import Ask

# What is ours to read, and no engine's.
_OURS = ("user",)


# In which field is what is read, by path.
_TEXTS = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    readings.EMBED: "input",
    "/rerank": "query",
    readings.CLASSIFY: "input",
}


@dataclass(frozen=True)
class Endpoint:
    """A path that an engine knows by the same name."""

    path: str
    text: str  # the field that holds what is read
    schema: Schema
    streams: bool

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
        if self.text == "messages":
            body["messages"] = list(map(_without_what_was_said_beside, body["messages"]))
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


def _without_what_was_said_beside(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key not in openai_schemas.SAID_BESIDE}


def _said(messages: list[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif content:
            yield from (part["text"] for part in content)


_ENDPOINTS = {
    each.path: Endpoint(each.path, _TEXTS[each.path], Schema(each.asks), each.streams) for each in client_api.OPENAI
}


def endpoints(of: OfTask | None) -> tuple[Endpoint, ...]:
    """Return the paths at which such a model can be asked."""
    return tuple(_ENDPOINTS[each.path] for each in client_api.openai_paths(of))
