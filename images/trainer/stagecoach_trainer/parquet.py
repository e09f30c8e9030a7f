"""Rows of a .parquet file, read as strictly as others. Rows are counted from 1."""

import io
from collections.abc import Iterator

import pyarrow as pa
from pyarrow import parquet

from stagecoach.contract.rows import LISTS, AnyRow, File, row, unknown_column

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def read_rows(content: bytes, file: File) -> Iterator[AnyRow]:
    """Yield the rows of a file. Raises BadInput at the first that is not right."""
    try:
        yield from _rows(parquet.ParquetFile(io.BytesIO(content)), file)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        file.refuse("BrokenParquet", f"this is no .parquet file that can be read: {error}.", "Write it again.")


def _rows(table: parquet.ParquetFile, file: File) -> Iterator[AnyRow]:
    _check(table.schema_arrow, file)
    if not table.metadata.num_rows:
        file.refuse("NoRows", "there is no row in this file.", "Give a file with at least one row.")
    number = 0
    for batch in table.iter_batches(columns=list(dict.fromkeys(file.uses.values()))):
        for record in batch.to_pylist():
            number += 1
            # What is null is as empty as an empty text.
            yield row({name: "" if value is None else value for name, value in record.items()}, number, file)


def _check(schema: pa.Schema, file: File) -> None:
    for use, column in file.uses.items():
        if column not in schema.names:
            unknown_column(column, schema.names, use, None, file)
        if schema.names.count(column) > 1:
            message = f"the file has {schema.names.count(column)} columns {column!r}."
            file.refuse("BrokenParquet", message, "Give every column its own name.", field=f"columns.{use}")
        if use in LISTS:
            continue  # what they hold is looked at row by row
        kind = schema.field(column).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not any(is_text(plain) for is_text in _TEXTS):
            message = f"column {column!r} holds {kind}, not text."
            file.refuse("BrokenParquet", message, "Write the column as strings.", field=f"columns.{use}")
