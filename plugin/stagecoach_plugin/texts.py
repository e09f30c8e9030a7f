"""Texts and numbers for a terminal. What models and people wrote is shown as it is, and does nothing."""

import unicodedata
from datetime import UTC, datetime

# Categories of characters that a terminal obeys, that turn letters round, or that begin another line: control, format,
# surrogate, and separators of lines and of paragraphs.
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Joins of emoji and of letters in many scripts.
_HARMLESS = {"\n", "\t", "\u200c", "\u200d"}


def plain(text: object) -> str:
    """Return a text without anything that a terminal would obey: [U+001B] instead."""
    shown = (
        f"[U+{ord(sign):04X}]" if unicodedata.category(sign) in _OBEYED and sign not in _HARMLESS else sign
        for sign in str(text).replace("\r\n", "\n")
    )
    return "".join(shown)


def number(value: float | None, *, signed: bool = False) -> str:
    """Return a number in four digits; a dash for none."""
    if value is None:
        return "–"
    return f"{value:+.4g}" if signed else f"{value:.4g}"


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Return both ends of an interval; a dash for none."""
    if low is None or high is None:
        return "–"
    return f"{number(low, signed=signed)} … {number(high, signed=signed)}"


def short(digest: str) -> str:
    """Return the first twelve digits of a digest."""
    return digest.removeprefix("sha256:")[:12]


def ago(time: str | None, now: datetime) -> str:
    """Return how long ago a time was, as kubectl writes it: 45s, 3m, 5h, 2d; nothing for none."""
    if not time:
        return ""
    try:
        seconds = int((now - datetime.fromisoformat(time)).total_seconds())
    except ValueError:
        return ""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def several(count: int, word: str) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def either(words: list[str]) -> str:
    """Return `a`, `a or b`, `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def both(words: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
