"""What a problem says in a sentence, and reports of another version of the trainer."""

import json
from typing import Any

import pytest

from stagecoach.contract.reports import Outcome, Problem, ProgressLine, Report

DIGEST = "sha256:" + "7" * 64
URI = "data.sets[train].uri"


@pytest.mark.parametrize(
    ("field", "value", "message", "sentence"),
    [
        (URI, "s3://lake/a.csv", "there is no such file.", f"{URI} (s3://lake/a.csv): there is no such file. Mend it."),
        (URI, "s3://lake/a.csv", "s3://lake/a.csv is no file.", f"{URI}: s3://lake/a.csv is no file. Mend it."),
        ("method.type", "QLoRA", "it is not for 'QLoRA'.", "method.type: it is not for 'QLoRA'. Mend it."),
        ("maxLength", "12", "at most 128 tokens.", "maxLength (12): at most 128 tokens. Mend it."),
        ("data.train[test]", "test", "it is held out.", "data.train[test]: it is held out. Mend it."),
        ("", "s3://lake", "access is denied.", "s3://lake: access is denied. Mend it."),
        ("", "s3://lake", "s3://lake is denied.", "s3://lake is denied. Mend it."),
        (URI, "", "it is wrong.", f"{URI}: it is wrong. Mend it."),
        ("", "", "it is wrong.", "it is wrong. Mend it."),
        ("method.labels", "a\n  b", "they are others.", "method.labels (a b): they are others. Mend it."),
    ],
)
def test_a_sentence_has_the_value_where_nothing_else_in_it_has(
    field: str, value: str, message: str, sentence: str
) -> None:
    assert Problem.of("R", message, field=field, value=value, remedy="Mend it.").sentence == sentence


def test_a_sentence_without_a_remedy_ends_with_the_message() -> None:
    assert Problem.of("R", "it is wrong.", value="x").sentence == "x: it is wrong."


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no bucket: It is not there", "no bucket: It is not there. Mend it."),
        ("the hub fails: 503\n", "the hub fails: 503. Mend it."),
        ("the store refused: ", "the store refused. Mend it."),
        ("is it the right one?", "is it the right one? Mend it."),
        ("it goes on and o…", "it goes on and o… Mend it."),
        ("", "Mend it."),
    ],
)
def test_the_words_of_others_end_before_the_remedy(message: str, said: str) -> None:
    assert Problem.of("R", message, field="x", remedy="Mend it.").sentence == f"x: {said}"


def test_a_sentence_is_no_longer_than_a_condition_takes() -> None:
    problem = Problem.of("R", "m" * 5000, field="f" * 5000, value="v" * 5000, remedy="r" * 5000)
    assert "v" * 199 in problem.sentence
    assert len(problem.sentence) < 1600


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


ELSEWHERE = {"digest": DIGEST, "bytes": 1, "record": DIGEST, "recordName": "../record.json"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"outcome": "Splendid"}, "outcome of its report is 'Splendid'"),
        ({"outcome": "Done", "artifact": {"digest": "sha512:0", "bytes": 1, "record": DIGEST}}, "artifact.digest"),
        ({"outcome": "Done", "artifact": ELSEWHERE}, "artifact.recordName"),
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
