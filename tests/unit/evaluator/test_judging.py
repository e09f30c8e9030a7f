"""What the report's table says of a suite whose baseline cannot be measured; and passages that chance would find."""

import numpy as np
import pytest

from stagecoach.contract import metrics
from stagecoach.contract.answers import Answer
from stagecoach_evaluator import judging
from stagecoach_evaluator.intervals import Undefined
from stagecoach_evaluator.measured import Suite, SuiteAnswers
from stagecoach_evaluator.metrics import answered
from tests.unit.evaluator.answers import LABELS, chosen, drawn, ranked


def test_a_baseline_without_answers_hides_no_number_of_the_candidate() -> None:
    expected, said = drawn(80, 0.8, 1)
    silent = [Answer(row=row, error="too long") for row in range(80)]
    metric = metrics.find("Classification", "accuracy")
    assert metric is not None
    alone = judging._row(
        metric, None, Suite("Classification", LABELS, SuiteAnswers(expected, chosen(said), None, ()), "")
    )
    row = judging._row(
        metric, None, Suite("Classification", LABELS, SuiteAnswers(expected, chosen(said), silent, ()), "")
    )
    assert row.candidate == alone.candidate
    assert row.candidate is not None
    assert (row.baseline, row.difference) == (None, None)
    assert "no row was scored" in (row.message or "")


def test_a_baseline_without_answers_hides_no_number_of_the_incumbent() -> None:
    expected, said = drawn(80, 0.8, 1)
    silent = [Answer(row=row, error="too long") for row in range(80)]
    metric = metrics.find("Classification", "accuracy")
    assert metric is not None
    answers = SuiteAnswers(expected, chosen(said), silent, (), incumbent=chosen(expected))
    row = judging._row(metric, None, Suite("Classification", LABELS, answers, ""))
    assert row.candidate is not None
    assert row.incumbent is not None
    assert row.incumbent.value == 1
    assert row.incumbent_difference is not None
    assert (row.baseline, "no row was scored" in (row.message or "")) == (None, True)


def test_rows_that_the_baseline_did_not_answer_change_no_number_of_the_candidate() -> None:
    expected, said = drawn(80, 0.8, 1)
    half = [*chosen(expected)[:40], *(Answer(row=row, error="too long") for row in range(40, 80))]
    metric = metrics.find("Classification", "accuracy")
    assert metric is not None
    row = judging._row(
        metric, None, Suite("Classification", LABELS, SuiteAnswers(expected, chosen(said), half, ()), "")
    )
    assert row.candidate is not None
    assert row.candidate.value == np.mean([one == other for one, other in zip(expected, said, strict=True)])
    assert row.difference is not None


@pytest.mark.parametrize(("k", "passages", "there"), [(10, 8, False), (5, 9, False), (5, 10, True), (500, 500, False)])
def test_what_chance_would_find_is_no_recall(k: int, passages: int, there: bool) -> None:
    metric = metrics.find("Embedding", f"recall_at_{k}")
    assert metric is not None
    rows = answered("Embedding", (), [str(row) for row in range(passages)], [ranked([1] * passages)], "")
    if there:
        assert rows.sample(metric, None).estimate().value == 1
        return
    with pytest.raises(Undefined, match=f"of {passages} passages"):
        rows.sample(metric, None)
