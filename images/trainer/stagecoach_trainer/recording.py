"""The record of a run, and its card for people: what stage 4 of the workflow asks to be kept."""

from typing import Any

import torch

from stagecoach.contract import layout
from stagecoach.contract.digests import Manifest
from stagecoach.contract.inputs import FullMethod, Method, RunInputs
from stagecoach.contract.records import (
    ArtifactRecord,
    BaseRecord,
    DataRecord,
    Determinism,
    EvalPoint,
    LossPoint,
    ProfileRecord,
    Record,
    RunRecord,
    TrainingRecord,
)
from stagecoach.contract.reports import ArtifactReport
from stagecoach.contract.retention import project_uid
from stagecoach.contract.store import Store
from stagecoach.contract.times import now
from stagecoach_trainer import artifact, card, curve, hardware, import_card, lookup, sharding, tracking
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import freezing, quantized
from stagecoach_trainer.loop import Result, peak_memory
from stagecoach_trainer.tracking import Tracker
from stagecoach_trainer.train import Prepared, staging

FROZEN = "Every weight of the base model; only the adapter's matrices were trained."
FROZEN_BUT = "Every weight of the base model; only the adapter's matrices and the modules {} were trained."
DETERMINISTIC = (
    "The same inputs give the same bytes on the same CPU or GPU model with the same number of threads and the same"
    " library versions: all randomness is seeded and only deterministic operations ran."
)
ORDER = (
    "Every pass shuffles all rows by the seed and deals batches of {rows} to the {processes} processes in turn, the"
    " first one to process 0. The last round of a pass is filled up with rows from its beginning. Gradients are"
    " means over the tokens, or rows, of all processes."
)
CHUNKS_OF_LABELS = (
    "Every chunk is an example with the label of its row, and counts as much as any other: a row counts as often as it"
    " has chunks, in training, in the losses and in balanced class weights."
)
CHUNKS_OF_TAGS = (
    "Every token that has a tag counts once: one that is in two chunks is learned in the one in which it is further"
    " from an end of the chunk."
)
NOT_DETERMINISTIC = "Some operations have no deterministic form: the same inputs may give slightly different weights."


def publish(
    prepared: Prepared, result: Result, manifest: Manifest, storage: Store, tracker: Tracker | None = None
) -> ArtifactReport:
    """Write profile, loss curve, card and record, the record last, and return what to report."""
    job = prepared.job
    record = build(prepared, result, manifest, _with_profile(prepared, storage))
    if tracker is not None:
        record = record.model_copy(update={"tracking": tracker.settle()})
    report = write(record, storage, staging(job))
    if tracker is None:
        return report
    return report.model_copy(update={"tracking": tracking.finished(tracker, record, report)})


def _with_profile(prepared: Prepared, storage: Store) -> ProfileRecord:
    """Write the profile and return where it is: beside one that a trainer of another version has counted otherwise."""
    inputs, content = prepared.job.inputs.digest, (prepared.profile.line() + "\n").encode()
    place, digest = layout.profile_file(inputs), lookup.digest_of_content(content)
    if not storage.create(place, content, staging(prepared.job)) and storage.read(place) != content:
        place = layout.profile_file(inputs, digest)
        storage.write(place, content, staging(prepared.job))
    return ProfileRecord(path=place, digest=digest)


def write(record: RunRecord, storage: Store, uid: str) -> ArtifactReport:
    """Write a record, after its card, and return what to report. None that is there is ever replaced."""
    record = record.model_copy(update={"project_uid": project_uid()})
    content = (record.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n").encode()
    digest, place = lookup.digest_of_content(content), layout.record_file(record.inputs_digest)
    if not storage.exists(place):
        _write_card(record, layout.RECORD, storage, uid)
        if storage.create(place, content, uid) or (first := storage.read(place)) == content:
            return record.report(digest, adopted=False)
        # Another one, in another cluster, was faster since that look, and may have its card replaced by this one's.
        if (faster := lookup.parsed(first, record.inputs_digest)) is not None:
            _write_card(faster, layout.RECORD, storage, uid)
    name = layout.record_name(digest)
    _write_card(record, name, storage, uid)
    storage.write(layout.record_file(record.inputs_digest, name), content, uid)
    return record.report(digest, name, adopted=False)


def _write_card(record: RunRecord, name: str, storage: Store, uid: str) -> None:
    """Write the card of the record that has this name, or is to have it, and the picture in it."""
    folder = layout.run_folder(record.inputs_digest)
    if isinstance(record, Record):
        picture = layout.beside(name, card.CURVE)
        storage.write(f"{folder}/{picture}", curve.svg(record.training), uid)
        text = card.text(record, picture)
    else:
        text = import_card.text(record)
    storage.write(f"{folder}/{layout.beside(name, card.NAME)}", text.encode(), uid)


def build(prepared: Prepared, result: Result, manifest: Manifest, profile: ProfileRecord) -> Record:
    """Return the record of a training."""
    job = prepared.job
    return Record(
        inputs_digest=job.inputs.digest,
        inputs=job.inputs,
        project=job.project,
        owner=job.owner,
        subject=job.subject,
        attempt=job.attempt,
        started=prepared.started,
        finished=now(),
        base=base_record(prepared.base),
        data=_data(prepared),
        labels=prepared.labels,
        training=_training(prepared, result),
        hardware=hardware.hardware(job.threads, job.inputs.devices, job.group.nodes if job.group else 1),
        software=hardware.software(job.image),
        determinism=Determinism(
            deterministic=not result.exceptions,
            statement=NOT_DETERMINISTIC if result.exceptions else DETERMINISTIC,
            exceptions=result.exceptions,
        ),
        artifact=artifact_record(manifest, whole=not artifact.is_adapter(result.model)),
        profile=profile,
    )


def artifact_record(manifest: Manifest, *, whole: bool) -> ArtifactRecord:
    """Return what a record says of what was published: a whole model, or an adapter."""
    return ArtifactRecord(
        digest=manifest.digest,
        path=layout.artifact_folder(manifest.digest),
        type="Model" if whole else "Adapter",
        bytes=manifest.size,
        files=manifest.files,
    )


def base_record(base: Base) -> BaseRecord:
    """Return what a record says of the base."""
    return BaseRecord(
        name=base.source.name,
        uri=base.source.uri,
        revision=base.revision,
        license=base.source.license,
        model=base.model,
        tokenizer=base.tokenizer,
        architecture=base.architecture,
        context=base.context,
        pooling=base.pooling,
    )


def _data(prepared: Prepared) -> tuple[DataRecord, ...]:
    in_chunks = prepared.job.inputs.tokenization.chunk is not None
    return tuple(
        DataRecord(
            name=encoding.dataset.source.name,
            uri=encoding.dataset.source.uri,
            revision=encoding.dataset.revision,
            hub=encoding.dataset.source.hub,
            split=encoding.dataset.source.split,
            digest=encoding.dataset.digest,
            examples=len(encoding.dataset.rows),
            truncated=encoding.truncated,
            chunked=encoding.chunked if in_chunks else None,
            chunks=encoding.chunks if in_chunks else None,
        )
        for encoding in (*prepared.train, *prepared.validation)
    )


def _weighting(inputs: RunInputs) -> str | None:
    if inputs.tokenization.chunk is None:
        return None
    return CHUNKS_OF_TAGS if inputs.tags else CHUNKS_OF_LABELS


def _training(prepared: Prepared, result: Result) -> TrainingRecord:
    settings, devices = prepared.job.inputs.hyperparameters, prepared.job.inputs.devices
    trained, total = _parameters(result.model)
    evaluations = _evaluations(result)
    return TrainingRecord(
        steps=result.steps,
        epochs=result.epochs,
        effective_batch_size=settings.per_device_batch_size * settings.gradient_accumulation_steps * result.processes,
        processes=result.processes if result.processes > 1 else None,
        data_order=ORDER.format(rows=settings.per_device_batch_size, processes=result.processes)
        if result.processes > 1
        else None,
        sharding=sharding.told(prepared.job.inputs, adapter=artifact.is_adapter(result.model)),
        weighting=_weighting(prepared.job.inputs),
        warmup_steps=result.warmup_steps,
        precision=result.precision,
        quantization=quantized.told(result.model, result.precision),
        target_modules=artifact.target_modules(result.model),
        adapted_layers=len(getattr(result.model, "targeted_module_names", ())),
        whole_modules=artifact.whole_modules(result.model),
        frozen=_frozen(prepared.job.inputs.method, result.model),
        trainable_parameters=trained,
        total_parameters=total,
        trainable_share=trained / total,
        losses=_losses(result),
        evaluations=evaluations,
        train_loss=result.train_loss,
        eval_loss=_published_loss(evaluations, result.best_step),
        best_step=result.best_step,
        stretches=result.stretches,
        seconds=result.seconds,
        tokens=result.tokens,
        tokens_per_second=result.tokens / max(1e-9, result.seconds),
        cpu_hours=result.cpu_hours,
        gpu_hours=devices * result.seconds / 3600,
        peak_memory_bytes=peak_memory(),
        peak_gpu_memory_bytes=torch.cuda.max_memory_allocated() if devices else None,
    )


def _published_loss(evaluations: tuple[EvalPoint, ...], best_step: int | None) -> float | None:
    losses = [point.loss for point in evaluations if best_step in (None, point.step)]
    return losses[-1] if losses else None


def _frozen(method: Method, model: Any) -> str:
    if isinstance(method, FullMethod):
        return freezing.told(model, method.freeze)
    whole = artifact.whole_modules(model)
    return FROZEN_BUT.format(", ".join(whole)) if whole else FROZEN


def _parameters(model: Any) -> tuple[int, int]:
    counts = [(quantized.size(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return sum(count for count, trained in counts if trained), sum(count for count, _ in counts)


def _losses(result: Result) -> tuple[LossPoint, ...]:
    return tuple(
        LossPoint(step=int(entry["step"]), loss=entry["loss"], learning_rate=entry["learning_rate"])
        for entry in result.history
        if "loss" in entry and "learning_rate" in entry
    )


def _evaluations(result: Result) -> tuple[EvalPoint, ...]:
    return tuple(
        EvalPoint(step=int(entry["step"]), epoch=entry["epoch"], loss=entry["eval_loss"])
        for entry in result.history
        if "eval_loss" in entry
    )
