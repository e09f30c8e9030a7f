"""The time of day by the API server's answers."""

from datetime import UTC, datetime, timedelta

import pytest

from stagecoach.runtime.clock import ClusterClock

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


class Machine:
    """Its two clocks, of which one is wrong by so many seconds when the clock is made."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.passed = 0.0
        self.clock = ClusterClock(lambda: NOON.timestamp() + self.passed + wrong, lambda: 1000.0 + self.passed)

    def hears(self, seconds: float, took: float = 0.1) -> None:
        """Hear from a server whose time is so many seconds after noon."""
        told = NOON + timedelta(seconds=seconds)
        self.clock.heard(told.strftime("%a, %d %b %Y %H:%M:%S GMT"), took)

    @property
    def seconds(self) -> float:
        return (self.clock.now() - NOON).total_seconds()


def test_it_goes_on_between_answers() -> None:
    here = Machine()
    here.hears(0)
    here.passed = 7.5
    assert here.seconds == pytest.approx(7.5)


@pytest.mark.parametrize("wrong", [3600, -3600, 6])
def test_a_clock_that_is_wrong_does_not_count(wrong: float) -> None:
    here = Machine(wrong)
    assert here.seconds == pytest.approx(wrong)
    here.hears(0)
    assert here.seconds == pytest.approx(0)
    here.passed = 60
    here.hears(60)
    assert here.seconds == pytest.approx(60)


@pytest.mark.parametrize("late", [-4, -1, 0, 4])
def test_an_answers_whole_seconds_and_its_way_move_nothing(late: float) -> None:
    here = Machine()
    here.hears(late)
    assert here.seconds == 0


def test_what_was_long_under_way_says_nothing() -> None:
    here = Machine()
    here.hears(-40, took=40)
    assert here.seconds == 0


@pytest.mark.parametrize("date", [None, "", "soon"])
def test_no_date_says_nothing(date: str | None) -> None:
    here = Machine()
    here.clock.heard(date, 0.1)
    assert here.seconds == 0
