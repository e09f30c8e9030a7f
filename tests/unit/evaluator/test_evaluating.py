"""Real runs of tiny models, evaluated from the document to the report. Needs the evaluator's libraries."""

from dataclasses import replace
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.evaluations import Criterion, SuiteType
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Outcome, Verdict

from .conftest import ACCURATE, HELD_OUT, NO_WORSE, Judging, write

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_good_adapter_passes_and_the_evidence_is_there(judging: Judging, asked: list[str]) -> None:
    report = judging.judge()
    assert (report.verdict, report.adopted, report.rows, report.leaked, report.exposures) == (
        Verdict.PASSED,
        False,
        len(HELD_OUT),
        0,
        1,
    )
    assert asked == ["the release"]
    record = judging.record()
    storage = judging.project.storage
    assert report.record == "sha256:" + storage.entry(layout.evaluation_record(record.key), "").sha256
    assert [file.path for file in record.report] == ["report.html", "report.json"]
    assert record.suites[0].rows == record.suites[0].scored == len(HELD_OUT)
    answers = judging.answers(record.inputs.release, record.inputs.suites[0])
    assert [answer["row"] for answer in answers] == list(range(len(HELD_OUT)))
    assert storage.exists(layout.release_file(record.inputs.release))
    assert storage.folders(layout.STAGING) == []


def test_the_same_again_is_adopted(judging: Judging, asked: list[str]) -> None:
    first = judging.judge()
    assert judging.judge() == first.model_copy(update={"adopted": True})
    assert asked == ["the release"]


def test_another_criterion_asks_nobody(judging: Judging, asked: list[str]) -> None:
    one = replace(judging, criteria=(ACCURATE, NO_WORSE))
    one.judge()
    assert asked == ["the release", "the base"]
    other = replace(one, criteria=(NO_WORSE, ACCURATE.model_copy(update={"min": 0.5})))
    assert other.judge().adopted is False
    assert asked == ["the release", "the base"]
