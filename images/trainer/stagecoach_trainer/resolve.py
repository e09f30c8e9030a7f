"""ResolveJob: digests, labels and findings of a project's data and candidates."""

from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.inputs import Family
from stagecoach.contract.jobs import Labels, ResolveJob
from stagecoach.contract.layout import RUNS
from stagecoach.contract.prompts import encoder_for
from stagecoach.contract.reports import (
    BadInput,
    Problem,
    Resolution,
    ResolvedDataset,
    ResolvedLabels,
    ResolvedModel,
)
from stagecoach.contract.store import Store, require_storage
from stagecoach_trainer import bases, encoding, findings, lengths, matching, places, sources
from stagecoach_trainer.sources import Dataset

PINNED = "Correct the pinned digest, or bring back the content that it names."
MAX_LABELS = 500
MAX_SHOWN_LABELS = 100


def resolve(job: ResolveJob) -> Resolution:
    """Read everything that the project names. Raises BadInput at the first thing that cannot be used."""
    storage = places.storage()
    require_storage(storage)
    datasets = [sources.read(source, mismatch="DigestMismatch", remedy=PINNED) for source in job.datasets]
    rows = [dataset for dataset in datasets if not dataset.has_documents]
    labels = _labels(job.labels, rows) if job.labels else None
    family = job.architecture or Family.DECODER
    candidates = [
        bases.read(source, mismatch="DigestMismatch", remedy=PINNED, family=family, embeds=job.embeds)
        for source in job.candidates
    ]
    selected = next(base for base in candidates if base.source.name == job.selected)
    encoder = encoder_for(family, bases.load_tokenizer(selected), job.prompt, job.tokenization)
    needed = lengths.of(encoder, labels or ())
    lengths.check(selected, needed)
    encode = matching.encode if job.embeds else encoding.encode
    encodings = [encode(dataset, encoder) for dataset in rows]
    return Resolution(
        datasets=tuple(
            ResolvedDataset(name=item.source.name, digest=item.digest, examples=len(item.rows), revision=item.revision)
            for item in datasets
        ),
        labels=_resolved(labels) if labels else None,
        candidates=tuple(
            ResolvedModel(
                name=base.source.name,
                model=base.model,
                tokenizer=base.tokenizer,
                architecture=base.architecture,
                context=base.context,
                revision=base.revision,
            )
            for base in candidates
        ),
        findings=findings.find(rows, encodings, selected, needed),
        has_records=_has_records(storage),
    )


def _resolved(labels: tuple[str, ...]) -> ResolvedLabels:
    return ResolvedLabels(count=len(labels), digest=digest_of_document(list(labels)), first=labels[:MAX_SHOWN_LABELS])


def _labels(labels: Labels, datasets: list[Dataset]) -> tuple[str, ...]:
    found = _labels_of_dataset(labels.from_dataset or "", datasets) if labels.values is None else labels.values
    sources.check_labels(datasets, found)
    return found


def _labels_of_dataset(name: str, datasets: list[Dataset]) -> tuple[str, ...]:
    field = "problem.labels.fromDataset"
    dataset = next((item for item in datasets if item.source.name == name), None)
    if dataset is None:
        there = ", ".join(item.source.name for item in datasets)
        remedy = f"Name one of {there}."
        raise BadInput(
            Problem.of("UnknownDataset", "no data set has this name.", field=field, value=name, remedy=remedy)
        )
    found = sources.labels_of([dataset])
    if not 2 <= len(found) <= MAX_LABELS:
        reason = "TooFewLabels" if len(found) < 2 else "TooManyLabels"
        *_, column = dataset.source.columns.document().values()
        message = f"column {column!r} of {name} has {len(found)} different labels."
        remedy = f"Give between 2 and {MAX_LABELS} labels; is it the right column?"
        raise BadInput(Problem.of(reason, message, field=field, value=name, remedy=remedy))
    return found


def _has_records(storage: Store) -> bool:
    return any(storage.exists(f"{RUNS}/{run}/record.json") for run in storage.folders(RUNS))
