"""The image's command as a pod starts it. Needs the trainer's libraries: runs inside its image."""

import os
import subprocess
import sys

import pytest

from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, LookupJob
from stagecoach.contract.reports import Outcome, ProgressLine, Report
from stagecoach_trainer import places
from tests.unit.contract.documents import SUBJECT

from .conftest import ANOTHER, Project, record_of

pytestmark = pytest.mark.filterwarnings("ignore")


def in_a_pod(project: Project, document: str) -> tuple[int, Report | None, list[str], str]:
    """Run the image's command on a document; return exit code, report, progress lines and the log."""
    log = project.root / "termination-log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        places.ROOT_VARIABLE: str(project.root),
        places.TERMINATION_LOG_VARIABLE: str(log),
        ENVIRONMENT_VARIABLE: document,
    }
    command = [sys.executable, "-m", "stagecoach_trainer"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, Report.parse(log.read_text()), ended.stdout.splitlines(), ended.stderr


def test_a_run_as_in_a_pod(real: Project) -> None:
    job = real.train_job()
    code, report, lines, log = in_a_pod(real, job.line())
    assert code == 0, log
    assert report is not None
    assert report.artifact is not None
    progress = [ProgressLine.parse(line) for line in lines]
    assert None not in progress, lines
    assert [(item.step, item.percent) for item in (progress[0], progress[-1]) if item] == [(0, 0), (48, 100)]
    # People read this log: it says what happens, and nothing else.
    assert log.splitlines() == ["reading data and base model", "Done"]
    looked_up = in_a_pod(real, LookupJob(subject=ANOTHER, inputs_digest=job.inputs.digest).line())[1]
    adopted = report.artifact.model_copy(update={"adopted": True, "maker": record_of(real).maker})
    assert looked_up == Report(outcome=Outcome.DONE, artifact=adopted)


def test_resolving_and_looking_up_do_not_load_torch(real: Project) -> None:
    for document in (real.resolve_job().line(), LookupJob(subject=SUBJECT, inputs_digest="sha256:" + "0" * 64).line()):
        program = (
            "import os, sys; from stagecoach_trainer import work; report = work.perform();"
            "assert report.outcome == 'Done', report; assert 'torch' not in sys.modules"
        )
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            places.ROOT_VARIABLE: str(real.root),
            ENVIRONMENT_VARIABLE: document,
        }
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr


def test_a_storage_that_is_not_there_is_a_services_failure(real: Project) -> None:
    (real.root / "storage").rmdir()
    code, report, _, _ = in_a_pod(real, real.resolve_job().line())
    assert (code, report.outcome if report else None) == (69, Outcome.SERVICE_FAILED)
