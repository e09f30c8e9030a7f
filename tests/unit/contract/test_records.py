import pytest
from pydantic import ValidationError

from stagecoach.contract.inputs import Chunk, Combine, Ia3Method, Overflow, Tokenization
from stagecoach.contract.jobs import Split
from stagecoach.contract.records import (
    ArtifactRecord,
    BaseRecord,
    DataRecord,
    Determinism,
    Hardware,
    LossPoint,
    Record,
    Software,
    TrainingRecord,
)
from tests.unit.contract.documents import DIGEST, OWNER, SUBJECT, run_inputs


def record() -> Record:
    inputs = run_inputs()
    training = TrainingRecord(
        steps=2,
        epochs=1.0,
        effective_batch_size=8,
        warmup_steps=0,
        precision="float32",
        target_modules=("q_proj",),
        adapted_layers=1,
        frozen="all",
        trainable_parameters=1,
        total_parameters=10,
        trainable_share=0.1,
        losses=(LossPoint(step=1, loss=2.0, learning_rate=1e-3),),
        evaluations=(),
        train_loss=2.0,
        seconds=1.0,
        tokens=10,
        tokens_per_second=10.0,
        cpu_hours=0.1,
        gpu_hours=0.0,
        peak_memory_bytes=1,
    )
    return Record(
        inputs_digest=inputs.digest,
        inputs=inputs,
        project="p",
        owner=OWNER,
        subject=SUBJECT,
        attempt=1,
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:00:01Z",
        base=BaseRecord(name="b", uri="pvc://m/b", model=DIGEST, tokenizer=DIGEST, architecture="X", context=64),
        data=(DataRecord(name="d", uri="pvc://d/d.csv", split=Split.TRAIN, digest=DIGEST, examples=2, truncated=0),),
        labels=("a", "größe"),
        training=training,
        hardware=Hardware(cpu="c", threads=1, memory_bytes=1),
        software=Software(image="i", python="3", platform="p", packages={}),
        determinism=Determinism(deterministic=True, statement="s"),
        artifact=ArtifactRecord(digest=DIGEST, path="artifacts/x", bytes=1, files=()),
    )


def test_a_record_is_read_as_it_was_written() -> None:
    assert Record.model_validate_json(record().model_dump_json(by_alias=True, exclude_none=True)) == record()


def test_the_inputs_of_a_run_of_before_keep_their_digest() -> None:
    """Pinned as computed when LoRA on decoders was all there was: a record that exists must still be found."""
    assert record().inputs.digest == "sha256:658d16b88402e5eb1d3666df6d7394a74f251f1462bade501e99b28ecb958c5a"


def test_how_chunks_are_cut_decides_the_digest() -> None:
    def digest(stride: int, combine: Combine) -> str:
        chunk = Chunk(stride=stride, combine=combine)
        return run_inputs(tokenization=Tokenization(max_length=96, overflow=Overflow.CHUNK, chunk=chunk)).digest

    assert len({digest(8, Combine.MEAN), digest(16, Combine.MEAN), digest(8, Combine.MAX), run_inputs().digest}) == 4


def test_a_model_is_shared_out_among_several_processes_alone() -> None:
    assert run_inputs(processes=2, sharding="Full").digest != run_inputs(processes=2).digest
    with pytest.raises(ValidationError, match="several processes"):
        run_inputs(sharding="Full")
    with pytest.raises(ValidationError, match="decoders and some methods"):
        run_inputs(processes=2, sharding="Full", architecture="Encoder")
    with pytest.raises(ValidationError, match="decoders and some methods"):
        run_inputs(processes=2, sharding="Full", method=Ia3Method())
    factored = run_inputs(processes=2).hyperparameters.model_copy(update={"optimizer": "adafactor"})
    assert run_inputs(processes=2, hyperparameters=factored).sharding is None
    with pytest.raises(ValidationError, match="adafactor"):
        run_inputs(processes=2, sharding="Full", hyperparameters=factored)


def test_a_record_of_another_schema_is_refused() -> None:
    with pytest.raises(ValidationError, match="schemaVersion"):
        Record.model_validate(record().document() | {"schemaVersion": 2})


@pytest.mark.parametrize("adopted", [True, False])
def test_a_report_says_what_the_record_does(adopted: bool) -> None:
    report = record().report(DIGEST, adopted=adopted)
    assert (report.digest, report.record, report.adopted) == (DIGEST, DIGEST, adopted)
    assert report.record_name == "record.json"
    assert (report.train_loss, report.eval_loss, report.seconds) == (2.0, None, 1.0)
    assert report.maker == (record().maker if adopted else None)
