"""Tags of tokens, and what they say is in a row."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract import alignment
from stagecoach.contract.inputs import Family, Overflow, Prompt, Tokenization
from stagecoach.contract.prompts import Encoder, encoder_for
from stagecoach.contract.tagged import Marked, Span, Words, marked


class Tokenizer:
    """Pieces of up to three letters, with the space before them; a token before and after; `~` is passed over."""

    chat_template = None
    eos_token_id = None
    all_special_ids = (0, 1)

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        spans = [each.span() for each in re.finditer(r" ?[^\s~]{1,3}|\s", text)]
        ids = [2 + hash(text[start:end]) % 1000 for start, end in spans]
        if options["add_special_tokens"]:
            spans, ids = [(0, 0), *spans, (0, 0)], [0, *ids, 1]
        return {"input_ids": ids, "offset_mapping": spans}

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> str:
        raise NotImplementedError

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        raise NotImplementedError


def encoder(template: str = "{text}", length: int = 64) -> Encoder:
    rule = Tokenization(max_length=length, overflow=Overflow.TRUNCATE)
    return encoder_for(Family.ENCODER, Tokenizer(), Prompt(template=template), rule)  # type: ignore[arg-type]


def aligned(row: Words | Marked, template: str = "{text}", length: int = 64) -> tuple[list[str], list[str | None]]:
    """Return what of the row's text each token is, and its tag; without the tokenizer's own tokens."""
    tokens = encoder(template, length)
    encoded = tokens.of(row)
    where = alignment.places(tokens, encoded)
    tags = alignment.tags(row, where)
    assert len(encoded.ids) == len(where) == len(tags)
    assert (where[0], where[-1], tags[0], tags[-1]) == (None, None, None, None)
    return [row.text[place[0] : place[1]] if place else "" for place in where[1:-1]], list(tags[1:-1])


PEOPLE = Words(("Alice", "in", "Wonderland", "met", "Bo"), ("B-PER", "O", "B-LOC", "O", "B-PER"), 1)
PIECES = ["Ali", "ce", "in", "Won", "der", "lan", "d", "met", "Bo"]
TAGS = ["B-PER", None, "O", "B-LOC", None, None, None, "O", "B-PER"]


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [("{text}", 0, 0), ("Find: {text}", 2, 0), ("{text} ?", 0, 1), ("A\n\n{text}\nB", 3, 2)],
)
def test_the_first_token_of_a_word_has_its_tag(template: str, before: int, after: int) -> None:
    pieces, tags = aligned(PEOPLE, template)
    assert pieces == [*[""] * before, *PIECES, *[""] * after]
    assert tags == [*[None] * before, *TAGS, *[None] * after]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("a~b", "~~", "c"), ["1", None, None, "3"]),  # a word in two, and one of which nothing is left
        (("~a", "b"), ["1", "2"]),
        (("a b", "c"), ["1", None, "2"]),
        (("a b", "c", "d  e"), ["1", None, "2", "3", None, None]),
    ],
)
def test_words_that_a_tokenizer_takes_otherwise(words: tuple[str, ...], expected: list[str | None]) -> None:
    row = Words(words, tuple(str(number) for number in range(1, len(words) + 1)), 1)
    assert aligned(row)[1] == expected


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("Alice in Rome", [(0, 5, "p")], ["B-p", "I-p", "O", "O", "O"]),
        ("Alice in Rome", [], ["O"] * 5),
        ("Alice in Rome", [(0, 6, "p"), (9, 13, "l")], ["B-p", "I-p", "O", "B-l", "I-l"]),  # white space at its end
        ("Alice in Rome", [(0, 8, "x")], ["B-x", "I-x", "I-x", "O", "O"]),
        ("Alice in Rome", [(1, 2, "p")], ["B-p", "O", "O", "O", "O"]),  # a part of a token
        ("Alice in Rome", [(0, 1, "p"), (1, 5, "q")], ["B-p", "B-q", "O", "O", "O"]),  # a token with parts of two
        ("Alice in Rome", [(0, 1, "p"), (1, 2, "q")], ["B-p", "O", "O", "O", "O"]),
        ("Alice in Rome", [(0, 3, "p"), (3, 5, "p")], ["B-p", "B-p", "O", "O", "O"]),
        ("a~b c", [(0, 3, "p")], ["B-p", "I-p", "O"]),
        ("ab  c", [(0, 5, "p")], ["B-p", "I-p", "I-p"]),  # white space between two
        ("ab  c", [(3, 5, "p")], ["O", "O", "B-p"]),
    ],
)
def test_tokens_in_a_span(text: str, spans: list[tuple[int, int, str]], expected: list[str | None]) -> None:
    row = marked(text, [Span(*span)._asdict() for span in spans], 1)
    assert aligned(row, "Find: {text}")[1][2:] == expected


def test_what_is_cut_off_has_no_tags_and_is_not_found() -> None:
    pieces, tags = aligned(PEOPLE, length=8)
    assert (pieces, tags) == (PIECES[:6], TAGS[:6])
    assert found(PEOPLE, length=8) == {Span(0, 1, "PER"), Span(2, 3, "LOC")}
    assert alignment.given(PEOPLE) == {Span(0, 1, "PER"), Span(2, 3, "LOC"), Span(4, 5, "PER")}
    row = Marked("Alice in Wonderland", (Span(9, 19, "l"),), 1)
    assert aligned(row, length=8)[1] == ["O", "O", "O", "B-l", "I-l", "I-l"]
    assert found(row, length=8) == {Span(9, 18, "l")}


def found(row: Words | Marked, length: int = 64) -> set[Span]:
    """Return what is found by the tags that are right; on tokens that have none, something else is chosen."""
    tokens = encoder(length=length)
    where = alignment.places(tokens, tokens.of(row))
    return alignment.found(row, where, [tag or "B-NO" for tag in alignment.tags(row, where)])


def test_a_prompt_that_does_not_say_where_its_tokens_are_has_no_places() -> None:
    tokens = encoder()
    located = tokens.of(PEOPLE)
    assert tokens.encode(PEOPLE.text).offsets is None
    for other in (tokens.encode(PEOPLE.text), replace(located, offsets=None), replace(located, offsets=())):
        with pytest.raises(ValueError, match="where each of its tokens is"):
            alignment.places(tokens, other)


def test_white_space_at_the_ends_of_a_span_is_not_counted() -> None:
    spans = [{"start": 0, "end": 7, "label": "p"}, {"start": 9, "end": 14, "label": "l"}]
    row = marked(" Alice in Rome", spans, 1)
    assert alignment.given(row) == found(row) == {Span(1, 6, "p"), Span(10, 14, "l")}
    where = ((0, 1), (1, 6), (6, 7), (7, 9), (9, 10))
    chosen = ["B-p", "I-p", "I-p", "O", "B-l"]
    assert alignment.found(row, where, chosen) == {Span(1, 6, "p")}, "nor what is said of it"


words = st.text("ab ~é👋", min_size=1, max_size=9).filter(lambda text: text.strip(" ~"))
labels = st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y", "NOUN"])


@given(st.lists(st.tuples(words, labels), min_size=1, max_size=8))
def test_what_is_learned_of_words_is_what_is_found(pairs: list[tuple[str, str]]) -> None:
    row = Words(tuple(word for word, _ in pairs), tuple(tag for _, tag in pairs), 1)
    assert found(row, 1000) == alignment.given(row)


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=7), st.sampled_from(["", "x", "y"])), min_size=1))
def test_what_is_learned_of_spans_is_what_is_found(pairs: list[tuple[str, str]]) -> None:
    row = Words(tuple(word for word, _ in pairs), ("O",) * len(pairs), 1)
    spans = [Span(*place, label) for place, (_, label) in zip(row.places, pairs, strict=True) if label]
    text = Marked(row.text, tuple(spans), 1)
    assert found(text, 1000) == alignment.given(text) == set(spans)
