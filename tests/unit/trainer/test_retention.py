"""Retention in a real folder."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout, retention
from stagecoach.contract.digests import hex_of
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import lookup, retain, survey, uses
from stagecoach_trainer.failures import WorkFailed

from .conftest import ANOTHER, Project, record_of
from .storehouse import DAY, NOW, PROJECT, Crash, Crashing, Storehouse, inputs_of


@pytest.fixture
def here(tmp_path: Path) -> Storehouse:
    """A storage with three artifacts, the first of which is the oldest."""
    made = Storehouse(Store.local(str(tmp_path / "storage")))
    Path(made.store.path()).mkdir()
    for number in (1, 2, 3):
        made.make(number, days=200 - number)
    return made


def test_what_may_leave_is_announced_and_after_the_notice_removed(here: Storehouse) -> None:
    report = here.look(runs=2)
    assert here.states() == ["leaving", "whole", "whole"]
    assert (report.kept, report.leaving, report.announced, report.removed) == (2, 1, 1, 0)
    assert report.again == (NOW + 3 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert hex_of(here.artifacts[0])[:12] in report.message
    report = here.look(days=2.9, runs=2)
    assert (report.leaving, report.announced, report.removed) == (1, 0, 0)
    assert here.states() == ["leaving", "whole", "whole"]
    report = here.look(days=3.1, runs=2)
    assert (report.kept, report.leaving, report.removed, report.bytes, report.again) == (2, 0, 1, 1003, None)
    assert here.states() == ["gone", "whole", "whole"]
    assert not here.store.exists(layout.artifact_folder(here.artifacts[0]))
    assert here.store.exists(layout.record_file(inputs_of(1))), "the record stays"
    before = here.store.listing("")
    again = here.look(days=9, runs=2)
    assert (again.kept, again.removed, here.store.listing("")) == (2, 0, before)


def test_an_artifact_without_its_folder_is_adopted_by_nobody(here: Storehouse) -> None:
    digest = here.artifacts[0]
    here.look(runs=2)
    assert here.store.verified(digest) is None
    assert here.store.complete(digest) is None


KEEPING: dict[str, Callable[[Storehouse], dict[str, Any]]] = {
    "a file pins it": lambda here: pin(here, here.artifacts[0]),
    "a file with an ending pins it": lambda here: pin(here, here.artifacts[0], ".json"),
    "a file pins its inputs": lambda here: pin(here, inputs_of(1)),
    "a file whose name is shorter pins it": lambda here: pin(here, here.artifacts[0][:20]),
    "a link pins it": lambda here: link(here, f"{layout.PINS}/{hex_of(here.artifacts[0])}"),
    "an object names it": lambda here: {"protected": (hex_of(here.artifacts[0])[:12],)},
    "an object names its inputs": lambda _: {"protected": (hex_of(inputs_of(1))[:12],)},
    "there are enough": lambda _: {"runs": 3},
    "it was adopted": lambda here: use(here),
    "another project has it too": lambda here: copy_record(here, "9" * 64, "another"),
    "a project of before has it too": lambda here: copy_record(here, "9" * 64, None),
    "there is more in its folder": lambda here: put(here, f"{layout.artifact_folder(here.artifacts[0])}/merged.bin"),
    "its folder is a link": lambda here: move_away(here, layout.artifact_folder(here.artifacts[0])),
    "its manifest cannot be read": lambda here: put(here, layout.manifest_file(here.artifacts[0])),
    "its use cannot be read": lambda here: put(here, layout.used_file(here.artifacts[0])),
    "a record that stays names it": lambda here: name_in(here, 3, here.artifacts[0]),
}


def pin(here: Storehouse, digest: str, suffix: str = "") -> dict[str, Any]:
    here.pin(digest, suffix)
    return {}


def use(here: Storehouse) -> dict[str, Any]:
    uses.note(here.store, here.artifacts[0], ANOTHER)
    return {}


def put(here: Storehouse, place: str) -> dict[str, Any]:
    here.write(place, "?")
    here.age(100)
    return {}


def link(here: Storehouse, place: str) -> dict[str, Any]:
    path = Path(here.store.path(place))
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("/nowhere")
    return {}


def move_away(here: Storehouse, place: str) -> dict[str, Any]:
    path = Path(here.store.path(place))
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")
    return {}


def copy_record(here: Storehouse, run: str, project: str | None) -> dict[str, Any]:
    text = here.store.read(layout.record_file(inputs_of(1))).decode()
    text = text.replace(f'"projectUid": "{PROJECT.uid}"', f'"projectUid": "{project}"' if project else '"a": 1')
    here.write(f"runs/{run}/record.json", text)
    return {}


def name_in(here: Storehouse, number: int, digest: str) -> dict[str, Any]:
    place = layout.record_file(inputs_of(number))
    text = here.store.read(place).decode()
    here.write(place, text.replace("{", f'{{"base": {{"uri": "pvc://store/artifacts/sha256/{hex_of(digest)}"}}, ', 1))
    return {}


@pytest.mark.parametrize("case", KEEPING)
def test_what_keeps_an_artifact(here: Storehouse, case: str) -> None:
    changes = {"runs": 2} | KEEPING[case](here)
    before = here.states()
    for days in (0, 4, 8):
        report = here.look(days, **changes)
        assert (report.announced, report.removed) == (0, 0)
    assert here.states() == before


@pytest.mark.parametrize(
    "case", [case for case in KEEPING if "link" not in case and "manifest" not in case and "folder" not in case]
)
def test_what_keeps_an_artifact_brings_it_back_too(here: Storehouse, case: str) -> None:
    here.look(runs=2)
    assert here.states()[0] == "leaving"
    changes = {"runs": 2} | KEEPING[case](here)
    here.look(4, **changes)
    unclear = "use cannot be read" in case
    assert here.states() == ["leaving" if unclear else "whole", "whole", "whole"]


@pytest.mark.parametrize(
    ("place", "text", "reason"),
    [
        ("runs/x/record.json", "{", "RecordUnreadable"),
        ("runs/x/record.json", '{"artifact": 1}', "RecordUnreadable"),
        ("runs/x/record.0123456789ab.json", "\ufeff[]", "RecordUnreadable"),
        ("pins/mine", "", "PinUnreadable"),
        ("pins/0123456789", "", "PinUnreadable"),
        ("pins/mine/why", "", "PinUnreadable"),
    ],
)
def test_what_cannot_be_read_keeps_everything(here: Storehouse, place: str, text: str, reason: str) -> None:
    here.look(runs=2)
    here.write(place, text)
    for days in (0, 4):
        with pytest.raises(BadInput) as caught:
            here.look(days, runs=1)
        assert caught.value.problem.reason == reason
    assert here.states() == ["leaving", "whole", "whole"]


@pytest.mark.parametrize("place", ["runs", "runs/x", "runs/x/record.json"])
def test_links_among_the_records_keep_everything(here: Storehouse, place: str) -> None:
    path = Path(here.store.path(place))
    if place == "runs":
        path.rename(path.parent / "moved")
        path.symlink_to("moved")
    else:
        path.parent.mkdir(exist_ok=True)
        path.symlink_to("nowhere")
    with pytest.raises(BadInput, match="link"):
        here.look(runs=1)
    assert here.states() == ["whole"] * 3


def test_what_an_object_had_is_kept_for_a_while_after_it(here: Storehouse) -> None:
    named = (hex_of(here.artifacts[0])[:12],)
    report = here.look(runs=2, protected=named)
    assert report.again == (NOW + 15 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ"), "it is noted again and again"
    before = here.store.read(layout.used_file(here.artifacts[0]))
    here.look(5, runs=2, protected=named)
    assert here.store.read(layout.used_file(here.artifacts[0])) == before, "not at every look"
    here.look(15, runs=2, protected=named)
    report = here.look(16, runs=2)
    assert (report.announced, report.again) == (0, (NOW + 45 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert here.look(45, runs=2).announced == 1


def test_what_another_project_made_and_an_object_here_has_is_noted_for_that_project(here: Storehouse) -> None:
    digest = here.make(4, days=100, project="another")
    here.look(runs=3, protected=(hex_of(digest)[:12],))
    assert uses.last(here.store, digest) == NOW
    here.look(29, runs=1, subject=PROJECT.model_copy(update={"uid": "another"}))
    assert here.state(digest) == "whole"


def test_a_full_storage_gets_room_first(here: Storehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    here.look(runs=2)
    write = Store.write

    def full(store: Store, place: str, *more: Any) -> None:
        if store.listing(layout.artifact_folder(here.artifacts[0])):
            raise StorageFailed(Problem.of("StorageFull", "the storage is full"))
        write(store, place, *more)

    monkeypatch.setattr(Store, "write", full)
    report = here.look(4, runs=1)
    assert (report.removed, report.announced) == (1, 1)


def test_what_people_note_beside_pins_is_none(here: Storehouse) -> None:
    here.write("pins/README.md", "What is here stays.")
    here.write("pins/.gitkeep", "")
    assert here.look(runs=2).announced == 1


def test_an_empty_storage_is_left_as_it_is(tmp_path: Path) -> None:
    here = Storehouse(Store.local(str(tmp_path)))
    report = here.look()
    assert (report.kept, report.message) == (0, "Of 0 artifacts 0 stay.")
    assert list(tmp_path.iterdir()) == []


def test_an_absent_storage_is_a_failure(project: Project) -> None:
    Path(project.storage.path()).rmdir()
    with pytest.raises(StorageFailed):
        retain.retain(Storehouse(project.storage).job())


@pytest.mark.parametrize("off", [-timedelta(hours=1), timedelta(days=8)])
def test_a_decision_of_another_time_removes_nothing(here: Storehouse, off: timedelta) -> None:
    with pytest.raises(WorkFailed, match="decided"):
        retain.Pass(here.store, here.job(runs=1), NOW + off).run()
    assert here.states() == ["whole"] * 3


def test_a_late_pod_counts_with_the_time_of_its_decision(here: Storehouse) -> None:
    here.look(runs=2)
    retain.Pass(here.store, here.job(days=2, runs=2), NOW + 6 * DAY).run()
    assert here.states()[0] == "leaving", "who adopted it before the notice was over may not be in the decision"


# Races


def test_who_adopts_while_it_is_announced_keeps_it(here: Storehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = here.artifacts[0]
    remove = Store.remove

    def adopted_first(store: Store, place: str) -> None:
        if place == layout.manifest_file(digest):
            uses.note(store, digest, ANOTHER)  # and then sees the manifest, and adopts
        remove(store, place)

    monkeypatch.setattr(Store, "remove", adopted_first)
    assert here.look(runs=2).announced == 0
    assert here.states()[0] == "whole"


def test_who_pins_while_it_is_removed_keeps_it(here: Storehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    here.look(runs=2)
    look = survey.survey

    def pinned_after(store: Store) -> Any:
        found = look(store)
        here.pin(here.artifacts[0])
        return found

    monkeypatch.setattr(survey, "survey", pinned_after)
    assert here.look(4, runs=2).removed == 0
    assert here.states()[0] == "whole"


def test_what_is_published_again_in_the_notice_is_whole_and_the_notice_begins_anew(here: Storehouse) -> None:
    here.look(runs=2)
    here.make(1, days=199)
    assert here.states()[0] == "whole, and announced"
    here.look(4, runs=2)
    assert here.states()[0] == "leaving"
    here.look(6, runs=2)
    assert here.states()[0] == "leaving"
    here.look(8, runs=2)
    assert here.states()[0] == "gone"


def test_what_somebody_is_publishing_is_left_alone(here: Storehouse) -> None:
    here.look(runs=2)
    place = f"{layout.artifact_folder(here.artifacts[0])}/adapter_config.json"
    here.write(place, "{}\n")
    moment = (NOW + 2 * DAY).timestamp()
    os.utime(here.store.path(place), (moment, moment))
    assert here.look(4, runs=2).removed == 0
    assert here.look(6, runs=2).removed == 0
    assert here.look(8, runs=2).removed == 1


def test_what_is_published_while_it_is_removed_is_whole_or_found_broken_by_its_publisher(here: Storehouse) -> None:
    """At any step of a removal, a whole publication follows: what is removed then is not behind its manifest."""
    for step in range(1, 12):
        digest = here.make(1, days=199)
        here.look(-9, runs=2)
        here.age(20)
        assert here.state(digest) == "leaving"
        racing = Racing(here, step)
        here.look(-5, store=racing, runs=2)
        assert here.state(digest) in ("whole", "whole, and announced", "gone"), step


class Racing(Store):
    """A store in which another Job publishes the first artifact before a certain step."""

    def __init__(self, here: Storehouse, at: int) -> None:
        super().__init__(here.store._fs, here.store.path())
        self.here, self.at, self.steps = here, at, 0

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.here.make(1, days=199)

    def remove(self, relative: str) -> None:
        exists = self.here.store.exists(layout.manifest_file(self.here.artifacts[0]))
        super().remove(relative)
        if not exists:
            self._step()

    def write(self, relative: str, content: Any, uid: str) -> None:
        super().write(relative, content, uid)
        self._step()


# Crashes


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("first", [0, 4])
@pytest.mark.parametrize("at", range(1, 14))
def test_a_second_pass_finishes_what_a_first_one_began(here: Storehouse, at: int, first: int, pinned: bool) -> None:
    if first:
        here.look(runs=1)
        if pinned:
            here.pin(here.artifacts[0])
    crashing = Crashing(here.store, at)
    try:
        here.look(first, store=crashing, runs=1)
    except Crash:
        assert crashing.steps >= at
    assert "broken" not in here.states()
    assert "lost" not in here.states()
    assert here.states()[2] == "whole"
    for days in (first, first + 4, first + 8):
        here.look(days, runs=1)
    expected = ["whole" if pinned and first else "gone", "gone", "whole"]
    assert here.states() == expected


def test_one_that_was_half_removed_and_is_pinned_then_is_not_called_whole(here: Storehouse) -> None:
    here.look(runs=2)
    crashing = Crashing(here.store, 2)
    with pytest.raises(Crash):
        here.look(4, store=crashing, runs=2)
    here.pin(here.artifacts[0])
    report = here.look(5, runs=2)
    assert "files of it are missing" in report.message
    assert here.states()[0] == "leaving"


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
    recording.write(record, {}, store, "test")
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
    assert lookup.found(store, record.inputs_digest, record.subject) is not None
    assert not store.exists(layout.used_file(report.digest)), "its own run adopts nothing"
    assert lookup.found(store, record.inputs_digest, ANOTHER, force=True) is None
    assert not store.exists(layout.used_file(report.digest))
    found = lookup.found(store, record.inputs_digest, ANOTHER)
    assert found is not None
    assert found.adopted
    used = uses.last(store, report.digest)
    assert used is not None
    assert store.folders(layout.STAGING) == []
    manifest = store.read(layout.manifest_file(report.digest))
    store.remove(layout.manifest_file(report.digest))
    store.remove(layout.used_file(report.digest))
    try:
        assert lookup.found(store, record.inputs_digest, ANOTHER) is None
        assert not store.exists(layout.used_file(report.digest))
    finally:
        store.write(layout.manifest_file(report.digest), manifest, "test")
        store.clean("test")
