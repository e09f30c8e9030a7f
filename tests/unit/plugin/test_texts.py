import pytest

from stagecoach_plugin import texts
from tests.unit.plugin.samples import NOW


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – 日本語 🙂", "plain – 日本語 🙂"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("windows\r\nlines", "windows\nlines"),
        ("\x1b[31mred\x1b[0m", "[U+001B][31mred[U+001B][0m"),
        ("over\rwritten", "over[U+000D]written"),
        ("\x07\x08\x7f\x9b", "[U+0007][U+0008][U+007F][U+009B]"),
        ("turned \u202eround", "turned [U+202E]round"),
        ("an\u2028other\u2029line\x85or\x0btwo\x1c", "an[U+2028]other[U+2029]line[U+0085]or[U+000B]two[U+001C]"),
        ("family 👨\u200d👩", "family 👨\u200d👩"),
        (7, "7"),
    ],
)
def test_nothing_that_a_terminal_would_obey_is_left(text: object, shown: str) -> None:
    assert texts.plain(text) == shown


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [
        (None, False, "–"),
        (0.91374, False, "0.9137"),
        (1.0, False, "1"),
        (31.25, False, "31.25"),
        (0.05, True, "+0.05"),
        (-0.03, True, "-0.03"),
    ],
)
def test_numbers(value: float | None, signed: bool, shown: str) -> None:
    assert texts.number(value, signed=signed) == shown


def test_an_interval_needs_both_ends() -> None:
    assert texts.interval(0.1, 0.2) == "0.1 … 0.2"
    assert texts.interval(0.1, None) == "–"


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-03-01T11:59:15Z", "45s"),
        ("2026-03-01T11:57:00Z", "3m"),
        ("2026-03-01T07:00:00Z", "5h"),
        ("2026-02-27T12:00:00Z", "2d"),
        ("2026-03-01T12:00:05Z", "0s"),  # the clock of this machine is behind
        ("never", ""),
        (None, ""),
    ],
)
def test_how_long_ago(time: str | None, shown: str) -> None:
    assert texts.ago(time, NOW) == shown


def test_words() -> None:
    assert (texts.either([]), texts.either(["a"]), texts.either(["a", "b", "c"])) == ("", "a", "a, b or c")
    assert texts.both(["a", "b"]) == "a and b"
    assert (texts.several(1, "row"), texts.several(0, "row")) == ("1 row", "0 rows")
