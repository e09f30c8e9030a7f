"""The child process: does what the Job's document says and leaves a Report in a file."""

import faulthandler
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stagecoach.contract import progress
from stagecoach.contract.inputs import QloraMethod
from stagecoach.contract.jobs import (
    ENVIRONMENT_VARIABLE,
    AnyJob,
    ImportJob,
    LookupJob,
    ResolveJob,
    RetainJob,
    TrainJob,
    read_job,
)
from stagecoach.contract.reports import BadInput, Outcome, Problem, Report
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import authorities, cgroup, interruption, launch, places, quiet
from stagecoach_trainer.failures import WorkFailed, is_out_of_memory
from stagecoach_trainer.interruption import Preempted, Terminated

if TYPE_CHECKING:
    from stagecoach_trainer.group import Members


def main() -> int:
    """Work, and write the Report where the parent reads it."""
    interruption.ends_the_work()
    faulthandler.register(signal.SIGUSR1)  # by which the parent asks one that hangs where it is
    progress.tell(_own(places.PROGRESS_VARIABLE))
    if launch.RANK in os.environ:
        return _together()
    _leave(perform(), _own(places.REPORT_VARIABLE))
    return 0


def _own(variable: str) -> Path:
    place = Path(os.environ[variable])
    return launch.own_file(place, os.environ[launch.LOCAL_RANK]) if launch.RANK in os.environ else place


def _together() -> int:
    """Work as one of several processes, which end together."""
    place = _own(places.REPORT_VARIABLE)
    place.touch()
    quiet.prepare(1)  # before torch; the document says how many threads it will be
    from stagecoach_trainer import group

    members = group.Joined(lambda report: _leave(report, place))
    report = perform(members)
    interruption.changes_nothing()
    report = members.end(report)
    _leave(report, place)
    return group.exit_code(report)


def _leave(report: Report, place: Path) -> None:
    part = place.with_suffix(".part")
    part.write_text(report.line())
    part.replace(place)


def perform(members: "Members | None" = None) -> Report:
    """Do the work and say how it ended, whatever happens."""
    try:
        return _dispatch(_job(), members)
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
        return _failed(error, together=members is not None)


def _job() -> AnyJob:
    try:
        return read_job()
    except KeyError:
        message = f"the environment variable {ENVIRONMENT_VARIABLE} is not set."
        remedy = "This program is started by the operator; see --help."
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"the document in {ENVIRONMENT_VARIABLE} is not understood: {where}: {first['msg']}."
        remedy = "Run the operator and the trainer image of the same version."
    raise BadInput(Problem.of("UnknownDocument", message, remedy=remedy))


def _dispatch(job: AnyJob, members: "Members | None") -> Report:
    quiet.prepare(job.threads if isinstance(job, TrainJob | ImportJob) else cgroup.cpus())
    if not (isinstance(job, TrainJob) and isinstance(job.inputs.method, QloraMethod)):
        quiet.leave_out_quantization()
    authorities.trust()
    if isinstance(job, ResolveJob):
        from stagecoach_trainer.resolve import resolve

        return Report(outcome=Outcome.DONE, resolution=resolve(job))
    if isinstance(job, LookupJob):
        from stagecoach_trainer.lookup import look

        return Report(outcome=Outcome.DONE, artifact=look(job))
    if isinstance(job, ImportJob):
        from stagecoach_trainer.importing import import_artifact

        return Report(outcome=Outcome.DONE, artifact=import_artifact(job))
    if isinstance(job, RetainJob):
        from stagecoach_trainer.retain import retain

        return Report(outcome=Outcome.DONE, retention=retain(job))
    from stagecoach_trainer.group import ALONE
    from stagecoach_trainer.train import train

    return Report(outcome=Outcome.DONE, artifact=train(job, members or ALONE))


def _failed(error: Exception, *, together: bool) -> Report:
    words = f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        # What gives the work more memory depends on whose Job it is: the operator knows.
        return Report(outcome=Outcome.OUT_OF_MEMORY, problem=Problem.of("OutOfMemory", words))
    if together:
        from stagecoach_trainer import group

        if group.is_of_a_peer(error):
            return group.peer_lost(words)
    return Report(outcome=Outcome.FAILED, problem=Problem.of("Unexpected", words, remedy="See the pod's log."))


if __name__ == "__main__":
    sys.exit(main())
