"""What killed attempts leave in the storage, and who removes it."""

import pytest

from stagecoach.contract import layout
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.reports import ArtifactReport
from stagecoach_trainer.train import clear_staging, own_staging, staging

from .conftest import Project, train

# Of the attempt itself, an earlier one, a later one, another run, and a run whose uid begins like this one's.
LEFT = ("uid-1-1", "uid-1-2", "uid-1-3", "uid-2-1", "uid-1-0-1", "uid-1", "uid-1-x")
KEPT = ["uid-1", "uid-1-0-1", "uid-1-3", "uid-1-x", "uid-2-1"]


def leave(project: Project) -> TrainJob:
    """Return the second attempt of a run, after others have left a part of a file each."""
    for name in LEFT:
        place = project.root / "storage" / layout.staging_folder(name)
        place.mkdir(parents=True)
        (place / "0123456789abcdef").write_bytes(b"part of a checkpoint")
    job = project.train_job().model_copy(update={"attempt": 2})
    assert staging(job) == "uid-1-2"
    return job


def test_an_attempt_removes_what_those_before_it_left(project: Project) -> None:
    clear_staging(leave(project), project.storage)
    assert project.storage.folders(layout.STAGING) == KEPT


def test_an_attempt_that_fails_leaves_nothing_of_its_own(project: Project) -> None:
    with pytest.raises(RuntimeError), own_staging(leave(project), project.storage):
        raise RuntimeError
    assert project.storage.folders(layout.STAGING) == KEPT


def test_an_attempt_that_finds_the_record_of_a_killed_one_removes_what_that_left(
    trained: tuple[Project, ArtifactReport],
) -> None:
    project, _ = trained
    job = leave(project)
    assert train(job).adopted is False, "the run's own record"
    assert project.storage.folders(layout.STAGING) == KEPT
    for name in KEPT:
        project.storage.clean(name)
