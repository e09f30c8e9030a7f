"""Reports of another version of the trainer."""

import json
from typing import Any

import pytest

from stagecoach.contract.reports import Outcome, ProgressLine, Report

DIGEST = "sha256:" + "7" * 64


def test_what_a_later_trainer_says_beyond_is_passed_over() -> None:
    artifact = {"digest": DIGEST, "bytes": 1, "record": DIGEST, "adopted": False, "tasted": {"sweet": 3}}
    said = {"outcome": "Done", "artifact": artifact, "weather": "fine"}
    report = Report.parse(json.dumps(said))
    assert report is not None
    assert report.outcome is Outcome.DONE
    assert report.artifact is not None
    assert report.artifact.digest == DIGEST


def test_a_later_progress_too() -> None:
    line = {"progress": {"step": 1, "steps": 2, "percent": 50, "at": "2026-01-02T03:04:05Z", "mood": "good"}}
    progress = ProgressLine.parse(json.dumps(line))
    assert progress is not None
    assert progress.step == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"outcome": "Splendid"}, "outcome of its report is 'Splendid'"),
        ({"outcome": "Done", "artifact": {"digest": "sha512:0", "bytes": 1, "record": DIGEST}}, "artifact.digest"),
        ({"outcome": "Splendid", "problem": {"reason": "R", "message": "All is well.", "mood": 1}}, "All is well."),
        ({"outcome": "Splendid", "problem": "x" * 5000}, "'Splendid'"),
    ],
)
def test_what_cannot_be_read_of_a_later_report_is_told_and_is_no_success(said: dict[str, Any], words: str) -> None:
    report = Report.parse(json.dumps(said))
    assert report is not None
    assert report.outcome is Outcome.UNKNOWN
    assert report.problem is not None
    assert words in report.problem.message


@pytest.mark.parametrize("text", [None, "", '{"outcome": "Done"', "[]", "7", '{"weather": "fine"}'])
def test_what_is_no_report_is_none(text: str | None) -> None:
    assert Report.parse(text) is None
