"""Rows of .csv and .jsonl files, read strictly: whatever is not clearly right is told, with its row and a remedy.

Text is UTF-8; a byte order mark at the start, as spreadsheets write it, is accepted and dropped. Rows are counted as a
spreadsheet shows them: in a .csv file the header is row 1. Blank lines are passed over. Nothing is trimmed.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from stagecoach.contract import progress
from stagecoach.contract.cells import shown
from stagecoach.contract.rows import LISTS, AnyRow, File, row, suffix_of, unknown_column

_BOM = b"\xef\xbb\xbf"
# The library's own limit is 128 KiB, and a document may be longer; a file is read whole, so its cells fit as well. The
# limit is the process's, and nobody else in it reads .csv files.
csv.field_size_limit(2**31 - 1)


def read_rows(lines: Iterable[bytes], file: File) -> Iterator[AnyRow]:
    """Yield the rows of a .csv or .jsonl file, given its lines as bytes. Raises BadInput at the first not right."""
    suffix = suffix_of(file.name, file.field)
    lists = next((use for use in file.uses if use in LISTS), None)
    if suffix == ".csv" and lists is not None:
        other = ", or columns input and target" if lists == "messages" else ""
        message, remedy = f"a .csv file holds no lists of {LISTS[lists]}.", f"Give a .jsonl or .parquet file{other}."
        file.refuse("UnknownFormat", message, remedy, field=f"columns.{lists}")
    records = {".csv": _csv_records, ".jsonl": _json_records}[suffix]
    number = None
    for number, record in records(_decoded(lines, file), file):
        progress.made()
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
    for use, column in file.uses.items():
        if column not in cells:
            unknown_column(column, cells, use, number, file)
    return cells


def _json_records(lines: Iterator[str], file: File) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _JSON.decode(line)
            twice = next(_read_twice(record, file), None)
        except (ValueError, RecursionError) as error:
            message = f"line {number} is not JSON: {error}."
            file.refuse("BrokenJson", message, "Write one JSON object on each line.", number=number)
        if twice is not None:
            message = f"line {number}: an object has the key {shown(twice)} twice."
            file.refuse("BrokenJson", message, "Give every key of an object its own name.", number=number)
        if not isinstance(record, dict):
            message = f"line {number} is {shown(record)}, not an object."
            file.refuse("BrokenJson", message, "Write one JSON object on each line.", number=number)
        yield number, record


class _Ambiguous(dict[str, Any]):
    """An object that has keys twice, of which readers take one or the other; it has the last."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Ambiguous(pairs)


def _read_twice(record: Any, file: File) -> Iterator[str]:
    """Yield the keys that an object has twice in what is read of a record: elsewhere they do no harm."""
    if not isinstance(record, dict):
        return
    columns = [column for column in record if not file.uses or column in file.uses.values()]
    if isinstance(record, _Ambiguous):
        yield from (key for key in record.twice if key in columns)
    for column in columns:
        yield from _twice_in(record[column])


def _twice_in(value: Any) -> Iterator[str]:
    if isinstance(value, _Ambiguous):
        yield from value.twice
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _twice_in(part)


_JSON = json.JSONDecoder(object_pairs_hook=_object)
