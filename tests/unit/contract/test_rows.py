import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.inputs import Columns
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import File, Row, read_rows, suffix_of


def rows(content: bytes, name: str = "d.csv", columns: Columns | None = None) -> list[Row]:
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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "hi", "label": "a"}\n', [("hi", "a", 1)]),
        (b'\xef\xbb\xbf{"text": "hi", "label": "a", "more": [1]}', [("hi", "a", 1)]),
        (b'\n{"text": "h\\u00e9\\n", "label": "a"}\n\n', [("hé\n", "a", 2)]),
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
        ("d.csv", b'text,label\n"' + b"x" * 140_000 + b'",a\n', "BrokenCsv", "d.csv:2", "field limit"),
        ("d.csv", "text,label\nhé,a\n".encode("latin-1"), "WrongEncoding", "d.csv:2", "0xe9 at position 2"),
        ("d.csv", "text,label\nhi,a\n".encode("utf-16"), "WrongEncoding", "d.csv:1", "UTF-16"),
        ("d.csv", b"text,label\nh\0i,a\n", "WrongEncoding", "d.csv:2", "NUL"),
        ("d.jsonl", b'{"text": "h\xff", "label": "a"}', "WrongEncoding", "d.jsonl:1", "0xff"),
        ("d.jsonl", b'{"text": "hi", "label": "a"}\n{"text"\n', "BrokenJson", "d.jsonl:2", "not JSON"),
        ("d.jsonl", b'["hi", "a"]\n', "BrokenJson", "d.jsonl:1", "not an object"),
        ("d.jsonl", b'{"text": "hi", "label": 3}\n', "BrokenJson", "d.jsonl:1", "holds 3"),
        ("d.jsonl", b'{"text": null, "label": "a"}\n', "BrokenJson", "d.jsonl:1", "holds None"),
        ("d.jsonl", b'{"text": "\\ud800", "label": "a"}\n', "BrokenJson", "d.jsonl:1", "Unicode"),
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
    assert [(row.text, row.label) for row in read_rows(lines, File("d.jsonl", Columns()))] == examples
