"""Rows of a .parquet file, read as strictly as others. Rows are counted from 1."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from stagecoach.contract import progress
from stagecoach.contract.rows import LISTS, AnyRow, File, row, unknown_column

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def read_rows(content: bytes, file: File) -> Iterator[AnyRow]:
    """Yield the rows of a file. Raises BadInput at the first that is not right."""
    try:
        yield from _rows(parquet.ParquetFile(io.BytesIO(content)), file)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        file.refuse("BrokenParquet", f"this is no .parquet file that can be read: {error}.", "Write it again.")


def _rows(table: parquet.ParquetFile, file: File) -> Iterator[AnyRow]:
    schema = table.schema_arrow
    classes = _classes(schema)
    _check(schema, file, classes)
    if not table.metadata.num_rows:
        file.refuse("NoRows", "there is no row in this file.", "Give a file with at least one row.")
    number = 0
    # None: all of them.
    for batch in table.iter_batches(columns=list(dict.fromkeys(file.uses.values())) or None):
        for record in batch.to_pylist():
            number += 1
            progress.made()
            read = {name: _value(value, classes.get(name), name, number, file) for name, value in record.items()}
            yield row(read, number, file)


def _classes(schema: pa.Schema) -> dict[str, list[str]]:
    """Return what the numbers of a column stand for, as the library `datasets` writes it into a file (ClassLabel)."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        kinds = {name: _item(kind) for name, kind in features.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    told: dict[str, Any] = {
        name: kind.get("names")
        for name, kind in kinds.items()
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
    }
    numbers = {item.name for item in schema if pa.types.is_integer(_item_type(item.type))}
    return {name: names for name, names in told.items() if name in numbers and _are_names(names)}


def _item(kind: Any) -> Any:
    """Return what a list is a list of, or the feature itself."""
    if isinstance(kind, list):
        return kind[0] if len(kind) == 1 else None
    return kind.get("feature", kind) if isinstance(kind, dict) else None


def _item_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if any(is_list(kind) for is_list in _LISTS) else kind


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _value(value: Any, names: list[str] | None, column: str, number: int, file: File) -> Any:
    if names is not None and isinstance(value, list):
        return [_value(item, names, column, number, file) for item in value]
    # What is null is as empty as an empty text; with names, so is -1, which says that it is not known.
    if value is None or (names is not None and value == -1):
        return ""
    if names is None:
        return value
    if not 0 <= value < len(names):
        message = f"row {number}: column {column!r} holds {value}, and the file names {len(names)} classes, from 0."
        file.refuse("BrokenParquet", message, "Write the file again, with strings.", number=number)
    return names[value]


def _check(schema: pa.Schema, file: File, classes: dict[str, list[str]]) -> None:
    counts = Counter(schema.names)
    for column in file.uses.values() or counts:  # documents are read whole
        if counts[column] > 1:
            message = f"the file has {counts[column]} columns {column!r}."
            file.refuse("BrokenParquet", message, "Give every column its own name.")
    for use, column in file.uses.items():
        if column not in schema.names:
            unknown_column(column, schema.names, use, None, file)
        if use in LISTS:
            continue  # what they hold is looked at row by row
        kind = schema.field(column).type
        if column in classes and pa.types.is_integer(kind):
            continue
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not any(is_text(plain) for is_text in _TEXTS):
            message = f"column {column!r} holds {kind}, not text."
            file.refuse("BrokenParquet", message, "Write the column as strings.", field=f"columns.{use}")
