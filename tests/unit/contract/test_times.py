from datetime import UTC, datetime, timedelta, timezone

import pytest

from stagecoach.contract import times

NOON = datetime(2026, 1, 2, 12, 0, 0, 34_567, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "precision", "text"),
    [
        (NOON, "seconds", "2026-01-02T12:00:00Z"),
        (NOON, "milliseconds", "2026-01-02T12:00:00.034Z"),
        (NOON, "microseconds", "2026-01-02T12:00:00.034567Z"),
        (NOON.replace(microsecond=0), "microseconds", "2026-01-02T12:00:00.000000Z"),
        (NOON.astimezone(timezone(timedelta(hours=5, minutes=30))), "seconds", "2026-01-02T12:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc(time: datetime, precision: str, text: str) -> None:
    assert times.timestamp(time, precision) == text
    assert abs(times.moment(text) - NOON) < timedelta(seconds=1)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="'2026-01-02 12:00:00' has no time zone"):
        times.timestamp(datetime(2026, 1, 2, 12))  # noqa: DTZ001 - that is what is tested
    with pytest.raises(ValueError, match="'2026-01-02T12:00:00' has no time zone"):
        times.moment("2026-01-02T12:00:00")


def test_the_time_of_day_is_read_back() -> None:
    assert timedelta(0) <= datetime.now(UTC) - times.moment(times.now()) < timedelta(seconds=5)
