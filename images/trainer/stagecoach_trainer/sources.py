"""Data sets as they lie in the pod: their identity and their rows, from one reading of the file."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from stagecoach.contract.digests import Manifest, file_entry, short
from stagecoach.contract.inputs import LabelsInput, TaskDocuments
from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.rows import AnyRow, File, Match, Row, labels_in, suffix_of
from stagecoach.contract.store import Store
from stagecoach.contract.tables import read_rows
from stagecoach.contract.tagged import Marked, bio
from stagecoach_trainer import places
from stagecoach_trainer.failures import at


@dataclass(frozen=True)
class Dataset:
    """A data set that was read: rows in the file's order."""

    source: DataSource
    digest: str
    rows: tuple[AnyRow, ...]
    files: tuple[tuple[str, int], ...]  # names and how many rows each has, in order
    revision: str | None = None  # the commit of a hub's data set
    contents: tuple[tuple[str, bytes], ...] = ()  # of documents: the files themselves, which their task reads

    @property
    def has_documents(self) -> bool:
        """Whether these are documents of a benchmark, and no rows of the project's task."""
        return isinstance(self.source.columns, TaskDocuments)

    @property
    def labelled(self) -> tuple[Row, ...]:
        """Its rows of text and label; those of other tasks are of another kind."""
        return tuple(row for row in self.rows if isinstance(row, Row))

    def place(self, position: int) -> str:
        """Return where a row is, by file and number; positions count from 0 over all files."""
        number, left = self.rows[position].number, position
        for name, count in self.files:
            if left < count:
                return f"{name}:{number}"
            left -= count
        raise IndexError(position)

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
    if source.hub is None:
        suffix_of(source.uri, f"{field}.uri")
    files, commit = _content(source)
    digest = _digest(files, f"{field}.uri")
    if source.digest is not None and source.digest != digest:
        message = f"the content has digest {digest}, and {short(source.digest)} was expected."
        raise BadInput(Problem.of(mismatch, message, field=f"{field}.digest", value=digest, remedy=remedy))
    parts = {name: tuple(rows(content, File(name, source.columns, field))) for name, content in files}
    counts = tuple((name, len(part)) for name, part in parts.items())
    found = Dataset(source, digest, tuple(row for part in parts.values() for row in part), counts, commit)
    return replace(found, contents=tuple(files)) if found.has_documents else found


def _digest(files: Sequence[tuple[str, bytes]], field: str) -> str:
    """Return the identity of files in their order: what they are called does not matter."""
    names = (
        f"rows{suffix_of(name, field)}" if len(files) == 1 else f"rows-{number:05}{suffix_of(name, field)}"
        for number, (name, _) in enumerate(files)
    )
    return Manifest.of(
        file_entry(called, io.BytesIO(content)) for called, (_, content) in zip(names, files, strict=True)
    ).digest


def rows(content: bytes, file: File) -> Iterator[AnyRow]:
    """Yield the rows of a file of any format. Raises BadInput at the first that is not right."""
    if suffix_of(file.name, file.field) != ".parquet":
        return read_rows(io.BytesIO(content), file)
    from stagecoach_trainer import parquet

    return parquet.read_rows(content, file)


def _content(source: DataSource) -> tuple[list[tuple[str, bytes]], str | None]:
    """Return a data set's files by name, and the commit when they are in a hub."""
    called = source.uri.rpartition("/")[2]
    field = f"{field_of(source)}.uri"
    if source.uri.startswith("hf://"):
        from stagecoach_trainer import hub_data

        return hub_data.read(source, field_of(source))
    with at(field):
        if source.uri.startswith("https://"):
            from stagecoach_trainer import web

            return [(called, web.read(source.uri, places.keys(source.uri), places.secret(source.uri)))], None
        store, name = places.beside(source.uri)
        try:
            return [(called, store.read(name))], None
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
        for position, row in enumerate(dataset.rows):
            for label in labels_in(row):
                if label not in known:
                    _refuse_label(dataset, position, label, labels)


def _refuse_label(dataset: Dataset, position: int, label: str, labels: tuple[str, ...]) -> None:
    row = dataset.rows[position]
    message = f"row {row.number} has the label {label[:80]!r}, which is none of the {len(labels)} labels."
    remedy = "Correct the row, or add the label to problem.labels."
    if isinstance(row, Marked):
        remedy += " Spans are learned as tags: problem.labels.values has O, and B- and I- for each label of a span."
    raise BadInput(
        Problem.of(
            "LabelUnknown",
            message,
            field=dataset.field,
            value=dataset.place(position),
            remedy=remedy,
        )
    )


def labels_of(datasets: Iterable[Dataset]) -> tuple[str, ...]:
    """Return the labels that occur, in code point order; the tags of spans as `bio` has them."""
    rows = [row for dataset in datasets for row in dataset.rows]
    spans = [span for row in rows if isinstance(row, Marked) for span in row.spans]
    if spans:
        return bio(span.label for span in spans)
    return tuple(sorted({label for row in rows for label in labels_in(row)}))


def run_labels(labels: LabelsInput | None, datasets: Iterable[Dataset]) -> tuple[str, ...]:
    """Return a run's labels: those given, or those of the data set they are taken from; none for a task without."""
    if labels is None:
        return ()
    if labels.values is not None:
        return labels.values
    return labels_of(dataset for dataset in datasets if dataset.digest == labels.from_data)
