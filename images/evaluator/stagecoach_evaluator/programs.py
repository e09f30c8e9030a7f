"""Programs beside those of Jobs: how they are prepared, and how one that cannot do its work ends."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TypeVar

from pydantic import ValidationError

from stagecoach.contract.reports import MAX_BYTES, TERMINATION_LOG, BadInput, ExitCode, Outcome, Problem, Report
from stagecoach_trainer import authorities, child, parent, places, quiet
from stagecoach_trainer.train import say

Document = TypeVar("Document")
ONE_VERSION = "Whoever installed the operator sets all images of the chart to one version."


def run(work: Callable[[], None]) -> int:
    """Work; return the exit code. Why it could not be done is in the termination log, for people."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)  # the first process of a container has no default for them

    def whole() -> Report:
        quiet.prepare(1)
        authorities.trust()
        work()
        return Report(outcome=Outcome.DONE)

    report = child.reported(whole)
    if report.problem:
        text = f"{report.problem.reason}: {report.problem.sentence}"
        say(text)
        place = Path(os.environ.get(places.TERMINATION_LOG_VARIABLE, TERMINATION_LOG))
        with suppress(OSError):  # it is in the log, too
            place.write_bytes(text.encode()[:MAX_BYTES])
    return int(parent.CODES.get(report.outcome, ExitCode.FAILED))


def document(variable: str, read: Callable[[str], Document]) -> Document:
    """Return what the operator has written into a variable. Raises BadInput."""
    try:
        return read(os.environ[variable])
    except KeyError:
        message, remedy = f"the environment variable {variable} is not set.", "See that the operator makes this pod."
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"the document in {variable} is not understood: {where}: {first['msg']}."
        remedy = ONE_VERSION
    raise BadInput(Problem.of("UnknownDocument", message, remedy=remedy))


def _end(number: int, _frame: FrameType | None) -> None:
    """End at once, whatever goes on: nothing is left half done where another would take it for whole."""
    os._exit(128 + number)


def main(work: Callable[[], None]) -> None:
    """Run it as this process."""
    sys.exit(run(work))
