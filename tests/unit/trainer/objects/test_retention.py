"""Retention in real object stores."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.reports import BadInput
from stagecoach_trainer import uses
from stagecoach_trainer.objects import ObjectStore
from tests.unit.trainer.conftest import ANOTHER
from tests.unit.trainer.storehouse import Storehouse, inputs_of

pytest.importorskip("s3fs", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def here(store: ObjectStore) -> Storehouse:
    made = Storehouse(store)
    for number in (1, 2, 3):
        made.make(number, days=200 - number)
    return made


def test_a_listing_tells_sizes_and_when_what_is_there_was_written(store: ObjectStore) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=2)
    for place, text in (("pins/a", ""), ("pins/b/c", "xy"), ("pins-of-others", "z")):
        store.write(place, text.encode(), "test")
    found = store.listing("pins")
    assert [(item.path, item.size, item.link) for item in found] == [("a", 0, False), ("b/c", 2, False)]
    assert all(begun <= item.modified <= datetime.now(UTC) + timedelta(seconds=2) for item in found)
    assert store.listing("nothing") == []


def test_what_may_leave_is_announced_and_after_the_notice_removed(here: Storehouse) -> None:
    # Objects are as old as they are: all of them from before the announcement.
    assert here.look(1, runs=2).announced == 1
    assert here.states() == ["leaving", "whole", "whole"]
    report = here.look(5, runs=2)
    assert (report.removed, report.kept, report.bytes) == (1, 2, 1003)
    assert here.states() == ["gone", "whole", "whole"]
    assert here.store.exists(layout.record_file(inputs_of(1)))
    assert here.look(9, runs=2).removed == 0


@pytest.mark.parametrize("how", ["pin", "use", "more"])
def test_what_is_wanted_comes_back(here: Storehouse, how: str) -> None:
    here.look(1, runs=2)
    changes: dict[str, Any] = {"runs": 3 if how == "more" else 2}
    if how == "pin":
        here.pin(here.artifacts[0], "/why")
    if how == "use":
        uses.note(here.store, here.artifacts[0], ANOTHER)
    assert here.look(5, **changes).removed == 0
    assert here.states() == ["whole"] * 3


def test_what_is_published_again_is_left_alone(here: Storehouse) -> None:
    here.look(1, runs=2)
    here.make(1, days=199)
    assert here.states()[0] == "whole, and announced"
    here.look(5, runs=2)
    assert here.states()[0] == "leaving"


def test_what_cannot_be_read_keeps_everything(here: Storehouse) -> None:
    here.write("runs/x/record.json", "{")
    with pytest.raises(BadInput, match="cannot be read"):
        here.look(1)
    assert here.states() == ["whole"] * 3


def test_more_in_the_folder_keeps_it(here: Storehouse) -> None:
    here.write(f"{layout.artifact_folder(here.artifacts[0])}/merged.bin", "x")
    report = here.look(1, runs=2)
    assert (report.announced, hex_of(here.artifacts[0])[:12] in report.message) == (0, True)
