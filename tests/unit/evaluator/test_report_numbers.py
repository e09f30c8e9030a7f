"""What the report says of its own numbers: what would be seen, what chance admits, whether probabilities are right."""

import math
from typing import Any

import pytest

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import Estimate, Measured
from stagecoach.contract.evaluations import Criterion, Reference
from stagecoach_evaluator.report_numbers import exposure, reliability, wilson, with_detectable
from stagecoach_evaluator.report_rows import Case


def criterion(suite: str = "s", **changes: Any) -> Criterion:
    return Criterion(**({"name": "c", "suite": suite, "metric": "accuracy", "min": 0.5} | changes))


@pytest.mark.parametrize(
    ("criteria", "releases", "many", "by_chance"),
    [
        ([criterion(confidence=0.95)], 19, 20, 0.475),
        ([criterion(confidence=0.95)], 20, 20, 0.5),
        ([criterion(confidence=0.99)], 20, 100, 0.1),
        ([criterion(confidence=0.9)], 20, 10, 1.0),
        ([criterion(confidence=0.9), criterion(confidence=0.99)], 1, 10, 0.05),
        ([criterion(confidence=0.5, advisory=True), criterion(confidence=0.99)], 1, 100, 0.005),
        ([criterion(suite="other", confidence=0.5)], 1, 20, 0.025),
        ([criterion(min=None, against=Reference.BASELINE, allowed_drop=0.1)], 1, 20, 0.025),
        ([], 400, 20, 1.0),
        # What is exactly at a bound that the value itself is held against passes every other time.
        ([criterion()], 1, 1, 0.5),
        ([criterion(), criterion(confidence=0.99)], 1, 1, 0.5),
        ([criterion(), criterion(confidence=0.99)], 3, 1, 1.0),
        ([criterion(advisory=True), criterion(confidence=0.99)], 1, 100, 0.005),
    ],
)
def test_from_where_on_data_have_judged_too_many(
    criteria: list[Criterion], releases: int, many: int, by_chance: float
) -> None:
    found = exposure(releases, "s", criteria)
    assert (found.releases, found.many) == (releases, many)
    assert found.by_chance == pytest.approx(by_chance)
    assert (found.releases >= found.many) == (releases * (1 - found.confidence) / 2 >= 0.5 - 1e-9)


def test_what_so_many_rows_can_show() -> None:
    """1,000 rows, half of them right: Miller's rule of (z for 0.975 + z for 0.8) standard errors."""
    error = math.sqrt(0.25 / 1000)
    estimate = Estimate(value=0.5, low=0.5 - 1.959964 * error, high=0.5 + 1.959964 * error)
    found = with_detectable(Measured(metric="accuracy", candidate=estimate))
    assert found.detectable == pytest.approx((1.959964 + 0.841621) * error, rel=1e-5)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"candidate": Estimate(value=0.5)}, None),
        ({}, None),
        ({"candidate": Estimate(value=0.5, low=0.4, high=0.6), "baseline": Estimate(value=0.5)}, None),
        ({"difference": Estimate(value=0, low=-0.1, high=0.1)}, 0.1 * (1.959964 + 0.841621) / 1.959964),
        (
            {"difference": Estimate(value=0, low=-0.1, high=0.1), "confidence": 0.9},
            0.1 * (1.644854 + 0.841621) / 1.644854,
        ),
    ],
)
def test_without_an_interval_nothing_is_said_of_it(measured: dict[str, Any], expected: float | None) -> None:
    found = with_detectable(Measured(metric="accuracy", **measured)).detectable
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-5))


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_the_interval_of_a_share(hits: int, rows: int, low: float, high: float) -> None:
    """As statsmodels' proportion_confint(method="wilson") has it."""
    found = wilson(hits, rows)
    assert (found.value, found.low, found.high) == pytest.approx((hits / rows, low, high), abs=1e-4)


def test_how_far_probabilities_are_from_the_share_that_is_right() -> None:
    cases = [Case(str(place), "text", "a") for place in range(6)]
    scores = [(0.95, 0.05), (0.91, 0.09), (1.0, 0.0), (0.6, 0.4), (0.35, 0.65)]
    answers = [
        Answer(row=row, label="a" if one > other else "b", scores=(one, other))
        for row, (one, other) in enumerate(scores)
    ]
    answers.append(Answer(row=5, error="no"))
    found = reliability(cases, answers, ("a", "b"))
    assert found is not None
    assert [(each.low, each.rows, each.accuracy) for each in found.bins] == [(0.6, 2, 0.5), (0.9, 3, 1.0)]
    assert [each.confidence for each in found.bins] == pytest.approx([0.625, 2.86 / 3])
    assert found.error == pytest.approx((2 * 0.125 + 3 * (1 - 2.86 / 3)) / 5)
    assert found.rows == 5


def test_where_there_are_no_probabilities_nothing_is_said_of_them() -> None:
    assert reliability([Case("1", "text", "a")], [Answer(row=0, label="a")], ("a",)) is None
    assert reliability([], [], ("a",)) is None
