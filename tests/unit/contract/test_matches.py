"""Rows of queries and passages, and how both become tokens."""

from collections.abc import Mapping
from typing import Any

import pytest

from stagecoach.contract.inputs import DataInput, Family, MatchColumns, Overflow, Prompt, RunInputs, Tokenization
from stagecoach.contract.prompts import encoder_for, for_passages
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import File, Match
from stagecoach.contract.tables import read_rows
from tests.unit.contract.documents import DIGEST, run_inputs

PLAIN = MatchColumns(query="query", positive="positive")
HARD = MatchColumns(query="q", positive="p", negative="n")


def rows(content: bytes, name: str, columns: MatchColumns) -> list[Any]:
    return list(read_rows(content.splitlines(keepends=True), File(name, columns, "data.sets[d]")))


@pytest.mark.parametrize(
    ("name", "columns", "content", "expected"),
    [
        ("d.csv", PLAIN, b"positive,more,query\nblue,x,which colour?\n", [Match("which colour?", "blue", 2)]),
        ("d.csv", PLAIN, b"query,positive,negative\na,b,c\n", [Match("a", "b", 2)]),
        ("d.csv", HARD, b"q,p,n\na,b,c\n", [Match("a", "b", 2, "c")]),
        ("d.jsonl", PLAIN, b'{"query": "a", "positive": "b", "id": 7}\n', [Match("a", "b", 1)]),
        ("d.jsonl", HARD, b'\n{"q": "a", "p": "b", "n": "c"}\n', [Match("a", "b", 2, "c")]),
    ],
)
def test_rows(name: str, columns: MatchColumns, content: bytes, expected: list[Match]) -> None:
    assert rows(content, name, columns) == expected


@pytest.mark.parametrize(
    ("columns", "content", "reason", "field"),
    [
        (PLAIN, b"query,text\na,b\n", "UnknownColumn", "data.sets[d].columns.positive"),
        (HARD, b"q,p\na,b\n", "UnknownColumn", "data.sets[d].columns.negative"),
        (PLAIN, b"query,positive\n ,b\n", "EmptyText", "data.sets[d]"),
        (PLAIN, b"query,positive\na,\n", "EmptyText", "data.sets[d]"),
        (HARD, b"q,p,n\na,b,\n", "EmptyText", "data.sets[d]"),
        (HARD, b"q,p,n\na,b,b\n", "NegativeIsPositive", "data.sets[d]"),
    ],
)
def test_what_is_not_right(columns: MatchColumns, content: bytes, reason: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        rows(content, "d.csv", columns)
    assert (caught.value.problem.reason, caught.value.problem.field) == (reason, field)


def test_two_rows_are_the_same_when_query_and_positive_are() -> None:
    assert Match("a", "b", 1).text == Match("a", "b", 2, "c").text
    assert Match("a", "b", 1).text != Match("a", "c", 1).text


@pytest.mark.parametrize("columns", [PLAIN, HARD])
def test_inputs_are_read_as_they_were_written(columns: MatchColumns) -> None:
    inputs = run_inputs(task="Embedding", labels=None, train=(DataInput(digest=DIGEST, columns=columns),))
    assert inputs.embeds
    assert RunInputs.model_validate(inputs.document()) == inputs


class Words:
    """A tokenizer: a token for each character, and one before and behind all."""

    chat_template = None
    eos_token_id = None
    all_special_ids: list[int] = []  # noqa: RUF012 - as the protocol has it

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        ids = [ord(letter) for letter in text]
        if options.get("return_offsets_mapping"):
            return {"input_ids": ids, "offset_mapping": [(at, at + 1) for at in range(len(text))]}
        return {"input_ids": [1, *ids, 2] if options["add_special_tokens"] else ids}


@pytest.mark.parametrize(
    ("template", "query", "passage"), [(None, "query: ab", "ab"), ("passage: {text}", "query: ab", "passage: ab")]
)
def test_queries_and_passages_have_templates_of_their_own(template: str | None, query: str, passage: str) -> None:
    rule = Tokenization(max_length=16, overflow=Overflow.TRUNCATE)
    prompt = Prompt(template="query: {text}", passage_template=template)
    tokenizer: Any = Words()
    queries = encoder_for(Family.ENCODER, tokenizer, prompt, rule)
    passages = for_passages(queries)
    assert [queries.encode("ab").ids, passages.encode("ab").ids] == [
        (1, *map(ord, text), 2) for text in (query, passage)
    ]
    assert queries.of(Match("ab", "c", 1)) == queries.encode("ab")
    cut = passages.encode("abcdefghijklmnop")
    assert (len(cut.ids), cut.truncated) == (16, True)
