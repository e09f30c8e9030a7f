"""How a training saves itself, goes on where another attempt stopped, and finds its best model.

A resumed training gives the same bytes as one that nobody disturbed. transformers restores weights, optimizer,
schedule, randomness and the order of the rows; here is what it does not restore: the sums behind the loss curve, and
the evaluation at the end of an epoch, which therefore comes before the checkpoint of that step.
"""

import math
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers import Trainer, TrainerCallback

from stagecoach.contract import progress
from stagecoach.contract.records import Stretch
from stagecoach.contract.reports import Problem
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import bases, hardware, sharding
from stagecoach_trainer.checkpoints import REFUSALS, Best, Checkpoint, Checkpoints, LossSums
from stagecoach_trainer.failures import not_finite
from stagecoach_trainer.group import Members
from stagecoach_trainer.interruption import Preempted, Request, Terminated
from stagecoach_trainer.train import Prepared

# Without spec.checkpoints.everySteps: what an interruption without a warning may cost.
SAVE_SECONDS = 600.0
# Their file has this name; where processes hold parts of them, there are several, with numbers.
WEIGHTS = "trained"
SCHEDULER = "scheduler.pt"


class Meter:
    """Counts the tokens of this process, padding not counted, with those of the attempts before, and the time."""

    def __init__(self) -> None:
        self.tokens = 0
        self.started = time.monotonic()
        self.first_step = 0
        self.checkpoint: int | None = None
        self.tokens_before = 0

    def go_on(self, step: int, tokens: int) -> None:
        """Count from a checkpoint on."""
        self.first_step = self.checkpoint = step
        self.tokens = self.tokens_before = tokens

    def seconds(self) -> float:
        """Seconds of this attempt's training."""
        return time.monotonic() - self.started

    def rate(self) -> float:
        """Tokens per second in this attempt."""
        return (self.tokens - self.tokens_before) / max(1e-9, self.seconds())


class Resumable(Trainer):  # type: ignore[misc]
    """Saves and loads exactly the parameters that are trained, by their names in the model.

    PEFT's own files are for using an adapter: they hold what a prompt encoder puts out, and not what it is made of.
    """

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        progress.begins(f"saving a checkpoint after step {self.state.global_step}")
        Trainer._save_checkpoint(self, model, trial)  # TRL's would add a model card

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002 - its signature
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        parameters = trained(self.model)
        if self.shares:
            sharding.write(folder, WEIGHTS, parameters.items(), writes=self.args.should_save)
            return
        tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in parameters.items()}
        safetensors.torch.save_file(tensors, folder / f"{WEIGHTS}.safetensors")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        restore(model or self.model, Path(resume_from_checkpoint))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.shares:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        folder = Path(output_dir)
        sharding.save_optimizer(self.optimizer, folder, writes=self.args.should_save)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), folder / SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.shares:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        sharding.load_optimizer(self.optimizer, folder)
        self.lr_scheduler.load_state_dict(torch.load(folder / SCHEDULER, weights_only=True))

    @property
    def shares(self) -> bool:
        """Whether each process holds a part of what is trained."""
        return sharding.shares(trained(self.model).values())


def restore(model: Any, folder: Path) -> None:
    """Give a model the weights that were saved: all that are trained, and no others."""
    parameters = trained(model)
    missing = set(parameters)
    with torch.no_grad():
        for name, tensor in sharding.read(folder, WEIGHTS):
            if name not in missing:
                raise ValueError(f"the checkpoint in {folder} is of another model")
            parameters[name].copy_(sharding.like(tensor, parameters[name]))
            missing.remove(name)
    if missing:
        raise ValueError(f"the checkpoint in {folder} is of another model")


def trained(model: Any) -> dict[str, Any]:
    """Return the parameters that are trained, by their names."""
    sharding.settle(model)
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@dataclass(frozen=True)
class _Asked:
    """Whether any pod was asked to stop, and the index of the first of them, where there are several."""

    any: bool
    index: int | None


class Continuation(TrainerCallback):  # type: ignore[misc]
    """Decides when to save, publishes what was saved, and restores it."""

    def __init__(
        self, trainer: Any, prepared: Prepared, meter: Meter, saved: Checkpoints, request: Request, members: Members
    ) -> None:
        self._trainer = trainer
        self._job = prepared.job
        self._base = prepared.base
        self._meter = meter
        self._saved = saved
        self._request = request
        self._members = members
        self._from: Checkpoint | None = None
        self._best: Best | None = None
        self._at_epoch_end = False
        self._saved_at = time.monotonic()
        trainer.add_callback(self)

    def begin(self) -> str | None:
        """Return the folder of the checkpoint to go on from, or None to begin at step 0. The base is loaded."""
        self._check_base()
        progress.begins("looking for a checkpoint")
        found = self._found()
        if found is None:
            return None
        self._from, folder = found
        self._best = self._from.best
        self._meter.go_on(self._from.step, self._from.tokens)
        where = f"step {self._from.step}, saved by attempt {self._from.attempt}"
        print(f"going on from the checkpoint of {where}", file=sys.stderr, flush=True)
        return folder

    def _found(self) -> tuple[Checkpoint, str] | None:
        """Return the newest checkpoint and its local folder; the first process chooses it for all."""
        mine = self._saved.newest() if self._members.leads else None
        line = self._members.first("checkpoint", lambda: mine[0].line() if mine else "")
        if not line:
            return None
        chosen = Checkpoint.model_validate_json(line)
        folder = self._members.once_per_node(
            "checkpoint", lambda: str(mine[1] if mine else self._saved.fetched(chosen))
        )
        return chosen, folder

    def finish(self) -> None:
        """Bring back the best model, if that is what is to be published."""
        if self._best is None or self._best.step == self._trainer.state.global_step:
            return
        folder = self._saved.at_step(self._best.step)
        if folder is None:
            remedy = "See that the volume or object store is healthy."
            message = f"the best checkpoint, of step {self._best.step}, does not read back as it was written."
            raise StorageFailed(Problem.of("StorageCorrupts", message, remedy=remedy))
        self._trainer._load_from_checkpoint(str(folder))

    @property
    def best_step(self) -> int | None:
        """The step whose model was chosen."""
        return self._best.step if self._best else None

    def stretches(self) -> tuple[Stretch, ...]:
        """Return what was done so far, by attempt."""
        this = Stretch(
            attempt=self._job.attempt,
            first_step=self._meter.first_step,
            last_step=self._trainer.state.global_step,
            seconds=self._meter.seconds(),
        )
        return (*(self._from.stretches if self._from else ()), this)

    def cpu_hours(self) -> float:
        """CPU time of all attempts, as far as it was not lost."""
        return self._members.total(hardware.cpu_hours()) + (self._from.cpu_hours if self._from else 0.0)

    def tokens(self) -> int:
        """Tokens of all attempts and processes, as far as they were not lost."""
        before = self._meter.tokens_before
        return before + int(self._members.total(self._meter.tokens - before))

    # Called by the Trainer, in this order.

    def on_train_begin(self, args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Restore the sums behind the loss curve."""
        self._saved_at = time.monotonic()
        if self._from is not None:
            sums = self._from.sums
            own = sums.by_process[self._members.rank] if sums.by_process else sums.since_logged
            self._trainer._tr_loss = torch.tensor(own, device=args.device)
            self._trainer._total_loss_scalar = sums.logged
            self._trainer._globalstep_last_logged = sums.logged_step
            self._trainer._initial_global_step = 0

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save when it is time; at the end of an epoch only after its evaluation. The last step needs no checkpoint."""
        if state.global_step >= state.max_steps or not self._due(state.global_step):
            return
        self._at_epoch_end = float(state.epoch).is_integer()
        control.should_save = not self._at_epoch_end

    def on_evaluate(self, _args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Keep the best model. Raises WorkFailed when the loss is no number, which is never better nor worse."""
        loss = metrics["eval_loss"]
        if not math.isfinite(loss):
            raise not_finite(f"the loss of the validation data is not a finite number after step {state.global_step}.")
        if self._job.inputs.best and (self._best is None or loss < self._best.loss):
            self._best = Best(step=state.global_step, loss=loss)
            control.should_save = state.global_step < state.max_steps

    def on_epoch_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        """Save what was due at the epoch's last step; the Trainer evaluates before it saves."""
        if self._at_epoch_end:
            self._at_epoch_end, control.should_save = False, True

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """See that no pod has trained on another base: from here on only the first process is left."""
        self._check_base()

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Publish what the Trainer has written. Raises Preempted when the pod was asked to stop.

        Raises Terminated instead when the storage has refused it.
        """
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        try:
            saved = self._publish(folder, state.global_step)
        finally:
            if self._members.leads_node:
                shutil.rmtree(folder, ignore_errors=True)
        self._saved_at = time.monotonic()
        progress.begins(f"training, after step {state.global_step}")
        if (asked := self._asked()).any:
            raise Preempted(state.global_step, asked.index) if saved else Terminated(asked.index)

    def _check_base(self) -> None:
        """Raise StorageFailed when the base is not what was hashed: in any pod, for all agree on something next."""
        if self._members.leads_node:
            self._base = bases.check_unchanged(self._base)

    def _due(self, step: int) -> bool:
        """Whether to save now. Any pod may be asked to stop, and the first one's clock counts: all decide alike."""
        every = self._job.checkpoints.every_steps
        by_time = every is None and time.monotonic() - self._saved_at >= SAVE_SECONDS
        due = self._request.asked or (by_time and self._members.leads) or (every is not None and step % every == 0)
        return bool(self._members.highest(due))

    def _asked(self) -> "_Asked":
        """Return what all know together of who was asked to stop."""
        ranks = [rank for rank, asked in enumerate(self._members.each(self._request.asked)) if asked]
        return _Asked(bool(ranks), self._members.index_of(ranks[0]) if ranks else None)

    def _publish(self, folder: Path, step: int) -> bool:
        """Return whether the storage has the checkpoint: none is there of a base that is not the run's."""
        self._check_base()
        trainer = self._trainer
        since_logged = self._members.each(trainer._tr_loss.item())
        sums = LossSums(
            since_logged=since_logged[0],
            by_process=since_logged if len(since_logged) > 1 else None,
            logged=trainer._total_loss_scalar,
            logged_step=trainer._globalstep_last_logged,
        )
        checkpoint = Checkpoint(
            inputs_digest=self._job.inputs.digest,
            step=step,
            attempt=self._job.attempt,
            files=(),
            sums=sums,
            best=self._best,
            stretches=self.stretches(),
            tokens=self.tokens(),
            cpu_hours=self.cpu_hours(),
        )
        self._gather_randomness(folder)
        refused = self._members.first(f"refused/{step}", lambda: self._refused(folder, checkpoint))
        if refused:
            return False
        self._meter.checkpoint = step
        return True

    def _refused(self, folder: Path, checkpoint: Checkpoint) -> str:
        """Publish a checkpoint; return why the storage refuses it, or nothing."""
        try:
            self._saved.publish(folder, checkpoint)
        except REFUSALS as error:
            print(f"no checkpoint at step {checkpoint.step}: {error}", file=sys.stderr, flush=True)
            # A storage that is away for a moment must not end a training that needs it only at its end.
            if self.best_step == checkpoint.step and not self._request.asked:
                raise
            return str(error) or "refused"
        return ""

    def _gather_randomness(self, folder: Path) -> None:
        """Have the random numbers of all processes in the first one's folder: each has written its own on its node."""
        name = "rng_state_{}.pth"
        own = folder / name.format(self._members.rank)
        for rank, content in self._members.collect("rng", own.read_bytes).items():
            (folder / name.format(rank)).write_bytes(content)
