"""Rows of words and tags, and of texts and spans."""

import json
from typing import Any

import pytest

from stagecoach.contract.inputs import AnyColumns, DataInput, SpanColumns, WordColumns
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import AnyRow, File, labels_in
from stagecoach.contract.tables import read_rows
from stagecoach.contract.tagged import Marked, Span, Words, bio

from .documents import DIGEST

WORDS = WordColumns(tokens="tokens", tags="tags")
SPANS = SpanColumns(text="text", spans="spans")
ADA = {"start": 0, "end": 3, "label": "person"}
ROME = {"start": 7, "end": 11, "label": "place"}


def rows(record: Any, columns: AnyColumns, name: str = "d.jsonl") -> list[AnyRow]:
    return list(read_rows([json.dumps(record).encode() + b"\n"], File(name, columns, "data.sets[d]")))


def test_words_and_tags_are_taken_as_they_are() -> None:
    record = {"tokens": ["Ada", "in", "N. Y.", "👋🏽"], "tags": ["B-PER", "O", "place", "O"], "id": 7}
    (row,) = rows(record, WORDS)
    assert row == Words(("Ada", "in", "N. Y.", "👋🏽"), ("B-PER", "O", "place", "O"), 1)
    assert row.text == "Ada in N. Y. 👋🏽"
    assert [row.text[start:end] for start, end in row.places] == list(row.tokens)
    assert labels_in(row) == ("B-PER", "O", "place", "O")


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], ()),
        ([ADA], (Span(0, 3, "person"),)),
        ([ROME, ADA], (Span(0, 3, "person"), Span(7, 11, "place"))),
        ([ADA | {"score": None}], (Span(0, 3, "person"),)),
        ([ADA, {"start": 3, "end": 7, "label": "x"}], (Span(0, 3, "person"), Span(4, 6, "x"))),
    ],
)
def test_spans_are_taken_in_the_order_of_the_text(spans: list[Any], expected: tuple[Span, ...]) -> None:
    (row,) = rows({"text": "Ada in Rome", "spans": spans}, SPANS)
    assert row == Marked("Ada in Rome", expected, 1)


def test_offsets_are_in_unicode_characters() -> None:
    (row,) = rows({"text": "👋🏽 Ада", "spans": [{"start": 3, "end": 6, "label": "имя"}]}, SPANS)
    assert isinstance(row, Marked)
    assert row.text[row.spans[0].start : row.spans[0].end] == "Ада"
    assert labels_in(row) == ("O", "B-имя", "I-имя")


def test_tags_for_spans() -> None:
    assert bio([]) == ("O",)
    assert bio(["place", "ß", "Place", "place"]) == ("O", "B-Place", "I-Place", "B-place", "I-place", "B-ß", "I-ß")


@pytest.mark.parametrize(
    ("tokens", "tags", "words"),
    [
        ([], [], "the words are [], which is not a list with something in it"),
        (["a"], [], "the tags are [], which is not"),
        ("a b", ["O", "O"], "the words are 'a b', which is not a list"),
        (None, ["O"], "the words are None"),
        (["a"], {"a": "O"}, "the tags are {'a': 'O'}"),
        (["a", "b"], ["O"], "there are 2 words and 1 tags."),
        (["a"], ["O", "O"], "there are 1 words and 2 tags. Give every word one tag."),
        (
            ["a"],
            [3],
            "tag 1 is 3, which is not a string of Unicode characters. Write it as a string in quotes; a number",
        ),
        (["a", None], ["O", "O"], "word 2 is None"),
        (["a", "\ud800"], ["O", "O"], "word 2 is '\\ud800', which is not a string of Unicode"),
        (["a", " "], ["O", "O"], "word 2 is empty."),
        (["a"], [""], "tag 1 is empty."),
    ],
)
def test_wrong_words_and_tags_are_told(tokens: Any, tags: Any, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        rows({"tokens": tokens, "tags": tags}, WORDS)
    problem = caught.value.problem
    assert (problem.reason, problem.value, problem.field) == ("BrokenTags", "d.jsonl:1", "data.sets[d]")
    assert words in problem.sentence
    assert "row 1: column 'tags': " in problem.message


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        (None, "it holds None, which is not a list of spans"),
        ({}, "it holds {}"),
        (["Ada"], "span 1 is 'Ada', not an object"),
        ([ADA, ADA | {"id": 1}], "span 2 has the keys 'id'"),
        ([{"start": 0, "end": 3}], "span 1 has the label None"),
        ([ADA | {"label": " "}], "span 1 has the label ' '"),
        ([ADA | {"start": "0"}], "span 1 has the start '0', which is not a whole number"),
        ([ADA | {"end": 3.0}], "span 1 has the end 3.0"),
        ([ADA | {"start": False}], "span 1 has the start False"),
        ([ADA | {"end": 12}], "span 1 is from 0 to 12, and the text has 11 characters. Count in Unicode characters"),
        ([ADA | {"start": -1}], "span 1 is from -1 to 3"),
        ([ADA | {"start": 5, "end": 4}], "span 1 is from 5 to 4"),
        ([ADA | {"start": 2, "end": 2}], "span 1 is from 2 to 2, where there is nothing or white space only"),
        ([ADA | {"start": 3, "end": 4}], "span 1 is from 3 to 4, where there is nothing or white space"),
        ([ROME, ADA | {"end": 8}], "the spans from 0 to 8 and from 7 to 11 overlap. Keep one of them"),
        ([ADA, ADA], "the spans from 0 to 3 and from 0 to 3 overlap"),
    ],
)
def test_wrong_spans_are_told(spans: Any, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        rows({"text": "Ada in Rome", "spans": spans}, SPANS)
    problem = caught.value.problem
    assert (problem.reason, problem.value, problem.field) == ("BrokenSpans", "d.jsonl:1", "data.sets[d]")
    assert words in problem.sentence
    assert problem.remedy


@pytest.mark.parametrize(
    ("columns", "record", "name", "reason", "field"),
    [
        (WORDS, {"tokens": ["a"]}, "d.jsonl", "UnknownColumn", ".columns.tags"),
        (SPANS, {"spans": []}, "d.jsonl", "UnknownColumn", ".columns.text"),
        (SPANS, {"text": " ", "spans": []}, "d.jsonl", "EmptyText", ""),
        (WORDS, {}, "d.csv", "UnknownFormat", ".columns.tokens"),
        (SPANS, {}, "d.csv", "UnknownFormat", ".columns.spans"),
    ],
)
def test_what_else_is_not_right(columns: AnyColumns, record: Any, name: str, reason: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        rows(record, columns, name)
    assert (caught.value.problem.reason, caught.value.problem.field) == (reason, f"data.sets[d]{field}")


@pytest.mark.parametrize("columns", [WORDS, SPANS])
def test_a_document_tells_which_columns_these_are(columns: AnyColumns) -> None:
    given = DataInput(digest=DIGEST, columns=columns)
    assert DataInput.model_validate(given.document()).columns == columns
