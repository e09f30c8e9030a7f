"""What a row of a data set is, by its columns, and how it is made from a record of whatever file.

Read strictly: whatever is not clearly right is told, with its row and a remedy. Nothing is trimmed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

from stagecoach.contract.benchmarks import Document, document
from stagecoach.contract.cells import BadCell, is_text, shown
from stagecoach.contract.inputs import (
    AnyColumns,
    Columns,
    MatchColumns,
    MessagesColumns,
    SpanColumns,
    TaskDocuments,
    WordColumns,
)
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.tagged import Marked, Words, marked, words
from stagecoach.contract.turns import Turn, parse

SUFFIXES = (".csv", ".jsonl", ".parquet")
# Columns that hold lists, which a .csv file has none of, and what these are lists of.
LISTS = {"messages": "turns", "tokens": "words", "tags": "tags", "spans": "spans"}


class Row(NamedTuple):
    """One example of a Classification: its text, its label, and its row number in the file."""

    text: str
    label: str
    number: int

    @property
    def target(self) -> str:
        """What a model that writes is to write."""
        return self.label


class Pair(NamedTuple):
    """One example of a task that writes: what is read, what is to be written, and its row number."""

    text: str
    target: str
    number: int


class Conversation(NamedTuple):
    """One example that is a conversation: the turns before the last one, what that one says, and its row number."""

    turns: tuple[Turn, ...]
    target: str
    number: int

    @property
    def text(self) -> str:
        """The turns as one text, to see whether two conversations are the same."""
        return "\n".join(f"{turn.role}: {turn.content}" for turn in self.turns)


class Match(NamedTuple):
    """One example of an Embedding: a query, a passage that answers it, maybe one that does not, and its row number."""

    query: str
    positive: str
    number: int
    negative: str | None = None

    @property
    def text(self) -> str:
        """Query and positive as one text, to see whether two rows are the same."""
        return f"{self.query}\n{self.positive}"

    @property
    def target(self) -> str:
        """What is to be found."""
        return self.positive


AnyRow = Row | Pair | Conversation | Words | Marked | Match | Document


def labels_in(row: AnyRow) -> tuple[str, ...]:
    """Return the labels that a row needs: none where the task has no labels."""
    match row:
        case Row():
            return (row.label,)
        case Words() | Marked():
            return row.tags
        case _:
            return ()


@dataclass(frozen=True)
class File:
    """A file of rows: its name and columns, and the spec field that names it, for messages."""

    name: str
    columns: AnyColumns
    field: str = ""

    @cached_property
    def uses(self) -> dict[str, str]:
        """The columns by what they are used for; documents are read whole."""
        return {} if isinstance(self.columns, TaskDocuments) else dict(self.columns.document())

    def refuse(self, reason: str, message: str, remedy: str, *, number: int | None = None, field: str = "") -> NoReturn:
        """Raise BadInput that names the field and the row."""
        value = self.name if number is None else f"{self.name}:{number}"
        where = ".".join(part for part in (self.field, field) if part)
        raise BadInput(Problem.of(reason, message, field=where, value=value, remedy=remedy))


def suffix_of(name: str, field: str = "") -> str:
    """Return the suffix that says how to read a file. Raises BadInput when it is none that is known."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix not in SUFFIXES:
        message = f"{name!r} is neither a .csv, nor a .jsonl, nor a .parquet file."
        remedy = "Give the file that has rows, and let its name end in .csv, .jsonl or .parquet."
        raise BadInput(Problem.of("UnknownFormat", message, field=field, value=name, remedy=remedy))
    return suffix


def row(record: dict[str, Any], number: int, file: File) -> AnyRow:
    """Return the row in a record, column by name. Raises BadInput when it lacks a part, or has a wrong one."""
    if isinstance(file.columns, TaskDocuments):
        return document(record, number)
    if isinstance(file.columns, MessagesColumns):
        return _conversation(record, number, file)
    if isinstance(file.columns, WordColumns):
        return _words(record, number, file)
    if isinstance(file.columns, SpanColumns):
        return _marked(record, number, file)
    if isinstance(file.columns, MatchColumns):
        return _match(record, number, file)
    first, second = (_cell(record, use, number, file) for use in file.uses)
    return Row(first, second, number) if isinstance(file.columns, Columns) else Pair(first, second, number)


def _cell(record: dict[str, Any], use: str, number: int, file: File) -> str:
    value, column = _value(record, use, number, file), file.uses[use]
    if not is_text(value):
        message = f"row {number}: column {column!r} holds {shown(value)}, which is not a string of Unicode characters."
        file.refuse("BrokenJson", message, "Write it as a string in quotes.", number=number)
    if not value.strip():
        message = f"row {number}: column {column!r} is empty."
        reason = {"label": "EmptyLabel", "target": "EmptyTarget", "completion": "EmptyTarget"}.get(use, "EmptyText")
        file.refuse(reason, message, f"Give the row a {use}, or remove it.", number=number)
    return str(value)


def _conversation(record: dict[str, Any], number: int, file: File) -> Conversation:
    value = _value(record, "messages", number, file)
    with _told("messages", number, file):
        turns, target = parse(value)
    return Conversation(turns, target, number)


def _words(record: dict[str, Any], number: int, file: File) -> Words:
    tokens, tags = (_value(record, use, number, file) for use in file.uses)
    with _told("tags", number, file):
        return words(tokens, tags, number)


def _marked(record: dict[str, Any], number: int, file: File) -> Marked:
    text = _cell(record, "text", number, file)
    spans = _value(record, "spans", number, file)
    with _told("spans", number, file):
        return marked(text, spans, number)


@contextmanager
def _told(use: str, number: int, file: File) -> Iterator[None]:
    """Turn what is wrong with a value into BadInput that names the row and the column."""
    try:
        yield
    except BadCell as error:
        message = f"row {number}: column {file.uses[use]!r}: {error.message}"
        file.refuse(error.reason, message, error.remedy, number=number)


def _match(record: dict[str, Any], number: int, file: File) -> Match:
    cells = {use: _cell(record, use, number, file) for use in file.uses}
    if cells["positive"] == cells.get("negative"):
        message = f"row {number}: positive and negative are the same text, which cannot be found and not be found."
        file.refuse("NegativeIsPositive", message, "Give the row another negative, or remove it.", number=number)
    return Match(cells["query"], cells["positive"], number, cells.get("negative"))


def _value(record: dict[str, Any], use: str, number: int, file: File) -> Any:
    column = file.uses[use]
    if column not in record:
        unknown_column(column, list(record), use, number, file)
    return record[column]


def unknown_column(column: str, there: Sequence[str], use: str, number: int | None, file: File) -> NoReturn:
    """Raise BadInput that names the columns there are."""
    where = "" if number is None else f"row {number}: "
    message = f"{where}there is no column {column!r}; there are {', '.join(map(repr, there)) or 'none'}."
    remedy = f"Set columns.{use} to one of them, or rename the column."
    if len(there) == 1 and any(mark in there[0] for mark in ";\t|"):
        remedy = "Separate columns by commas."
    file.refuse("UnknownColumn", message, remedy, number=number, field=f"columns.{use}")
