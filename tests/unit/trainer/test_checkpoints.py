"""Trainings that are interrupted and go on: the result is the one that nobody disturbed."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import retention, store
from stagecoach.contract.inputs import FullMethod
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, Checkpoints, LookupJob, TrainJob
from stagecoach.contract.layout import checkpoints_folder, run_folder
from stagecoach.contract.progress import DEADLINE_VARIABLE
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ExitCode, Outcome, Problem, ProgressLine, Report
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import checkpoints, lookup, places
from tests.unit.contract.documents import SUBJECT

from . import test_encoder_decoders
from .conftest import ANOTHER, Project, make_project, record_of
from .test_encoders import RUNS, encoder_job, with_base
from .test_methods import METHODS

pytestmark = pytest.mark.filterwarnings("ignore")

# A pod in which a signal comes at the beginning of a step.
WORK = """\
import os, signal, sys, time
from stagecoach_trainer import loop, work
def asked(trainer):
    [request] = [each._request for each in trainer.callback_handler.callbacks if hasattr(each, "_request")]
    os.kill(os.getppid(), signal.SIGTERM)
    while not request.asked:
        time.sleep(0.01)
inner = loop._Metered.training_step
def step(trainer, *arguments, **options):
    if trainer.state.global_step == {step}:
        {happens}
    return inner(trainer, *arguments, **options)
loop._Metered.training_step = step
sys.exit(work.main())
"""
PARENT = "import sys; from stagecoach_trainer import parent; sys.exit(parent.run(command=[sys.executable, '-c', {!r}]))"
ASKED = "asked(trainer)"
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
# On a machine that is busy much takes longer than the deadline of a test: only what a mark says to hang is ended.
MARKED = """\
import os
from stagecoach_trainer import stalls
stalled = stalls.Watch.stalled
stalls.Watch.stalled = lambda watch: stalled(watch) and os.path.exists({!r})
"""
HANGS = "open({!r}, 'w').close(); time.sleep(600)"
# Dropout draws random numbers, and a step has several batches: both have to go on exactly. 2 steps are an epoch.
SETTINGS = {"epochs": 6, "learning_rate_schedule": "cosine", "warmup_ratio": 0.1, "gradient_accumulation_steps": 2}


class Killed(BaseException):
    """The pod is gone, and with it all that was not in the storage."""


@pytest.fixture(scope="module")
def undisturbed(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """The record of a run that was trained without a break and without checkpoints."""
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "root")
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(project.root))
        job = job_of(project)
        attempt(project, job)
        yield record_of(project, job)


def job_of(project: Project, number: int = 1, every: int | None = None, keep: int = 2, **changes: Any) -> TrainJob:
    settings = SETTINGS | changes.pop("settings", {})
    method = {"dropout": 0.1} | changes.pop("method", {})
    kept = Checkpoints(every_steps=every, keep=keep)
    return project.train_job(settings=settings, method=method, attempt=number, checkpoints=kept, **changes)


def attempt(project: Project, job: TrainJob, *, asked: int | None = None, killed: int | None = None) -> None:
    """Train as a pod would, asked to stop or killed in the step after this one."""
    from stagecoach_trainer import interruption, loop
    from stagecoach_trainer.train import train

    inner = loop._Metered.training_step

    def step(trainer: Any, *arguments: Any, **options: Any) -> Any:
        if trainer.state.global_step == killed:
            raise Killed
        if trainer.state.global_step == asked:
            signal.raise_signal(signal.SIGTERM)
        return inner(trainer, *arguments, **options)

    shutil.rmtree(project.root / "scratch", ignore_errors=True)  # another pod has another
    with pytest.MonkeyPatch.context() as patch, suppress(Killed, interruption.Preempted):
        patch.setattr(loop._Metered, "training_step", step)
        train(job)


def pod(
    project: Project, job: TrainJob, happens: str = "pass", step: int = 7, deadline: int | None = None
) -> tuple[int, Report, str]:
    """Train in a process as in a pod, in which something happens; return its exit code, report and output."""
    log = project.root / "termination-log"
    shutil.rmtree(project.root / "scratch", ignore_errors=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        places.ROOT_VARIABLE: str(project.root),
        places.TERMINATION_LOG_VARIABLE: str(log),
        ENVIRONMENT_VARIABLE: job.line(),
        DEADLINE_VARIABLE: str(deadline or ""),
    }
    marked = MARKED.format(str(project.root / "hangs"))
    command = [sys.executable, "-c", marked + PARENT.format(WORK.format(step=step, happens=happens))]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    report = Report.parse(log.read_text())
    assert report is not None, ended.stderr
    return ended.returncode, report, ended.stdout + ended.stderr


def saved(project: Project, job: TrainJob) -> list[str]:
    """Return the names of the complete checkpoints."""
    folder = checkpoints_folder(job.inputs.digest, job.subject.uid)
    if not project.storage.exists(folder):
        return []
    return sorted(name.removesuffix(".json") for name in project.storage.names(folder))


def same(one: Record, other: Record) -> None:
    """Check that two trainings gave the same, to the last bit."""
    assert one.artifact == other.artifact
    assert one.training.losses == other.training.losses
    assert one.training.evaluations == other.training.evaluations
    assert one.training.train_loss == other.training.train_loss
    assert (one.training.tokens, one.training.steps) == (other.training.tokens, other.training.steps)


def first_steps(record: Record) -> list[int]:
    """Return the steps from which the attempts went on."""
    return [stretch.first_step for stretch in record.training.stretches]


def test_a_pod_that_is_asked_to_stop_saves_itself_and_goes_on_to_the_same_result(
    real: Project, undisturbed: Record
) -> None:
    from stagecoach_trainer import curve

    job = job_of(real)
    code, report, output = pod(real, job, ASKED)
    assert (code, report.outcome, report.checkpoint) == (ExitCode.PREEMPTED, Outcome.PREEMPTED, 8), output
    assert report.problem is not None
    assert "step 8" in report.problem.sentence
    assert saved(real, job) == ["step-8.1"]
    code, report, output = pod(real, job_of(real, number=2))
    assert code == 0, output
    assert "going on from the checkpoint of step 8, saved by attempt 1" in output
    first = next(filter(None, map(ProgressLine.parse, output.splitlines())))
    assert (first.step, first.checkpoint) == (8, 8)
    record = record_of(real, job)
    same(record, undisturbed)
    stretches = record.training.stretches
    assert [(each.attempt, each.first_step, each.last_step) for each in stretches] == [(1, 0, 8), (2, 8, 12)]
    assert record.training.seconds == sum(each.seconds for each in stretches)
    drawn = real.storage.read(f"{run_folder(job.inputs.digest)}/loss.svg")
    assert drawn == curve.svg(undisturbed.training), "of all attempts"
    assert real.storage.folders(run_folder(job.inputs.digest)) == [], "checkpoints go when the record is there"


def test_a_pod_that_is_killed_goes_on_from_its_last_checkpoint(real: Project, undisturbed: Record) -> None:
    job = job_of(real, every=3)
    code, report, output = pod(real, job, KILLED)
    assert (code, report.outcome) == (ExitCode.FAILED, Outcome.FAILED), output
    assert saved(real, job) == ["step-3.1", "step-6.1"]
    attempt(real, job_of(real, number=2))
    same(record_of(real, job), undisturbed)


@pytest.mark.long
def test_a_training_that_hangs_is_ended_and_goes_on_from_its_last_checkpoint(
    real: Project, undisturbed: Record
) -> None:
    job = job_of(real, every=3)
    code, report, output = pod(real, job, HANGS.format(str(real.root / "hangs")), deadline=5)
    assert (code, report.outcome) == (ExitCode.FAILED, Outcome.FAILED), output
    assert report.problem is not None
    assert report.problem.reason == "ProgressDeadlineExceeded", output
    assert "no progress for 5 seconds while training, " in report.problem.message
    assert "in step" in output.partition("The stacks")[2]
    assert saved(real, job) == ["step-3.1", "step-6.1"]
    code, report, output = pod(real, job_of(real, number=2, every=3))
    assert code == 0, output
    same(record_of(real, job), undisturbed)
    assert first_steps(record_of(real, job)) == [0, 6]


@pytest.mark.parametrize("step", [1, 2, 5, 6, 11])
def test_wherever_it_stops_it_goes_on_to_the_same_result(real: Project, undisturbed: Record, step: int) -> None:
    job = job_of(real, every=1)
    attempt(real, job, killed=step)
    assert f"step-{step}.1" in saved(real, job)
    attempt(real, job_of(real, number=2, every=1))
    same(record_of(real, job), undisturbed)


def test_twice_interrupted(real: Project, undisturbed: Record) -> None:
    job = job_of(real, every=3)
    attempt(real, job, killed=5)
    attempt(real, job_of(real, number=2, every=3), asked=7)
    attempt(real, job_of(real, number=3, every=3))
    same(record_of(real, job), undisturbed)
    assert first_steps(record_of(real, job)) == [0, 3, 8]


@pytest.mark.parametrize(("when", "steps"), [("loaded", []), (5, ["step-4.1", "step-5.1"])])
def test_nothing_is_saved_of_a_base_that_changed(
    real: Project, undisturbed: Record, monkeypatch: pytest.MonkeyPatch, when: int | str, steps: list[str]
) -> None:
    """FrozenInputs: else the next attempt, whose own base is as it should be, would publish what was made of another."""
    from stagecoach_trainer import loop

    place = real.root / "pvc" / "models" / "tiny" / "model.safetensors"
    right = place.read_bytes()
    trainer, step = loop._trainer, loop._Metered.training_step

    def change() -> None:
        place.write_bytes(right[:-4] + bytes(4))

    def load(*arguments: Any) -> Any:
        if when == "loaded":
            change()
        return trainer(*arguments)

    def train(trains: Any, *arguments: Any, **options: Any) -> Any:
        if trains.state.global_step == when:
            change()
        return step(trains, *arguments, **options)

    job = job_of(real, every=1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_trainer", load)
        patch.setattr(loop._Metered, "training_step", train)
        with pytest.raises(StorageFailed, match=r"model\.safetensors is no longer that"):
            attempt(real, job, killed=8)
    assert saved(real, job) == steps
    place.write_bytes(right)
    attempt(real, job_of(real, number=2, every=1))
    same(record_of(real, job), undisturbed)


def test_asked_in_the_last_step_it_finishes(real: Project, undisturbed: Record) -> None:
    job = job_of(real)
    attempt(real, job, asked=11)
    same(record_of(real, job), undisturbed)


def test_with_several_steps_between_two_points_of_the_loss_curve(
    real: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecoach_trainer import loop

    monkeypatch.setattr(loop, "MAX_LOSS_POINTS", 3)
    job = job_of(real, settings={"gradient_accumulation_steps": 1, "epochs": 5})
    attempt(real, job)
    expected = record_of(real, job)
    assert [point.step for point in expected.training.losses] == [1, 7, 14]
    job = job.model_copy(update={"subject": ANOTHER, "force": True})
    attempt(real, job, asked=10)
    attempt(real, job.model_copy(update={"attempt": 2}))
    assert first_steps(record_of(real, job)) == [0, 11]
    same(record_of(real, job), expected)


def check_going_on(project: Project, job: TrainJob) -> None:
    """Check that a job gives the same whether it is interrupted or not."""
    attempt(project, job)
    expected = record_of(project, job)
    job = job.model_copy(update={"subject": ANOTHER, "force": True})
    attempt(project, job, asked=2)
    attempt(project, job.model_copy(update={"attempt": 2}))
    assert first_steps(record_of(project, job)) == [0, 3]
    same(record_of(project, job), expected)


def test_in_bfloat16_too(real: Project) -> None:
    check_going_on(real, job_of(real, settings={"precision": "bfloat16", "epochs": 3}))


@pytest.mark.parametrize("name", METHODS)
def test_by_every_method(real: Project, name: str) -> None:
    method, changes = METHODS[name]
    check_going_on(real, real.train_job(method=method, settings=SETTINGS | changes | {"epochs": 3}))


@pytest.mark.parametrize("name", ["bert-lora", "bert-dora", "modernbert-full"])
def test_of_encoders(project: Project, name: str) -> None:
    architecture, method, changes = RUNS[name]
    settings = SETTINGS | {"learning_rate": changes["learning_rate"], "epochs": 3, "class_weights": "balanced"}
    check_going_on(with_base(project, architecture), encoder_job(project, method, settings=settings))


@pytest.mark.parametrize("name", ["t5-lora", "bart-full"])
def test_of_encoder_decoders(project: Project, name: str) -> None:
    architecture, method, changes = test_encoder_decoders.RUNS[name]
    settings = SETTINGS | {"learning_rate": changes["learning_rate"], "epochs": 3}
    made = test_encoder_decoders.with_base(project, architecture)
    check_going_on(made, test_encoder_decoders.rewriting_job(made, method, settings=settings))


def test_of_whole_models_in_bfloat16(real: Project) -> None:
    check_going_on(
        real, real.train_job(method=FullMethod(), settings=SETTINGS | {"precision": "bfloat16", "epochs": 3})
    )


@pytest.mark.parametrize("damage", ["bytes", "file", "manifest"])
def test_a_damaged_checkpoint_is_passed_over(real: Project, undisturbed: Record, damage: str) -> None:
    job = job_of(real, every=2)
    attempt(real, job, killed=7)
    assert saved(real, job) == ["step-4.1", "step-6.1"]
    folder = Path(real.storage.path(checkpoints_folder(job.inputs.digest, SUBJECT.uid)))
    optimizer = folder / "step-6.1" / "optimizer.pt"
    if damage == "bytes":
        content = optimizer.read_bytes()
        optimizer.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "file":
        optimizer.unlink()
    else:
        (folder / "step-6.1.json").unlink()
    attempt(real, job_of(real, number=2, every=2))
    assert first_steps(record_of(real, job)) == [0, 4]
    same(record_of(real, job), undisturbed)


def test_with_all_checkpoints_damaged_it_begins_again(real: Project, undisturbed: Record) -> None:
    job = job_of(real, every=5, keep=1)
    attempt(real, job, killed=7)
    folder = Path(real.storage.path(checkpoints_folder(job.inputs.digest, SUBJECT.uid)))
    (folder / "step-5.1.json").write_text("{")
    attempt(real, job_of(real, number=2))
    assert first_steps(record_of(real, job)) == [0]
    same(record_of(real, job), undisturbed)


def test_only_so_many_are_kept(real: Project) -> None:
    job = job_of(real, every=1, keep=3)
    attempt(real, job, killed=10)
    assert saved(real, job) == ["step-10.1", "step-8.1", "step-9.1"]
    folder = checkpoints_folder(job.inputs.digest, SUBJECT.uid)
    assert real.storage.folders(folder) == saved(real, job)
    assert real.storage.names(f"{folder}/step-9.1") == [
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trained.safetensors",
        "trainer_state.json",
    ]


def test_without_a_number_of_steps_it_saves_by_time(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import continuation

    job = job_of(real)
    attempt(real, job, killed=3)
    assert saved(real, job) == []
    monkeypatch.setattr(continuation, "SAVE_SECONDS", 0.0)
    attempt(real, job, killed=3)
    assert saved(real, job) == ["step-2.1", "step-3.1"]


def test_a_checkpoint_of_another_run_is_not_used(real: Project) -> None:
    job = job_of(real, every=3)
    attempt(real, job, killed=7)
    attempt(real, job_of(real, subject=ANOTHER))
    assert first_steps(record_of(real, job)) == [0]


def test_a_run_that_ends_leaves_what_another_goes_on_from(real: Project, undisturbed: Record) -> None:
    other = job_of(real, every=3, subject=ANOTHER, force=True)
    attempt(real, other, killed=7)
    job = job_of(real, every=5, force=True)
    attempt(real, job)
    assert (saved(real, other), saved(real, job)) == (["step-3.1", "step-6.1"], [])
    attempt(real, other.model_copy(update={"attempt": 2}))
    assert first_steps(record_of(real, other)) == [0, 6]
    same(record_of(real, other), undisturbed)
    assert real.storage.folders(run_folder(job.inputs.digest)) == []


@pytest.mark.parametrize("by", ["Lookup", "Train"])
def test_what_a_run_saved_goes_when_it_adopts(real: Project, by: str) -> None:
    job = job_of(real, every=3)
    attempt(real, job, killed=7)
    attempt(real, job_of(real, subject=ANOTHER))
    assert saved(real, job) == ["step-3.1", "step-6.1"], "it may be about to go on"
    if by == "Lookup":
        assert lookup.look(LookupJob(subject=job.subject, inputs_digest=job.inputs.digest)) is not None
    else:
        attempt(real, job_of(real, number=2, every=3))
    assert record_of(real, job).subject == ANOTHER
    assert real.storage.folders(run_folder(job.inputs.digest)) == []


def point(digest: str, step: int, best: int | None = None, attempt: int = 1) -> checkpoints.Checkpoint:
    """Return a checkpoint as it is before its files are known."""
    return checkpoints.Checkpoint(
        inputs_digest=digest,
        step=step,
        attempt=attempt,
        files=(),
        sums=checkpoints.LossSums(since_logged=0, logged=0, logged_step=0),
        best=None if best is None else checkpoints.Best(step=best, loss=1.0),
        stretches=(),
        tokens=0,
        cpu_hours=0,
    )


class Writer:
    """What an attempt of a run saves: two files each, the second of which finds the storage full or not."""

    def __init__(self, project: Project, keep: int, patch: pytest.MonkeyPatch, number: int = 1) -> None:
        self.job = job_of(project, keep=keep, number=number)
        self._storage, self._patch = project.storage, patch
        self._saved = checkpoints.Checkpoints(places.storage, self.job)
        self._local = project.root / "scratch" / "checkpoint"
        self._local.mkdir(exist_ok=True)
        for name in ("one", "two"):
            (self._local / name).write_text(name)

    def save(self, step: int, best: int | None = None) -> None:
        self._saved.publish(self._local, point(self.job.inputs.digest, step, best, self.job.attempt))

    def find_it_full(self, step: int, best: int | None = None) -> None:
        def copy(source: Any, target: Any) -> None:
            target.write(content := source.read())
            if content == b"two":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with self._patch.context() as patch:
            patch.setattr(store, "copy", copy)
            with pytest.raises(StorageFailed) as caught:
                self.save(step, best)
        assert caught.value.problem.reason == "StorageFull"

    def left(self) -> list[str]:
        """Return all files in the storage, those of checkpoints by their names below the run's."""
        folder = checkpoints_folder(self.job.inputs.digest, self.job.subject.uid)
        return [item.path.removeprefix(f"{folder}/") for item in self._storage.listing("")]


def whole(*steps: int, of: int = 1) -> list[str]:
    """Return the files of whole checkpoints of an attempt."""
    return sorted(f"step-{step}.{of}{rest}" for step in steps for rest in (".json", "/one", "/two"))


def test_a_checkpoint_that_is_refused_takes_no_room(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(project, keep=2, patch=monkeypatch)
    writer.save(1)
    writer.find_it_full(2)
    assert writer.left() == whole(1)
    writer.save(3)
    assert writer.left() == whole(1, 3)


def test_after_a_refusal_what_is_kept_too_long_goes_and_the_best_of_what_stays_does_not(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(project, keep=1, patch=monkeypatch)
    for step in (1, 2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints.Checkpoints, "_prune", lambda *_: None)  # as when the storage refuses that
            writer.save(step, best=1)
    writer.find_it_full(4, best=4)
    assert writer.left() == whole(1, 3), "the next attempt goes on from the third, whose best is the first"


@pytest.mark.parametrize("keep", [1, 2])
def test_what_an_attempt_writes_that_was_thought_lost_costs_the_next_one_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    lost, writer = (Writer(project, keep, monkeypatch, number) for number in (1, 2))
    lost.save(100, best=100)
    lost.save(200, best=100)
    writer.save(220, best=220)
    lost.save(300, best=100)
    assert set(whole(220, of=2)) < set(writer.left()), "it is a later attempt's"
    Path(project.storage.path(f"{checkpoints_folder(lost.job.inputs.digest, SUBJECT.uid)}/step-300.1/one")).unlink()
    writer.save(240, best=220)
    assert writer.left() == whole(220, 240, of=2)
    writer.save(260, best=220)
    assert writer.left() == sorted(whole(220, 260, of=2) + (whole(240, of=2) if keep == 2 else []))


def test_an_attempt_removes_what_was_not_written_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import train

    def stop(*_: Any) -> None:
        raise Killed

    writer = Writer(project, keep=2, patch=monkeypatch)
    writer.save(1)
    folder = Path(project.storage.path(checkpoints_folder(writer.job.inputs.digest, SUBJECT.uid)))
    for name in ("step-2.1", "step-2.2", "step-2.3", "step-3.x", "notes"):
        (folder / name).mkdir()
        (folder / name / "one").write_text("one")
    monkeypatch.setattr(train, "prepare", stop)
    probed: list[list[str]] = []
    monkeypatch.setattr(store.Store, "probe", lambda *_: probed.append(writer.left()))
    with pytest.raises(Killed):
        train.train(writer.job.model_copy(update={"attempt": 2}))
    assert probed == [sorted([*whole(1), "notes/one", "step-2.3/one", "step-3.x/one"])], (
        "there is room before it is tried"
    )


def test_what_other_runs_saved_goes_when_it_is_known_that_they_are_over(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = project.train_job().inputs.digest

    def leave(uid: str, run: str | None = "another", of: str | None = "project-1") -> None:
        left = point(digest, 1).model_copy(update={"project_uid": of, "run": run})
        project.storage.write(f"{checkpoints_folder(digest, uid)}/{left.name}.json", left.line().encode(), "test")

    def forget() -> list[str]:
        checkpoints.forget(places.storage, digest, SUBJECT)
        return project.storage.folders(checkpoints_folder(digest))

    leave(SUBJECT.uid, SUBJECT.name)
    leave("ended")
    leave("going-on")
    leave("replaced", SUBJECT.name)
    leave("elsewhere", SUBJECT.name, of="project-2")
    leave("of-before", run=None)
    project.storage.write(f"{checkpoints_folder(digest, 'unfinished')}/step-1.1/model", b"", "test")
    assert forget() == ["elsewhere", "ended", "going-on", "of-before", "replaced", "unfinished"]
    monkeypatch.setenv(retention.PROJECT_VARIABLE, "project-1")
    monkeypatch.setenv(retention.ENDED_VARIABLE, "ended,never-saved")
    assert forget() == ["elsewhere", "going-on", "of-before", "unfinished"]


def refuse(*_: Any) -> None:
    raise StorageFailed(Problem.of("StorageStale", "the mount is stale"))


def test_a_storage_that_is_away_costs_a_checkpoint_and_not_the_training(
    real: Project, undisturbed: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints.Checkpoints, "publish", refuse)
    attempt(real, job_of(real, every=1))
    same(record_of(real, job_of(real)), undisturbed)


def test_asked_to_stop_without_a_storage_it_has_saved_nothing(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer.interruption import Terminated

    monkeypatch.setattr(checkpoints.Checkpoints, "publish", refuse)
    with pytest.raises(Terminated):
        attempt(real, job_of(real), asked=5)


def test_asked_to_stop_just_after_a_refusal_it_has_saved_nothing(
    real: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecoach_trainer import continuation
    from stagecoach_trainer.interruption import Terminated

    answers = iter([continuation._Asked(any=False, index=None)])
    asked = continuation._Asked(any=True, index=None)
    monkeypatch.setattr(checkpoints.Checkpoints, "publish", refuse)
    monkeypatch.setattr(continuation.Continuation, "_asked", lambda _: next(answers, asked))
    with pytest.raises(Terminated):
        attempt(real, job_of(real, every=1))


def best_job(project: Project, settings: dict[str, Any], **changes: Any) -> TrainJob:
    job = job_of(project, every=2, keep=1, settings=settings)
    return job.model_copy(update={"inputs": job.inputs.model_copy(update={"best": "eval_loss"})} | changes)


def test_the_best_model_is_published_whenever_it_was(real: Project, overfitting: dict[str, Any]) -> None:
    job = best_job(real, overfitting)
    assert job.inputs.digest != job_of(real, settings=overfitting).inputs.digest
    attempt(real, job)
    expected = record_of(real, job)
    losses = {point.step: point.loss for point in expected.training.evaluations}
    best = min(losses, key=losses.__getitem__)
    assert best < expected.training.steps - 8, losses
    assert (expected.training.best_step, expected.training.eval_loss) == (best, losses[best])
    # Interrupted long after the best step, it still publishes that one.
    other = best_job(real, overfitting, subject=ANOTHER, force=True)
    attempt(real, other, killed=best + 7)
    assert saved(real, other) == sorted([f"step-{best}.1", f"step-{best + 6}.1"])
    attempt(real, job)  # it finds its own record, and leaves the other's best
    attempt(real, best_job(real, overfitting, subject=ANOTHER, force=True, attempt=2))
    assert first_steps(record_of(real, job)) == [0, best + 6]
    same(record_of(real, job), expected)
    # It is the model of a training that ends there.
    short = job_of(real, settings=overfitting | {"epochs": best // 4})
    attempt(real, short)
    assert record_of(real, short).artifact == expected.artifact


def test_what_is_no_input_is_not_in_the_digest(project: Project) -> None:
    plain = project.train_job()
    assert "best" not in json.loads(plain.line())["inputs"]
    changed = project.train_job(checkpoints=Checkpoints(every_steps=1, keep=9))
    assert changed.inputs.digest == plain.inputs.digest
