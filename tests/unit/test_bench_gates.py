"""The simulation itself: what it holds to be true is, and its table counts what it says."""

from collections import Counter

import numpy as np
import pytest

from stagecoach.contract.verdicts import Verdict
from tests.bench.gates import BASES, LABELS, MARGIN, METRICS, TRUTHS, Cell, Population, table, verdicts


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("accuracy", BASES)
def test_one_release_is_worse_by_the_margin(accuracy: float, metric: str) -> None:
    population = Population.of(accuracy)
    worse = population.other(population.losing(metric, MARGIN))
    assert population.value("accuracy", population.right) == pytest.approx(accuracy, abs=0.005)
    assert population.value(metric, population.right) - population.value(metric, worse) == pytest.approx(MARGIN)
    assert population.other(population.losing(metric, 0.0)) == pytest.approx(population.right)


def test_what_is_drawn_is_of_the_population() -> None:
    population = Population.of(0.85)
    lose = population.losing("accuracy", MARGIN)
    expected, one, other = population.draw(200_000, lose, np.random.default_rng(1))
    assert np.bincount(expected, minlength=LABELS) / 200_000 == pytest.approx(population.share, abs=0.003)
    assert (one == expected).mean() == pytest.approx(population.value("accuracy", population.right), abs=0.003)
    assert (one == expected).mean() - (other == expected).mean() == pytest.approx(MARGIN, abs=0.003)


@pytest.mark.parametrize("truth", TRUTHS)
def test_gates_are_judged(truth: str) -> None:
    found = verdicts(Cell(truth, "accuracy", 300), 0.85, 20, [1, 2])
    assert found.total() == 20
    assert found[Verdict.ERROR] == 0
    assert found == verdicts(Cell(truth, "accuracy", 300), 0.85, 20, [1, 2])


def test_the_table_counts_errors() -> None:
    cell = Cell("worse by 0.03, allowedDrop 0.03", "accuracy", 1000)
    text = table({cell: Counter({Verdict.PASSED: 2, Verdict.INCONCLUSIVE: 90, Verdict.FAILED: 8})})
    assert text.splitlines()[-1] == (
        "| worse by 0.03, allowedDrop 0.03 | accuracy | 1,000 | 100 | **2.0 %** | 2.0 % | 90.0 % | 8.0 % |"
    )
