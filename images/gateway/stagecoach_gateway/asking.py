"""One request of a client that a release has to answer: what is known of it, and what is counted of it."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson

from stagecoach.contract import completions
from stagecoach.contract.times import timestamp
from stagecoach_gateway.counting import Counted
from stagecoach_gateway.current import Loaded, Ready
from stagecoach_gateway.engines import Asking, Engines
from stagecoach_gateway.errors import NO_NUMBER, Refusal
from stagecoach_gateway.http_messages import Answer, Request
from stagecoach_gateway.keeping import Keeper
from stagecoach_gateway.texts import LONG_TEXT, Texts

Work = TypeVar("Work")
# What is kept of a stream for a sample.
HEARD_CHARACTERS = 20_000


class Ask:
    """All of it."""

    __slots__ = (
        "_engines", "_heard", "_heard_characters", "_keeper", "_loop", "_texts", "answer", "began", "body", "client",
        "counted", "deadline", "fails", "loaded", "ready", "request", "sampled",
    )  # fmt: skip

    def __init__(
        self, request: Request, answer: Answer, body: dict[str, Any], loaded: Loaded, client: str, began: float
    ) -> None:
        self.request = request
        self.answer = answer
        self.body = body
        self.loaded = loaded
        self.client = client
        self.began = began
        self.fails = False
        self.sampled = False
        self.ready: Ready
        self.counted: Counted
        self._heard: dict[int, list[str]] = {}  # by choice
        self._heard_characters = 0
        self.deadline = began + loaded.routes.timeout

    def give_to(self, ready: Ready, counted: Counted, engines: Engines, texts: Texts, keeper: Keeper) -> None:
        """Have a release answer it."""
        self.ready, self.counted, self._engines, self._texts, self._keeper = ready, counted, engines, texts, keeper
        self._loop = asyncio.get_running_loop()
        sampling = self.loaded.routes.sampling
        self.sampled = sampling is not None and keeper.able and random.random() < sampling.rate  # noqa: S311

    def engine(self, path: str, body: bytes) -> Asking:
        """Return what asks an engine. Raises Refusal when the time for the answer is over."""
        if self._loop.time() >= self.deadline:
            raise Refusal("engine_timeout", "The engine did not answer in time: try again.")
        return self._engines.ask(self.ready.target.engines, path, body, self.loaded.routes.timeout, until=self.deadline)

    async def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """Return an engine's answer to what the gateway made of a text. Raises Refusal."""
        content = orjson.dumps({"model": self.ready.target.model, **body})
        async with self.engine(path, content) as reply:
            if reply.status != 200:
                refusal = self.refused(reply.status, await reply.whole())
                if refusal.code == "engine_refused":
                    # No client has written it: what the engine does not take of it is the release's fault.
                    message = f"The engine does not take what was made of this text: {refusal.message}"
                    raise Refusal("engine_error", message)
                raise refusal
            content = await reply.whole()
        document = self.parsed(content)
        usage = document.get("usage")
        if isinstance(usage, dict):
            self.counted.usage(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        return document

    def parsed(self, content: bytes) -> dict[str, Any]:
        """Return an engine's document. Raises Refusal when it is none."""
        try:
            document = orjson.loads(content)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise Refusal("engine_error", "The engine's answer is no JSON document.")
        return document

    def refused(self, status: int, content: bytes) -> Refusal:
        """Return what a client is told of an engine's error: its words where the client can mend something."""
        if status not in (400, 413, 422):
            return Refusal("engine_error", f"The engine answered with status {status}: try again.")
        try:
            document = orjson.loads(content)
            message = str(document.get("error", document)["message"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            message = "The engine cannot answer this request."
        if completions.NOT_JSON in message:
            return Refusal("engine_error", NO_NUMBER)
        message = message.replace(self.ready.target.model, self.loaded.routes.name)
        return Refusal("engine_refused", message[:500])

    def send(self, document: dict[str, Any]) -> None:
        """Answer, unless it is not what the deployment promises. Raises Refusal."""
        self.check_answer(document)
        self.answer.send(200, orjson.dumps(document))
        if self.sampled:
            self._sample(document)

    def check_answer(self, document: dict[str, Any]) -> None:
        """Raise Refusal for an answer that is not what the deployment promises."""
        if self.loaded.output and self.loaded.output.wrong(document):
            raise Refusal("contract_violation", "The answer does not fulfil the deployment's output schema.")

    def count_texts(self, texts: list[str]) -> None:
        """Count what texts look like, once the engine has been asked."""
        self._texts.count(texts, self.ready.encoder, self.counted)

    async def beside(self, work: Callable[[], Work], text: str) -> Work:
        """Return what work on a text comes to; where that is long, others are served meanwhile."""
        return work() if len(text) <= LONG_TEXT else await self._loop.run_in_executor(None, work)

    def first(self) -> None:
        """A stream begins."""
        self.counted.first_token.add(self._loop.time() - self.began)

    def failed(self, refusal: Refusal) -> None:
        """It ends with an error."""
        self.fails = True
        self.counted.failed(refusal.code)

    def hear(self, document: dict[str, Any]) -> None:
        """Remember a part of a stream, for a sample."""
        for choice in document.get("choices") or ():
            text = choice.get("text") or (choice.get("delta") or {}).get("content")
            if text and self._heard_characters < HEARD_CHARACTERS:
                text = text[: HEARD_CHARACTERS - self._heard_characters]
                self._heard.setdefault(choice.get("index", 0), []).append(text)
                self._heard_characters += len(text)

    def heard(self) -> None:
        """That was all of it."""
        if self.sampled and not self.fails:
            texts = ["".join(pieces) for _, pieces in sorted(self._heard.items())]
            self._sample(texts if len(texts) > 1 else "".join(texts))

    def _sample(self, output: Any) -> None:
        sampling = self.loaded.routes.sampling
        sample = {
            "request": self.request.id,
            "at": timestamp(datetime.now(UTC)),
            "release": self.ready.release,
            "path": self.request.path.decode(errors="replace"),
            "input": {key: value for key, value in self.body.items() if key not in ("user", "session")},
            "output": _without_numbers(output),
        }
        self._keeper.keep("samples", sample, sampling.redact if sampling else ())


def _without_numbers(output: Any) -> Any:
    """Return an answer without vectors and likelihoods of tokens.

    Nobody reads thousands of numbers, which follow from the input; and beside likelihoods the text stands once more, in
    pieces in which nothing private is found.
    """
    if isinstance(output, list):
        return [_without_numbers(item) for item in output]
    if not isinstance(output, dict):
        return output
    return {
        key: _without_numbers(item) if key in ("data", "choices") else item
        for key, item in output.items()
        if key not in ("embedding", "logprobs")
    }
