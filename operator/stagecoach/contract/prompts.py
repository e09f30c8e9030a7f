"""From a row's text to tokens: the one implementation for training, evaluation and serving.

A prompt is a conversation (system turn, user turn) through the base's chat template, with the opening of the
assistant's turn at its end; without a chat template it is the same text, one turn to a paragraph. The completion is
the raw label and what ends a turn. Prompt and completion are tokenized apart, as an engine sees them. An encoder model
reads the template alone, see PlainEncoder.

Nothing but a tokenizer is needed: neither torch nor a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from stagecoach.contract.inputs import Family, Overflow, Prompt, Tokenization
from stagecoach.contract.reports import BadInput, Problem

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


class TooLong(ValueError):
    """A prompt has more tokens than are allowed, and it may not be cut, or cutting all its text is not enough."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the prompt has {tokens} tokens, and {limit} are allowed")
        self.tokens = tokens
        self.limit = limit


@dataclass(frozen=True)
class Encoded:
    """A prompt as token ids. `kept` is the part of the row's text that is in it."""

    ids: tuple[int, ...]
    kept: str
    truncated: bool


@dataclass(frozen=True)
class Encoder:
    """Turns texts and labels into tokens by a prompt, a base's tokenizer and a tokenization rule."""

    tokenizer: Tokenizer
    prompt: Prompt
    tokenization: Tokenization

    def encode(self, text: str) -> Encoded:
        """Return the prompt of a text. Raises TooLong, and BadInput when the template refuses the conversation."""
        ids = self._ids(text)
        limit = self.tokenization.max_length
        if len(ids) <= limit:
            return Encoded(ids, text, truncated=False)
        if self.tokenization.overflow is Overflow.REJECT:
            raise TooLong(len(ids), limit)
        return self._truncated(text, ids)

    def completion(self, label: str) -> tuple[int, ...]:
        """Return the tokens of a label and of the end of the turn."""
        return (*self._tokenized(label, special=False), *self.end)

    @cached_property
    def end(self) -> tuple[int, ...]:
        """The tokens that end the assistant's turn. Raises BadInput when the base has none."""
        special = set(self.tokenizer.all_special_ids)
        tail = self._tokenized(self._after_label(), special=False) if self.tokenizer.chat_template else ()
        for position, token in enumerate(tail):
            if token in special:
                return tail[: position + 1]
        if self.tokenizer.eos_token_id is None:
            message = "the base's tokenizer has neither an end-of-turn nor an end-of-sequence token."
            raise BadInput(Problem.of("BaseUnusable", message, remedy="Use a base whose tokenizer has an eos_token."))
        return (self.tokenizer.eos_token_id,)

    @cached_property
    def frame(self) -> tuple[int, ...]:
        """The prompt of an empty text: what every prompt has."""
        return self._ids("")

    def render(self, text: str) -> str:
        """Return the whole prompt of a text as a string, the opening of the answer included."""
        conversation = messages(self.prompt, text)
        if self.tokenizer.chat_template:
            return self._through_template(conversation, add_generation_prompt=True)
        return "\n\n".join(turn["content"] for turn in conversation) + "\n"

    def _ids(self, text: str) -> tuple[int, ...]:
        # A chat template writes the special tokens itself; a plain text gets those that the tokenizer puts first.
        return self._tokenized(self.render(text), special=not self.tokenizer.chat_template)

    def _tokenized(self, text: str, *, special: bool) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=special)["input_ids"])

    def _truncated(self, text: str, ids: Sequence[int]) -> Encoded:
        """Cut the text at a token's end until the prompt fits.

        Tokens at the cut may split otherwise than before, so the result is counted, not computed.
        """
        limit = self.tokenization.max_length
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        keep = len(offsets) - (len(ids) - limit)
        while keep > 0:
            kept = text[: offsets[keep - 1][1]]
            shorter = self._ids(kept)
            if kept.strip() and len(shorter) <= limit:
                return Encoded(shorter, kept, truncated=True)
            keep -= max(1, len(shorter) - limit)
        raise TooLong(len(self._ids("")), limit)

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

    def completion(self, label: str) -> tuple[int, ...]:
        """Return nothing: the label is a number of the head, not a text."""
        del label
        return ()

    def render(self, text: str) -> str:
        """Return the template with the text in it."""
        return _filled(self.prompt, text)

    def _ids(self, text: str) -> tuple[int, ...]:
        return self._tokenized(self.render(text), special=True)


def encoder_for(family: Family, tokenizer: Tokenizer, prompt: Prompt, tokenization: Tokenization) -> Encoder:
    """Return what turns texts into tokens for a family of models."""
    kind = PlainEncoder if family is Family.ENCODER else Encoder
    return kind(tokenizer, prompt, tokenization)


def _filled(prompt: Prompt, text: str) -> str:
    return prompt.template.replace(PLACEHOLDER, text)


def messages(prompt: Prompt, text: str) -> list[dict[str, str]]:
    """Return the conversation for a text. Braces in the text are data; only the template's `{text}` is replaced."""
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, {"role": "user", "content": _filled(prompt, text)}]
