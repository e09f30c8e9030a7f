"""What retention finds beside artifacts, and what else changes with it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout, retention
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import lookup, survey, uses

from .conftest import Project, record_of
from .storehouse import PROJECT, Storehouse, here, inputs_of

__all__ = ["here"]

# What is left over


def checkpoint(here: Storehouse, uid: str, project: str | None = PROJECT.uid, days: float = 100) -> str:
    folder = layout.checkpoints_folder(inputs_of(7), uid)
    here.write(f"{folder}/step-1.1/model.bin", "x" * 100)
    here.write(f"{folder}/step-1.1.json", f'{{"projectUid": "{project}"}}' if project else "{}")
    here.age(days, folder)
    return folder


def test_checkpoints_of_runs_that_are_gone_go(here: Storehouse) -> None:
    gone = checkpoint(here, "aaaaaaaa-1111-2222")
    kept = [
        checkpoint(here, "bbbbbbbb-1111-2222"),
        checkpoint(here, "cccccccc-1111-2222", project="another"),
        checkpoint(here, "dddddddd-1111-2222", project=None),
        checkpoint(here, "eeeeeeee-1111-2222", days=29),
    ]
    report = here.look(runs=3, known_runs=("bbbbbbbb-1111",))
    assert not here.store.exists(gone)
    assert all(len(here.store.listing(folder)) == 2 for folder in kept)
    assert report.bytes > 100


def test_what_never_became_a_checkpoint_goes_whosever_it_is(here: Storehouse) -> None:
    folder = layout.checkpoints_folder(inputs_of(7), "aaaaaaaa-1111-2222")
    here.write(f"{folder}/step-1.1/model.bin", "x" * 100)
    here.age(29, folder)
    about_to_be = Path(here.store.path(layout.checkpoints_folder(inputs_of(8), "bbbbbbbb-1111-2222")))
    about_to_be.mkdir(parents=True)
    assert here.look(runs=3).bytes == 0
    here.age(31, folder)
    assert here.look(runs=3).bytes == 100
    assert not here.store.exists(layout.checkpoints_folder(inputs_of(7)))
    assert about_to_be.exists(), "a folder is made before its first file is copied"


def test_what_was_staged_long_ago_goes(here: Storehouse) -> None:
    for uid, days in (("old", 31), ("new", 29)):
        here.write(f"{layout.staging_folder(uid)}/0123", "x" * 100)
        here.age(days, layout.staging_folder(uid))
    assert here.look(runs=3).bytes == 100
    assert here.store.folders(layout.STAGING) == ["new"]


@pytest.mark.parametrize("target", ["runs/moved", "moved", "../another", "../../outside"])
@pytest.mark.parametrize(
    "what", ["an artifact", "a file of it", "all artifacts", "checkpoints", "a step", "staged", "all staged"]
)
def test_no_link_leads_removal_elsewhere(tmp_path: Path, what: str, target: str) -> None:
    storage = tmp_path / "claim" / "storage"
    (storage / "runs").mkdir(parents=True)
    here = Storehouse(Store.local(str(storage)))
    for number in (1, 2, 3):
        here.make(number, days=200 - number)
    checkpoints = checkpoint(here, "aaaaaaaa-1111-2222")
    here.write(f"{layout.staging_folder('old')}/0123", "x")
    here.age(100)
    artifact = layout.artifact_folder(here.artifacts[0])
    place = {
        "an artifact": artifact,
        "a file of it": f"{artifact}/adapter_model.safetensors",
        "all artifacts": layout.ARTIFACTS,
        "checkpoints": checkpoints,
        "a step": f"{checkpoints}/step-1.1",
        "staged": layout.staging_folder("old"),
        "all staged": layout.STAGING,
    }[what]
    path, moved = Path(here.store.path(place)), (storage / target).resolve()
    path.rename(moved)
    path.symlink_to(moved)
    before = sorted((str(item), item.stat().st_size) for item in (moved, *moved.rglob("*")) if item.is_file())
    assert before
    for days in (1, 5, 9):
        with suppress(BadInput, StorageFailed):
            here.look(days, runs=2)
    after = {(str(item), item.stat().st_size) for item in (moved, *moved.rglob("*")) if item.is_file()}
    assert set(before) <= after


# What else changes


@pytest.mark.parametrize("uid", [None, "project-1"])
def test_whose_run_it_was_is_in_the_record(
    trained: tuple[Project, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: str | None
) -> None:
    from stagecoach_trainer import recording

    if uid:
        monkeypatch.setenv(retention.PROJECT_VARIABLE, uid)
    record, store = record_of(trained[0]), Store.local(str(tmp_path))
    recording.write(record, store, "test")
    found = lookup.read_record(store, record.inputs_digest)
    assert found is not None
    assert found[0].project_uid == uid
    [told] = survey.survey(store).records
    assert told.project == uid
    assert told.inputs in told.mentions


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (layout.leaving_file, "about to be removed by the project's retention"),
        (layout.removed_file, "was removed by the project's retention"),
        (None, "is not there, or is damaged"),
    ],
)
def test_why_there_is_nothing_to_compare(here: Storehouse, place: Any, words: str) -> None:
    if place:
        here.write(place(here.artifacts[0]), "{}")

    class Known:
        inputs_digest = inputs_of(1)

        class artifact:  # noqa: N801 - as of a record
            digest = here.artifacts[0]

    assert words in lookup.absent(here.store, Known)  # type: ignore[arg-type]


def test_an_adoption_is_noted_and_what_leaves_is_not_adopted(trained: tuple[Project, Any]) -> None:
    project, report = trained
    record = record_of(project)
    store = project.storage
    # Other tests have adopted it, or made it anew.
    store.remove(layout.used_file(report.digest))
    stranger = record.subject.model_copy(update={"uid": "of-a-stranger"})
    assert lookup.found(store, record.inputs_digest, record.subject) is not None
    assert not store.exists(layout.used_file(report.digest)), "its own run adopts nothing"
    assert lookup.found(store, record.inputs_digest, stranger, force=True) is None
    assert not store.exists(layout.used_file(report.digest))
    found = lookup.found(store, record.inputs_digest, stranger)
    assert found is not None
    assert found.adopted
    used = uses.last(store, report.digest)
    assert used is not None
    assert store.folders(layout.STAGING) == []
    manifest = store.read(layout.manifest_file(report.digest))
    store.remove(layout.manifest_file(report.digest))
    store.remove(layout.used_file(report.digest))
    try:
        assert lookup.found(store, record.inputs_digest, stranger) is None
        assert not store.exists(layout.used_file(report.digest))
    finally:
        store.write(layout.manifest_file(report.digest), manifest, "test")
        store.clean("test")
