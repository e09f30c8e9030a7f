"""Times as text: RFC 3339, in UTC, in objects, documents and logs alike."""

from datetime import UTC, datetime


def timestamp(time: datetime, precision: str = "seconds") -> str:
    """Return a time as Kubernetes writes it: whole seconds, unless it is to be in `milliseconds` or `microseconds`.

    Raises ValueError for one without a zone: it would be taken for this machine's.
    """
    return _zoned(time, time).astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def now() -> str:
    """Return the time of day."""
    return timestamp(datetime.now(UTC))


def moment(text: str) -> datetime:
    """Return the time that a text says. Raises ValueError for one without a zone."""
    return _zoned(datetime.fromisoformat(text), text)


def _zoned(time: datetime, said: object) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{str(said)!r} has no time zone")
    return time
