"""Checkpoints of a training in the project's storage: published whole or not at all, verified before they are used."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from stagecoach.contract import layout
from stagecoach.contract.digests import Digest, FileEntry
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.model import ContractModel
from stagecoach.contract.records import Stretch
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import places


class LossSums(ContractModel):
    """The Trainer's sums, which it does not save itself: without them the loss curve would have other points."""

    since_logged: float
    logged: float
    logged_step: int


class Best(ContractModel):
    """The evaluation with the lowest loss so far."""

    step: int
    loss: float


class Checkpoint(ContractModel):
    """A training after a step. The Trainer's own files have weights, optimizer, schedule, randomness and history."""

    inputs_digest: Digest
    step: int
    attempt: int
    files: tuple[FileEntry, ...]
    sums: LossSums
    best: Best | None = None
    stretches: tuple[Stretch, ...] = Field(description="What was done so far, by attempt.")
    tokens: int
    cpu_hours: float

    @property
    def name(self) -> str:
        """Its name among the run's checkpoints."""
        return f"step-{self.step}.{self.attempt}"


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, storage: Store, job: TrainJob) -> None:
        self._storage = storage
        self._job = job
        self._folder = layout.checkpoints_folder(job.inputs.digest, job.subject.uid)
        self._staging = f"{job.subject.uid}-{job.attempt}"

    def publish(self, folder: Path, checkpoint: Checkpoint) -> None:
        """Copy the Trainer's folder into the storage and prune: the manifest comes last. Raises StorageFailed."""
        self._drop(checkpoint.name)
        entries = []
        for path in sorted(folder.iterdir()):
            with path.open("rb") as stream:
                target = f"{self._folder}/{checkpoint.name}/{path.name}"
                entries.append(self._storage.copy_in(target, stream, self._staging))
        complete = checkpoint.model_copy(update={"files": tuple(entries)})
        self._storage.write(f"{self._folder}/{complete.name}.json", complete.line().encode(), self._staging)
        self._prune(complete)

    def newest(self) -> tuple[Checkpoint, Path] | None:
        """Return the newest checkpoint that is whole, and the local folder to which it was copied.

        One whose best is damaged is of no use: the run could not publish what it has to.
        """
        for checkpoint in self._known():
            folder = self._verified(checkpoint)
            if folder is not None and (checkpoint.best is None or self.at_step(checkpoint.best.step) is not None):
                return checkpoint, folder
            print(f"checkpoint {checkpoint.name} is damaged: an older one is looked for", file=sys.stderr, flush=True)
        return None

    def at_step(self, step: int) -> Path | None:
        """Return the local folder of a whole checkpoint of this step, or None."""
        folders = (self._verified(checkpoint) for checkpoint in self._known() if checkpoint.step == step)
        return next((folder for folder in folders if folder is not None), None)

    def remove(self) -> None:
        """Remove all checkpoints of these inputs, those of other runs too: the record is there.

        What cannot be removed stays: the work itself is done.
        """
        with suppress(StorageFailed):
            self._storage.remove(layout.checkpoints_folder(self._job.inputs.digest))

    def _known(self) -> Iterator[Checkpoint]:
        """Return what has a manifest, the newest first."""
        if not self._storage.exists(self._folder):
            return iter(())
        found = []
        for name in self._storage.names(self._folder):
            try:
                checkpoint = Checkpoint.model_validate_json(self._storage.read(f"{self._folder}/{name}"))
            except (FileNotFoundError, ValidationError):
                continue  # removed by another attempt, or damaged
            if checkpoint.inputs_digest == self._job.inputs.digest and f"{checkpoint.name}.json" == name:
                found.append(checkpoint)
        return iter(sorted(found, key=lambda item: (item.step, item.attempt), reverse=True))

    def _verified(self, checkpoint: Checkpoint) -> Path | None:
        """Copy a checkpoint to the scratch folder, hashing it on the way; None when it is not what was written."""
        local = places.scratch() / "checkpoints" / checkpoint.name
        local.mkdir(parents=True, exist_ok=True)
        for entry in checkpoint.files:
            try:
                with (local / entry.path).open("wb") as target:
                    found = self._storage.copy_out(f"{self._folder}/{checkpoint.name}/{entry.path}", target)
            except FileNotFoundError:
                return None
            if found != entry:
                return None
        return local

    def _prune(self, newest: Checkpoint) -> None:
        """Keep the newest ones and the best one. What cannot be removed now is tried again after the next one."""
        best = newest.best.step if newest.best else None
        with suppress(StorageFailed):
            for checkpoint in list(self._known())[self._job.checkpoints.keep :]:
                if checkpoint.step != best:
                    self._drop(checkpoint.name)

    def _drop(self, name: str) -> None:
        # The manifest goes first: without it nobody takes what is left for a checkpoint.
        self._storage.remove(f"{self._folder}/{name}.json")
        self._storage.remove(f"{self._folder}/{name}")
