"""Every number of report.json equals another computation, by scikit-learn and scipy, of the same answers."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluations import Criterion, Reference, SuiteType, WhenAbsent
from stagecoach_evaluator import judging
from stagecoach_evaluator.answering import Answers
from stagecoach_evaluator.report import JSON, render
from stagecoach_evaluator.report_rows import Case
from stagecoach_evaluator.seen import Seen
from tests.unit.contract.documents import DIGEST
from tests.unit.evaluator import independent, report_data
from tests.unit.evaluator.report_data import INTENTS, drawn

LABELS = INTENTS[:12]
ABOUT = {"suite": "held-out", "metric": "accuracy"}
CRITERIA = (
    Criterion(name="good", **ABOUT, min=0.5),
    Criterion(name="surely", **ABOUT, min=0.5, confidence=0.9),
    *(
        Criterion(name=f"{metric}-of-one", suite="held-out", metric=metric, label=LABELS[3], min=0.2, confidence=0.99)
        for metric in ("precision", "recall", "f1")
    ),
    Criterion(name="macro", suite="held-out", metric="f1_macro", min=0.5, confidence=0.95),
    Criterion(name="no-worse", **ABOUT, against=Reference.BASELINE, allowed_drop=0.05),
    Criterion(name="gain", suite="held-out", metric="mcc", against=Reference.BASELINE, min_gain=0.1),
    Criterion(name="as-served", **ABOUT, against=Reference.INCUMBENT, allowed_drop=0.05, when_absent=WhenAbsent.SKIP),
)


def report(
    cases: Sequence[Case],
    candidate: Sequence[Answer],
    baseline: Sequence[Answer] | None,
    incumbent: Sequence[Answer] | None = None,
) -> tuple[dict[str, Any], dict[str, independent.Suite]]:
    """Return a report.json of these answers, as an evaluation writes it, and of what it is made."""
    there = {None: True, Reference.BASELINE: baseline is not None, Reference.INCUMBENT: incumbent is not None}
    criteria = [each for each in CRITERIA if there[each.against]]
    suite = report_data.suite("held-out", SuiteType.HELD_OUT, cases, candidate, baseline=baseline, incumbent=incumbent)
    data = report_data.data([suite], criteria, (), labels=LABELS, inputs={"min_scored": 0.9})
    asked: Any = SimpleNamespace(candidate=SimpleNamespace(asked=data.asked, labels=LABELS))
    rows: Any = SimpleNamespace(
        suite=suite.suite,
        expected=lambda: [case.expected for case in cases],
        dataset=SimpleNamespace(rows=cases, place=str),
        harness=None,
        judged=range(len(cases)),
        repeated=0,
    )
    kept = [None if each is None else Answers(tuple(each), DIGEST) for each in (candidate, baseline, incumbent)]
    assert kept[0]
    seen = Seen(rows, "Classification", kept[0], kept[1], kept[2], leaked={}, in_prompt={}, exposures=1)
    judged = judging.judged(data.job, asked, [seen])
    whole = replace(
        data,
        suites=(replace(suite, metrics=judged.metrics["held-out"]),),
        verdict=judged.verdict,
        message=judged.message,
        results=judged.results,
    )
    lines = [None if each is None else [item.document() for item in each] for each in (candidate, baseline, incumbent)]
    known = independent.Suite([case.expected for case in cases], lines[0] or [], lines[1], LABELS, lines[2])
    return json.loads(render(whole)[JSON]), {"held-out": known}


def drawn_report(
    seed: int, *, scores: bool, compared: bool, labels: Sequence[str] = LABELS, holes: bool = True
) -> tuple[dict[str, Any], dict[str, independent.Suite]]:
    draw = drawn(seed)
    cases = report_data.cases_of("held-out", labels, 300, draw)
    both = [report_data.answers(cases, LABELS, accuracy, draw, scores=scores) for accuracy in (0.8, 0.6)]
    if holes:
        for row in (5, 17, 80):
            both[0][row] = Answer(row=row, error="TooLong: the row has 900 tokens.")
            both[1][row + 1] = Answer(row=row + 1, error="it answered nothing.")
    return report(cases, both[0], both[1] if compared else None)


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_number_is_that_of_another_computation(seed: int, scores: bool, compared: bool) -> None:
    told, suites = drawn_report(seed, scores=scores, compared=compared)
    assert independent.differences(told, suites) == []
    assert any(each["metric"] == "auc_roc" and "candidate" in each for each in told["suites"][0]["metrics"]) is scores


def test_labels_that_no_row_has_are_no_part_of_a_mean() -> None:
    told, suites = drawn_report(3, scores=True, compared=True, labels=LABELS[:5], holes=False)
    assert independent.differences(told, suites) == []
    assert told["suites"][0]["labels"] > 5


def test_one_that_is_always_right_and_one_that_is_never() -> None:
    cases = report_data.cases_of("held-out", LABELS, 60, drawn(4))
    right = [Answer(row=row, label=case.expected) for row, case in enumerate(cases)]
    wrong = [Answer(row=row, label="nothing of it") for row in range(60)]
    for candidate, baseline in ((right, wrong), (wrong, right), (right, right)):
        assert independent.differences(*report(cases, candidate, baseline)) == []


@pytest.mark.parametrize("compared", [False, True])
def test_every_number_of_what_is_served_is_that_of_another_computation(compared: bool) -> None:
    draw = drawn(6)
    cases = report_data.cases_of("held-out", LABELS, 300, draw)
    each = [report_data.answers(cases, LABELS, accuracy, draw) for accuracy in (0.8, 0.6, 0.7)]
    each[2][5] = Answer(row=5, error="it answered nothing.")
    told, suites = report(cases, each[0], each[1] if compared else None, each[2])
    assert independent.differences(told, suites) == []
    for place in OF_INCUMBENT:
        assert independent.differences(changed(told, place), suites), place


FIRST = ("suites", 0)
ACCURACY, MCC, CELL, LABEL = (*FIRST, "metrics", 0), (*FIRST, "metrics", 8), ("confusion", "cells", 4), ("classes", 2)
NUMBERS: list[tuple[str | int, ...]] = [
    (*FIRST, "scored"),
    (*FIRST, "unscored", 0, "rows"),
    (*FIRST, "paired", "onlyCandidate"),
    (*FIRST, "worst", "wrong"),
    *((*ACCURACY, "candidate", name) for name in ("value", "low", "high")),
    *((*ACCURACY, "baseline", name) for name in ("value", "low", "high")),
    (*ACCURACY, "difference", "value"),
    (*ACCURACY, "detectable"),
    (*MCC, "candidate", "value"),
    (*MCC, "difference", "value"),
    (*FIRST, *CELL, "count"),
    (*FIRST, "confusion", "most", 0, "count"),
    (*FIRST, "confusion", "mistakes"),
    *((*FIRST, *LABEL, name) for name in ("rows", "answered", "right", "precision", "recall", "f1", "baselineF1")),
    ("results", 0, "value"),
    ("results", 1, "low"),
    ("results", 4, "high"),
    ("results", 6, "reference"),
    ("results", 6, "mcnemar"),
    ("results", 7, "scored"),
]


OF_INCUMBENT: list[tuple[str | int, ...]] = [
    (*FIRST, "pairedIncumbent", "onlyIncumbent"),
    (*ACCURACY, "incumbent", "value"),
    (*ACCURACY, "incumbentDifference", "value"),
    (*ACCURACY, "detectable"),
    *((*FIRST, *LABEL, "incumbent", name) for name in ("rows", "answered", "right", "precision", "recall", "f1")),
    ("results", -1, "reference"),
    ("results", -1, "mcnemar"),
]


def changed(told: dict[str, Any], place: tuple[str | int, ...]) -> dict[str, Any]:
    """Return a report of which one number is another."""
    made: Any = copy.deepcopy(told)
    at = made
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] += 0.001
    return dict(made)


def test_a_number_that_is_another_is_found() -> None:
    told, suites = drawn_report(5, scores=False, compared=True)
    for place in NUMBERS:
        assert independent.differences(changed(told, place), suites), place
