"""Checkpoints of a training in the project's storage: published whole or not at all, verified before they are used."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from stagecoach.contract import layout
from stagecoach.contract.digests import Digest, FileEntry, file_entry
from stagecoach.contract.jobs import Subject, TrainJob
from stagecoach.contract.model import ContractModel
from stagecoach.contract.records import Stretch
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.retention import ended_runs, project_uid
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import copies, places

# What a storage refuses. Its keys may be renewed while a training goes on, so even wrong ones are no reason to end it.
REFUSALS = (BadInput, StorageFailed)


class LossSums(ContractModel):
    """The Trainer's sums, which it does not save itself: without them the loss curve would have other points."""

    since_logged: float
    by_process: tuple[float, ...] | None = Field(None, description="The same of each process, where there are several.")
    logged: float
    logged_step: int


class Best(ContractModel):
    """The evaluation with the lowest loss so far."""

    step: int
    loss: float


class Checkpoint(ContractModel):
    """A training after a step. The Trainer's own files have weights, optimizer, schedule, randomness and history."""

    inputs_digest: Digest
    project_uid: str | None = Field(None, description="Whose run wrote it, for retention.")
    run: str | None = Field(None, description="Name of that run.")
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
    """The checkpoints of one run. The storage is opened anew each time, with the keys as they are then."""

    def __init__(self, opened: Callable[[], Store], job: TrainJob) -> None:
        self._opened = opened
        self._job = job
        self._folder = layout.checkpoints_folder(job.inputs.digest, job.subject.uid)
        self._staging = f"{job.subject.uid}-{job.attempt}"

    def publish(self, folder: Path, checkpoint: Checkpoint) -> None:
        """Copy the Trainer's folder into the storage and prune. Raises REFUSALS, and leaves nothing of it then."""
        storage = self._opened()
        self._drop(storage, checkpoint.name)
        try:
            self._write(storage, folder, checkpoint)
        except REFUSALS:
            # A part of it is of no use, and may have filled the storage, in which the artifact has to find room.
            with suppress(*REFUSALS):
                self._drop(storage, checkpoint.name)
            raise
        finally:
            self._prune(storage, checkpoint)

    def clear(self) -> None:
        """Remove what attempts up to this one had not written whole when they were killed. What cannot go stays.

        If one of them was thought lost and still writes, its checkpoint is damaged, and passed over. A later one's is
        never removed.
        """
        with suppress(*REFUSALS):
            storage = self._opened()
            for name in storage.folders(self._folder):
                attempt = name.rpartition(".")[2]
                old = attempt.isdecimal() and int(attempt) <= self._job.attempt
                if old and not storage.exists(f"{self._folder}/{name}.json"):
                    storage.remove(f"{self._folder}/{name}")

    def _write(self, storage: Store, folder: Path, checkpoint: Checkpoint) -> None:
        """Copy the Trainer's folder into the storage; the manifest comes last."""
        entries = []
        for path in sorted(folder.iterdir()):
            with path.open("rb") as stream:
                entries.append(file_entry(path.name, stream))
            storage.write(f"{self._folder}/{checkpoint.name}/{path.name}", path, self._staging)
        whose = {"project_uid": project_uid(), "run": self._job.subject.name}
        complete = checkpoint.model_copy(update={"files": tuple(entries)} | whose)
        storage.write(f"{self._folder}/{complete.name}.json", complete.line().encode(), self._staging)

    def newest(self) -> tuple[Checkpoint, Path] | None:
        """Return the newest checkpoint that is whole, and the local folder to which it was copied.

        One whose best is damaged is of no use: the run could not publish what it has to.
        """
        storage = self._opened()
        for checkpoint in self._known(storage):
            folder = self._verified(storage, checkpoint)
            best = checkpoint.best.step if checkpoint.best else None
            if folder is not None and (best is None or self._at_step(storage, best) is not None):
                return checkpoint, folder
            print(f"checkpoint {checkpoint.name} is damaged: an older one is looked for", file=sys.stderr, flush=True)
        return None

    def fetched(self, checkpoint: Checkpoint) -> Path:
        """Return the local folder to which this checkpoint was copied. Raises StorageFailed when it is damaged."""
        folder = self._verified(self._opened(), checkpoint)
        if folder is None:
            message = f"checkpoint {checkpoint.name} does not read back here as it does in the pod of index 0."
            remedy = "See that all pods see the same storage."
            raise StorageFailed(Problem.of("StorageDiffers", message, remedy=remedy))
        return folder

    def at_step(self, step: int) -> Path | None:
        """Return the local folder of a whole checkpoint of this step, or None."""
        return self._at_step(self._opened(), step)

    def _at_step(self, storage: Store, step: int) -> Path | None:
        folders = (self._verified(storage, item) for item in self._known(storage) if item.step == step)
        return next((folder for folder in folders if folder is not None), None)

    def _known(self, storage: Store) -> list[Checkpoint]:
        """Return what has a manifest, the newest first."""
        found = []
        for name in storage.names(self._folder) if storage.exists(self._folder) else ():
            try:
                checkpoint = Checkpoint.model_validate_json(storage.read(f"{self._folder}/{name}"))
            except (FileNotFoundError, ValidationError):
                continue  # removed by another attempt, or damaged
            if checkpoint.inputs_digest == self._job.inputs.digest and f"{checkpoint.name}.json" == name:
                found.append(checkpoint)
        return sorted(found, key=lambda item: (item.step, item.attempt), reverse=True)

    def _verified(self, storage: Store, checkpoint: Checkpoint) -> Path | None:
        """Copy a checkpoint to the scratch folder, hashing it on the way; None when it is not what was written."""
        local = places.scratch() / "checkpoints" / checkpoint.name
        for entry in checkpoint.files:
            # Its name alone: what somebody wrote into a manifest must not choose the folder.
            name = Path(entry.path).name
            try:
                found = copies.fetched(storage, f"{self._folder}/{checkpoint.name}/{name}", name, local / name)
            except FileNotFoundError:
                return None
            if found != entry:
                return None
        return local

    def _prune(self, storage: Store, last: Checkpoint) -> None:
        """Keep the newest ones up to the last, and its best, and that of the newest if the last was refused.

        What is further this attempt did not go on from: it is damaged, or an attempt that was thought lost has written
        it since. A later attempt's is never removed. What cannot be removed now is tried again the next time.
        """
        with suppress(*REFUSALS):
            known = [item for item in self._known(storage) if item.attempt <= self._job.attempt]
            newest = [item for item in known if item.step <= last.step][: self._job.checkpoints.keep]
            best = {item.best.step for item in (last, *newest[:1]) if item.best}
            for checkpoint in known:
                if checkpoint not in newest and checkpoint.step not in best:
                    self._drop(storage, checkpoint.name)

    def _drop(self, storage: Store, name: str) -> None:
        # The manifest goes first: without it nobody takes what is left for a checkpoint.
        storage.remove(f"{self._folder}/{name}.json")
        storage.remove(f"{self._folder}/{name}")


def forget(opened: Callable[[], Store], inputs_digest: Digest, subject: Subject) -> None:
    """Remove what a run saved that has its artifact now, and what others saved of which it is known that they are over.

    Any other may be about to go on from its own, in this cluster or another one. What cannot be removed stays: the
    work itself is done.
    """
    above, ended = layout.checkpoints_folder(inputs_digest), ended_runs()
    with suppress(*REFUSALS):
        storage = opened()
        storage.remove(f"{above}/{subject.uid}")
        for uid in storage.folders(above):
            if uid in ended or _was_replaced(storage, f"{above}/{uid}", subject):
                storage.remove(f"{above}/{uid}")
        storage.remove_empty(above)


def _was_replaced(storage: Store, folder: str, subject: Subject) -> bool:
    """Whether checkpoints are of another run of this name and project: it was gone before this one could be made."""
    try:
        texts = [storage.read(f"{folder}/{name}") for name in storage.names(folder)]
        whose = {(found.project_uid, found.run) for found in map(Checkpoint.model_validate_json, texts)}
    except (FileNotFoundError, ValidationError):
        return False
    project = project_uid()
    return project is not None and whose == {(project, subject.name)}
