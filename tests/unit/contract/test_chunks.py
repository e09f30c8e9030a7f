"""Texts that are read in chunks: how they are cut, and how what is said of chunks becomes what is said of the text."""

import re
from collections.abc import Mapping
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stagecoach.contract import alignment
from stagecoach.contract.combining import combined
from stagecoach.contract.inputs import Chunk, Combine, Family, Overflow, Prompt, Tokenization
from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoded, Encoder, TooLong, encoder_for
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import Match, Pair, Row
from stagecoach.contract.tagged import Marked, Span, Words
from tests.unit.contract import test_alignment, test_prompts


class Letters:
    """A token for each character, and one before and behind all. A character above U+FFFF is of four tokens."""

    chat_template = None
    eos_token_id = None
    all_special_ids = (1, 2)

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        spans = [(at, at + 1) for at, letter in enumerate(text) for _ in range(4 if letter > "\uffff" else 1)]
        ids = [ord(text[start]) for start, _ in spans]
        if options["add_special_tokens"]:
            spans, ids = [(0, 0), *spans, (0, 0)], [1, *ids, 2]
        return {"input_ids": ids, "offset_mapping": spans}


def rule(length: int, stride: int = 0, combine: Combine | None = None) -> Tokenization:
    return Tokenization(max_length=length, overflow=Overflow.CHUNK, chunk=Chunk(stride=stride, combine=combine))


def truncating(length: int) -> Tokenization:
    return Tokenization(max_length=length, overflow=Overflow.TRUNCATE)


def reader(tokenization: Tokenization, tokenizer: Any = None, template: str = "{text}") -> Encoder:
    letters: Any = Letters()
    return encoder_for(Family.ENCODER, tokenizer or letters, Prompt(template=template), tokenization)


def kept(chunks: tuple[Encoded, ...]) -> list[str]:
    return [chunk.kept for chunk in chunks]


@pytest.mark.parametrize(
    ("text", "stride", "expected"),
    [
        ("abcdef", 0, ["abcdef"]),
        ("abcdefg", 0, ["abcdef", "g"]),
        ("abcdefg", 1, ["abcdef", "fg"]),
        ("abcdefg", 3, ["abcdef", "defg"]),
        ("abcdefghi", 3, ["abcdef", "defghi"]),
        ("abcdefghij", 3, ["abcdef", "defghi", "ghij"]),
        ("abcdefghijklm", 2, ["abcdef", "efghij", "ijklm"]),
        ("abcdef      ghi", 0, ["abcdef", "ghi"]),  # white space alone is no chunk
        ("      abc", 0, ["abc"]),
        ("abcd\U0001f44bef", 0, ["abcd", "\U0001f44bef"]),  # four tokens that are not cut in two
        ("\U0001f44b\U0001f44b\U0001f44b", 0, ["\U0001f44b"] * 3),
        ("\U0001f44b\U0001f44b\U0001f44b", 3, ["\U0001f44b"] * 3),  # with it in common there would be no end
        ("ab\U0001f44bcd\U0001f44bef", 3, ["ab\U0001f44b", "cd\U0001f44b", "ef"]),
        ("ab\U0001f44bcd\U0001f44bef", 2, ["ab\U0001f44b", "cd\U0001f44b", "ef"]),
    ],
)
def test_a_text_is_cut_into_chunks(text: str, stride: int, expected: list[str]) -> None:
    chunks = reader(rule(8, stride)).chunks(text)
    assert kept(chunks) == expected
    assert [text[chunk.start : chunk.start + len(chunk.kept)] for chunk in chunks] == expected
    assert not any(chunk.truncated for chunk in chunks)


def test_every_chunk_has_the_whole_prompt() -> None:
    chunks = reader(rule(13, 2), template="Read: {text}.").chunks("abcdefghi")
    parts = ["abcd", "cdef", "efgh", "ghi"]
    assert ["".join(map(chr, chunk.ids[1:-1])) for chunk in chunks] == [f"Read: {part}." for part in parts]


@given(text=st.text("abc d", max_size=120), length=st.integers(8, 40), data=st.data())
def test_chunks_cover_the_text_and_have_the_stride_in_common(text: str, length: int, data: Any) -> None:
    room = length - 2
    stride = data.draw(st.integers(0, room // 2))
    if not text.strip():
        return
    chunks = reader(rule(length, stride)).chunks(text)
    assert all(len(chunk.ids) <= length and chunk.kept.strip() for chunk in chunks)
    assert all(text[chunk.start :].startswith(chunk.kept) for chunk in chunks)
    covered = {at for chunk in chunks for at in range(chunk.start, chunk.start + len(chunk.kept))}
    assert {at for at, letter in enumerate(text) if letter != " "} <= covered
    if len(covered) == len(text):  # between two, a chunk of white space may be missing all the same
        ends = [chunk.start + len(chunk.kept) for chunk in chunks]
        assert all(end - later.start in (stride, 0) for end, later in zip(ends, chunks[1:], strict=False))
        assert all(len(chunk.ids) == length for chunk in chunks[:-1]), "as long as fits"


@given(text=st.text(max_size=300).filter(str.strip), length=st.integers(40, 80), chat=st.booleans(), data=st.data())
def test_tokens_that_split_otherwise_at_a_cut(text: str, length: int, chat: bool, data: Any) -> None:
    """Whatever a tokenizer and a template make of it, chunks come to an end, fit, and leave out white space alone."""
    tokenizer = test_prompts.FakeTokenizer(chat=chat)
    prompt = Prompt(template="Message: {text}")
    frame = Encoder(tokenizer, prompt, truncating(length)).frame
    stride = data.draw(st.integers(0, (length - len(frame)) // 2))
    chunks = Encoder(tokenizer, prompt, rule(length, stride)).chunks(text)
    assert all(len(chunk.ids) <= length for chunk in chunks)
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
    covered = {at for chunk in chunks for at in range(chunk.start, chunk.start + len(chunk.kept))}
    assert not "".join(letter for at, letter in enumerate(text) if at not in covered).strip()
    if not chunks[0].start:  # it does not begin with a chunk of white space
        cut = Encoder(tokenizer, prompt, truncating(length)).encode(text)
        assert (cut.ids, cut.kept) == (chunks[0].ids, chunks[0].kept)
    ends = [chunk.start + len(chunk.kept) for chunk in chunks]
    assert all(one < other for one, other in pairwise(ends))


@given(text=st.text("ab \U0001f44b", max_size=60).filter(str.strip), length=st.integers(16, 80))
def test_a_text_that_fits_is_what_truncation_makes_of_it(text: str, length: int) -> None:
    chunks = reader(rule(length, 4)).chunks(text)
    cut = reader(truncating(length)).chunks(text)
    assert len(cut) == 1
    assert (chunks == cut) is not cut[0].truncated
    if not chunks[0].start:
        assert (chunks[0].ids, chunks[0].kept) == (cut[0].ids, cut[0].kept)


@pytest.mark.parametrize(
    ("length", "stride", "most"),
    [(16, 5, 4), (16, 8, 4), (9, 1, 0), (8, 4, 0), (40, 17, 16)],
)
def test_chunks_that_would_hardly_go_on_are_refused(length: int, stride: int, most: int) -> None:
    with pytest.raises(BadInput, match=f"Set at most {most}, raise tokenization.maxLength") as caught:
        reader(rule(length, stride), template="Read: {text}").chunks("short")
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == (
        "StrideTooLarge",
        "tokenization.chunk.stride",
        str(stride),
    )
    assert reader(rule(length + 2 * (stride - most), stride), template="Read: {text}").chunks("short")


def test_a_template_that_is_too_long_by_itself() -> None:
    with pytest.raises(TooLong):
        reader(rule(8), template="Read this: {text}").chunks("some text")
    with pytest.raises(TooLong):
        reader(rule(8)).chunks(" " * 100)


def test_what_is_no_text_is_not_read_in_chunks() -> None:
    cutting = reader(rule(8, 2))
    assert [len(cutting.all_of(row)) for row in (Row("abcdefgh", "x", 1), Words(("abcd", "efg"), ("O", "O"), 1))] == [
        2,
        2,
    ]
    for row in (Pair("abcdefgh", "x", 1), Match("abcdefgh", "x", 1)):
        with pytest.raises(TooLong):
            cutting.all_of(row)
    with pytest.raises(TooLong):
        cutting.encode("abcdefgh")


@pytest.mark.parametrize("overflow", list(Overflow))
@pytest.mark.parametrize("given_one", [True, False])
def test_chunk_goes_with_its_overflow(overflow: Overflow, given_one: bool) -> None:
    chunk = Chunk(stride=2) if given_one else None
    if given_one == (overflow is Overflow.CHUNK):
        assert Tokenization(max_length=8, overflow=overflow, chunk=chunk).chunk == chunk
        return
    with pytest.raises(ValidationError, match="chunk goes with the overflow Chunk"):
        Tokenization(max_length=8, overflow=overflow, chunk=chunk)


@pytest.mark.parametrize(
    ("chunks", "mean", "most"),
    [
        ([[0.2, 0.8]], [0.2, 0.8], [0.2, 0.8]),
        ([[0.5, 0.5], [0.1, 0.9]], [0.3, 0.7], [0.5, 0.9]),
        # One chunk is sure of the second label, two lean to the first.
        ([[0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], [0.5, 0.5], [0.7, 0.8]),
        ([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9]], [0.4, 0.3, 0.3], [0.6, 0.4, 0.9]),
    ],
)
def test_what_chunks_say_is_combined(chunks: list[list[float]], mean: list[float], most: list[float]) -> None:
    assert combined(chunks, Combine.MEAN) == pytest.approx(mean)
    assert combined(chunks, Combine.MAX) == most


def test_all_chunks_of_a_text_are_one_in_the_profile() -> None:
    cutting = reader(rule(8, 2))
    profiler = Profiler.of(cutting)
    profiler.add(*cutting.chunks("abcdef"))
    profiler.add(*cutting.chunks("abcdefghij"))
    profile = profiler.profile()
    assert profile.prompts == sum(profile.lengths) == 2
    assert profile.lengths[-1] == 1
    assert sum(profile.vocabulary) == 6 + 12, "the two that are in both chunks are read twice"


# Tags


def tokens_of(row: Words | Marked, length: int, stride: int, tokenizer: Any = None) -> list[list[str | None]]:
    """Return what of the row's text each token of each chunk is that has a place there."""
    cutting = reader(rule(length, stride), tokenizer)
    return [
        [row.text[slice(*place)] if place else None for place in where[1:-1]]
        for where in alignment.places_of_all(cutting, cutting.all_of(row))
    ]


@pytest.mark.parametrize(
    ("text", "stride", "expected"),
    [
        ("abcdef", 2, ["abcdef"]),
        ("abcdefghij", 0, ["abcdef", "ghij"]),
        ("abcdefghij", 1, ["abcde-", "fghij"]),
        ("abcdefghij", 2, ["abcde-", "-fghij"]),
        ("abcdefghij", 3, ["abcd--", "-efg--", "-hij"]),
        ("abcdefghijklmnop", 3, ["abcd--", "-efg--", "-hij--", "-klm--", "-nop"]),
    ],
)
def test_a_token_in_two_chunks_has_a_place_in_one(text: str, stride: int, expected: list[str]) -> None:
    """In that in which it is further from an end; in the later one if it is as far."""
    found = tokens_of(Marked(text, (), 1), 8, stride)
    assert ["".join(letter or "-" for letter in chunk) for chunk in found] == expected


words = st.lists(st.text("abcé", min_size=1, max_size=12), min_size=1, max_size=40)


@given(words, st.integers(8, 24), st.data())
def test_every_token_has_a_place_once_and_in_order(tokens: list[str], length: int, data: Any) -> None:
    row = Words(tuple(tokens), ("O",) * len(tokens), 1)
    stride = data.draw(st.integers(0, (length - 2) // 2))
    found = [letter for chunk in tokens_of(row, length, stride) for letter in chunk if letter]
    assert "".join(found).replace(" ", "") == "".join(tokens)


labels = st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y", "NOUN"])


@given(st.lists(st.tuples(st.text("ab~", min_size=1, max_size=9), labels), min_size=1, max_size=40), st.data())
def test_what_is_learned_of_words_in_chunks_is_what_is_found(pairs: list[tuple[str, str]], data: Any) -> None:
    """Also where words are of several tokens, and begin in one chunk and end in the next."""
    row = Words(tuple(f"{word}c" for word, _ in pairs), tuple(tag for _, tag in pairs), 1)
    length = data.draw(st.integers(8, 24))
    stride = data.draw(st.integers(0, (length - 2) // 2))
    cutting = reader(rule(length, stride), test_alignment.Tokenizer())
    where = list(chain(*alignment.places_of_all(cutting, cutting.all_of(row))))
    tags = alignment.tags(row, where)
    assert [tag for tag in tags if tag] == list(row.tags), "each word's tag once, in order"
    assert alignment.found(row, where, [tag or "B-no" for tag in tags]) == alignment.given(row)


@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=9), st.sampled_from(["", "x", "y"])), min_size=1), st.data()
)
def test_what_is_learned_of_spans_in_chunks_is_what_is_found(pairs: list[tuple[str, str]], data: Any) -> None:
    row = Words(tuple(word for word, _ in pairs), ("O",) * len(pairs), 1)
    spans = [Span(*place, label) for place, (_, label) in zip(row.places, pairs, strict=True) if label]
    text = Marked(row.text, tuple(spans), 1)
    length = data.draw(st.integers(8, 24))
    stride = data.draw(st.integers(0, (length - 2) // 2))
    cutting = reader(rule(length, stride))
    where = list(chain(*alignment.places_of_all(cutting, cutting.all_of(text))))
    tags = alignment.tags(text, where)
    assert alignment.found(text, where, [tag or "B-no" for tag in tags]) == set(spans)


def test_one_chunk_has_the_places_of_a_prompt() -> None:
    row = test_alignment.PEOPLE
    cutting = reader(rule(64, 8), test_alignment.Tokenizer(), "Find: {text} ?")
    (where,) = alignment.places_of_all(cutting, cutting.all_of(row))
    assert tuple(where) == alignment.places(cutting, cutting.all_of(row)[0])
    assert re.sub(r"\W", "", "".join(row.text[slice(*place)] for place in where if place)) == "".join(row.tokens)
