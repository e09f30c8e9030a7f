"""ImportJob: an adapter or a model that was made elsewhere is checked, brought into canonical form and recorded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from stagecoach.contract import progress
from stagecoach.contract.digests import Manifest
from stagecoach.contract.inputs import Family
from stagecoach.contract.jobs import DataSource, ImportJob, ModelSource
from stagecoach.contract.records import Imported, ImportRecord, KnownData
from stagecoach.contract.reports import ArtifactReport, BadInput, Problem
from stagecoach.contract.store import Content, StorageFailed, Store, require_storage
from stagecoach.contract.times import now
from stagecoach_trainer import bases, copies, lengths, lookup, places, pooling, quiet, sentences
from stagecoach_trainer.bases import Base
from stagecoach_trainer.failures import at, is_out_of_memory
from stagecoach_trainer.pooling import Pooling
from stagecoach_trainer.train import (
    check_revision,
    check_splits,
    clear_staging,
    labels_of,
    own_staging,
    read_base,
    say,
    staging,
)

URI = "method.uri"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# What a tokenizer does for a batch, and its version: they decide no tokens.
OF_BATCHES = ("truncation", "padding", "version")
WITHOUT_TOKENIZER = (
    "Use a base with this tokenizer; or, if what is imported belongs to the base's own, copy it without the tokenizer's"
    " files into a folder of your own."
)


@dataclass(frozen=True)
class Folder:
    """What is imported, as it lies in the pod once it was hashed."""

    job: ImportJob
    source: ModelSource
    store: Store
    path: str
    names: tuple[str, ...]
    digest: str
    commit: str | None
    pooling: str | None  # as the folder says it, of what makes vectors


@dataclass(frozen=True)
class Found:
    """What the folder turned out to hold: files in canonical form, and what the record says of them."""

    files: dict[str, Content]
    method: str
    precision: str
    parameters: int
    target_modules: tuple[str, ...] = ()
    whole_modules: tuple[str, ...] | None = None


def import_artifact(job: ImportJob) -> ArtifactReport:
    """Import unless it has been done, publish, and return what was published. Raises BadInput."""
    storage = places.storage()
    require_storage(storage)
    clear_staging(job, storage)
    known = lookup.found(storage, job.inputs.digest, job.subject, force=job.force)
    if known is not None:
        say("the storage holds a record of these inputs: nothing is imported")
        return known
    with own_staging(job, storage):
        return _imported(job, storage)


def _imported(job: ImportJob, storage: Store) -> ArtifactReport:
    started = now()
    progress.begins("reading and checking what is imported")
    check_revision(job.inputs.revision)
    check_splits(job.trained_on, "method.trainedOn")
    folder = read(job)
    base = read_base(job)
    labels = labels_of(job)
    lengths.check(base, lengths.decided(job.inputs, base, labels))
    _check_pooling(folder, base)
    _check_tokenizer(folder, base)
    _check_labels(folder, labels)
    found = _found(folder, base, labels)
    bases.check_unchanged(base)
    progress.begins("publishing")
    manifest = storage.publish(found.files, staging(job))
    # With what has loaded torch by now.
    from stagecoach_trainer import recording

    return recording.write(_record(folder, base, labels, found, manifest, started), storage, staging(job))


def read(job: ImportJob) -> Folder:
    """Hash what is imported. Raises BadInput when it is not there, or not what the run says."""
    source = ModelSource(name=job.subject.name, uri=job.source.uri, revision=job.source.revision)
    with at(URI, revision="method.revision"):
        store, commit = bases.store_of(source)
        names = _names(store, job)
        # What comes from a hub is in this pod already.
        copy = copies.of(store, job.source.uri) if commit else copies.apart(store, job.source.uri)
        pooled = _pooled(store, names, source, job) if job.inputs.embeds else None
        own = _identity(names, job, pooled)
        digest = copy.digest(own)
        if digest != job.inputs.method.source:
            message = f"what lies there has the digest {digest}, and not {job.inputs.method.source}."
            remedy = f"If it is what you mean, create a run with method.digest {digest}; or bring back what it was."
            problem = Problem.of("DigestMismatch", message, field="method.digest", value=job.source.uri, remedy=remedy)
            raise BadInput(problem)
        copy.digest([name for name in names if name in bases.TOKENIZER_FILES and name not in own])
        # Once more, of what was hashed: that decides.
        mode = _pooled(copy.local, names, source, job).mode if pooled else None
    return Folder(job, source, copy.local, copy.folder, tuple(names), digest, commit, mode)


def _names(store: Store, job: ImportJob) -> list[str]:
    try:
        return store.names()
    except FileNotFoundError:
        refuse(job, "ImportMissing", "there is no such folder.", "Correct method.uri, or put the files there.")


def _pooled(store: Store, names: list[str], source: ModelSource, job: ImportJob) -> Pooling:
    """Return how the folder says that tokens become a vector."""
    try:
        return pooling.read(store, names, source)
    except BadInput as error:
        remedy = "Import what takes the mean of all tokens or the first one, and does nothing to it but Normalize."
        refuse(job, "ImportUnusable", error.problem.message, remedy)


def _identity(names: list[str], job: ImportJob, pooled: Pooling | None) -> list[str]:
    """Return the files that what is imported consists of: the same as those that a run publishes."""
    if bases.ADAPTER not in names and bases.CONFIG not in names:
        message = f"there is neither {bases.ADAPTER} nor {bases.CONFIG}."
        refuse(job, "ImportMissing", message, "Correct method.uri, or put the files there.")
    if bases.ADAPTER not in names:
        own = [name for name in names if bases.is_model_file(name)]
        tokenizer = [name for name in names if name in bases.TOKENIZER_FILES] if pooled else []
        return [*own, *_beside(names, pooled), *tokenizer]
    if bases.CONFIG in names:
        message = f"there are both {bases.ADAPTER} and {bases.CONFIG}, and which is meant is not said."
        refuse(job, "ImportUnusable", message, "Put the adapter, or the whole model, into a folder of its own.")
    if ADAPTER_WEIGHTS not in names:
        others = (
            ", ".join(name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))) or "nothing like it"
        )
        message = f"there is no {ADAPTER_WEIGHTS}; there is {others}, and what may hold code is never read."
        remedy = "Load the adapter where you trust it, and save it again with save_pretrained."
        refuse(job, "ImportUnusable", message, remedy)
    return [bases.ADAPTER, ADAPTER_WEIGHTS, *_beside(names, pooled)]


def _beside(names: list[str], pooled: Pooling | None) -> list[str]:
    """Return the files of sentence-transformers that a run publishes beside what makes vectors."""
    return [*pooled.files, *(name for name in sentences.SETTINGS if name in names)] if pooled else []


def _check_pooling(folder: Folder, base: Base) -> None:
    """Refuse vectors that are made otherwise than the base's: what compares, or serves, makes both in one way."""
    if folder.pooling is None or base.pooling is None or folder.pooling == base.pooling:
        return
    unsaid = pooling.MODULES not in folder.names
    how = f"as it is where no {pooling.MODULES} says otherwise" if unsaid else f"as its {pooling.MODULES} says"
    message = (
        f"a text's vector is the {pooling.WORDS[folder.pooling]}, {how}, and of the base {base.source.name} it is the"
        f" {pooling.WORDS[base.pooling]}."
    )
    remedy = "Name a base with the same pooling in base.candidate; add it to the project if it is not there."
    if unsaid:
        files = f"the base's {pooling.MODULES} and pooling"
        remedy = f"If it was trained with that of the base, copy {files} beside it. Else: {remedy}"
    refuse(folder.job, "ImportUnfit", message, remedy)


def _check_tokenizer(folder: Folder, base: Base) -> None:
    """Refuse a tokenizer that does not make the base's tokens. In what form it was saved is no matter."""
    if not set(folder.names) & bases.TOKENIZER_FILES:
        return
    try:
        bases.check_tokenizer(folder.store, list(folder.names), folder.source)
        brought = bases.load_tokenizer(replace(base, source=folder.source, folder=folder.path))
    except BadInput as error:
        refuse(folder.job, "TokenizerDiffers", error.problem.message, WITHOUT_TOKENIZER)
    if odd := _differences(brought, bases.load_tokenizer(base)):
        message = f"its tokenizer is not that of the base {base.source.name}: they differ in {', '.join(odd)}."
        refuse(folder.job, "TokenizerDiffers", message, WITHOUT_TOKENIZER)


def _differences(brought: Any, own: Any) -> list[str]:
    """Return what decides tokens and is not the same; what the brought one does not say is no difference."""
    one, other = (json.loads(each.backend_tokenizer.to_str()) for each in (brought, own))
    parts = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
    words = [
        name for name in ("chat_template", "eos_token") if getattr(brought, name) not in (None, getattr(own, name))
    ]
    return [part for part in parts if part not in OF_BATCHES] + words


def _check_labels(folder: Folder, labels: tuple[str, ...]) -> None:
    """Refuse a head whose rows are, or may be, for other labels than the project's."""
    stated = folder.job.inputs.method.labels
    if stated == labels:
        return
    if stated is not None:
        message = f"{', '.join(stated)[:200]} are not the project's labels in their order."
        remedy = "set problem.labels.values to the order of what is imported, or import something else."
    elif bases.ADAPTER in folder.names and has_head(folder.job):
        message = "an adapter brings its head, and nothing in it says which label each row of that is for."
        remedy = "give the labels of the head in the order of its training (id2label)."
    else:
        return
    value, those = ", ".join(stated or ()), f"The project's labels are {', '.join(labels)[:200]}: "
    problem = Problem.of("ImportUnfit", message, field="method.labels", value=value, remedy=those + remedy)
    raise BadInput(problem)


def has_head(job: ImportJob) -> bool:
    """Whether such a model chooses labels by a head of its own."""
    return job.inputs.family is Family.ENCODER and not job.inputs.embeds


def _found(folder: Folder, base: Base, labels: tuple[str, ...]) -> Found:
    # torch: seconds and hundreds of megabytes, so not before it is needed.
    if bases.ADAPTER in folder.names:
        with quiet.importing():
            from stagecoach_trainer import foreign_adapter

        return foreign_adapter.found(folder, base, labels)
    with quiet.importing():
        from stagecoach_trainer import foreign_model

    return foreign_model.found(folder, base, labels)


def check_finite(job: ImportJob, tensors: dict[str, Any]) -> str:
    """Return the number format of weights. Raises BadInput when it is none that is served, or a number is none."""
    import torch

    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    kinds = {tensor.dtype for tensor in floats.values()}
    if len(kinds) != 1 or not kinds <= {torch.float32, torch.bfloat16, torch.float16}:
        named = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds)) or "no numbers"
        message = f"its weights are {named}, and have to be all of float32, of bfloat16 or of float16."
        refuse(job, "ImportUnusable", message, "Load it, convert it with .to(torch.bfloat16), and save it again.")
    for name, tensor in floats.items():
        if not bool(torch.isfinite(tensor).all()):
            message = f"{name} holds numbers that are infinite or not a number."
            refuse(job, "NotFinite", message, "Take a checkpoint from before its training went wrong.")
    return str(kinds.pop()).removeprefix("torch.")


def refuse(job: ImportJob, reason: str, message: str, remedy: str) -> NoReturn:
    """Raise BadInput for what is imported."""
    raise BadInput(Problem.of(reason, message, field=URI, value=job.source.uri, remedy=remedy))


@contextmanager
def loading(job: ImportJob, message: str, remedy: str, reason: str = "ImportUnusable") -> Iterator[None]:
    """Refuse what a library fails at, whatever error it has for that. Want of memory is not the files' fault."""
    try:
        yield
    except (BadInput, StorageFailed):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        refuse(job, reason, f"{message}: {error}", remedy)


def _record(
    folder: Folder, base: Base, labels: tuple[str, ...], found: Found, manifest: Manifest, started: str
) -> ImportRecord:
    from stagecoach_trainer import hardware, recording

    job = folder.job
    return ImportRecord(
        inputs_digest=job.inputs.digest,
        inputs=job.inputs,
        project=job.project,
        owner=job.owner,
        subject=job.subject,
        attempt=job.attempt,
        started=started,
        finished=now(),
        base=recording.base_record(base),
        labels=labels,
        software=hardware.software(job.image),
        artifact=recording.artifact_record(manifest, whole=found.method == "Full"),
        imported=Imported(
            uri=job.source.uri,
            revision=folder.commit,
            source=folder.digest,
            method=found.method,
            target_modules=found.target_modules,
            whole_modules=found.whole_modules,
            parameters=found.parameters,
            precision=found.precision,
            trained_on=_known(job),
        ),
    )


def _known(job: ImportJob) -> Any:
    if job.inputs.method.trained_on is None:
        return "Unknown"
    return tuple(_named(source) for source in job.trained_on)


def _named(source: DataSource) -> KnownData:
    return KnownData(
        name=source.name,
        uri=source.uri,
        revision=source.revision,
        hub=source.hub,
        split=source.split,
        digest=source.digest or "",
    )
