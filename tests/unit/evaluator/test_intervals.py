"""Intervals against other computations of the same, and what must hold of all of them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stagecoach.contract import metrics
from stagecoach.contract.answers import Answer
from stagecoach_evaluator import power
from stagecoach_evaluator.intervals import Estimate, PairedShares, Share, Undefined
from stagecoach_evaluator.metrics import answered
from tests.unit.evaluator.answers import LABELS, chosen, drawn, ranked, tagged, written


def compared(
    task: str, name: str, expected: Sequence[Any], *answers: list[Answer], label: str | None = None, key: str = "key"
) -> Estimate:
    metric = metrics.find(task, name)
    assert metric is not None
    sample = answered(task, LABELS, expected, answers, key, 4000).sample(metric, label)
    return sample.difference() if len(answers) > 1 else sample.estimate()


# Clopper and Pearson's interval, by tables of the beta distribution; the last by hand: 0.025 ** (1 / 10).
@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [(8, 10, 0.4439, 0.9748), (0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (950, 1000, 0.9346, 0.9627)],
)
def test_a_share_has_its_exact_interval(right: int, rows: int, low: float, high: float) -> None:
    assert Share(right, rows).interval(0.95) == pytest.approx((low, high), abs=1e-4)


def test_f1_of_a_label_is_a_share_in_another_scale() -> None:
    # 30 rows expected or answered, 20 of them right: F1 is 40/50.
    found = Share(20, 30, is_f1=True)
    low, high = Share(20, 30).interval(0.95)
    assert found.value == pytest.approx(0.8)
    assert found.interval(0.95) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))


# By hand: twice the tail of a coin thrown as often as rows differ.
@pytest.mark.parametrize(
    ("better", "worse", "p"), [(1, 9, 2 * 11 / 1024), (0, 5, 2 / 32), (5, 5, 1.0), (0, 0, 1.0), (9, 1, 2 * 11 / 1024)]
)
def test_mcnemar_is_a_coin(better: int, worse: int, p: float) -> None:
    assert PairedShares(better, worse, 100).mcnemar == pytest.approx(p)


@pytest.mark.parametrize(("better", "worse", "rows"), [(1, 9, 100), (40, 10, 300), (0, 0, 50), (3, 3, 7), (7, 0, 7)])
def test_paired_shares_end_where_the_score_is_that_of_the_confidence(better: int, worse: int, rows: int) -> None:
    found = PairedShares(better, worse, rows)
    low, high = found.interval(0.95)
    assert -1 <= low <= found.value <= high <= 1
    for end, sign in ((low, 1), (high, -1)):
        if abs(end) < 1 - 1e-9:
            assert (
                found.score(end - sign * 1e-6) * sign >= stats.norm.isf(0.025) >= found.score(end + sign * 1e-6) * sign
            )


def test_paired_shares_are_mcnemars_test_at_no_difference() -> None:
    # Edwards: (|b - c| - 1)² / (b + c).
    assert PairedShares(25, 10, 400).score(0.0) == pytest.approx((25 - 10 - 1) / math.sqrt(35))


def test_paired_shares_err_no_more_than_they_say() -> None:
    """Every outcome that 120 rows can have, weighed by how likely it is where candidates are worse by the margin."""
    rows, margin, decisive = 60, 0.05, stats.norm.isf(0.025)
    outcomes = [(better, worse) for better in range(rows + 1) for worse in range(rows + 1 - better)]
    scores = np.array([PairedShares(*outcome, rows).score(-margin) for outcome in outcomes])
    for differing in (0.06, 0.15, 0.3):
        shares = [(differing - margin) / 2, (differing + margin) / 2, 1 - differing]
        counts = np.array([(better, worse, rows - better - worse) for better, worse in outcomes])
        likely = stats.multinomial.pmf(counts, rows, shares)
        assert likely @ (scores >= decisive) <= 0.025
        assert likely @ (scores <= -decisive) <= 0.025


@pytest.mark.parametrize("rows", [1, 5, 200])
def test_what_never_varies_is_not_certain(rows: int) -> None:
    """The rule of three: where every row is right, -ln(0.025)/n of all may still be wrong."""
    least = min(1, -math.log(0.025) / rows)
    for name, expected, answers in (
        ("rougeL", ["the same words"] * rows, written(["the same words"] * rows)),
        ("bleu", ["the very same words"] * rows, written(["the very same words"] * rows)),
    ):
        width = 100 if name == "bleu" else 1
        low, high = compared("Summarization", name, expected, answers).interval(0.95)
        assert [low, high] == pytest.approx([width * (1 - least), width])
        low, high = compared("Summarization", name, expected, answers, answers).interval(0.95)
        assert [low, high] == pytest.approx([-width * least, width * least])


def test_a_mean_has_the_interval_that_scipy_has() -> None:
    random = np.random.default_rng(1)
    ranks = random.geometric(0.3, 400)
    found = compared("Embedding", "mrr", [""] * 400, ranked([int(rank) for rank in ranks]))
    theirs = stats.bootstrap((1 / ranks,), np.mean, n_resamples=9999, method="percentile", rng=random)
    assert found.value == pytest.approx(np.mean(1 / ranks))
    assert found.error == pytest.approx(np.std(1 / ranks, ddof=1) / 20)
    low, high = found.interval(0.95)
    # It is wider by a row on either side.
    assert low + 1 / 400 == pytest.approx(theirs.confidence_interval.low, abs=0.004)
    assert high - 1 / 400 == pytest.approx(theirs.confidence_interval.high, abs=0.004)


def test_the_bias_of_macro_f1_is_seen() -> None:
    """Of labels with few rows each: on average too low, and the upper end holds the truth all the same."""
    labels = [f"label-{number}" for number in range(40)]
    random, metric = np.random.default_rng(5), metrics.find("Classification", "f1_macro")
    assert metric is not None
    values, beyond = [], 0
    for number in range(60):
        expected = random.integers(0, 40, 200)
        said = np.where(random.random(200) < 0.7, expected, (expected + random.integers(1, 40, 200)) % 40)
        answers = chosen([labels[code] for code in said])
        right = [labels[code] for code in expected]
        sample = answered("Classification", labels, right, [answers], f"{number}", 200).sample(metric, None)
        values.append(sample.estimate().value)
        beyond += sample.estimate().interval(0.95)[1] < 0.7
    assert np.mean(values) < 0.7 - 0.01
    assert beyond <= 3


def test_delongs_error_is_that_of_many_samples() -> None:
    random = np.random.default_rng(2)
    areas, errors = [], []
    for _ in range(200):
        expected = np.where(random.random(150) < 0.3, "card", "loan")
        scores = 1 / (1 + np.exp(-(random.normal(0, 1, 150) + (expected == "card"))))
        answers = [
            Answer(row=row, label="card", scores=(score, 1 - score, 0, 0, 0)) for row, score in enumerate(scores)
        ]
        found = compared("Classification", "auc_roc", list(expected), answers)
        areas.append(found.value)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.1)


def test_delong_of_two_labels_is_the_textbook_formula() -> None:
    expected = ["card"] * 4 + ["loan"] * 3
    scores = [0.9, 0.8, 0.7, 0.3, 0.6, 0.2, 0.1]
    answers = [Answer(row=row, label="card", scores=(score, 1 - score, 0, 0, 0)) for row, score in enumerate(scores)]
    found = compared("Classification", "auc_roc", expected, answers)
    # Of each card the share of loans below it, and of each loan the share of cards above it.
    cards, loans = np.array([1, 1, 1, 2 / 3]), np.array([3 / 4, 1, 1])
    assert found.value == pytest.approx(11 / 12)
    assert found.error == pytest.approx(math.sqrt(np.var(cards, ddof=1) / 4 + np.var(loans, ddof=1) / 3))


TASKS = [
    ("Classification", "f1_macro", *(drawn(120, 0.7, 1))),
    ("Classification", "mcc", *(drawn(120, 0.7, 2))),
    ("Classification", "accuracy", *(drawn(120, 0.7, 2))),
    (
        "Summarization",
        "rougeL",
        [f"row {n} of {n % 7} words" for n in range(90)],
        [f"row {n} of words" for n in range(90)],
    ),
    ("Translation", "chrf", [f"row {n} of {n % 7} words" for n in range(90)], [f"row {n} of words" for n in range(90)]),
    ("Translation", "bleu", [f"row {n} of {n % 7} words" for n in range(90)], [f"row {n} of words" for n in range(90)]),
    (
        "TokenClassification",
        "seqeval_f1",
        [("B-A", "O", "I-B")] * 90,
        [("B-A", "O", "O"), ("B-A", "I-A", "I-B"), ("O",) * 3] * 30,
    ),
    ("Embedding", "ndcg_at_10", [""] * 90, [1, 2, 30] * 30),
]


def of(task: str, said: Any) -> list[Answer]:
    make: Any = {"Classification": chosen, "TokenClassification": tagged, "Embedding": ranked}.get(task, written)
    made: list[Answer] = make(said)
    return made


@pytest.mark.parametrize(("task", "name", "expected", "said"), TASKS)
def test_order_of_rows_is_of_no_account_and_the_key_decides(
    task: str, name: str, expected: list[Any], said: list[Any]
) -> None:
    order = np.random.default_rng(3).permutation(len(expected))
    mixed = [expected[place] for place in order], [said[place] for place in order]
    worse = [said[0], *said[:-1]]
    worse_mixed = [worse[place] for place in order]
    one = compared(task, name, expected, of(task, said), of(task, worse))
    other = compared(task, name, mixed[0], of(task, mixed[1]), of(task, worse_mixed))
    assert one.value == pytest.approx(other.value, abs=1e-12)
    assert one.interval(0.9) == pytest.approx(other.interval(0.9), abs=1e-12)
    single = compared(task, name, expected, of(task, said))
    assert single.interval(0.9) == compared(task, name, expected, of(task, said)).interval(0.9)


def test_another_key_draws_other_resamples() -> None:
    expected, said = drawn(120, 0.7, 1)
    one, other = (
        compared(
            "Summarization",
            "rougeL",
            expected,
            written([f"{a} x" if a == "card" else b for a, b in zip(expected, said, strict=True)]),
            key=key,
        )
        for key in ("key", "another")
    )
    assert one.value == other.value
    assert one.interval(0.5) != other.interval(0.5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30
    )
)
def test_an_interval_holds_its_number_and_lies_in_the_range(rows: list[tuple[str, str, str]]) -> None:
    expected, one, other = (list(each) for each in zip(*rows, strict=True))
    for metric in metrics.usual("Classification"):
        for label in (None, "card") if metric.by_label else (None,):
            for answers in ([chosen(one)], [chosen(one), chosen(other)]):
                try:
                    sample = answered("Classification", LABELS, expected, answers, "key", 200).sample(metric, label)
                    found = sample.estimate() if len(answers) == 1 else sample.difference()
                    wide, narrow = found.interval(0.99), found.interval(0.5)
                except Undefined:
                    continue
                lowest = metric.low if len(answers) == 1 else -metric.width
                highest = metric.high if len(answers) == 1 else metric.width
                assert lowest - 1e-9 <= wide[0] <= narrow[0] <= found.value + 1e-9
                assert found.value - 1e-9 <= narrow[1] <= wide[1] <= highest + 1e-9


def test_as_many_rows_as_needed_tell() -> None:
    few = PairedShares(30, 20, 500)
    wanted = power.needed(few, 0.0, 0.025, 500)
    assert wanted is not None
    times = wanted / 500
    many = PairedShares(round(30 * times), round(20 * times), wanted)
    assert few.interval(0.95)[0] < 0 < many.interval(0.95)[0]


def test_no_number_of_rows_tells_what_is_equal() -> None:
    assert power.needed(PairedShares(20, 20, 500), 0.0, 0.025, 500) is None
    assert power.needed(PairedShares(20, 20, 500), -1e-250, 0.025, 500) is None
    assert power.needed(Share(0, 0), 0.5, 0.025, 0) is None


def test_where_resamples_decide_their_interval_says_how_many_rows_it_takes() -> None:
    """The interval is wider than the jackknife's error alone: with that, too few rows would be asked for."""
    expected, said = drawn(300, 0.7, 1)
    found = compared("Classification", "f1_macro", expected, chosen(said))
    low, high = found.interval(0.95)
    assert found.value - low > 1.96 * found.error
    threshold = found.value - 0.02
    steps = stats.norm.isf(0.025) + stats.norm.ppf(0.8)
    wanted = power.needed(found, threshold, 0.025, 300)
    assert wanted == math.ceil(300 * (steps * (found.value - low) / stats.norm.isf(0.025) / 0.02) ** 2)
    above = power.needed(found, found.value + 0.02, 0.025, 300)
    assert above == math.ceil(300 * (steps * (high - found.value) / stats.norm.isf(0.025) / 0.02) ** 2)


def test_an_area_next_to_one_has_an_interval_at_any_confidence() -> None:
    """One row of a label, which one of 30,000 others is above: on the scale of the logit its ends are far out."""
    scores = [(0.9 - row / 40_000, 0.1 + row / 40_000) for row in range(30_000)]
    answers = [Answer(row=row, label="card", scores=each) for row, each in enumerate(scores)]
    expected = ["card" if row != 29_998 else "loan" for row in range(30_000)]
    metric = metrics.find("Classification", "auc_roc")
    assert metric is not None
    found = answered("Classification", ("card", "loan"), expected, [answers], "key").sample(metric, None).estimate()
    low, high = found.interval(1 - 0.0001 / 32)
    assert 0 <= low < found.value < high == 1
