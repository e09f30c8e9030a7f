"""What a cell of a data set holds."""

from typing import Any


class BadCell(ValueError):
    """A value is not what its column is for."""

    def __init__(self, reason: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.remedy = remedy


def is_text(value: Any) -> bool:
    """Whether it is a string with a UTF-8 form; JSON can spell half of a surrogate pair, which has none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """Return it as it is shown in a message: plain characters, shortened."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:59] + "…"
