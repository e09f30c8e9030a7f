"""The image's command as a pod starts it. Needs the evaluator's libraries."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stagecoach.contract import layout
from stagecoach.contract.evaluations import SuiteType
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from stagecoach.contract.progress import DEADLINE_VARIABLE
from stagecoach.contract.reports import Outcome, ProgressLine, Report
from stagecoach.contract.reviews import CanaryRows, Review, Reviewer
from stagecoach.contract.store import StorageFailed
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator import canaries, records
from stagecoach_evaluator.__main__ import main
from stagecoach_trainer import places

from .conftest import HELD_OUT, Judging, write

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")


def started(judging: Judging, document: str, **changes: str) -> "subprocess.Popen[str]":
    root = judging.project.root
    for left in (root / "termination-log", root / "scratch" / "progress"):
        left.unlink(missing_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        places.ROOT_VARIABLE: str(root),
        places.TERMINATION_LOG_VARIABLE: str(root / "termination-log"),
        ENVIRONMENT_VARIABLE: document,
        DEADLINE_VARIABLE: "300",
    } | changes
    command = [sys.executable, "-m", "stagecoach_evaluator"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(judging: Judging, process: "subprocess.Popen[str]") -> tuple[int, Report, list[str], str]:
    """Return exit code, report, progress lines and the log."""
    output, log = process.communicate(timeout=600)
    report = Report.parse((judging.project.root / "termination-log").read_text())
    assert report is not None, log
    return process.returncode, report, output.splitlines(), log


def test_an_evaluation_as_in_a_pod(judging: Judging) -> None:
    job = judging.job()
    code, report, lines, log = ended(judging, started(judging, job.line()))
    assert (code, report.outcome) == (0, Outcome.DONE), log
    assert report.evaluation is not None
    assert report.evaluation.verdict is Verdict.PASSED
    progress = [ProgressLine.parse(line) for line in lines]
    assert None not in progress, lines
    assert [(item.step, item.steps, item.percent) for item in (progress[0], progress[-1]) if item] == [
        (0, len(HELD_OUT), 0),
        (len(HELD_OUT), len(HELD_OUT), 100),
    ]
    # People read this log: it says what happens, and nothing else.
    assert log.splitlines() == [
        "reading the suites",
        "looking for the suites' rows in the training data",
        "judging the answers",
        "publishing",
        "Done",
    ]
    assert judging.judge() == report.evaluation.model_copy(update={"adopted": True})


def test_rows_that_people_have_to_look_at_are_the_last_words(judging: Judging) -> None:
    write(judging.project, "canary", [(f"hello! {text}", label) for text, label in HELD_OUT])
    suites = (("held-out", "test", SuiteType.HELD_OUT), ("canary", "canary", SuiteType.CANARY))
    reviewed = replace(judging, suites=suites).job()
    review = Review(suite="canary", reviewers=(Reviewer(user="qa@example.com"),), approvals=1, valid_for="720h")
    job = reviewed.model_copy(update={"inputs": reviewed.inputs.model_copy(update={"review": review})})
    code, report, lines, log = ended(judging, started(judging, job.line()))
    assert (code, report.outcome) == (0, Outcome.DONE), log
    assert report.evaluation is not None
    assert report.evaluation.verdict is Verdict.PASSED, report.evaluation
    rows = CanaryRows.read("\n".join(lines))
    assert report.evaluation.canary == rows.digest
    assert lines[-len(rows.rows) :] == list(rows.lines())
    assert [(row.input, row.expected) for row in rows.rows] == [(f"hello! {text}", label) for text, label in HELD_OUT]
    assert all(row.candidate and row.baseline is None for row in rows.rows)

    _, again, lines, _ = ended(judging, started(judging, job.line()))
    assert again.evaluation is not None
    assert again.evaluation.adopted
    assert again.evaluation.canary == CanaryRows.read("\n".join(lines)).digest == rows.digest


def test_rows_that_are_not_those_of_the_record_are_shown_to_nobody(judging: Judging) -> None:
    """Somebody who may write to the storage changes them between the check of the evidence and its reading."""
    write(judging.project, "canary", [(f"hello! {text}", label) for text, label in HELD_OUT])
    suites = (("held-out", "test", SuiteType.HELD_OUT), ("canary", "canary", SuiteType.CANARY))
    reviewed = replace(judging, suites=suites).job()
    review = Review(suite="canary", reviewers=(Reviewer(user="qa@example.com"),), approvals=1, valid_for="720h")
    job = reviewed.model_copy(update={"inputs": reviewed.inputs.model_copy(update={"review": review})})
    _, report, _, _ = ended(judging, started(judging, job.line()))
    assert report.evaluation is not None
    storage = places.storage()
    place = f"{layout.evaluation_folder(job.inputs.digest)}/report.json"
    content = storage.read(place)
    assert canaries.told(job, storage, report.evaluation) == report.evaluation
    first, second = (layout.evaluation_record(job.inputs.digest, number) for number in (1, 2))
    record = storage.read(first)
    storage.write(second, record, "uid")
    storage.write(first, record.replace(b"Passed", b"Failed"), "uid")
    assert canaries.told(job, storage, report.evaluation) == report.evaluation, "its record came after a damaged one"
    storage.write(place, content.replace(b"hello!", b"howdy!"), "uid")
    with pytest.raises(StorageFailed, match="it has been changed since the evaluation was published"):
        canaries.told(job, storage, report.evaluation)
    storage.write(place, content, "uid")
    with pytest.raises(StorageFailed, match="it has been changed"):
        canaries.told(job, storage, report.evaluation.model_copy(update={"record": f"sha256:{'0' * 64}"}))


def test_wrong_input_is_told(judging: Judging) -> None:
    job = judging.job()
    path = judging.project.root / "pvc" / "data" / "test.csv"
    path.write_text(path.read_text() + "and one more,card_lost\n")
    code, report, _, _ = ended(judging, started(judging, job.line()))
    assert (code, report.outcome) == (64, Outcome.BAD_INPUT)
    assert report.problem is not None
    assert report.problem.reason == "InputChanged"


def test_a_document_of_another_version(judging: Judging) -> None:
    code, report, _, _ = ended(judging, started(judging, judging.run.line()))
    assert (code, report.problem.reason if report.problem else "") == (64, "UnknownDocument")
    assert report.problem is not None
    assert "evaluator image" in report.problem.remedy


def awaits_loading(judging: Judging, process: "subprocess.Popen[str]") -> None:
    """Wait until it loads the model: what is there of the release is read, and its answers are not written."""
    beats = Path(judging.project.root) / "scratch" / "progress"
    while "loading" not in (beats.read_text() if beats.exists() else ""):
        assert process.poll() is None
        time.sleep(0.05)


def test_a_pod_that_is_asked_to_stop(judging: Judging) -> None:
    process = started(judging, judging.job().line())
    awaits_loading(judging, process)
    process.send_signal(signal.SIGTERM)
    _, report, _, _ = ended(judging, process)
    assert report.outcome is Outcome.TERMINATED
    assert judging.judge().verdict is Verdict.PASSED


def test_what_was_decided_and_not_told_is_adopted(judging: Judging) -> None:
    """Killed between report and message: nobody reads that, so that it is not written before."""
    job, root = judging.job(), judging.project.root
    message, told = root / "unread", root / "scratch" / "report.json"
    os.mkfifo(message)
    told.unlink(missing_ok=True)
    process = started(judging, job.line(), **{places.TERMINATION_LOG_VARIABLE: str(message)})
    while not told.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    message.unlink()
    [(_, digest)] = records.read(judging.project.storage, job.inputs.digest)

    code, report, _, log = ended(judging, started(judging, job.line()))
    assert (code, report.outcome) == (0, Outcome.DONE), log
    assert report.evaluation is not None
    assert (report.evaluation.verdict, report.evaluation.adopted) == (Verdict.PASSED, True)
    assert report.evaluation.record == digest
    assert [each for _, each in records.read(judging.project.storage, job.inputs.digest)] == [digest]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["evaluate", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments, {})
        assert caught.value.code == 0
    assert "0 there is a verdict" in capsys.readouterr().out
