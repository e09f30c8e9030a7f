"""TrainJob: from inputs that are fixed by digest to a published adapter or model and its record."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from stagecoach.contract import layout, progress, times
from stagecoach.contract.inputs import TRAINER_REVISION
from stagecoach.contract.jobs import DataSource, ImportJob, Split, TrainJob
from stagecoach.contract.profiles import Profile, Profiler
from stagecoach.contract.prompts import Encoder, Tokenizer, encoder_for
from stagecoach.contract.reports import ArtifactReport, BadInput, Problem
from stagecoach.contract.store import StorageFailed, Store, require_storage
from stagecoach_trainer import bases, encoding, interruption, lengths, lookup, matching, places, quiet, sources
from stagecoach_trainer.bases import Base
from stagecoach_trainer.checkpoints import Checkpoints, forget
from stagecoach_trainer.encoding import Encoding
from stagecoach_trainer.group import ALONE, Members
from stagecoach_trainer.sources import Dataset

CHANGED = (
    "Have the project read it again (set its annotation stagecoach.dev/requested-at) and create another run, or bring"
    " back the content that this run was made for."
)


@dataclass(frozen=True)
class Prepared:
    """A TrainJob whose inputs were read and are what they should be."""

    job: TrainJob
    base: Base
    tokenizer: Tokenizer
    encoder: Encoder
    train: tuple[Encoding, ...]
    validation: tuple[Encoding, ...]
    profile: Profile  # of the texts of all training sets
    labels: tuple[str, ...]
    started: str


def train(job: TrainJob, members: Members = ALONE) -> ArtifactReport:
    """Train unless it has been done, publish, and return what was published.

    Of several processes the first one does what is done once; the others never return, and end when it has ended.
    """
    if not members.leads:
        return _trained(prepare(job, members), members)
    storage = places.storage()
    require_storage(storage)
    clear_staging(job, storage)
    known = lookup.found(storage, job.inputs.digest, job.subject, force=job.force)
    if known is not None:
        say("the storage holds a record of these inputs: nothing is trained")
        forget(places.storage, job.inputs.digest, job.subject)
        return known
    Checkpoints(places.storage, job).clear()
    with own_staging(job, storage):
        members.at_word(lambda _: clear_staging(job, places.storage()))
        return _trained(prepare(job, members), members)


@contextmanager
def own_staging(job: TrainJob | ImportJob, storage: Store) -> Iterator[None]:
    """Let the attempt write to its staging, gone in the end, in a storage that takes it."""
    storage.probe(staging(job))
    try:
        yield
    finally:
        clear_staging(job, storage)


def staging(job: TrainJob | ImportJob) -> str:
    """Return the name of the attempt's own staging: an earlier one that was thought lost may still be ending."""
    return f"{job.subject.uid}-{job.attempt}"


def clear_staging(job: TrainJob | ImportJob, storage: Store) -> None:
    """Remove what this attempt left in staging, and those before it that were killed.

    One that was thought lost and still writes fails then, and nothing is half written: only whole files are renamed to
    their place. A later attempt's is never removed. What cannot be removed stays: the work itself is done.
    """
    with suppress(BadInput, StorageFailed):
        for name in storage.folders(layout.STAGING):
            of, _, attempt = name.rpartition("-")
            if of == job.subject.uid and attempt.isdecimal() and int(attempt) <= job.attempt:
                storage.clean(name)


def prepare(job: TrainJob, members: Members = ALONE) -> Prepared:
    """Read and check everything that decides the result. Raises BadInput."""
    started = times.now()
    check_revision(job.inputs.revision)
    check_splits(job.train, "data.train")
    say(reading := "reading data and base model")
    progress.begins(reading)
    train_sets, validation_sets = ([read_data(source) for source in group] for group in (job.train, job.validation))
    base = bases.parse(members.once_per_node("base", lambda: bases.line(read_base(job))))
    labels = labels_of(job, train_sets)
    if job.inputs.labels is not None:
        sources.check_labels([*train_sets, *validation_sets], labels)
    tokenizer = bases.load_tokenizer(base)
    encoder = encoder_for(job.inputs.family, tokenizer, job.inputs.prompt, job.inputs.tokenization)
    lengths.check(base, lengths.of(encoder, labels, getattr(job.inputs.method, "virtual_tokens", 0)))
    profiler = Profiler.of(encoder)
    progress.begins("tokenizing rows")
    encode = matching.encode if job.inputs.embeds else encoding.encode
    return Prepared(
        job,
        base,
        tokenizer,
        encoder,
        tuple(encode(dataset, encoder, profiler) for dataset in train_sets),
        tuple(encode(dataset, encoder) for dataset in validation_sets),
        profiler.profile(),
        labels,
        started,
    )


def read_data(source: DataSource) -> Dataset:
    """Return a data set as the inputs say. Raises BadInput."""
    return sources.read(source, mismatch="InputChanged", remedy=CHANGED)


def labels_of(job: TrainJob | ImportJob, trained_on: Sequence[Dataset] = ()) -> tuple[str, ...]:
    """Return the labels of the job's project: maybe of a set that is trained on, maybe of one read for them alone."""
    return sources.run_labels(job.inputs.labels, [read_data(job.labels_from)] if job.labels_from else trained_on)


def read_base(job: TrainJob | ImportJob) -> Base:
    """Return the base as the inputs say. Raises BadInput."""
    inputs = job.inputs
    return bases.read(job.base, mismatch="InputChanged", remedy=CHANGED, family=inputs.family, embeds=inputs.embeds)


def _trained(prepared: Prepared, members: Members) -> ArtifactReport:
    progress.begins("loading libraries and base model")
    # torch and all that is built on it: seconds and hundreds of megabytes, so not before it is needed.
    with quiet.importing():
        from stagecoach_trainer import artifact, loop, recording, sentences, tracking

    saved = Checkpoints(places.storage, prepared.job)
    # From here a request to stop leads to a checkpoint; once all steps are done, publishing takes no longer.
    with interruption.noted() as request, tracking.told(prepared.job, members) as tracker:
        result = loop.run(prepared, saved, request, members, tracker)
        # Now, not when it was loaded: where nothing is copied, weights are read from the files as they are needed.
        bases.check_unchanged(prepared.base)
        progress.begins("publishing")
        storage = places.storage()
        files = artifact.files(result.model, prepared.base, result.precision)
        if prepared.job.inputs.embeds:
            width, whole = result.model.config.hidden_size, not artifact.is_adapter(result.model)
            files |= sentences.files(prepared.base, prepared.job.inputs, width=width, whole=whole)
        manifest = storage.publish(files, staging(prepared.job))
        report = recording.publish(prepared, result, manifest, storage, tracker)
        forget(places.storage, prepared.job.inputs.digest, prepared.job.subject)
    return report


def check_revision(revision: int) -> None:
    """Raise BadInput when the inputs are for a trainer that computes otherwise."""
    if revision != TRAINER_REVISION:
        message = f"the run asks for trainer revision {revision}, and this image has {TRAINER_REVISION}."
        remedy = "Set the operator's trainer image to the one of its own version, and create another run."
        raise BadInput(Problem.of("RevisionDiffers", message, remedy=remedy))


def check_splits(train_sources: tuple[DataSource, ...], what: str) -> None:
    """Raise BadInput when a model that is published saw what it is judged by."""
    for source in train_sources:
        if source.split is Split.TEST:
            message = "this data set has split Test: what a model is judged by must not be seen in training."
            field = f"{what}[{source.name}]"
            remedy = "Create a run with data sets of split Train."
            raise BadInput(Problem.of("TestSplitUsed", message, field=field, value=source.name, remedy=remedy))


def say(text: str) -> None:
    """Write a line into the log."""
    print(text, file=sys.stderr, flush=True)
