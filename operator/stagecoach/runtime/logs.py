"""JSON logs on stdout, one object a line."""

import logging
import sys
from datetime import UTC, datetime

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from stagecoach.contract.times import timestamp

_FIELDS = ("asctime", "levelname", "message", "name")
_NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "traceback"}
# kopf attaches whole objects of its own to its records.
_KOPF_EXTRAS = ("settings", "k8s_ref", "k8s_skip")
# How kopf's records of a request end that was answered with 403; the error itself is not in them.
_FORBIDDEN = "-> APIForbiddenError("
_FRAMEWORKS = ("kopf", "aiohttp", "asyncio", "kubernetes")


class _Formatter(JsonFormatter):
    def formatTime(self, record: logging.LogRecord, _datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        return timestamp(datetime.fromtimestamp(record.created, UTC), "milliseconds")


class _Patience(logging.Filter):
    """kopf calls every request an error that it will try again; of these only a missing right needs somebody.

    When it gives up, its end is told as what it is.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        of_request = record.name.startswith("kopf._cogs.clients.") and record.levelno == logging.ERROR
        if of_request and _FORBIDDEN not in record.getMessage():
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return record.levelno >= logging.getLogger().level


def configure(level: str) -> None:
    """Send everything to stdout at this level; frameworks speak up only when something is wrong."""
    handler = logging.StreamHandler(sys.stdout)
    reserved = [*RESERVED_ATTRS, *_KOPF_EXTRAS]
    handler.setFormatter(_Formatter(_FIELDS, rename_fields=_NAMES, reserved_attrs=reserved))
    handler.addFilter(_Patience())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _FRAMEWORKS:
        logging.getLogger(name).setLevel(max(logging.getLogger().level, logging.WARNING))
