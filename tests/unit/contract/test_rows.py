import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.benchmarks import Document
from stagecoach.contract.inputs import (
    AnyColumns,
    Columns,
    CompletionColumns,
    DataInput,
    MessagesColumns,
    PairColumns,
    TaskDocuments,
)
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import AnyRow, Conversation, File, Pair, Row, suffix_of
from stagecoach.contract.tables import read_rows
from stagecoach.contract.turns import Turn


def rows(content: bytes, name: str = "d.csv", columns: AnyColumns | None = None) -> list[AnyRow]:
    return list(read_rows(content.splitlines(keepends=True), File(name, columns or Columns(), "data.sets[d]")))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"text,label\nhi,a\n", [("hi", "a", 2)]),
        (b"\xef\xbb\xbftext,label\r\nhi,a\r\n", [("hi", "a", 2)]),
        (b"label,id,text\na,7,hi", [("hi", "a", 2)]),
        (b'text,label\n"one, two\nthree ""four""",a\nhi,b\n', [('one, two\nthree "four"', "a", 2), ("hi", "b", 3)]),
        (b"text,label\n\nhi,a\n\n", [("hi", "a", 3)]),
        ("text,label\nдобрый день 👋🏽,größe\n".encode(), [("добрый день 👋🏽", "größe", 2)]),
        (b"text,label\n hi , a \n", [(" hi ", " a ", 2)]),
    ],
)
def test_csv(content: bytes, expected: list[Row]) -> None:
    assert rows(content) == expected


def test_a_cell_may_be_as_long_as_a_document() -> None:
    text = "a long document, " * 40_000
    assert rows(f'text,label\n"{text}",a\n'.encode()) == [(text, "a", 2)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "hi", "label": "a"}\n', [("hi", "a", 1)]),
        (b'\xef\xbb\xbf{"text": "hi", "label": "a", "more": [1]}', [("hi", "a", 1)]),
        (b'\n{"text": "h\\u00e9\\n", "label": "a"}\n\n', [("hé\n", "a", 2)]),
        (b'{"text": "hi", "label": "a", "id": 1, "id": 2, "meta": [{"b": 1, "b": 2}]}', [("hi", "a", 1)]),
        ('{"text": "你好\u2028x", "label": "a"}\n'.encode(), [("你好\u2028x", "a", 1)]),
    ],
)
def test_jsonl(content: bytes, expected: list[Row]) -> None:
    lines = [line + b"\n" for line in content.split(b"\n")]
    assert list(read_rows(lines, File("d.jsonl", Columns()))) == expected


@pytest.mark.parametrize(
    ("name", "content", "reason", "value", "said"),
    [
        ("d.csv", b"", "NoRows", "d.csv", "no row"),
        ("d.csv", b"text,label\n", "NoRows", "d.csv", "no row"),
        ("d.jsonl", b"\n\n", "NoRows", "d.jsonl", "no row"),
        ("d.csv", b"question,label\nhi,a\n", "UnknownColumn", "d.csv:1", "'question', 'label'"),
        ("d.csv", b"text;label\nhi;a\n", "UnknownColumn", "d.csv:1", "Separate columns by commas"),
        ("d.jsonl", b'{"text": "hi"}\n', "UnknownColumn", "d.jsonl:1", "there are 'text'"),
        ("d.jsonl", b"{}\n", "UnknownColumn", "d.jsonl:1", "there are none"),
        ("d.csv", b"text,label\nhi,a\n ,a\n", "EmptyText", "d.csv:3", "row 3"),
        ("d.csv", b"text,label\nhi,\n", "EmptyLabel", "d.csv:2", "row 2"),
        ("d.jsonl", b'{"text": "hi", "label": "\\t"}\n', "EmptyLabel", "d.jsonl:1", "row 1"),
        ("d.csv", b"text,label\nhi,a,b\n", "BrokenCsv", "d.csv:2", "3 cells"),
        ("d.csv", b"text,label\nhi\n", "BrokenCsv", "d.csv:2", "1 cells"),
        ("d.csv", b'text,label\n"hi,a\n', "BrokenCsv", "d.csv:2", "unexpected end of data"),
        ("d.csv", b'text,label\n"hi"x,a\n', "BrokenCsv", "d.csv:2", "expected after"),
        ("d.csv", b"text,text,label\nhi,ho,a\n", "BrokenCsv", "d.csv:1", "'text' twice"),
        ("d.csv", "text,label\nhé,a\n".encode("latin-1"), "WrongEncoding", "d.csv:2", "0xe9 at position 2"),
        ("d.csv", "text,label\nhi,a\n".encode("utf-16"), "WrongEncoding", "d.csv:1", "UTF-16"),
        ("d.csv", b"text,label\nh\0i,a\n", "WrongEncoding", "d.csv:2", "NUL"),
        ("d.jsonl", b'{"text": "h\xff", "label": "a"}', "WrongEncoding", "d.jsonl:1", "0xff"),
        ("d.jsonl", b'{"text": "hi", "label": "a"}\n{"text"\n', "BrokenJson", "d.jsonl:2", "not JSON"),
        ("d.jsonl", b'["hi", "a"]\n', "BrokenJson", "d.jsonl:1", "not an object"),
        ("d.jsonl", b'{"text": "hi", "label": 3}\n', "BrokenJson", "d.jsonl:1", "holds 3"),
        ("d.jsonl", b'{"text": null, "label": "a"}\n', "BrokenJson", "d.jsonl:1", "holds None"),
        ("d.jsonl", b'{"text": "\\ud800", "label": "a"}\n', "BrokenJson", "d.jsonl:1", "Unicode"),
        ("d.jsonl", b'{"text": "hi", "label": "x", "label": "y"}', "BrokenJson", "d.jsonl:1", "key 'label' twice"),
        ("d.jsonl", b'{"label": "x", "text": [{"b": 1, "b": 1}]}', "BrokenJson", "d.jsonl:1", "key 'b' twice"),
        ("d.jsonl", b"[" * 100_000 + b"\n", "BrokenJson", "d.jsonl:1", "not JSON"),
        ("d.txt", b"hi", "UnknownFormat", "d.txt", ".csv, nor"),
        ("d", b"text,label\n", "UnknownFormat", "d", ".csv, nor"),
    ],
)
def test_what_is_not_right_is_told(name: str, content: bytes, reason: str, value: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        rows(content, name)
    problem = caught.value.problem
    assert (problem.reason, problem.value) == (reason, value)
    assert said in problem.sentence
    assert problem.field.startswith("data.sets[d]")
    assert problem.remedy


def test_an_unknown_column_names_the_field_to_set() -> None:
    with pytest.raises(BadInput) as caught:
        rows(b"text,label\nhi,a\n", columns=Columns(text="text", label="intent"))
    assert caught.value.problem.field == "data.sets[d].columns.label"
    assert "'intent'" in caught.value.problem.message


@pytest.mark.parametrize(("name", "suffix"), [("a.CSV", ".csv"), ("x/y.v2.jsonl", ".jsonl")])
def test_suffixes(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(words, words), min_size=1))
def test_any_unicode_survives(examples: list[tuple[str, str]]) -> None:
    content = b"".join(json.dumps({"text": t, "label": n}, ensure_ascii=False).encode() + b"\n" for t, n in examples)
    lines = [line + b"\n" for line in content.split(b"\n")]
    assert [(row.text, row.target) for row in read_rows(lines, File("d.jsonl", Columns()))] == examples


PAIR = PairColumns(input="input", target="target")
MESSAGES = MessagesColumns(messages="messages")


@pytest.mark.parametrize(
    ("content", "name", "columns", "expected"),
    [
        (b"input,target\nlong text,short\n", "d.csv", PAIR, Pair("long text", "short", 2)),
        (b'{"input": "a", "target": "b", "text": 1}\n', "d.jsonl", PAIR, Pair("a", "b", 1)),
        (b'{"q": "a", "a": "b\\n"}\n', "d.jsonl", CompletionColumns(prompt="q", completion="a"), Pair("a", "b\n", 1)),
        (
            b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n',
            "d.jsonl",
            MESSAGES,
            Conversation((Turn("user", "q"),), "a", 1),
        ),
    ],
)
def test_rows_of_tasks_that_write(content: bytes, name: str, columns: AnyColumns, expected: AnyRow) -> None:
    assert rows(content, name, columns) == [expected]


@pytest.mark.parametrize(
    ("content", "name", "columns", "reason", "words"),
    [
        (b"text,label\na,b\n", "d.csv", PAIR, "UnknownColumn", "Set columns.input to one of them"),
        (b"input\na\n", "d.csv", PAIR, "UnknownColumn", "Set columns.target to one of them"),
        (
            b'{"prompt": "a"}\n',
            "d.jsonl",
            CompletionColumns(prompt="prompt", completion="answer"),
            "UnknownColumn",
            "Set columns.completion",
        ),
        (b"input,target\na, \n", "d.csv", PAIR, "EmptyTarget", "row 2: column 'target' is empty"),
        (b"input,target\n,b\n", "d.csv", PAIR, "EmptyText", "row 2: column 'input' is empty"),
        (
            b'{"prompt": "a", "completion": ""}\n',
            "d.jsonl",
            CompletionColumns(prompt="prompt", completion="completion"),
            "EmptyTarget",
            "Give the row a completion",
        ),
        (b'{"input": "a", "target": ["b"]}\n', "d.jsonl", PAIR, "BrokenJson", "holds ['b']"),
        (b"messages\n[]\n", "d.csv", MESSAGES, "UnknownFormat", "Give a .jsonl or .parquet file"),
        (b'{"turns": []}\n', "d.jsonl", MESSAGES, "UnknownColumn", "Set columns.messages"),
        (
            b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}\n',
            "d.jsonl",
            MESSAGES,
            "BrokenJson",
            "line 1: an object has the key 'content' twice. Give",
        ),
        (b'{"messages": "hi"}\n', "d.jsonl", MESSAGES, "BrokenConversation", "row 1: column 'messages': it holds 'hi'"),
    ],
)
def test_what_a_task_that_writes_cannot_learn_is_told(
    content: bytes, name: str, columns: AnyColumns, reason: str, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        rows(content, name, columns)
    problem = caught.value.problem
    assert problem.reason == reason
    assert words in problem.sentence
    assert problem.field.startswith("data.sets[d]")
    assert problem.value.startswith(name)
    assert problem.remedy


@pytest.mark.parametrize("columns", [Columns(), PAIR, CompletionColumns(prompt="p", completion="c"), MESSAGES])
def test_columns_are_read_as_what_they_were_written(columns: AnyColumns) -> None:
    written = DataInput(digest="sha256:" + "0" * 64, columns=columns)
    assert DataInput.model_validate_json(written.line()) == written


def test_conversations_are_the_same_when_all_their_turns_are() -> None:
    one = Conversation((Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")), "d", 1)
    assert one.text == "user: a\nassistant: b\nuser: c"


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", b"q,label\nWhich of these is the heaviest?,B\n", ("Which of these is the heaviest?",)),
        ("a.jsonl", b'{"q": "one two", "a": {"text": ["a text that is five words"]}, "n": 1}\n', ("one two",)),
        ("a.jsonl", b'{"n": 1}\n', ()),
    ],
)
def test_documents_of_a_benchmark_are_read_whole(name: str, content: bytes, texts: tuple[str, ...]) -> None:
    [row] = read_rows(content.splitlines(keepends=True), File(name, TaskDocuments()))
    assert isinstance(row, Document)
    assert (row.texts, row.number, row.text) == (texts, 2 if name == "a.csv" else 1, "\n".join(texts))


@pytest.mark.parametrize("twice", [b'{"a": 1, "a": 2}', b'{"more": [{"a": {}, "a": {}}]}'])
def test_of_a_document_all_is_read(twice: bytes) -> None:
    with pytest.raises(BadInput, match="an object has the key 'a' twice"):
        list(read_rows([twice], File("a.jsonl", TaskDocuments())))
