"""Rows of text and label, read strictly: whatever is not clearly right is told, with its row and a remedy.

Text is UTF-8; a byte order mark at the start, as spreadsheets write it, is accepted and dropped. Rows are counted as a
spreadsheet shows them: in a .csv file the header is row 1. Blank lines are passed over. Nothing is trimmed.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from stagecoach.contract.inputs import Columns
from stagecoach.contract.reports import BadInput, Problem

SUFFIXES = (".csv", ".jsonl", ".parquet")
_BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One example: its text, its label, and its row number in the file."""

    text: str
    label: str
    number: int


@dataclass(frozen=True)
class File:
    """A file of rows: its name and columns, and the spec field that names it, for messages."""

    name: str
    columns: Columns
    field: str = ""

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


def read_rows(lines: Iterable[bytes], file: File) -> Iterator[Row]:
    """Yield the rows of a .csv or .jsonl file, given its lines as bytes. Raises BadInput at the first not right."""
    records = {".csv": _csv_records, ".jsonl": _json_records}[suffix_of(file.name, file.field)]
    number = None
    for number, record in records(_decoded(lines, file), file):
        yield row(record, number, file)
    if number is None:
        remedy = "Give a file with at least one row." if file.name.endswith("l") else "Give a header and rows below it."
        file.refuse("NoRows", "there is no row in this file.", remedy)


def _decoded(lines: Iterable[bytes], file: File) -> Iterator[str]:
    for number, raw in enumerate(lines, start=1):
        line = raw.removeprefix(_BOM) if number == 1 else raw
        if b"\0" in line or (number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff")):
            message = f"line {number} holds a NUL byte or a UTF-16 mark: this is not UTF-8 text."
            file.refuse("WrongEncoding", message, "Save the file as UTF-8.", number=number)
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            message = f"line {number} is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}."
            file.refuse("WrongEncoding", message, "Save the file as UTF-8.", number=number)


def row(record: dict[str, Any], number: int, file: File) -> Row:
    """Return the row in a record, column by name. Raises BadInput when it has no text or label."""
    text, label = (_cell(record, use, number, file) for use in ("text", "label"))
    return Row(text, label, number)


def _cell(record: dict[str, Any], use: str, number: int, file: File) -> str:
    column = getattr(file.columns, use)
    if column not in record:
        unknown_column(column, list(record), use, number, file)
    value = record[column]
    if not isinstance(value, str) or not _encodable(value):
        message = f"row {number}: column {column!r} holds {_shown(value)}, which is not a string of Unicode characters."
        file.refuse("BrokenJson", message, "Write it as a string in quotes.", number=number)
    if not value.strip():
        reason = "EmptyText" if use == "text" else "EmptyLabel"
        message = f"row {number}: column {column!r} is empty."
        file.refuse(reason, message, f"Give the row a {use}, or remove it.", number=number)
    return value


def unknown_column(column: str, there: Sequence[str], use: str, number: int | None, file: File) -> NoReturn:
    """Raise BadInput that names the columns there are."""
    where = "" if number is None else f"row {number}: "
    message = f"{where}there is no column {column!r}; there are {', '.join(map(repr, there)) or 'none'}."
    remedy = f"Set columns.{use} to one of them, or rename the column."
    if len(there) == 1 and any(mark in there[0] for mark in ";\t|"):
        remedy = "Separate columns by commas."
    file.refuse("UnknownColumn", message, remedy, number=number, field=f"columns.{use}")


def _encodable(value: str) -> bool:
    """Whether a string has a UTF-8 form; JSON can spell half of a surrogate pair, which has none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _csv_records(lines: Iterator[str], file: File) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    number = 0
    for cells in _csv_cells(reader, file):
        number += 1
        if not cells:
            continue
        if not header:
            header = _header(cells, number, file)
        elif len(cells) != len(header):
            message = f"row {number} has {len(cells)} cells, and the header has {len(header)}."
            remedy = "Put a cell that holds a comma or a line break in double quotes."
            file.refuse("BrokenCsv", message, remedy, number=number)
        else:
            yield number, dict(zip(header, cells, strict=True))


def _csv_cells(reader: Any, file: File) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        message = f"near line {reader.line_num}: {error}."
        remedy = "Close every quote, and double those inside a quoted cell."
        file.refuse("BrokenCsv", message, remedy, number=reader.line_num)


def _header(cells: list[str], number: int, file: File) -> list[str]:
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice:
        message = f"the header names {', '.join(map(repr, twice))} twice."
        file.refuse("BrokenCsv", message, "Give every column its own name.", number=number)
    for use in ("text", "label"):
        if (column := getattr(file.columns, use)) not in cells:
            unknown_column(column, cells, use, number, file)
    return cells


def _json_records(lines: Iterator[str], file: File) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = f"line {number} is not JSON: {error}."
            file.refuse("BrokenJson", message, "Write one JSON object on each line.", number=number)
        if not isinstance(record, dict):
            message = f"line {number} is {_shown(record)}, not an object."
            file.refuse("BrokenJson", message, "Write one JSON object on each line.", number=number)
        yield number, record
