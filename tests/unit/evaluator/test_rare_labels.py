"""Labels with a few rows: in a mean over labels they weigh as much as the others, and show next to nothing.

Gates are judged whose truth is known, and wrong is to pass what is not good enough.
"""

import numpy as np
import pytest
from scipy import stats

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluations import Criterion, EvaluationInputs, Reference, Suite, SuiteType
from stagecoach.contract.inputs import Columns, DataInput
from stagecoach.contract.metrics import find
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator.criteria import judge
from stagecoach_evaluator.intervals import Groups
from stagecoach_evaluator.measured import Measured, SuiteAnswers
from stagecoach_evaluator.metrics import answered

DIGEST = "sha256:" + "0" * 64
NAMES = ("a", "b", "c")
GATES = 300
SAID = {name: Answer(row=0, label=name) for name in NAMES}
# At 0.95 one in 40 may pass by chance; of 300 gates more than this is no chance.
MOST = int(stats.binom.ppf(0.999, GATES, 0.025))


def verdict(criterion: Criterion, answers: SuiteAnswers, seed: int, labels: tuple[str, ...] = NAMES) -> Verdict:
    suite = Suite(name="held-out", type=SuiteType.HELD_OUT, data=DIGEST, columns=Columns())
    inputs = EvaluationInputs(
        release=DIGEST,
        baseline=DIGEST,
        suites=(suite,),
        criteria=(criterion,),
        min_scored=1,
        trained_on=(DataInput(digest=DIGEST, columns=Columns()),),
    )
    return judge(inputs, Measured("Classification", labels, {"held-out": answers}, str(seed), 200))[1]


def draw(expected: list[str], right: tuple[float, ...], random: np.random.Generator) -> list[Answer]:
    hits = random.random(len(expected)) < np.array([right[NAMES.index(name)] for name in expected])
    return [SAID[name if hit else NAMES[(NAMES.index(name) + 1) % 3]] for name, hit in zip(expected, hits, strict=True)]


@pytest.mark.parametrize("rare", [2, 5])
def test_a_mean_over_labels_is_not_certain_of_one_with_few_rows(rare: int) -> None:
    """The third label is right in 0.6 of all rows, and so the mean is far below what is asked for."""
    expected, random = ["a"] * 300 + ["b"] * 180 + ["c"] * rare, np.random.default_rng(1)
    least = Criterion(name="good", suite="held-out", metric="recall", min=0.93, confidence=0.95)
    drop = Criterion(name="good", suite="held-out", metric="recall", against=Reference.BASELINE, allowed_drop=0.03)
    passed = {least: 0, drop: 0}
    for gate in range(GATES):
        answers = SuiteAnswers(
            expected, draw(expected, (0.99, 0.99, 0.6), random), draw(expected, (0.99, 0.99, 1.0), random), ()
        )
        for criterion in passed:
            passed[criterion] += verdict(criterion, answers, gate) is Verdict.PASSED
    assert max(passed.values()) <= MOST, passed.values()


@pytest.mark.parametrize("rare", [2, 8])
def test_an_area_is_not_certain_of_few_rows_on_one_side(rare: int) -> None:
    """0.7 of the rare rows are above all others, the rest below: the area is 0.7, and 0.95 is asked for."""
    expected, random, passed = ["a"] * 200 + ["b"] * rare, np.random.default_rng(1), 0
    criterion = Criterion(name="good", suite="held-out", metric="auc_roc", min=0.95, confidence=0.95)
    for gate in range(GATES):
        scores = random.uniform(0.1, 0.5, len(expected))
        above = random.random(rare) < 0.7
        scores[200:] = np.where(above, 0.9, 0.05)
        said = [Answer(row=0, label="a", scores=(1 - score, score)) for score in scores]
        passed += verdict(criterion, SuiteAnswers(expected, said, None, ()), gate, ("a", "b")) is Verdict.PASSED
    assert passed <= MOST


@pytest.mark.parametrize("metric", ["f1_macro", "precision", "recall", "f1", "mcc", "auc_roc"])
@pytest.mark.parametrize("compared", [False, True])
def test_two_rows_of_a_label_that_are_right_do_not_pass(metric: str, compared: bool) -> None:
    expected = ["a"] * 1000 + ["b"] * 2
    said = [Answer(row=0, label=name, scores=(0.9, 0.1) if name == "a" else (0.1, 0.9)) for name in expected]
    bound = {"against": Reference.BASELINE, "allowed_drop": 0.03} if compared else {"min": 0.95, "confidence": 0.95}
    criterion = Criterion.model_validate({"name": "good", "suite": "held-out", "metric": metric} | bound)
    assert verdict(criterion, SuiteAnswers(expected, said, said, ()), 1, ("a", "b")) is Verdict.INCONCLUSIVE


def test_many_rows_of_each_label_pass_as_before() -> None:
    expected = [NAMES[row % 3] for row in range(900)]
    said = [SAID[name] for name in expected]
    for metric in ("f1_macro", "precision", "recall", "mcc"):
        criterion = Criterion(name="good", suite="held-out", metric=metric, min=0.95, confidence=0.95)
        assert verdict(criterion, SuiteAnswers(expected, said, None, ()), 1) is Verdict.PASSED


def test_a_difference_of_precision_rests_on_the_fewer_answers() -> None:
    expected = ["a"] * 300 + ["b"] * 300
    often, seldom = expected, ["b"] * 298 + ["a"] * 2 + ["b"] * 300
    metric = find("Classification", "precision")
    assert metric is not None
    for one, other in ((often, seldom), (seldom, often)):
        found = answered(
            "Classification", NAMES, expected, [[SAID[name] for name in each] for each in (one, other)], ""
        )
        assert found.sample(metric, "a").difference().bearing == 2


@pytest.mark.parametrize(
    ("rows", "weights", "off"),
    [
        ([5], [1.0], 1 - 0.025 ** (1 / 5)),
        # As unlikely as one label with twice the rows that is off by as much.
        ([5, 5], [0.5, 0.5], 1 - 0.025 ** (1 / 10)),
        # Of the other label more rows are known than pay: 0.025 ** (1 / 2) of the rare one.
        ([300, 180, 2], [1 / 3] * 3, (1 - 0.025**0.5) / 3),
    ],
)
def test_what_no_row_has_shown(rows: list[int], weights: list[float], off: float) -> None:
    groups = Groups(np.array(rows, float), np.array(weights))
    assert groups.unseen(0.025) == pytest.approx(off, rel=1e-6)
    assert groups.unseen(0.025) <= -np.log(0.025) * groups.heaviest
