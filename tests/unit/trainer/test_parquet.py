"""Rows of .parquet files."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import AnyColumns, Columns, MessagesColumns, TaskDocuments, WordColumns
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import AnyRow, Conversation, File, Row
from stagecoach.contract.tagged import Words
from stagecoach.contract.turns import Turn
from stagecoach_trainer import sources

from .conftest import EXAMPLES, Project

pa = pytest.importorskip("pyarrow", reason="needs the trainer's libraries: runs inside the trainer image")


def written(table: Any, **options: Any) -> bytes:
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(table, stream, **options)
    return stream.getvalue()


def rows(content: bytes, columns: AnyColumns | None = None) -> list[AnyRow]:
    return list(sources.rows(content, File("rows.parquet", columns or Columns(), "data.sets[d]")))


TEXTS = ["a", "  b\n", "ü👋"]
LABELS = ["x", "y", "x"]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_texts_of_every_kind_are_read(kind: str) -> None:
    texts = pa.array(TEXTS).dictionary_encode() if kind == "dictionary" else pa.array(TEXTS, getattr(pa, kind)())
    table = pa.table({"id": [1, 2, 3], "text": texts, "label": LABELS})
    expected = [Row(text, label, number) for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True), 1)]
    assert rows(written(table)) == expected
    assert rows(written(table, row_group_size=1, compression="zstd")) == expected


def test_columns_by_name() -> None:
    table = pa.table({"body": TEXTS, "class": LABELS, "text": [1, 2, 3]})
    found = rows(written(table), Columns(text="body", label="class"))
    assert [row.text for row in found] == TEXTS
    assert [row.text for row in rows(written(table), Columns(text="class", label="class"))] == LABELS


@pytest.mark.parametrize(
    ("table", "reason", "words"),
    [
        ({"text": ["a"]}, "UnknownColumn", "there is no column 'label'; there are 'text'"),
        ({"text": [1], "label": ["x"]}, "BrokenParquet", "holds int64, not text"),
        ({"text": [["a"]], "label": ["x"]}, "BrokenParquet", "holds list"),
        ({"text": [b"a"], "label": ["x"]}, "BrokenParquet", "holds binary, not text"),
        ({"text": ["a", None], "label": ["x", "y"]}, "EmptyText", "row 2"),
        ({"text": ["a", "b"], "label": ["x", " "]}, "EmptyLabel", "row 2"),
        ({"text": [], "label": []}, "NoRows", "no row"),
    ],
)
def test_what_is_not_right_is_told(table: dict[str, Any], reason: str, words: str) -> None:
    columns = {name: pa.array(values, pa.string() if not values else None) for name, values in table.items()}
    with pytest.raises(BadInput, match=words) as caught:
        rows(written(pa.table(columns)))
    assert caught.value.problem.reason == reason
    assert caught.value.problem.field.startswith("data.sets[d]")
    assert caught.value.problem.remedy


def classes(values: list[int | None], names: Any) -> bytes:
    """Return a file with numbers for labels, and what they stand for as the library `datasets` tells it."""
    told = {
        "info": {
            "features": {
                "label": {"names": names, "_type": "ClassLabel"},
                "text": {"_type": "Value"},
                "tags": [{"_type": "Value"}],
            }
        }
    }
    table = pa.table({"text": ["a"] * len(values), "label": pa.array(values, pa.int64())})
    return written(table.replace_schema_metadata({"huggingface": json.dumps(told)}))


def test_numbers_that_the_file_names_are_read_as_their_names() -> None:
    assert [row.target for row in rows(classes([1, 0], ["billing", "delivery"]))] == ["delivery", "billing"]


def test_the_library_datasets_names_them_so(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["x", "y"]))
    datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS}, features=kinds).to_parquet(tmp_path / "a.parquet")
    assert [row.target for row in rows((tmp_path / "a.parquet").read_bytes())] == LABELS


@pytest.mark.parametrize(
    ("values", "names", "reason", "words"),
    [
        ([0, 2], ["x", "y"], "BrokenParquet", "row 2: column 'label' holds 2, and the file names 2 classes"),
        ([0, -2], ["x", "y"], "BrokenParquet", "row 2: column 'label' holds -2"),
        ([0, -1], ["x", "y"], "EmptyLabel", "row 2"),
        ([0, None], ["x", "y"], "EmptyLabel", "row 2"),
        ([0, 1], None, "BrokenParquet", "holds int64, not text"),
        ([0, 1], ["x", 1], "BrokenParquet", "holds int64, not text"),
        ([0, 1], ["x", "x"], "BrokenParquet", "holds int64, not text"),
    ],
)
def test_numbers_that_stand_for_nothing_are_told(values: list[int | None], names: Any, reason: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        rows(classes(values, names))
    assert caught.value.problem.reason == reason
    assert caught.value.problem.remedy


TAGS = {"names": ["O", "B-x"], "_type": "ClassLabel"}


def tagged(values: list[Any], told: Any, kind: Any = None) -> list[AnyRow]:
    """Return the rows of words with numbers for tags, and what the file tells of them."""
    table = pa.table({"tokens": [["a", "b"]] * len(values), "tags": pa.array(values, kind or pa.list_(pa.int64()))})
    content = written(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": told}})}))
    return list(sources.rows(content, File("rows.parquet", WordColumns(tokens="tokens", tags="tags"), "data.sets[d]")))


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"feature": TAGS, "_type": "List"}, None),
        ({"feature": TAGS, "_type": "LargeList"}, pa.large_list(pa.int8())),
        ({"feature": TAGS, "length": -1, "_type": "Sequence"}, None),
        ({"feature": TAGS, "length": 2, "_type": "List"}, pa.list_(pa.int64(), 2)),
        ([TAGS], None),
    ],
)
def test_lists_of_numbers_that_the_file_names_are_read_as_their_names(told: Any, kind: Any) -> None:
    features = {"tokens": {"feature": [{"x": 1}], "_type": "Sequence"}, "tags": told}
    assert tagged([[1, 0]], features, kind) == [Words(("a", "b"), ("B-x", "O"), 1)]


def test_the_library_datasets_names_tags_so(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features(
        tokens=datasets.List(datasets.Value("string")), tags=datasets.List(datasets.ClassLabel(names=["O", "B-x"]))
    )
    datasets.Dataset.from_dict({"tokens": [["a"]], "tags": [["B-x"]]}, features=kinds).to_parquet(
        tmp_path / "a.parquet"
    )
    file = File("a.parquet", WordColumns(tokens="tokens", tags="tags"))
    assert list(sources.rows((tmp_path / "a.parquet").read_bytes(), file)) == [Words(("a",), ("B-x",), 1)]


@pytest.mark.parametrize(
    ("values", "told", "reason", "words"),
    [
        ([[0, 1], [0, 2]], {"feature": TAGS}, "BrokenParquet", "row 2: column 'tags' holds 2, and the file names 2"),
        ([[0, 1], [0, -1]], {"feature": TAGS}, "BrokenTags", "row 2: column 'tags': tag 2 is empty"),
        ([[0, 1], [0, None]], {"feature": TAGS}, "BrokenTags", "row 2: column 'tags': tag 2 is empty"),
        ([[0, 1], None], {"feature": TAGS}, "BrokenTags", "row 2: column 'tags': the tags are ''"),
        ([[0, 1]], {"feature": {"_type": "Value"}}, "BrokenTags", "tag 1 is 0, which is not a string"),
        ([[0, 1]], [], "BrokenTags", "tag 1 is 0, which is not a string"),
    ],
)
def test_lists_of_numbers_that_stand_for_nothing_are_told(
    values: list[Any], told: Any, reason: str, words: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(words)) as caught:
        tagged(values, {"tags": told})
    assert caught.value.problem.reason == reason
    assert caught.value.problem.remedy


def test_a_list_of_classes_is_no_label() -> None:
    table = pa.table({"text": ["a"], "label": [[0]]})
    told = {"info": {"features": {"label": {"feature": TAGS, "_type": "List"}}}}
    with pytest.raises(BadInput, match="holds list<") as caught:
        rows(written(table.replace_schema_metadata({"huggingface": json.dumps(told)})))
    assert caught.value.problem.reason == "BrokenParquet"


TALK = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]


def conversations(values: list[Any], kind: Any = None) -> list[AnyRow]:
    content = written(pa.table({"messages": pa.array(values, kind)}))
    return list(sources.rows(content, File("rows.parquet", MessagesColumns(messages="messages"), "data.sets[d]")))


@pytest.mark.parametrize("more", [{}, {"name": None}])
def test_conversations(more: dict[str, Any]) -> None:
    assert conversations([[turn | more for turn in TALK]] * 2) == [
        Conversation((Turn("user", "Who?"),), "I.", number) for number in (1, 2)
    ]


@pytest.mark.parametrize(
    ("values", "reason", "words"),
    [
        ([TALK, None], "BrokenConversation", "row 2: column 'messages': it holds '', which is not a list"),
        ([TALK, []], "BrokenConversation", "row 2: column 'messages': it holds"),
        (["Who?"], "BrokenConversation", "it holds 'Who?', which is not a list"),
        ([[1, 2]], "BrokenConversation", "turn 1 is 1, not an object"),
        ([TALK[:1]], "BrokenConversation", "ends with a turn of user"),
        ([[TALK[0], {"role": "assistant", "content": None}]], "BrokenConversation", "turn 2 has the content None"),
    ],
)
def test_what_is_no_conversation_is_told(values: list[Any], reason: str, words: str) -> None:
    with pytest.raises(BadInput, match=re.escape(words)) as caught:
        conversations(values)
    assert (caught.value.problem.reason, caught.value.problem.remedy != "") == (reason, True)


def test_a_name_twice_and_bytes_that_are_none() -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array(["x"])], ["text", "text", "label"])
    good = written(pa.table({"text": TEXTS, "label": LABELS}), compression="none")
    at = good.index(b"  b\n")
    not_text = good[:at] + b"\xff" + good[at + 1 :]
    for content in (written(twice), b"", b"PAR1", good[:-20], b"text,label\n", not_text):
        with pytest.raises(BadInput) as caught:
            rows(content)
        assert caught.value.problem.reason == "BrokenParquet"


def test_a_name_twice_in_documents_and_in_turns() -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["question", "question"])
    turn = pa.StructArray.from_arrays(
        [pa.array(["user"]), pa.array(["a"]), pa.array(["b"])], ["role", "role", "content"]
    )
    turns = pa.table({"messages": pa.ListArray.from_arrays([0, 1], turn)})
    for table, columns in ((twice, TaskDocuments()), (turns, MessagesColumns(messages="messages"))):
        with pytest.raises(BadInput) as caught:
            rows(written(table), columns)
        assert caught.value.problem.reason == "BrokenParquet"


def test_a_data_set_of_parquet_has_its_own_identity_and_the_same_rows(project: Project) -> None:
    texts, labels = zip(*EXAMPLES, strict=True)
    content = written(pa.table({"text": texts, "label": labels}))
    (project.root / "pvc" / "data" / "train.parquet").write_bytes(content)
    source = project.source("train").model_copy(update={"uri": "pvc://data/train.parquet"})
    found = sources.read(source, mismatch="", remedy="")
    mounted = sources.read(project.source("train"), mismatch="", remedy="")
    assert [row[:2] for row in found.rows] == [row[:2] for row in mounted.rows]
    assert found.digest != mounted.digest
