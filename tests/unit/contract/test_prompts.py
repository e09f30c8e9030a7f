import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.inputs import Overflow, Prompt, Tokenization
from stagecoach.contract.prompts import TEMPLATE_ARGUMENTS, Encoder, TooLong, messages
from stagecoach.contract.reports import BadInput
from stagecoach.contract.turns import Turn

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

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        return self.text(tuple(token for token in token_ids if not (skip_special_tokens and token < len(SPECIAL))))

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


def talking(
    length: int = 64, overflow: Overflow = Overflow.TRUNCATE, system: str | None = "Route.", template: str = "{text}"
) -> tuple[FakeTokenizer, Encoder]:
    tokenizer = FakeTokenizer()
    return tokenizer, encoder(tokenizer, length, overflow, Prompt(system=system, template=template))


OWN = [Turn("system", "Own.")]
TALK = [Turn("user", "one"), Turn("assistant", "two"), Turn("user", "thr")]


@pytest.mark.parametrize(
    ("turns", "system", "expected"),
    [
        (TALK[:1], None, "<s><turn>user\none<end>\n"),
        (TALK[:1], "Route.", "<s><turn>system\nRoute.<end>\n<turn>user\none<end>\n"),
        ([*OWN, *TALK[:1]], "Route.", "<s><turn>system\nOwn.<end>\n<turn>user\none<end>\n"),
        (TALK, None, "<s><turn>user\none<end>\n<turn>assistant\ntwo<end>\n<turn>user\nthr<end>\n"),
    ],
)
def test_a_conversation_brings_its_own_turns(turns: list[Turn], system: str | None, expected: str) -> None:
    tokenizer, talks = talking(system=system)
    encoded = talks.converse(turns)
    assert tokenizer.text(encoded.ids) == f"{expected}<turn>assistant\n"
    assert (encoded.kept, encoded.truncated) == (turns[-1].content, False)


def test_a_conversation_of_one_turn_is_the_same_tokens_as_its_text() -> None:
    _, talks = talking()
    assert talks.converse(TALK[:1]) == talks.encode("one")


def test_the_oldest_turns_are_left_out_first_and_then_the_end_of_the_last() -> None:
    tokenizer, talks = talking()
    whole, short = len(talks.converse([*OWN, *TALK]).ids), len(talks.converse([*OWN, TALK[2]]).ids)
    for length in (whole - 1, short):
        tokenizer, talks = talking(length)
        cut = talks.converse([*OWN, *TALK])
        assert tokenizer.text(cut.ids) == "<s><turn>system\nOwn.<end>\n<turn>user\nthr<end>\n<turn>assistant\n"
        assert (cut.kept, cut.truncated) == ("thr", True)
    tokenizer, talks = talking(short)
    cut = talks.converse([*OWN, *TALK[:2], Turn("user", "abcdef")])
    assert (cut.kept, cut.truncated, len(cut.ids)) == ("abc", True, short)
    with pytest.raises(TooLong):
        talking(short - 2)[1].converse([*OWN, *TALK])


def test_a_conversation_that_may_not_be_cut_is_refused() -> None:
    with pytest.raises(TooLong) as caught:
        talking(20, Overflow.REJECT)[1].converse(TALK)
    assert caught.value.tokens > 20


def test_a_conversation_needs_a_chat_template_and_a_bare_prompt() -> None:
    with pytest.raises(BadInput, match="no chat template") as caught:
        encoder(FakeTokenizer(chat=False), prompt=Prompt(template="{text}")).converse(TALK)
    assert caught.value.problem.reason == "BaseUnusable"
    with pytest.raises(BadInput, match="would be passed over") as caught:
        talking(template="Say: {text}")[1].converse(TALK)
    assert (caught.value.problem.reason, caught.value.problem.field) == ("TemplateUnused", "prompts")
