"""Data sets as they lie in the pod: their identity and their rows, from one reading of the file."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stagecoach.contract.digests import Manifest, file_entry, short
from stagecoach.contract.inputs import LabelsInput
from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.rows import AnyRow, File, Match, Row, suffix_of
from stagecoach.contract.store import Store
from stagecoach.contract.tables import read_rows
from stagecoach_trainer import places
from stagecoach_trainer.failures import at


@dataclass(frozen=True)
class Dataset:
    """A data set that was read: rows in the file's order."""

    source: DataSource
    digest: str
    rows: tuple[AnyRow, ...]

    @property
    def labelled(self) -> tuple[Row, ...]:
        """Its rows of text and label; those of a task without labels are of another kind."""
        return tuple(row for row in self.rows if isinstance(row, Row))

    @property
    def matches(self) -> tuple[Match, ...]:
        """Its rows of queries and passages."""
        return tuple(row for row in self.rows if isinstance(row, Match))

    @property
    def field(self) -> str:
        """The spec field that names it."""
        return field_of(self.source)


def field_of(source: DataSource) -> str:
    """Return the spec field that names a data set."""
    return f"data.sets[{source.name}]"


def read(source: DataSource, *, mismatch: str, remedy: str) -> Dataset:
    """Read a data set. Raises BadInput: `mismatch` is the reason when its content is not what the digest says."""
    field = field_of(source)
    suffix = suffix_of(source.uri, f"{field}.uri")
    content = _content(source)
    digest = Manifest.of([file_entry(f"rows{suffix}", io.BytesIO(content))]).digest
    if source.digest is not None and source.digest != digest:
        message = f"the content has digest {short(digest)}, and {short(source.digest)} was expected."
        raise BadInput(Problem.of(mismatch, message, field=f"{field}.digest", value=digest, remedy=remedy))
    file = File(source.uri.rpartition("/")[2], source.columns, field)
    return Dataset(source, digest, tuple(rows(content, file)))


def rows(content: bytes, file: File) -> Iterator[AnyRow]:
    """Yield the rows of a file of any format. Raises BadInput at the first that is not right."""
    if suffix_of(file.name, file.field) != ".parquet":
        return read_rows(io.BytesIO(content), file)
    from stagecoach_trainer import parquet

    return parquet.read_rows(content, file)


def _content(source: DataSource) -> bytes:
    field = f"{field_of(source)}.uri"
    with at(field):
        if source.uri.startswith("https://"):
            from stagecoach_trainer import web

            return web.read(source.uri, places.keys(source.uri))
        store, name = places.beside(source.uri)
        try:
            return store.read(name)
        except FileNotFoundError as error:
            raise BadInput(_missing(source, field, _beside(store))) from error


def _missing(source: DataSource, field: str, beside: list[str]) -> Problem:
    what = "key in this ConfigMap" if source.uri.startswith("configmap://") else "file at this place"
    there = f"; there are {', '.join(beside[:20])}" if beside else ""
    remedy = "Correct the URI, or put the file there."
    return Problem.of("SourceMissing", f"there is no such {what}{there}.", field=field, value=source.uri, remedy=remedy)


def _beside(store: Store) -> list[str]:
    try:
        return [name for name in store.names() if not name.startswith(".")]
    except FileNotFoundError:
        return []


def check_labels(datasets: Iterable[Dataset], labels: tuple[str, ...]) -> None:
    """Raise BadInput when a row has a label that is not among these."""
    known = set(labels)
    for dataset in datasets:
        for row in dataset.labelled:
            if row.label not in known:
                _refuse_label(dataset, row, labels)


def _refuse_label(dataset: Dataset, row: Row, labels: tuple[str, ...]) -> None:
    file = dataset.source.uri.rpartition("/")[2]
    message = f"row {row.number} has the label {row.label[:80]!r}, which is none of the {len(labels)} labels."
    raise BadInput(
        Problem.of(
            "LabelUnknown",
            message,
            field=dataset.field,
            value=f"{file}:{row.number}",
            remedy="Correct the row, or add the label to problem.labels.",
        )
    )


def labels_of(datasets: Iterable[Dataset]) -> tuple[str, ...]:
    """Return the labels that occur, in code point order."""
    return tuple(sorted({row.label for dataset in datasets for row in dataset.labelled}))


def run_labels(labels: LabelsInput | None, datasets: Iterable[Dataset]) -> tuple[str, ...]:
    """Return a run's labels: those given, or those of the data set they are taken from; none for a task without.

    A run may leave that data set out; then they are those of the rows that it trains on.
    """
    if labels is None:
        return ()
    if labels.values is not None:
        return labels.values
    read_ones = list(datasets)
    named = [dataset for dataset in read_ones if dataset.digest == labels.from_data]
    return labels_of(named or read_ones)
