"""Retention beside others who adopt, pin and publish, and retention that is killed in its midst."""

import os
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.store import Store
from stagecoach_trainer import survey, uses

from .conftest import ANOTHER
from .storehouse import DAY, NOW, Crash, Crashing, Storehouse, here

__all__ = ["here"]


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
