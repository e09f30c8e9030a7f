"""The training itself, on rows that are tokens already, and what came of it."""

import math
import resource
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import trl.trainer.utils
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from stagecoach.contract import progress
from stagecoach.contract.inputs import EMBEDDING, TAGGING, Family, FullMethod
from stagecoach.contract.records import Stretch
from stagecoach.contract.reports import Problem, Progress, ProgressLine
from stagecoach.contract.times import now
from stagecoach_trainer import bases, places, sharding
from stagecoach_trainer.checkpoints import Checkpoints
from stagecoach_trainer.continuation import Continuation, Meter, Resumable, restore, trained
from stagecoach_trainer.failures import WorkFailed, not_finite
from stagecoach_trainer.families import decoder, embedding, encoder, encoder_decoder, tagger
from stagecoach_trainer.group import ALONE, PATIENCE, Members
from stagecoach_trainer.interruption import Request
from stagecoach_trainer.tracking import Listener, Tracker
from stagecoach_trainer.train import Prepared

PROGRESS_SECONDS = 10.0
# News of a checkpoint do not wait for so long: people stop runs on it.
NEWS_SECONDS = 1.0
MAX_LOSS_POINTS = 200
# Weights that are looked at together.
PIECE = 1 << 24


@dataclass(frozen=True)
class Result:
    """A trained model and the numbers of its training."""

    model: Any
    precision: str
    steps: int
    epochs: float
    warmup_steps: int
    train_loss: float
    history: list[dict[str, float]]
    seconds: float
    tokens: int
    cpu_hours: float
    stretches: tuple[Stretch, ...]
    best_step: int | None
    exceptions: tuple[str, ...]
    processes: int = 1


class _Metered(Resumable):
    """Counts tokens and stops at the first loss that is not a number."""

    def __init__(self, meter: Meter, **options: Any) -> None:
        super().__init__(**options)
        self._meter = meter

    def training_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        self._meter.tokens += self._tokens(inputs)
        loss = super().training_step(model, inputs, *arguments, **options)
        if not torch.isfinite(loss):
            raise not_finite(f"the loss is not a finite number at step {self.state.global_step + 1}.")
        progress.made(f"training, at about step {self.state.global_step + 1}")
        return loss

    def _tokens(self, inputs: dict[str, Any]) -> int:
        return int(inputs["attention_mask"].sum())


class _Rewriting(_Metered):
    """Trains an encoder-decoder: what its decoder writes is not in what its encoder reads."""

    def _tokens(self, inputs: dict[str, Any]) -> int:
        return super()._tokens(inputs) + int((inputs["labels"] >= 0).sum())


class _Matching(_Metered):
    """Trains an encoder to make vectors, of queries and of passages apart: neither is padded to the other's length."""

    def __init__(self, *arguments: Any, pooling: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pooling = pooling
        # Columns and labels are none that the model knows.
        self.args.remove_unused_columns = False
        self.label_names = ["labels"]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        def outputs(queries: Any, passages: Any, known: Any, **_: Any) -> dict[str, Any]:
            asked, there = (embedding.vectors(model, self._pooling, texts) for texts in (queries, passages))
            return {"logits": embedding.scores(asked, there, known)}

        return super().compute_loss(outputs, inputs, *arguments, **options)

    def _tokens(self, inputs: dict[str, Any]) -> int:
        return sum(int(inputs[texts]["attention_mask"].sum()) for texts in ("queries", "passages"))


class _Writing(_Metered, SFTTrainer):  # type: ignore[misc]
    """Trains a decoder on what it writes after the prompt."""

    def __init__(self, meter: Meter, model: Any, **options: Any) -> None:
        # Of an adapter that is there already, beside quantized weights, TRL makes bfloat16: most steps would be rounded
        # away in that.
        kept = [
            (item, item.data) for item in model.parameters() if item.requires_grad and hasattr(model, "peft_config")
        ]
        super().__init__(meter, model=model, **options)
        for parameter, data in kept:
            parameter.data = data


# How models of a family are built, and what trains them.
FAMILIES = {
    Family.DECODER: (decoder.build, _Writing),
    Family.ENCODER: (encoder.build, _Metered),
    Family.ENCODER_DECODER: (encoder_decoder.build, _Rewriting),
}
# The same for tasks that have their own way with a family.
TASKS = {TAGGING: (tagger.build, _Metered), EMBEDDING: (embedding.build, _Matching)}


class _Teller(TrainerCallback):  # type: ignore[misc]
    """Prints a progress line at the start, every ten seconds and after checkpoints, and at the end.

    Between two steps it tells before the next one begins: a checkpoint of the one before has been published by then.
    """

    def __init__(self, meter: Meter, members: Members) -> None:
        self._meter = meter
        self._members = members
        self._told = 0.0
        self._checkpoint: int | None = None
        self._loss: float | None = None

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._tell(state)

    def on_log(self, _args: Any, _state: Any, _control: Any, logs: Mapping[str, float], **_: Any) -> None:
        self._loss = logs.get("loss", self._loss)

    def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        silence = NEWS_SECONDS if self._meter.checkpoint != self._checkpoint else PROGRESS_SECONDS
        if time.monotonic() - self._told >= silence:
            self._tell(state)

    def on_prediction_step(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        progress.made(f"evaluating after step {state.global_step}")

    def on_train_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._tell(state)

    def _tell(self, state: Any) -> None:
        if not self._members.leads:
            return
        self._told, self._checkpoint = time.monotonic(), self._meter.checkpoint
        done, steps = state.global_step, state.max_steps
        here = done - self._meter.first_step
        progress = Progress(
            step=done,
            steps=steps,
            percent=100 * done // max(1, steps),
            remaining_seconds=round(self._meter.seconds() / here * (steps - done)) if here else None,
            tokens_per_second=round(self._members.size * self._meter.rate(), 1) if here else None,
            loss=None if self._loss is None else round(self._loss, 4),
            checkpoint=self._meter.checkpoint,
            at=now(),
        )
        print(ProgressLine(progress=progress).line(), flush=True)


def run(
    prepared: Prepared,
    saved: Checkpoints,
    request: Request,
    members: Members = ALONE,
    tracker: Tracker | None = None,
) -> Result:
    """Train, or go on training, and return the model; to the first process alone, if there are several.

    Raises WorkFailed when a loss or a weight is not finite, BadInput when the base lacks parts, StorageFailed when it
    is not what was hashed, and Preempted once a request to stop has led to a checkpoint.
    """
    job = prepared.job
    _settle(job.threads, job.inputs.devices)
    precision = _precision(job.inputs.hyperparameters.precision, job.inputs.devices)
    meter = Meter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("once")
        trainer = _trainer(prepared, precision, meter, members)
        if tracker is not None:
            trainer.add_callback(Listener(tracker))
        members.meet()
        continuation = Continuation(trainer, prepared, meter, saved, request, members)
        folder = continuation.begin()
        meter.started = time.monotonic()
        output = trainer.train(resume_from_checkpoint=folder)
        stretches, tokens, cpu_hours = continuation.stretches(), continuation.tokens(), continuation.cpu_hours()
        ended = _gathered(trainer)
    members.part(request)
    if not math.isfinite(output.training_loss):
        raise not_finite(f"the mean loss of {output.global_step} steps is not a finite number.")
    if ended is not None and isinstance(job.inputs.method, FullMethod):
        with bases.loading(prepared.base):
            trainer.model = decoder.whole(prepared.base, job.inputs.method, precision)
        restore(trainer.model, ended)
    continuation.finish()
    _check_finite(trainer.model, continuation.best_step or output.global_step)
    return Result(
        model=trainer.model,
        precision=precision,
        steps=output.global_step,
        epochs=float(trainer.state.epoch or 0),
        warmup_steps=trainer.args.get_warmup_steps(trainer.state.max_steps),
        train_loss=output.training_loss,
        history=trainer.state.log_history,
        seconds=sum(stretch.seconds for stretch in stretches),
        tokens=tokens,
        cpu_hours=cpu_hours,
        stretches=stretches,
        best_step=continuation.best_step,
        exceptions=_exceptions(caught),
        processes=members.size,
    )


def _check_finite(model: Any, step: int) -> None:
    """Raise WorkFailed when a trained weight is no number: the loss of a step says nothing of what the step makes."""
    for name, parameter in trained(model).items():
        # In pieces: what is computed for a whole one may not fit beside the model.
        for piece in parameter.detach().flatten().split(PIECE):
            if not torch.isfinite(piece).all():
                raise not_finite(f"after step {step}, {name} holds numbers that are infinite or not a number.")
        progress.made()


def _gathered(trainer: Any) -> Path | None:
    """Have the first process write what was trained, where each holds a part of it, and return the folder.

    None keeps its part: the first process, and others that wait for it in its pod, need the memory.
    """
    if not trainer.shares:
        return None
    folder = places.scratch() / "trained"
    trainer._save(str(folder))
    sharding.let_go(trainer)
    return folder


def peak_memory() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _settle(threads: int, devices: int) -> None:
    """Fix what would make the same inputs give other bytes."""
    if devices and not torch.cuda.is_available():
        remedy = "See that the node's device plugin works and that the image's torch was built for CUDA."
        raise WorkFailed(Problem.of("GpuMissing", "the run asks for a GPU and torch sees none.", remedy=remedy))
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # By default every new tensor is filled with NaN to show reads of what was never written: half the time on a CPU.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # TRL scores only the positions that have a label where there is Triton, and all positions elsewhere. Of a row
    # here the prompt has no label, so on a CPU the output head would cost a third of the time for nothing.
    trl.trainer.utils._use_triton = lambda _device: True


def _precision(asked: str, devices: int) -> str:
    if asked != "auto":
        return asked
    return "bfloat16" if devices and torch.cuda.is_bf16_supported() else "float32"


def _trainer(prepared: Prepared, precision: str, meter: Meter, members: Members = ALONE) -> Any:
    inputs = prepared.job.inputs
    build, trains = TASKS.get(inputs.task) or FAMILIES[inputs.family]
    # First: they connect the processes, without which none can hold a part of the model.
    arguments = _arguments(prepared, precision, members.size)
    with bases.loading(prepared.base):
        parts = build(prepared, precision)
    trainer = trains(
        meter,
        model=parts.model,
        args=arguments,
        callbacks=[_Teller(meter, members)],
        **parts.options,
    )
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def _arguments(prepared: Prepared, precision: str, processes: int) -> Any:
    settings = prepared.job.inputs.hyperparameters
    rows = sum(len(encoding.examples) for encoding in prepared.train)
    per_step = settings.per_device_batch_size * settings.gradient_accumulation_steps * processes
    steps = settings.max_steps or math.ceil(rows / per_step) * (settings.epochs or 1)
    return SFTConfig(
        output_dir=str(places.scratch() / "trainer"),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.learning_rate_schedule,
        per_device_train_batch_size=settings.per_device_batch_size,
        per_device_eval_batch_size=settings.per_device_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        num_train_epochs=settings.epochs or 1,
        max_steps=settings.max_steps or -1,
        warmup_steps=_warmup(settings.warmup_ratio, steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim=settings.optimizer,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=precision == "bfloat16",
        fp16=False,
        use_cpu=not prepared.job.inputs.devices,
        gradient_checkpointing=bool(settings.gradient_checkpointing),
        packing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        eval_strategy="epoch" if prepared.validation else "no",
        save_strategy="no",
        logging_steps=math.ceil(steps / MAX_LOSS_POINTS),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        ddp_backend="gloo" if processes > 1 and not prepared.job.inputs.devices else None,
        ddp_timeout=int(PATIENCE.total_seconds()),
        # Looking for unused parameters does not go with computing activations again.
        ddp_find_unused_parameters=not settings.gradient_checkpointing if processes > 1 else None,
        dataloader_pin_memory=bool(prepared.job.inputs.devices),
        disable_tqdm=True,
        report_to=[],
    )


def _warmup(ratio: float, steps: int) -> int:
    """Return the warm-up in steps; transformers would take a ratio of 1 for one step."""
    return math.ceil(ratio * steps)


def _exceptions(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    words = {str(item.message).partition(",")[0][:200] for item in caught if "determinis" in str(item.message)}
    return tuple(sorted(words))[:20]
