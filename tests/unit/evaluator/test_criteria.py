"""From answers to a verdict: tables of cases, and what never passes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluations import Criterion, EvaluationInputs, Reference, Suite, SuiteType, WhenAbsent
from stagecoach.contract.inputs import Columns, DataInput
from stagecoach.contract.verdicts import CriterionResult, Outcome, Verdict
from stagecoach_evaluator.criteria import judge
from stagecoach_evaluator.measured import Measured, SuiteAnswers
from tests.remedies import speaks
from tests.unit.evaluator.answers import LABELS, chosen

DIGEST = "sha256:" + "0" * 64
BASELINE = Reference.BASELINE


def criterion(**given: Any) -> Criterion:
    return Criterion(**{"name": "good", "suite": "held-out", "metric": "accuracy"} | given)


def inputs(
    *criteria: Criterion,
    least: float = 1.0,
    trained_on: tuple[DataInput, ...] | None = (DataInput(digest=DIGEST, columns=Columns()),),
) -> EvaluationInputs:
    suite = Suite(name="held-out", type=SuiteType.HELD_OUT, data=DIGEST, columns=Columns())
    return EvaluationInputs(
        release=DIGEST, baseline=DIGEST, suites=(suite,), criteria=criteria, min_scored=least, trained_on=trained_on
    )


def answers(both: int = 0, better: int = 0, worse: int = 0, neither: int = 0, unscored: int = 0) -> SuiteAnswers:
    """Return a suite by how many rows both releases get right, the candidate alone, the baseline alone, and nobody."""
    rows = both + better + worse + neither + unscored
    expected = [LABELS[row % 2] for row in range(rows)]
    wrong = [LABELS[1 - row % 2] for row in range(rows)]

    def said(*right: bool) -> list[str | None]:
        parts = [
            each for part, count in zip(right, (both, better, worse, neither), strict=True) for each in [part] * count
        ]
        return [expected[row] if hit else wrong[row] for row, hit in enumerate(parts)]

    candidate = [*said(True, True, False, False), *[None] * unscored]
    baseline = [*said(True, False, True, False), *expected[rows - unscored :]]
    return SuiteAnswers(expected, chosen(candidate), chosen(baseline), ())


def judged(
    of: EvaluationInputs, suite: SuiteAnswers, labels: Sequence[str] = LABELS
) -> tuple[tuple[CriterionResult, ...], Verdict, str]:
    return judge(of, Measured("Classification", labels, {"held-out": suite}, "key", 400))


def verdict(of: EvaluationInputs, suite: SuiteAnswers) -> Verdict:
    results, found, message = judged(of, suite)
    assert len(message) <= 700
    for result in results:
        assert result.outcome in (Outcome.PASSED, Outcome.SKIPPED) or speaks(result.outcome.value, result.message or "")
        assert len(result.message or "") <= 300
    assert found is Verdict.PASSED or speaks(found.value, message)
    return found


P, F, I, E = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.ERROR  # noqa: E741
BOUNDS = [
    # The value alone decides where no confidence is asked for.
    (criterion(min=0.8), answers(both=80, neither=20), P),
    (criterion(min=0.81), answers(both=80, neither=20), F),
    # With one, 0.8 of 100 rows is 0.708 to 0.873.
    (criterion(min=0.7, confidence=0.95), answers(both=80, neither=20), P),
    (criterion(min=0.75, confidence=0.95), answers(both=80, neither=20), I),
    (criterion(min=0.8, confidence=0.95), answers(both=80, neither=20), I),
    (criterion(min=0.85, confidence=0.95), answers(both=80, neither=20), I),
    (criterion(min=0.88, confidence=0.95), answers(both=80, neither=20), F),
    # Ten rows that are all right are not enough for 0.7: 0.025 ** (1 / 10) is 0.69.
    (criterion(min=0.69, confidence=0.95), answers(both=10), P),
    (criterion(min=0.70, confidence=0.95), answers(both=10), I),
    (criterion(metric="recall", label="card", min=0.79), answers(both=80, neither=20), P),
    (criterion(metric="f1", label="card", min=0.81), answers(both=80, neither=20), F),
    (criterion(metric="f1_macro", min=0.7, confidence=0.9), answers(both=90, neither=10), P),
    (criterion(metric="f1_macro", min=0.99, confidence=0.9), answers(both=90, neither=10), F),
    # What cannot be measured.
    (criterion(metric="recall", label="pin", min=0.1), answers(both=80), E),
    (criterion(metric="recall", label="unheard of", min=0.1), answers(both=80), E),
    (criterion(metric="auc_roc", min=0.1), answers(both=80), E),
    (criterion(metric="bleu", min=0.1), answers(both=80), E),
    (criterion(metric="accuracy", label="card", min=0.1), answers(both=80), E),
    (criterion(suite="elsewhere", min=0.1), answers(both=80), E),
    (criterion(min=math.nan), answers(both=80), E),
]
DIFFERENCES = [
    # Worse by 5 in 1,000 is no proof of worse by 30, and better than that is likely enough.
    (criterion(against=BASELINE, allowed_drop=0.03), answers(both=900, better=10, worse=15, neither=75), P),
    (criterion(against=BASELINE, allowed_drop=0.01), answers(both=900, better=10, worse=15, neither=75), I),
    (criterion(against=BASELINE, allowed_drop=0.03), answers(both=880, better=5, worse=90, neither=25), F),
    (criterion(against=BASELINE, allowed_drop=0.03), answers(both=900, better=10, worse=45, neither=45), I),
    (criterion(against=BASELINE, min_gain=0.05), answers(both=800, better=130, worse=10, neither=60), P),
    (criterion(against=BASELINE, min_gain=0.05), answers(both=800, better=70, worse=10, neither=120), I),
    (criterion(against=BASELINE, min_gain=0.05), answers(both=800, better=20, worse=20, neither=160), F),
    # Equal answers: nothing differs in 100 rows, and up to 0.05 of all may differ.
    (criterion(against=BASELINE, allowed_drop=0.06), answers(both=80, neither=20), P),
    (criterion(against=BASELINE, allowed_drop=0.03), answers(both=80, neither=20), I),
    (criterion(against=BASELINE, allowed_drop=0.0), answers(both=800, neither=200), I),
    # Better at all: by McNemar's exact test, too.
    (criterion(against=BASELINE, allowed_drop=0.0), answers(both=80, better=6, neither=14), P),
    (criterion(against=BASELINE, allowed_drop=0.0), answers(both=80, better=5, neither=15), I),
    (
        criterion(against=BASELINE, allowed_drop=0.03, metric="f1_macro"),
        answers(both=900, better=10, worse=15, neither=75),
        P,
    ),
    (
        criterion(against=BASELINE, min_gain=0.05, metric="f1_macro"),
        answers(both=800, better=130, worse=10, neither=60),
        P,
    ),
    (
        criterion(against=BASELINE, allowed_drop=0.03, metric="f1_macro"),
        answers(both=880, better=5, worse=90, neither=25),
        F,
    ),
    (
        criterion(against=BASELINE, allowed_drop=0.1, metric="f1", label="card"),
        answers(both=900, better=10, worse=15, neither=75),
        P,
    ),
    (
        criterion(against=BASELINE, allowed_drop=0.1, metric="recall", label="card"),
        answers(both=900, better=10, worse=15, neither=75),
        P,
    ),
    (criterion(against=BASELINE, allowed_drop=0.1), replace(answers(both=900), baseline=None), E),
]


@pytest.mark.parametrize(("of", "suite", "found"), BOUNDS + DIFFERENCES)
def test_a_criterion_decides(of: Criterion, suite: SuiteAnswers, found: Verdict) -> None:
    assert verdict(inputs(of), suite) is found


AS_SERVED = {"against": Reference.INCUMBENT, "when_absent": WhenAbsent.SKIP}


@pytest.mark.parametrize(("of", "suite", "found"), DIFFERENCES)
def test_the_incumbent_decides_as_the_baseline_does(of: Criterion, suite: SuiteAnswers, found: Verdict) -> None:
    served = replace(suite, baseline=None, incumbent=suite.baseline)
    assert verdict(beside(of.model_copy(update=AS_SERVED)), served) is found


def beside(*criteria: Criterion) -> EvaluationInputs:
    return inputs(*criteria).model_copy(update={"incumbent": "sha256:" + "1" * 64})


def test_each_reference_is_compared_by_its_own_answers() -> None:
    base, served = answers(both=80, better=15, neither=5), answers(both=90, worse=5, neither=5)
    both = replace(base, candidate=served.candidate, baseline=base.candidate, incumbent=served.baseline)
    gain = criterion(name="gain", against=BASELINE, min_gain=0.5)
    drop = criterion(name="drop", allowed_drop=0.2, **AS_SERVED)
    (one, other), _, _ = judged(beside(gain, drop), both)
    assert [one.value, one.reference, other.reference] == pytest.approx([0.9, 0.95, 0.95])
    assert one.message is not None
    assert "the baseline's 0.95" in one.message
    assert other.message is not None


def test_while_nothing_is_served_a_comparison_is_skipped_or_fails() -> None:
    drop = criterion(name="drop", allowed_drop=0.2, **AS_SERVED)
    good, suite = criterion(min=0.7), answers(both=80, neither=20)
    results, verdict, message = judged(inputs(good, drop), suite)
    assert [each.outcome for each in results] == [Outcome.PASSED, Outcome.SKIPPED]
    assert (verdict, results[1].scored, results[1].value) == (P, 0, None)
    assert message == "The criterion is met. Skipped, since nothing is served yet to compare with: drop."
    strict = drop.model_copy(update={"when_absent": WhenAbsent.FAIL})
    results, verdict, message = judged(inputs(good, strict), suite)
    assert (verdict, results[1].outcome) == (F, Outcome.FAILED)
    assert speaks("CriterionFailed", message)
    assert "criteria[drop].whenAbsent (Fail)" in message
    assert judged(inputs(good, strict.model_copy(update={"advisory": True})), suite)[1] is P
    assert judged(inputs(drop), suite)[1] is E, "nothing decides"


def test_what_is_skipped_is_no_test_among_others() -> None:
    """Only what is tested is corrected for."""
    strict = criterion(min=0.88, confidence=0.95)
    skipped = [criterion(name=f"also-{each}", allowed_drop=0.1, **AS_SERVED) for each in range(7)]
    assert verdict(inputs(strict, *skipped), answers(both=80, neither=20)) is F


def test_a_result_holds_the_numbers_that_decided() -> None:
    (result,), _, _ = judged(inputs(criterion(against=BASELINE, allowed_drop=0.03)), answers(900, 10, 15, 75))
    assert [result.value, result.reference, result.threshold] == pytest.approx([0.91, 0.915, -0.03])
    assert (result.scored, result.needed, result.advisory) == (1000, None, False)
    assert result.low is not None
    assert result.high is not None
    assert -0.03 < result.low < -0.005 < result.high
    assert result.mcnemar == pytest.approx(0.42, abs=0.01)


def test_an_inconclusive_says_how_many_rows_it_takes() -> None:
    (result,), _, message = judged(inputs(criterion(against=BASELINE, allowed_drop=0.01)), answers(900, 10, 15, 75))
    assert result.needed is not None
    assert 2_000 < result.needed < 20_000
    assert f"{result.needed:,} rows" in message


def test_what_fails_by_chance_is_corrected_for_the_number_of_criteria() -> None:
    """0.8 of 100 rows is below 0.88 at 0.95, and not at the confidence of eight criteria."""
    strict = criterion(min=0.88, confidence=0.95)
    others = [criterion(name=f"also-{number}", min=0.1, confidence=0.95) for number in range(7)]
    advisory = [other.model_copy(update={"advisory": True}) for other in others]
    plain = [criterion(name=f"also-{number}", min=0.1) for number in range(7)]
    suite = answers(both=80, neither=20)
    assert verdict(inputs(strict, *others), suite) is I
    assert verdict(inputs(strict, *advisory), suite) is F
    assert verdict(inputs(strict, *plain), suite) is F


PASSES = criterion(min=0.5)
FAILS = criterion(name="bad", min=0.99)
UNSURE = criterion(name="unsure", min=0.8, confidence=0.95)
BROKEN = criterion(name="broken", metric="recall", label="pin", min=0.5)


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ([PASSES], P),
        ([PASSES, FAILS], F),
        ([PASSES, UNSURE], I),
        ([PASSES, BROKEN], E),
        ([FAILS, UNSURE, BROKEN], F),
        ([UNSURE, BROKEN], E),
        ([PASSES, FAILS.model_copy(update={"advisory": True})], P),
        ([PASSES, BROKEN.model_copy(update={"advisory": True})], P),
        ([PASSES.model_copy(update={"advisory": True})], E),
        ([], E),
    ],
)
def test_the_worst_decides(criteria: list[Criterion], found: Verdict) -> None:
    assert verdict(inputs(*criteria), answers(both=80, neither=20)) is found


def test_an_advisory_one_that_is_not_met_is_told() -> None:
    _, _, message = judged(inputs(PASSES, FAILS.model_copy(update={"advisory": True})), answers(both=80, neither=20))
    assert "bad" in message


@pytest.mark.parametrize(
    ("of", "suite", "found", "said"),
    [
        (inputs(PASSES), SuiteAnswers([], [], [], ()), E, "no rows"),
        (inputs(PASSES, least=0.99), answers(both=98, unscored=2), E, "98 of 100 rows"),
        (inputs(PASSES, least=0.98), answers(both=98, unscored=2), P, ""),
        (inputs(PASSES, least=math.nan), answers(both=98), E, "minScored"),
        # 0.55 * 100 is 55.00000000000001.
        (inputs(PASSES, least=0.55), answers(both=55, unscored=45), P, ""),
        (inputs(PASSES, least=0), answers(unscored=5), E, "no row was scored"),
        (
            inputs(PASSES),
            replace(answers(both=98), leaked=["test.csv:7"]),
            F,
            "1 row is in the training data too (test.csv:7)",
        ),
        (
            inputs(PASSES),
            replace(answers(both=98), shown={"test.csv:7": "the prompt's system"}),
            F,
            "1 row is in the prompt's system (test.csv:7)",
        ),
        (inputs(PASSES), replace(answers(both=98), leaked=None), E, "not known what the release was trained on"),
        (inputs(PASSES, trained_on=None), answers(both=98), E, "not known what the release was trained on"),
        (
            inputs(FAILS),
            replace(answers(both=80, neither=20), leaked=list("abcd")),
            F,
            "4 rows are in the training data too (a, b, c, …)",
        ),
    ],
)
def test_what_is_missing_never_passes(of: EvaluationInputs, suite: SuiteAnswers, found: Verdict, said: str) -> None:
    assert verdict(of, suite) is found
    assert said in judged(of, suite)[2]


def test_rows_that_the_baseline_did_not_answer_are_not_compared() -> None:
    suite = answers(both=80, neither=20)
    assert suite.baseline is not None
    silent = replace(
        suite, baseline=[*suite.baseline[:90], *(Answer(row=row, error="cut off") for row in range(90, 100))]
    )
    relative = criterion(against=BASELINE, allowed_drop=0.2)
    assert verdict(inputs(relative, least=0.95), silent) is E
    (result,), found, _ = judged(inputs(relative, least=0.9), silent)
    assert (found, result.scored) == (P, 90)
    assert verdict(inputs(PASSES, least=0.95), silent) is P


def rare(unanswered: int) -> SuiteAnswers:
    """Return 990 rows of one label and 10 of another, of which so many have no answer; the others are all right."""
    expected = ["card"] * 990 + ["lost"] * 10
    return SuiteAnswers(expected, chosen([*expected[: 1000 - unanswered], *[None] * unanswered]), chosen(expected), ())


LOST = {"metric": "recall", "label": "lost"}


@pytest.mark.parametrize(
    ("of", "unanswered", "said"),
    [
        (criterion(min=0.95, **LOST), 9, "1 of 10 rows with the label 'lost' can be judged"),
        (criterion(against=BASELINE, allowed_drop=0.9, **LOST), 9, "1 of 10 rows with the label 'lost' can be judged"),
        (criterion(min=0.95, metric="f1", label="lost"), 10, "0 of 10 rows with the label 'lost' can be judged"),
        (criterion(min=0.95, metric="f1_macro", confidence=0.95), 10, "all labels count alike"),
        (criterion(min=0.95, metric="f1_macro"), 1, "9 of 10 rows with the label 'lost' can be judged"),
        (criterion(min=0.5, metric="mcc"), 9, "all labels count alike"),
        (criterion(against=BASELINE, allowed_drop=0.5, metric="precision"), 9, "all labels count alike"),
    ],
)
def test_rows_without_an_answer_are_counted_by_label_where_labels_decide(
    of: Criterion, unanswered: int, said: str
) -> None:
    (result,), found, message = judged(inputs(of, least=0.99), rare(unanswered))
    assert (found, result.outcome) == (E, Outcome.ERROR)
    assert said in message
    assert speaks("NotMeasured", message)


def test_a_label_that_nobody_answered_is_missed_however_little_it_weighs() -> None:
    expected = [str(label) for label in range(200) for _ in range(10)]
    suite = SuiteAnswers(expected, chosen([*expected[:-10], *[None] * 10]), None, ())
    results, found, message = judged(
        inputs(criterion(min=0.9, metric="f1_macro"), least=0.99), suite, sorted(set(expected))
    )
    assert found is E, results
    assert "0 of 10 rows with the label '199'" in message


def test_few_rows_without_an_answer_weigh_little_in_a_mean_over_labels() -> None:
    expected = [str(label) for label in range(77) for _ in range(40)]
    suite = SuiteAnswers(expected, chosen([None, *expected[1:]]), None, ())
    macro, own = criterion(min=0.9, metric="f1_macro"), criterion(min=0.9, metric="recall", label="0")
    assert judged(inputs(macro, least=0.99), suite, sorted(set(expected)))[1] is P
    assert judged(inputs(own, least=0.99), suite, sorted(set(expected)))[1] is E
    assert judged(inputs(own.model_copy(update={"label": "1"}), least=0.99), suite, sorted(set(expected)))[1] is P


def test_what_is_said_of_a_label_names_its_rows() -> None:
    (result,), _, message = judged(inputs(criterion(min=0.9, confidence=0.95, **LOST)), rare(0))
    assert (result.outcome, result.scored) == (Outcome.INCONCLUSIVE, 10)
    assert "10 rows of 'lost' do not tell. Give the suite about" in message
    assert f"{result.needed} rows of 'lost'" in message


def test_of_a_comparison_it_is_told_who_did_not_answer() -> None:
    suite = answers(both=200)
    assert suite.baseline is not None
    silent = chosen([None if row < 10 else each.label for row, each in enumerate(suite.baseline)])
    served = criterion(allowed_drop=0.2, **AS_SERVED)
    for reference, of, found in (
        ("incumbent", served, judged(beside(served), replace(suite, incumbent=silent))),
        ("baseline", DIFFERENCES[0][0], judged(inputs(DIFFERENCES[0][0]), replace(suite, baseline=silent))),
    ):
        assert (found[1], found[0][0].scored) == (E, 190), of
        assert f"190 of 200 rows can be judged, and minScored is 1; the {reference} has no answer to 10." in found[2]
        assert f"take criteria against the {reference} out of the gate" in found[2]
        assert speaks("NotMeasured", found[2])


def test_a_score_that_is_no_number_is_an_error() -> None:
    suite = answers(both=80, neither=20)
    scores = [Answer(row=row, label=each.label, scores=(math.nan,) * 5) for row, each in enumerate(suite.candidate)]
    assert verdict(inputs(criterion(metric="auc_roc", min=0.1)), replace(suite, candidate=scores)) is E


def test_many_failures_are_told_as_far_as_they_fit() -> None:
    criteria = [criterion(name=f"{'x' * 40}-{number}", min=0.99) for number in range(30)]
    results, found, message = judged(inputs(*criteria), answers(both=80, neither=20))
    assert found is F
    assert message.startswith("30 of 30 criteria are not met.")
    assert "more." in message
    assert len(message) <= 700
    assert all(len(result.message or "") <= 300 for result in results)


COUNTS = st.tuples(*[st.integers(0, 60)] * 4)
CRITERIA = st.one_of(
    st.builds(lambda bound: criterion(min=bound), st.floats(0, 1)),
    st.builds(lambda bound, sure: criterion(min=bound, confidence=sure), st.floats(0, 1), st.sampled_from([0.8, 0.95])),
    st.builds(
        lambda drop, metric: criterion(metric=metric, against=BASELINE, allowed_drop=drop),
        st.floats(0, 0.5),
        st.sampled_from(["accuracy", "f1_macro"]),
    ),
    st.builds(
        lambda gain, metric: criterion(metric=metric, against=BASELINE, min_gain=gain),
        st.floats(0, 0.5),
        st.sampled_from(["accuracy", "f1_macro"]),
    ),
)


@settings(max_examples=60, deadline=None)
@given(COUNTS, CRITERIA)
def test_passed_is_never_said_of_nothing(counts: tuple[int, int, int, int], of: Criterion) -> None:
    results, found, _ = judged(inputs(of), answers(*counts))
    if found is P:
        assert sum(counts) > 0
        assert all(math.isfinite(result.value or math.nan) or result.value == 0 for result in results)
        assert all(result.scored == sum(counts) for result in results)
    # A record is written as canonical JSON, which has no NaN.
    for result in results:
        assert all(math.isfinite(value) for value in result.document().values() if isinstance(value, float))


@settings(max_examples=60, deadline=None)
@given(COUNTS, CRITERIA, st.integers(2, 8))
def test_more_rows_of_the_same_shares_never_turn_one_into_the_other(
    counts: tuple[int, int, int, int], of: Criterion, times: int
) -> None:
    few = judged(inputs(of), answers(*counts))[1]
    many = judged(inputs(of), answers(*(2 * times * each for each in counts)))[1]
    if sum(counts) and not any(each % 2 for each in counts):
        assert {few, many} != {P, F}


@settings(max_examples=30, deadline=None)
@given(COUNTS, CRITERIA, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(counts: tuple[int, int, int, int], of: Criterion, random: Any) -> None:
    suite = answers(*counts)
    order = list(range(sum(counts)))
    random.shuffle(order)
    assert suite.baseline is not None
    mixed = SuiteAnswers(
        [suite.expected[row] for row in order],
        [suite.candidate[row] for row in order],
        [suite.baseline[row] for row in order],
        (),
    )
    assert judged(inputs(of), suite) == judged(inputs(of), mixed)
