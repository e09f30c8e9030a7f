"""Tells a training to an MLflow server, from a thread of its own: the training waits for it at its end, a few seconds.

What could not be sent is sent with the next try, so a server may be away for a while. Another attempt of the same run
goes on with the same run of MLflow, which is found by the uid of ours; it says nothing twice.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import TrainerCallback

from stagecoach.contract import layout, mounts
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ArtifactReport, BadInput, Outcome, TrackingReport
from stagecoach.contract.tracking import read_tracking
from stagecoach_trainer import card, credentials, places
from stagecoach_trainer.group import ALONE, Members
from stagecoach_trainer.interruption import Preempted, Terminated
from stagecoach_trainer.mlflow import (
    AWAY,
    LATE,
    MAX_METRICS,
    MAX_NOTE,
    MAX_PARAMETERS,
    MAX_VALUE,
    MlflowFailed,
    Point,
    Run,
    Server,
)

# Between two batches; after a failure it is doubled each time, up to a minute.
PERIOD = 10.0
MAX_PERIOD = 60.0
# How long the end of a training waits for the server, at most twice; and that of one that was interrupted.
PATIENCE = 5.0
HASTE = 2.0
UID = "stagecoach.uid"
METRICS = ("loss", "eval_loss", "learning_rate", "grad_norm")
SILENT = f"{LATE} {AWAY}"
FIELD = "spec.tracking.mlflow.uri"
# Of a URI in a sentence, so that what follows has room.
MAX_URI = 90


@dataclass
class _Told:
    """What is to be told and was not yet."""

    points: list[Point] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    status: str | None = None


class Tracker:
    """Tells one training."""

    def __init__(self, uri: str, job: TrainJob, connect: Callable[[], Server]) -> None:
        self._uri, self._job, self._connect = uri, job, connect
        self._told = _Told(parameters=parameters(job), status="RUNNING")
        self._changed = threading.Condition()
        self._asked = self._answered = 0
        self._ended = False
        self._server: Server | None = None
        self._run: Run | None = None
        self._problem: str | None = SILENT
        threading.Thread(target=self._work, name="tracking", daemon=True).start()

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Take metrics of a step, to be sent later."""
        now = _now()
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        found = [Point(key, value, step, now) for key, value in numbers.items() if math.isfinite(value)]
        with self._changed:
            self._told.points += found

    def settle(self, seconds: float = PATIENCE) -> TrackingReport:
        """Have all of it sent that was noted, and say how that went."""
        with self._changed:
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._answered >= asked, seconds):
                self._problem = self._problem or SILENT
            problem = None
            if self._problem:
                uri = self._uri if len(self._uri) <= MAX_URI else f"{self._uri[: MAX_URI - 1]}…"
                problem = f"{FIELD} ({uri}): MLflow does not have all of this training: {self._problem}"
            return TrackingReport.of(self._uri, self._run.id if self._run else None, problem)

    def finish(self, status: str, seconds: float, **tags: str) -> TrackingReport:
        """Say how the training ended. Nothing is sent afterwards."""
        with self._changed:
            self._told.status = status
            self._told.tags |= tags
        try:
            return self.settle(seconds)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    # In the thread

    def _work(self) -> None:
        period = 0.0
        while not self._ended:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._asked > self._answered, period)
                asked = self._asked
            try:
                self._send()
                problem, period = None, PERIOD
            except Exception as error:  # whatever it is, the training goes on
                problem, period = _words(error), min(MAX_PERIOD, 2 * max(period, PERIOD))
            with self._changed:
                self._problem, self._answered = problem, asked
                self._changed.notify_all()

    def _send(self) -> None:
        with self._changed:
            told, self._told = self._told, _Told()
        if told == _Told():
            return
        try:
            self._server = self._server or self._connect()
            self._tell(self._server, told)
        except BaseException:
            if self._server is not None:
                self._server.close()
                self._server = None  # the next one has the keys as they are then
            with self._changed:
                later = self._told
                self._told = _Told(
                    told.points + later.points,
                    told.parameters | later.parameters,
                    told.tags | later.tags,
                    later.status or told.status,
                )
            raise

    def _tell(self, server: Server, told: _Told) -> None:
        run = self._run = self._run or self._found(server)
        # A parameter cannot change: an earlier attempt may have had the same base from another place.
        given = [item for item in told.parameters.items() if item[0] not in run.parameters]
        for start in range(0, len(given), MAX_PARAMETERS):
            server.log(run.id, parameters=dict(given[start : start + MAX_PARAMETERS]))
        # An earlier attempt has told steps that it could not keep.
        points = [point for point in told.points if point.step > run.steps.get(point.key, -1)]
        for start in range(0, len(points), MAX_METRICS):
            server.log(run.id, points[start : start + MAX_METRICS])
        if told.tags:
            server.log(run.id, tags=told.tags)
        if told.status:
            server.update(run.id, told.status, None if told.status == "RUNNING" else _now())

    def _found(self, server: Server) -> Run:
        subject = self._job.subject
        experiment = server.experiment(f"{subject.namespace}/{self._job.project}")
        known = server.find(experiment, UID, subject.uid)
        return known or server.create(experiment, subject.name, tags(self._job), _now())


class Listener(TrainerCallback):  # type: ignore[misc]
    """Hands what the Trainer logs to a Tracker; of a training that goes on, also what was logged before."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Note what earlier attempts have logged."""
        for entry in state.log_history:
            self._note(int(entry["step"]), entry)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Mapping[str, float], **_: Any) -> None:
        """Note what is logged."""
        self._note(state.global_step, logs)

    def _note(self, step: int, logs: Mapping[str, float]) -> None:
        self._tracker.note(step, {key: logs[key] for key in METRICS if key in logs})


@contextmanager
def told(job: TrainJob, members: Members = ALONE) -> Iterator[Tracker | None]:
    """Return what tells this training, or None when nobody has asked for it; say so when the training ends badly.

    Of several processes the first one tells, also when the word of another one ends it.
    """
    try:
        asked = read_tracking()
    except ValidationError:
        asked = None
    if asked is None or not members.leads:
        yield None
        return
    tracker = Tracker(asked.mlflow, job, lambda: _server(asked.mlflow))

    def ended(*, interrupted: bool) -> None:
        tracker.finish("KILLED" if interrupted else "FAILED", HASTE)

    members.at_word(lambda report: ended(interrupted=report.outcome in (Outcome.PREEMPTED, Outcome.TERMINATED)))
    try:
        yield tracker
    except BaseException as error:
        ended(interrupted=isinstance(error, Preempted | Terminated))
        raise


def finished(tracker: Tracker, record: Record, report: ArtifactReport) -> TrackingReport:
    """Tell what came of a training, as it is reported, and say whether all of it was told."""
    training = record.training
    results = {
        "train_loss": training.train_loss,
        "seconds": training.seconds,
        "tokens": training.tokens,
        "tokens_per_second": training.tokens_per_second,
        "cpu_hours": training.cpu_hours,
        "gpu_hours": training.gpu_hours,
        "peak_memory_bytes": training.peak_memory_bytes,
        "trainable_parameters": training.trainable_parameters,
    }
    tracker.note(training.steps, results)
    found = {
        "stagecoach.artifact": record.artifact.digest,
        "stagecoach.artifact.path": record.artifact.path,
        "stagecoach.record": report.record,
        "stagecoach.record.path": layout.record_file(record.inputs_digest, report.record_name),
        "mlflow.note.content": _note_of(record, layout.beside(report.record_name, card.NAME)),
    }
    known = record.tracking
    return tracker.finish("FINISHED", HASTE if known and known.problem else PATIENCE, **found)


def tags(job: TrainJob) -> dict[str, str]:
    """Return the tags by which a run is found at the server."""
    owner = job.owner
    return {
        UID: job.subject.uid,
        "stagecoach.namespace": job.subject.namespace,
        "stagecoach.project": job.project,
        "stagecoach.run": job.subject.name,
        "stagecoach.owner": f"{owner.name} ({owner.contact})" if owner.contact else owner.name,
        "stagecoach.inputs": job.inputs.digest,
        "mlflow.user": owner.name,
        "mlflow.source.name": job.image,
    }


def parameters(job: TrainJob) -> dict[str, str]:
    """Return all that decides the result, and the names of what is known by digest, as parameters of MLflow."""
    names = {
        "base": {"name": job.base.name, "uri": job.base.uri, "revision": job.base.revision},
        "train.names": ", ".join(source.name for source in job.train),
        "validation.names": ", ".join(source.name for source in job.validation),
    }
    found = dict(_flat("", {"inputs": job.inputs.document(), **names}))
    return {key.removeprefix("inputs."): value[:MAX_VALUE] for key, value in found.items()}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, item)
    elif isinstance(value, list):
        yield prefix, json.dumps(value, ensure_ascii=False)
    elif value not in (None, ""):
        yield prefix, str(value)


def _note_of(record: Record, name: str) -> str:
    """Return the card for MLflow's page of the run, without the picture, or where it is when it is too long."""
    body = card.text(record).split("\n---\n", 1)[1].replace(card.picture(), "")
    place = f"{layout.run_folder(record.inputs_digest)}/{name}"
    return body if len(body) <= MAX_NOTE else f"The model card is in the project's storage: {place}"


def _server(uri: str) -> Server:
    """Return the server, to be asked with what its Secret holds now."""
    secret = places.secret(uri)
    folder = Path(places.rebased(mounts.secret_folder(secret)))
    return Server(uri, credentials.read("mlflow", folder, secret) if secret else {}, secret)


def _words(error: Exception) -> str:
    known = isinstance(error, MlflowFailed | BadInput)
    return str(error) if known else f"{type(error).__name__}: {error}. This is a fault of the trainer: report it."


def _now() -> int:
    return int(time.time() * 1000)
