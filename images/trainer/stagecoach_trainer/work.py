"""The child process: does what the Job's document says and leaves a Report in a file."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stagecoach.contract.inputs import QloraMethod
from stagecoach.contract.jobs import (
    AnyJob,
    ImportJob,
    LookupJob,
    ResolveJob,
    RetainJob,
    TrainJob,
    read_job,
)
from stagecoach.contract.reports import Outcome, Report
from stagecoach_trainer import authorities, cgroup, child, interruption, launch, places, quiet

if TYPE_CHECKING:
    from stagecoach_trainer.group import Members


def main() -> int:
    """Work, and write the Report where the parent reads it."""
    return _together() if launch.RANK in os.environ else child.main(_work)


def _together() -> int:
    """Work as one of several processes, which end together."""
    rank = os.environ[launch.LOCAL_RANK]
    beats, place = (
        launch.own_file(Path(os.environ[variable]), rank)
        for variable in (places.PROGRESS_VARIABLE, places.REPORT_VARIABLE)
    )
    child.begin(beats)
    place.touch()
    quiet.prepare(1)  # before torch; the document says how many threads it will be
    from stagecoach_trainer import group

    members = group.Joined(lambda report: child.leave(report, place))
    report = perform(members)
    interruption.changes_nothing()
    report = members.end(report)
    child.leave(report, place)
    return group.exit_code(report)


def perform(members: "Members | None" = None) -> Report:
    """Do the work and say how it ended, whatever happens."""
    if members is None:
        return child.reported(_work)
    return child.reported(lambda: _work(members), _of_a_peer)


def _of_a_peer(error: Exception) -> Report | None:
    from stagecoach_trainer import group

    return group.peer_lost(f"{type(error).__name__}: {error}") if group.is_of_a_peer(error) else None


def _work(members: "Members | None" = None) -> Report:
    return _dispatch(child.document(read_job, "trainer"), members)


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


if __name__ == "__main__":
    sys.exit(main())
