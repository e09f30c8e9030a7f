"""Retention in a real folder."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import retain, uses
from stagecoach_trainer.failures import WorkFailed

from .conftest import ANOTHER, Project
from .storehouse import DAY, NOW, PROJECT, Storehouse, here, inputs_of

__all__ = ["here"]


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
