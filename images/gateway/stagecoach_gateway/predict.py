"""The Task API: a text in, an answer in the task's terms out.

Prompt, chat template and tokens are made by the contract's Encoder, as in training; engines get token ids.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stagecoach.contract import completions, readings
from stagecoach.contract.client_api import PREDICT, Path
from stagecoach.contract.combining import combined
from stagecoach.contract.completions import NoAnswer, NotNumbers
from stagecoach.contract.inputs import Family
from stagecoach.contract.prompts import Encoded, Encoder, TooLong
from stagecoach.contract.reports import BadInput
from stagecoach.contract.task_api import CLASSIFICATION
from stagecoach_gateway.errors import NO_NUMBER, Refusal
from stagecoach_gateway.schemas import Schema

if TYPE_CHECKING:
    from stagecoach_gateway.asking import Ask

# More of them would keep tokenizer and engine from others for seconds.
MOST_CHUNKS = 128


class Unserved:
    """The endpoint while no release is admitted: what its task takes is not known yet."""

    path = PREDICT

    def check(self, ask: "Ask") -> None:
        """Let a body pass: a fallback knows what it takes."""

    def session(self, body: dict[str, Any]) -> str | None:
        """Bind nothing: there is nothing to choose between."""
        del body
        return None

    async def answer(self, ask: "Ask") -> None:
        """Refuse. Raises Refusal."""
        del ask
        raise Refusal("nothing_served", "No release is admitted yet.", headers={"retry-after": "30"})


class Predict:
    """The endpoint of a task."""

    path = PREDICT

    def __init__(self, at: Path) -> None:
        self._input = Schema(at.asks)
        self._output = Schema(at.answers)

    def check(self, ask: "Ask") -> None:
        """Raise Refusal for a body that is none of this task."""
        self._input.check(ask.body)

    def session(self, body: dict[str, Any]) -> str | None:
        """Return what binds a request to others."""
        session: str | None = body.get("session")
        return session

    async def answer(self, ask: "Ask") -> None:
        """Ask an engine, and answer. Raises Refusal."""
        asked = ask.ready.target.described.asked
        if asked.task == CLASSIFICATION:
            document = await (_classified(ask) if asked.family is Family.ENCODER else _chosen(ask))
        elif asked.embeds:
            document = await _embedded(ask)
        else:
            document = await _written(ask)
        wrong = self._output.wrong(document)
        if wrong:
            raise Refusal("engine_error", f"The engine's answer is none of this task: {wrong}.")
        ask.send(document)


async def _prompts(ask: "Ask", encoder: Encoder) -> tuple[Encoded, ...]:
    text = ask.body["text"]

    def prompts() -> tuple[Encoded, ...]:
        _check_length(encoder, text)
        return encoder.chunks(text)

    try:
        return await ask.beside(prompts, text)
    except TooLong as error:
        message = f"The prompt has {error.tokens} tokens, and {error.limit} are read: shorten the text."
        raise Refusal("text_too_long", message, param="text") from error
    except BadInput as error:
        raise Refusal("invalid_request", error.problem.message, param="text") from error


def _check_length(encoder: Encoder, text: str) -> None:
    """Raise TooLong for a text that would be read in too many chunks, before they are made."""
    chunk, limit = encoder.tokenization.chunk, encoder.tokenization.max_length
    if chunk is None or len(text) <= MOST_CHUNKS:
        return
    most = MOST_CHUNKS * max(1, limit - len(encoder.frame) - chunk.stride)
    tokens = len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
    if tokens > most:
        raise TooLong(tokens, most)


async def _counted(ask: "Ask", encoder: Encoder) -> tuple[Encoded, ...]:
    parts = await _prompts(ask, encoder)
    ask.counted.text(encoder.frame, encoder.tokenization.max_length, parts)
    return parts


async def _classified(ask: "Ask") -> dict[str, Any]:
    """A head gives each label a probability, in each chunk."""
    encoder, labels = ask.ready.encoder, ask.ready.target.labels or ()
    parts = await _counted(ask, encoder)
    found = await ask.ask(readings.CLASSIFY, **readings.classifying([part.ids for part in parts]))
    with _numbers("The engine gave no probability for each label."):
        each = readings.probabilities(found, len(parts), len(labels))
    combine = encoder.tokenization.chunk.combine if encoder.tokenization.chunk else None
    scores = combined(each, combine) if combine else each[0]
    return {"label": labels[scores.index(max(scores))], "scores": dict(zip(labels, scores, strict=True))}


async def _chosen(ask: "Ask") -> dict[str, Any]:
    """A model that writes chooses, at each place where labels part, the likeliest token of those that go on."""
    choice, labels = ask.ready.choice, ask.ready.target.labels or ()
    prompt = (await _counted(ask, ask.ready.encoder))[0].ids
    written: tuple[int, ...] = ()
    while following := choice.following(written):
        token = following[0]
        if len(following) > 1:
            ids = [*prompt, *written]
            token = (await _complete(ask, ids, completions.choosing(following)))[0]
            if token not in following:
                raise Refusal("engine_error", "What the engine computed is no label.")
        written = (*written, token)
    return {"label": labels[choice.left(written)[0]]}


async def _written(ask: "Ask") -> dict[str, Any]:
    encoder = ask.ready.encoder
    prompt = (await _counted(ask, encoder))[0].ids
    most = encoder.tokenization.max_target_length or 1
    written = await _complete(ask, list(prompt), completions.writing(most, encoder.end[-1]))
    return {"text": encoder.tokenizer.decode([*written], skip_special_tokens=True)}


async def _embedded(ask: "Ask") -> dict[str, Any]:
    if ask.body.get("kind") == "passage":
        ids = (await _prompts(ask, ask.ready.passages))[0].ids  # not counted: passages are not what production is asked
    else:
        ids = (await _counted(ask, ask.ready.encoder))[0].ids
    found = await ask.ask(readings.EMBED, **readings.embedding(ids))
    with _numbers("The engine made no vector."):
        return {"embedding": readings.vector(found)}


async def _complete(ask: "Ask", prompt: list[int], request: dict[str, Any]) -> tuple[int, ...]:
    found = await ask.ask("/v1/completions", prompt=prompt, **request)
    nothing = "The engine wrote nothing that can be used."
    with _numbers(nothing):
        ids = completions.tokens(found)
    if not ids:
        raise Refusal("engine_error", nothing)
    return ids


@contextmanager
def _numbers(otherwise: str) -> Iterator[None]:
    """Refuse what is no answer of an engine, and what are no numbers in one."""
    try:
        yield
    except NotNumbers as error:
        raise Refusal("engine_error", NO_NUMBER) from error
    except NoAnswer as error:
        raise Refusal("engine_error", otherwise) from error
