import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.inputs import Overflow, Prompt, Tokenization
from stagecoach.contract.prompts import TEMPLATE_ARGUMENTS, Encoder, TooLong, messages
from stagecoach.contract.reports import BadInput

SPECIAL = ("<s>", "<turn>", "<end>")


class FakeTokenizer:
    """Pieces of up to three characters, and special tokens; a chat template that is a Python function."""

    def __init__(self, *, chat: bool = True, eos: int | None = 0, end: str = "<end>\n", refuses: str = "") -> None:
        self.chat_template = "a template" if chat else None
        self.eos_token_id = eos
        self.all_special_ids = list(range(len(SPECIAL)))
        self.vocabulary = {token: index for index, token in enumerate(SPECIAL)}
        self.end = end
        self.refuses = refuses

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        found = list(re.finditer(r"<s>|<turn>|<end>|\n|(?s:.){1,3}?(?=\n|<|$)|(?s:.){1,3}", text))
        ids = [self.vocabulary.setdefault(piece.group(), len(self.vocabulary)) for piece in found]
        if options.get("add_special_tokens", True):
            ids = [self.vocabulary["<s>"], *ids]
        return {"input_ids": ids, "offset_mapping": [piece.span() for piece in found]}

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> str:
        if self.refuses:
            raise ValueError(self.refuses)
        assert options["date_string"] == TEMPLATE_ARGUMENTS["date_string"]
        text = "<s>" + "".join(f"<turn>{turn['role']}\n{turn['content'].strip()}{self.end}" for turn in conversation)
        return text + ("<turn>assistant\n" if options["add_generation_prompt"] else "")

    def text(self, ids: tuple[int, ...]) -> str:
        names = {index: piece for piece, index in self.vocabulary.items()}
        return "".join(names[index] for index in ids)


def encoder(
    tokenizer: FakeTokenizer | None = None,
    length: int = 64,
    overflow: Overflow = Overflow.TRUNCATE,
    prompt: Prompt | None = None,
) -> Encoder:
    rule = Tokenization(max_length=length, overflow=overflow)
    return Encoder(tokenizer or FakeTokenizer(), prompt or Prompt(system="Route.", template="Message: {text}"), rule)


@pytest.mark.parametrize("text", ["{text}", "{0} {text!r} {", "a\nb", "$(x)", "{{text}}"])
def test_a_text_is_data(text: str) -> None:
    found = messages(Prompt(template="<{text}>"), text)
    assert found == [{"role": "user", "content": f"<{text}>"}]


def test_a_prompt_goes_through_the_chat_template() -> None:
    tokenizer = FakeTokenizer()
    encoded = encoder(tokenizer).encode("hi")
    assert tokenizer.text(encoded.ids) == (
        "<s><turn>system\nRoute.<end>\n<turn>user\nMessage: hi<end>\n<turn>assistant\n"
    )
    assert not encoded.truncated


def test_without_a_chat_template_it_is_plain_text_with_what_the_tokenizer_puts_first() -> None:
    tokenizer = FakeTokenizer(chat=False)
    assert tokenizer.text(encoder(tokenizer).encode("hi").ids) == "<s>Route.\n\nMessage: hi\n"


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (FakeTokenizer(), "card_lost<end>"),
        (FakeTokenizer(end="\n"), "card_lost<s>"),
        (FakeTokenizer(chat=False), "card_lost<s>"),
        (FakeTokenizer(end=".<end>x"), "card_lost.<end>"),
    ],
)
def test_a_completion_is_the_raw_label_and_the_end_of_the_turn(tokenizer: FakeTokenizer, expected: str) -> None:
    assert tokenizer.text(encoder(tokenizer).completion("card_lost")) == expected


def test_a_base_that_cannot_end_a_turn_is_refused() -> None:
    with pytest.raises(BadInput, match="end-of-turn"):
        encoder(FakeTokenizer(chat=False, eos=None)).completion("a")


def test_a_template_that_refuses_the_conversation_is_told() -> None:
    with pytest.raises(BadInput, match="System role not supported") as caught:
        encoder(FakeTokenizer(refuses="System role not supported")).encode("hi")
    assert caught.value.problem.field == "prompts"


def test_reject_counts_the_whole_prompt() -> None:
    tokens = len(encoder().encode("hi").ids)
    assert encoder(length=tokens, overflow=Overflow.REJECT).encode("hi").ids == encoder().encode("hi").ids
    with pytest.raises(TooLong) as caught:
        encoder(length=tokens - 1, overflow=Overflow.REJECT).encode("hi")
    assert (caught.value.tokens, caught.value.limit) == (tokens, tokens - 1)


def test_a_template_that_is_too_long_by_itself_cannot_be_cut() -> None:
    with pytest.raises(TooLong):
        encoder(length=8).encode("some text")


@given(text=st.text(min_size=1, max_size=400).filter(str.strip), length=st.integers(40, 80), chat=st.booleans())
def test_truncation_cuts_the_text_and_nothing_else(text: str, length: int, chat: bool) -> None:
    tokenizer = FakeTokenizer(chat=chat)
    cutting = encoder(tokenizer, length)
    encoded = cutting.encode(text)
    assert len(encoded.ids) <= length
    assert text.startswith(encoded.kept)
    assert encoded.kept.strip()
    assert encoded.truncated == (encoded.kept != text)
    # The prompt is that of the shorter text: the template, before and after it, is whole, and so is the label.
    assert encoded == encoder(tokenizer, length, Overflow.REJECT).encode(encoded.kept).__class__(
        encoder(tokenizer, length, Overflow.REJECT).encode(encoded.kept).ids, encoded.kept, encoded.truncated
    )
    assert tokenizer.text(cutting.completion("card_lost")).startswith("card_lost")


def test_truncation_keeps_as_much_as_fits() -> None:
    cutting = encoder(length=40)
    encoded = cutting.encode("abc" * 200)
    assert 38 <= len(encoded.ids) <= 40
