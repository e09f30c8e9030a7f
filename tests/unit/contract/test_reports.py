"""Reports of another version of the trainer."""

import json

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


def test_what_is_no_report_is_none() -> None:
    assert Report.parse('{"outcome": "Splendid"}') is None
