"""From a row's text to tokens: the one implementation for training, evaluation and serving.

A prompt is a conversation (system turn, user turn) through the base's chat template, with the opening of the
assistant's turn at its end; without a chat template it is the same text, one turn to a paragraph. The completion is
the raw label or target and what ends a turn. Prompt and completion are tokenized apart, as an engine sees them. An
encoder model reads the template alone, see PlainEncoder.

With the overflow Chunk, a text that is too long is read in chunks: each is a part of the text in a prompt of its own,
as long as fits, and begins `stride` of the text's tokens before the end of the one before. Where tokens at a cut split
otherwise than in the whole text, or a character is of several tokens, the common part may be another, but every token
is in a chunk. A chunk of white space alone is left out.

A row that is a conversation brings its own turns: they are the prompt, behind the project's system turn unless they
begin with one. The template is of no use then, and has to be the bare text.

Nothing but a tokenizer is needed: neither torch nor a model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol, cast

from stagecoach.contract.inputs import Family, Overflow, Prompt, Tokenization
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.rows import AnyRow, Conversation, Match, Row
from stagecoach.contract.tagged import Marked, Words
from stagecoach.contract.turns import SYSTEM, USER, Turn

PLACEHOLDER = "{text}"
# Some templates print today's date unless they are given one: the same row must be the same tokens on every day.
FIXED_DAY = datetime(2024, 7, 26, tzinfo=UTC)
TEMPLATE_ARGUMENTS = {"date_string": FIXED_DAY.strftime("%d %b %Y"), "strftime_now": FIXED_DAY.strftime}
# Stands for the label where the template is asked what it writes after one.
_MARK = "LabelMark"


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer; it has to know the place of each token in the text."""

    chat_template: Any
    eos_token_id: int | None
    all_special_ids: list[int]

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        """Return `input_ids`, and `offset_mapping` when asked for: a (start, end) in characters for each token."""

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any:
        """Return the conversation as one string."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        """Return the text of tokens."""


class TooLong(ValueError):
    """A prompt has more tokens than are allowed, and it may not be cut, or cutting all its text is not enough."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the prompt has {tokens} tokens, and {limit} are allowed")
        self.tokens = tokens
        self.limit = limit


@dataclass(frozen=True)
class Encoded:
    """A prompt as token ids. `kept` is the part of the row's text, or of the last turn of the user, that is in it."""

    ids: tuple[int, ...]
    kept: str
    truncated: bool
    start: int = 0  # where in the text `kept` begins
    # Where in the rendered prompt its tokens are; of rows with tags only.
    offsets: tuple[tuple[int, int], ...] | None = None


Reads = Callable[[str], Encoded]


@dataclass(frozen=True)
class Encoder:
    """Turns texts and labels into tokens by a prompt, a base's tokenizer and a tokenization rule."""

    tokenizer: Tokenizer
    prompt: Prompt
    tokenization: Tokenization

    def encode(self, text: str) -> Encoded:
        """Return the prompt of a text. Raises TooLong, and BadInput when the template refuses the conversation."""
        return self._encoded(text, self._read)

    def converse(self, turns: Sequence[Turn]) -> Encoded:
        """Return the prompt of a conversation whose last turn is the user's. Raises as `encode` does.

        Where it is too long and may be cut, the oldest turns go first, a question and its answer at a time, and then
        the end of the user's last turn; the system's turn stays.
        """
        self._check_template()
        own = turns[0].role == SYSTEM
        system = [turns[0]] if own else [Turn(SYSTEM, self.prompt.system)] if self.prompt.system else []
        *earlier, last = turns[1:] if own else turns

        def read(kept: str) -> Encoded:
            return Encoded(self._ids_of([*system, *earlier, Turn(USER, kept)]), kept, truncated=False)

        whole = read(last.content)
        if self._fits(whole):
            return whole
        while earlier:
            del earlier[:2]
            whole = read(last.content)
            if len(whole.ids) <= self.tokenization.max_length:
                return replace(whole, truncated=True)
        return self._truncated(whole, read)

    def of(self, row: AnyRow) -> Encoded:
        """Return the prompt of a row, whatever it is. Raises as `encode` does."""
        if isinstance(row, Conversation):
            return self.converse(row.turns)
        return self._encoded(row.query if isinstance(row, Match) else row.text, self._reads(row))

    def all_of(self, row: AnyRow) -> tuple[Encoded, ...]:
        """Return the prompts of a row: one, or one for each of its chunks. Raises as `encode` does."""
        if isinstance(row, Row | Words | Marked):
            return self._chunks(row.text, self._reads(row))
        return (self.of(row),)

    def chunks(self, text: str) -> tuple[Encoded, ...]:
        """Return the prompts of a text: one if it fits, or may not be read in chunks. Raises as `encode` does.

        Raises BadInput, too, when chunks would have more in common than half of their text.
        """
        return self._chunks(text, self._read)

    def _chunks(self, text: str, reads: Reads) -> tuple[Encoded, ...]:
        if self.tokenization.overflow is not Overflow.CHUNK:
            return (self._encoded(text, reads),)
        stride, limit = self._stride, self.tokenization.max_length
        whole = reads(text)
        if len(whole.ids) <= limit:
            return (whole,)
        offsets = self._offsets(text)
        room = len(offsets) - (len(whole.ids) - limit)
        found: list[Encoded] = []
        end, common = 0, 0
        while end < len(offsets):
            first = next(at for at in range(end - common, end + 1) if _begins(at, offsets))
            chunk, reached = self._longest(text, offsets, first, first + room, reads)
            if reached <= end:
                common //= 2  # it would not go on: with less in common, at last none, it does
                continue
            found.append(chunk)
            end, common = reached, min(stride, reached)
        found = [chunk for chunk in found if chunk.kept.strip()]
        if not found:
            raise TooLong(len(self.frame), limit)
        return tuple(found)

    @cached_property
    def _stride(self) -> int:
        """How many tokens chunks have in common. Raises BadInput when chunks would hardly go on."""
        stride = self.tokenization.chunk.stride if self.tokenization.chunk else 0
        room = max(0, self.tokenization.max_length - len(self.frame))
        if stride > room // 2:
            message = (
                f"of the {self.tokenization.max_length} tokens of tokenization.maxLength the prompt leaves {room} for a"
                " chunk of a text, and no more than half of them may be those of the chunk before."
            )
            remedy = f"Set at most {room // 2}, raise tokenization.maxLength, or shorten the prompt's template."
            field = "tokenization.chunk.stride"
            raise BadInput(Problem.of("StrideTooLarge", message, field=field, value=str(stride), remedy=remedy))
        return stride

    def completion(self, target: str) -> tuple[int, ...]:
        """Return the tokens of a label or target and of the end of the turn."""
        return (*self._tokenized(target, special=False), *self.end)

    @cached_property
    def end(self) -> tuple[int, ...]:
        """The tokens that end the assistant's turn. Raises BadInput when the base has none."""
        special = set(self.tokenizer.all_special_ids)
        tail = self._tokenized(self._after_label(), special=False) if self.tokenizer.chat_template else ()
        for position, token in enumerate(tail):
            if token in special:
                return tail[: position + 1]
        return self._end_of_sequence()

    def _end_of_sequence(self) -> tuple[int, ...]:
        if self.tokenizer.eos_token_id is None:
            message = "the base's tokenizer has neither an end-of-turn nor an end-of-sequence token."
            raise BadInput(Problem.of("BaseUnusable", message, remedy="Use a base whose tokenizer has an eos_token."))
        return (self.tokenizer.eos_token_id,)

    @cached_property
    def frame(self) -> tuple[int, ...]:
        """The prompt of an empty text: what every prompt has."""
        return self._read("").ids

    def render(self, text: str) -> str:
        """Return the whole prompt of a text as a string, the opening of the answer included."""
        return self._rendered(messages(self.prompt, text))

    def _rendered(self, conversation: list[dict[str, str]]) -> str:
        if self.tokenizer.chat_template:
            return self._through_template(conversation, add_generation_prompt=True)
        return "\n\n".join(turn["content"] for turn in conversation) + "\n"

    @property
    def _special(self) -> bool:
        # A chat template writes the special tokens itself; a plain text gets those that the tokenizer puts first.
        return not self.tokenizer.chat_template

    def _reads(self, row: AnyRow) -> Reads:
        return self._read_located if isinstance(row, Words | Marked) else self._read

    def _read(self, text: str) -> Encoded:
        """Return the prompt of a text, however long it is."""
        return Encoded(self._tokenized(self.render(text), special=self._special), text, truncated=False)

    def _read_located(self, text: str) -> Encoded:
        """Return the same, and where its tokens are: that takes longer, and much memory."""
        prompt = self.render(text)
        found = self.tokenizer(prompt, add_special_tokens=self._special, return_offsets_mapping=True)
        return Encoded(tuple(found["input_ids"]), text, truncated=False, offsets=tuple(found["offset_mapping"]))

    def _ids_of(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        return self._tokenized(self._rendered([turn._asdict() for turn in turns]), special=False)

    def _encoded(self, text: str, reads: Reads) -> Encoded:
        whole = reads(text)
        return whole if self._fits(whole) else self._truncated(whole, reads)

    def _fits(self, whole: Encoded) -> bool:
        """Return whether a prompt fits, or must be cut. Raises TooLong when it may not be."""
        tokens, limit = len(whole.ids), self.tokenization.max_length
        if tokens > limit and self.tokenization.overflow is not Overflow.TRUNCATE:
            raise TooLong(tokens, limit)
        return tokens <= limit

    def _check_template(self) -> None:
        """Raise BadInput when turns cannot be told apart, or the template would be passed over."""
        if not self.tokenizer.chat_template:
            message = "the base has no chat template, and a conversation is written by one."
            remedy = "Select a base with a chat template, or give columns input and target."
            raise BadInput(Problem.of("BaseUnusable", message, field="candidates", remedy=remedy))
        if self.prompt.template != PLACEHOLDER:
            message = "a conversation brings its own turns, so the prompt's template would be passed over."
            remedy = f"Let the template be {PLACEHOLDER}, and write instructions into the system's turn."
            raise BadInput(Problem.of("TemplateUnused", message, field="prompts", remedy=remedy))

    def _tokenized(self, text: str, *, special: bool) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=special)["input_ids"])

    def _offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return where the tokens of a text alone are in it."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return cast(Sequence[tuple[int, int]], found)

    def _truncated(self, whole: Encoded, reads: Reads) -> Encoded:
        """Cut the text at a token's end until the prompt fits."""
        text, limit = whole.kept, self.tokenization.max_length
        offsets = self._offsets(text)
        part, _ = self._longest(text, offsets, 0, len(offsets) - (len(whole.ids) - limit), reads)
        if not part.kept.strip():
            raise TooLong(len(reads("").ids), limit)
        return replace(part, truncated=True)

    def _longest(
        self, text: str, offsets: Sequence[tuple[int, int]], first: int, end: int, reads: Reads
    ) -> tuple[Encoded, int]:
        """Return the longest prompt that fits with the tokens from the first one up to, at most, the end; and its end.

        Tokens at a cut may split otherwise than before, so the result is counted, not computed.
        """
        limit, begin = self.tokenization.max_length, offsets[first][0] if first else 0
        keep = min(end, len(offsets))
        while keep > first:
            part = reads(text[begin : offsets[keep - 1][1]])
            if len(part.ids) <= limit:
                reached = next(at for at in range(keep, len(offsets) + 1) if _begins(at, offsets))
                return replace(part, start=begin), reached
            keep = max(first + 1, keep - len(part.ids) + limit) if keep > first + 1 else first
        raise TooLong(len(reads("").ids), limit)

    def _after_label(self) -> str:
        conversation = [*messages(self.prompt, _MARK), {"role": "assistant", "content": _MARK}]
        rendered = self._through_template(conversation, add_generation_prompt=False)
        return rendered.rpartition(_MARK)[2]

    def _through_template(self, conversation: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        try:
            rendered = self.tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=add_generation_prompt, **TEMPLATE_ARGUMENTS
            )
        except Exception as error:  # whatever a template raises, by jinja's own classes or Python's
            message = f"the base's chat template refuses this conversation: {error}"
            remedy = "Leave out prompts[].system if the base knows no system turn, or use another base."
            raise BadInput(Problem.of("BaseUnusable", message, field="prompts", remedy=remedy)) from error
        return str(rendered)


class PlainEncoder(Encoder):
    """For encoder models: the template alone with the row's text in it, and the special tokens of the base around it.

    An encoder reads no conversation: there is no system turn, no chat template, and no completion to write.
    """

    def completion(self, target: str) -> tuple[int, ...]:
        """Return nothing: the label is a number of the head, not a text."""
        del target
        return ()

    def converse(self, turns: Sequence[Turn]) -> Encoded:
        """Refuse a conversation: raises BadInput."""
        message = f"{len(turns)} turns of a conversation cannot be told apart by a model that reads one text."
        remedy = "Select a decoder with a chat template, or give columns input and target."
        raise BadInput(Problem.of("BaseUnusable", message, field="candidates", remedy=remedy))

    def render(self, text: str) -> str:
        """Return the template with the text in it."""
        return _filled(self.prompt, text)

    @property
    def _special(self) -> bool:
        return True


class PairEncoder(PlainEncoder):
    """For encoder-decoder models: the encoder reads the template alone, the decoder writes the target.

    Both have the special tokens that the base's tokenizer puts around a text; the target always has one at its end.
    """

    def completion(self, target: str) -> tuple[int, ...]:
        """Return the tokens of a target."""
        ids = self._tokenized(target, special=True)
        return ids if ids[-1:] == self.end else (*ids, *self.end)

    @cached_property
    def end(self) -> tuple[int, ...]:
        """The token that ends a target. Raises BadInput when the base has none."""
        return self._end_of_sequence()


def encoder_for(family: Family, tokenizer: Tokenizer, prompt: Prompt, tokenization: Tokenization) -> Encoder:
    """Return what turns texts into tokens for a family of models."""
    kinds = {Family.ENCODER: PlainEncoder, Family.DECODER: Encoder, Family.ENCODER_DECODER: PairEncoder}
    return kinds[family](tokenizer, prompt, tokenization)


def for_passages(queries: Encoder) -> Encoder:
    """Return what turns the passages of an Embedding into tokens: as queries, by a template of their own."""
    return replace(queries, prompt=Prompt(template=queries.prompt.passage_template or PLACEHOLDER))


def _begins(place: int, offsets: Sequence[tuple[int, int]]) -> bool:
    """Whether a token is the first of a character, or there is none any more."""
    return place in (0, len(offsets)) or offsets[place][0] >= offsets[place - 1][1]


def _filled(prompt: Prompt, text: str) -> str:
    return prompt.template.replace(PLACEHOLDER, text)


def messages(prompt: Prompt, text: str) -> list[dict[str, str]]:
    """Return the conversation for a text. Braces in the text are data; only the template's `{text}` is replaced."""
    system = [{"role": SYSTEM, "content": prompt.system}] if prompt.system else []
    return [*system, {"role": USER, "content": _filled(prompt, text)}]
