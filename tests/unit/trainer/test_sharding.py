"""Trainings of models of which each of several processes holds a part."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Freeze, FullMethod, Method
from stagecoach.contract.jobs import Checkpoints, TrainJob
from stagecoach.contract.records import Record
from stagecoach.contract.reports import BadInput
from tests.unit.contract.documents import METHOD, run_inputs

from .conftest import Project, record_of, save_model
from .test_checkpoints import attempt, first_steps, saved
from .test_groups import KILLED, TWO_EPOCHS, codes, grouped, nearly_the_same, pods

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

# In the middle of the training, each process holds a part of the base, and the parts are the whole.
PARTS = """parts = [p.to_local().numel() for p in trainer.model.parameters() if hasattr(p, 'to_local')]
        whole = sum(p.numel() for n, p in trainer.model.named_parameters() if 'lora' not in n)
        assert 0.49 * whole < sum(parts) < 0.51 * whole, (sum(parts), whole)"""

# When the whole model is loaded, nothing is left of the one that was trained.
NOTHING_KEPT = """
        import gc
        from torch.distributed.fsdp import FSDPModule
        from torch.distributed.tensor import DTensor
        from stagecoach_trainer.families import decoder
        def whole(*arguments, load=decoder.whole):
            kept = [type(each) for each in gc.get_objects() if issubclass(type(each), (DTensor, FSDPModule))]
            assert not kept, kept
            return load(*arguments)
        decoder.whole = whole"""


def sharded(job: TrainJob, number: int = 1) -> TrainJob:
    """Return the job for two processes of a pod, each with a part of the model."""
    together = grouped(job, 1, 2)
    inputs = together.inputs.model_copy(update={"sharding": "Full"})
    return together.model_copy(update={"inputs": inputs, "attempt": number})


def jobs(project: Project, method: Method, **changes: Any) -> tuple[TrainJob, TrainJob]:
    """Return a job for one process, and one of as many rows in a step for processes that have half of them each."""
    settings = TWO_EPOCHS | changes
    alone, half = (
        project.train_job(method=method, settings=settings | {"per_device_batch_size": rows}) for rows in (8, 4)
    )
    return alone, half


def best(job: TrainJob) -> TrainJob:
    """Return the job with its best model to be published."""
    return job.model_copy(update={"inputs": job.inputs.model_copy(update={"best": "eval_loss"})})


def weights(project: Project, record: Record) -> dict[str, Any]:
    import safetensors.torch

    folder = Path(project.storage.path(f"artifacts/sha256/{record.artifact.digest[7:]}"))
    found: dict[str, Any] = {}
    for path in folder.glob("*.safetensors"):
        found |= safetensors.torch.load_file(path)
    return found


def nearly_the_same_artifact(project: Project, one: Record, other: Record) -> None:
    """Check that two artifacts are alike but for the order in which numbers were added."""
    nearly_the_same(one, other)
    assert [(file.path, file.size) for file in one.artifact.files] == [
        (file.path, file.size) for file in other.artifact.files
    ]
    nearly_the_same_weights(project, one, other)


def nearly_the_same_weights(project: Project, one: Record, other: Record) -> None:
    mine, others = weights(project, one), weights(project, other)
    assert mine.keys() == others.keys()
    for name, tensor in mine.items():
        assert (tensor.shape, tensor.dtype) == (others[name].shape, others[name].dtype)
        assert (tensor - others[name]).abs().max() < 1e-4, name


def test_a_sharded_model_that_was_interrupted_is_what_one_process_makes(real: Project) -> None:
    # Its output head shares the embeddings, and after an evaluation they are still gathered when it is saved.
    save_model(real.root / "pvc" / "models" / "tiny", vocab_size=260, tie_word_embeddings=True)
    alone, half = jobs(real, FullMethod(freeze=Freeze(embeddings=False, layers=1)))
    half = half.model_copy(update={"checkpoints": Checkpoints(every_steps=1, keep=1)})
    ended = pods(real, sharded(half), KILLED, step=2)
    assert codes(ended) != [0], ended[0].output
    assert saved(real, sharded(half)) == ["step-2.1"]
    again = sharded(half, number=2)
    ended = pods(real, again, PARTS + NOTHING_KEPT, step=3, rank=0)
    assert codes(ended) == [0], ended[0].output
    record = record_of(real, again)
    assert first_steps(record) == [0, 2]
    assert saved(real, again) == []
    attempt(real, alone)
    nearly_the_same_artifact(real, record, record_of(real, alone))
    losses = [point.loss for point in record.training.losses]
    assert losses[-1] < losses[0]
    assert "its gradient and its optimizer's state each of the 2 processes" in str(record.training.sharding)
    assert record.inputs.sharding == "Full"
    config = real.storage.read(f"artifacts/sha256/{record.artifact.digest[7:]}/config.json")
    assert "distributed_config" not in json.loads(config)


def test_the_best_of_a_sharded_model_is_published_though_an_attempt_ended_after_it(
    real: Project, overfitting: dict[str, Any]
) -> None:
    alone, half = (best(job) for job in jobs(real, FullMethod(), **overfitting, epochs=10))
    attempt(real, alone)
    expected = record_of(real, alone)
    losses = {point.step: point.loss for point in expected.training.evaluations}
    lowest = min(losses, key=losses.__getitem__)
    assert lowest < expected.training.steps - 4, losses
    half = half.model_copy(update={"checkpoints": Checkpoints(every_steps=1, keep=1)})
    ended = pods(real, sharded(half), KILLED, step=lowest + 2)
    assert codes(ended) != [0], ended[0].output
    assert saved(real, sharded(half)) == sorted([f"step-{lowest}.1", f"step-{lowest + 2}.1"])
    again = sharded(half, number=2)
    ended = pods(real, again)
    assert codes(ended) == [0], ended[0].output
    record = record_of(real, again)
    assert (first_steps(record), record.training.best_step) == ([0, lowest + 2], lowest)
    nearly_the_same_artifact(real, record, expected)


def test_an_adapter_of_a_sharded_base_is_what_one_process_makes(real: Project) -> None:
    alone, half = jobs(real, METHOD)
    together = sharded(half)
    ended = pods(real, together, PARTS, step=1)
    assert codes(ended) == [0], ended[0].output
    attempt(real, alone)
    record = record_of(real, together)
    nearly_the_same_artifact(real, record, record_of(real, alone))
    assert "each held the whole adapter" in str(record.training.sharding)
    assert record.training.total_parameters == record_of(real, alone).training.total_parameters


def base_of(folder: Path, config: Any) -> Any:
    from stagecoach.contract.jobs import ModelSource
    from stagecoach_trainer.bases import Base

    config.save_pretrained(folder)
    source = ModelSource(name="tiny", uri="pvc://models/tiny")
    return Base(source, str(folder), model="", tokenizer="", architecture=type(config).__name__, context=64)


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(vocab_size=259, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, architectures=["LlamaForCausalLM"], **changes)  # fmt: skip


def gpt2() -> Any:
    from transformers import GPT2Config

    return GPT2Config(vocab_size=260, n_embd=32, n_layer=2, n_head=4, architectures=["GPT2LMHeadModel"])


CASES: list[tuple[Any, Method, int, str | None]] = [
    (llama, METHOD, 2, None),
    (llama, FullMethod(), 2, None),
    (lambda: llama(tie_word_embeddings=True), FullMethod(), 2, "lm_head.weight is used in two places"),
    (lambda: llama(tie_word_embeddings=True), FullMethod(), 7, None),
    (lambda: llama(tie_word_embeddings=True), FullMethod(freeze=Freeze(embeddings=True, layers=0)), 2, None),
    (lambda: llama(tie_word_embeddings=True), METHOD, 2, None),
    (gpt2, METHOD, 2, "finds no layers in it"),
]


@pytest.mark.parametrize(("config", "method", "processes", "refused"), CASES)
def test_what_cannot_be_shared_out_rightly_is_refused(
    tmp_path: Path, config: Any, method: Method, processes: int, refused: str | None
) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import sharding

    base = base_of(tmp_path, config())
    inputs = run_inputs(method=method, processes=processes, sharding="Full")
    if refused is None:
        assert sharding.options(inputs, base, "float32")["distributed_config"].fsdp_size == processes
        return
    with pytest.raises(BadInput) as error:
        sharding.options(inputs, base, "float32")
    assert error.value.problem.reason == "ShardingUnsuited"
    assert refused in error.value.problem.message


def test_without_it_a_base_is_loaded_as_ever(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import sharding

    nowhere = replace(base_of(tmp_path, llama()), folder="nowhere")
    assert sharding.options(run_inputs(processes=2), nowhere, "float32") == {}


GIB = 2**30
# The weights of llama(): embeddings and output head, what is in two layers, and the last normalization.
WEIGHTS = 2 * 259 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32) + 32


@pytest.mark.parametrize(
    ("method", "precision", "limit", "refused"),
    [
        (FullMethod(), "float32", GIB + 4 * WEIGHTS, False),
        (FullMethod(), "float32", GIB + 4 * WEIGHTS - 1, True),
        (FullMethod(), "bfloat16", GIB + 2 * WEIGHTS, False),
        (FullMethod(), "bfloat16", GIB + 2 * WEIGHTS - 1, True),
        (METHOD, "float32", GIB, False),
    ],
)
def test_a_model_that_would_not_fit_when_it_is_published_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method, precision: str, limit: int, refused: bool
) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import cgroup, sharding

    monkeypatch.setattr(cgroup, "memory_limit", lambda: limit)
    inputs = run_inputs(method=method, processes=2, sharding="Full")
    base = base_of(tmp_path, llama())
    if not refused:
        assert sharding.options(inputs, base, precision)
        return
    with pytest.raises(BadInput) as error:
        sharding.options(inputs, base, precision)
    problem = error.value.problem
    assert (problem.reason, problem.field, problem.value) == ("MemoryTooSmall", "resources.memory", "1.0Gi")
    assert "2Gi or more" in str(problem.remedy)
    assert ("precision bfloat16" in str(problem.remedy)) is (precision == "float32")


def test_tensors_are_written_in_files_of_limited_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import sharding

    monkeypatch.setattr(sharding, "PART_BYTES", 64)
    tensors = {name: torch.full((8,), float(number)) for number, name in enumerate("edcba")}
    sharding.write(tmp_path, "w", tensors.items(), writes=False)
    assert list(tmp_path.iterdir()) == []
    sharding.write(tmp_path, "w", tensors.items(), writes=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"w-0000{number}.safetensors" for number in range(3)]
    found = dict(sharding.read(tmp_path, "w"))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
