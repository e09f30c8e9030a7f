"""The child process of any of our programs: it works, and leaves a Report where the first process reads it."""

import faulthandler
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from stagecoach.contract import progress
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from stagecoach.contract.reports import BadInput, Outcome, Problem, Report
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import interruption, places
from stagecoach_trainer.failures import WorkFailed, is_out_of_memory
from stagecoach_trainer.interruption import Preempted, Terminated

Document = TypeVar("Document")


def begin(beats: Path) -> None:
    """Have a request to stop end the work, and tell of progress by a file."""
    interruption.ends_the_work()
    faulthandler.register(signal.SIGUSR1)  # by which the parent asks one that hangs where it is
    progress.tell(beats)


def main(work: Callable[[], Report]) -> int:
    """Work as the only process, and write the Report where the parent reads it."""
    begin(Path(os.environ[places.PROGRESS_VARIABLE]))
    leave(reported(work), Path(os.environ[places.REPORT_VARIABLE]))
    return 0


def leave(report: Report, place: Path) -> None:
    """Write a Report that is there whole, or not at all."""
    part = place.with_suffix(".part")
    part.write_text(report.line())
    part.replace(place)


def reported(work: Callable[[], Report], of_a_peer: Callable[[Exception], Report | None] = lambda _: None) -> Report:
    """Work and say how it ended, whatever happens; `of_a_peer` tells errors that another process is the cause of."""
    try:
        return work()
    except BadInput as error:
        return Report(outcome=Outcome.BAD_INPUT, problem=error.problem)
    except StorageFailed as error:
        traceback.print_exc()
        return Report(outcome=Outcome.SERVICE_FAILED, problem=error.problem)
    except WorkFailed as error:
        return Report(outcome=Outcome.FAILED, problem=error.problem)
    except Preempted as error:
        message = f"the pod was asked to stop; a checkpoint was saved at step {error.step}."
        problem = Problem.of("Preempted", message)
        return Report(outcome=Outcome.PREEMPTED, problem=problem, checkpoint=error.step, index=error.index)
    except Terminated as error:
        problem = Problem.of("Terminated", "the pod was asked to stop before the work was done.")
        return Report(outcome=Outcome.TERMINATED, problem=problem, index=error.index)
    except Exception as error:
        traceback.print_exc()
        return _failed(error, of_a_peer)


def _failed(error: Exception, of_a_peer: Callable[[Exception], Report | None]) -> Report:
    words = f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        # What gives the work more memory depends on whose Job it is: the operator knows.
        return Report(outcome=Outcome.OUT_OF_MEMORY, problem=Problem.of("OutOfMemory", words))
    unexpected = Report(outcome=Outcome.FAILED, problem=Problem.of("Unexpected", words, remedy="See the pod's log."))
    return of_a_peer(error) or unexpected


def document(read: Callable[[], Document], image: str) -> Document:
    """Return what the pod was started for. Raises BadInput when it is not there, or is of another version."""
    try:
        return read()
    except KeyError:
        message = f"the environment variable {ENVIRONMENT_VARIABLE} is not set."
        remedy = "This program is started by the operator; see --help."
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"the document in {ENVIRONMENT_VARIABLE} is not understood: {where}: {first['msg']}."
        remedy = f"Run the operator and the {image} image of the same version."
    raise BadInput(Problem.of("UnknownDocument", message, remedy=remedy))
