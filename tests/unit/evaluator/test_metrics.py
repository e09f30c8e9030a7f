"""Every metric against an independent computation: scikit-learn, sacrebleu, or numbers that others gave by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sklearn import metrics as sklearn

from stagecoach.contract import metrics
from stagecoach.contract.answers import Answer
from stagecoach_evaluator import rouge
from stagecoach_evaluator.intervals import Estimate, Undefined
from stagecoach_evaluator.metrics import answered, has, scored
from tests.unit.evaluator.answers import LABELS, chosen, drawn, ranked, tagged, written


def measured(
    task: str, name: str, expected: Sequence[Any], answers: list[Answer], label: str | None = None
) -> Estimate:
    metric = metrics.find(task, name)
    assert metric is not None
    return answered(task, LABELS, expected, [answers], "key", 50).sample(metric, label).estimate()


ACROSS = {
    "accuracy": sklearn.accuracy_score,
    "precision": lambda y, p, **k: sklearn.precision_score(y, p, average="macro", **k),
    "recall": lambda y, p, **k: sklearn.recall_score(y, p, average="macro", **k),
    "f1": lambda y, p, **k: sklearn.f1_score(y, p, average="macro", **k),
    "f1_macro": lambda y, p, **k: sklearn.f1_score(y, p, average="macro", **k),
    "f1_micro": lambda y, p, **_: sklearn.f1_score(y, p, average="micro"),
    "f1_weighted": lambda y, p, **k: sklearn.f1_score(y, p, average="weighted", **k),
    "mcc": lambda y, p, **_: sklearn.matthews_corrcoef(y, p),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ACROSS)
def test_classification_is_that_of_scikit_learn(name: str, seed: int) -> None:
    expected, said = drawn(40, [0.0, 0.3, 0.6, 0.9, 1.0][seed], seed)
    keywords = {} if name == "accuracy" else {"labels": sorted(set(expected)), "zero_division": 0}
    assert measured("Classification", name, expected, chosen(said)).value == pytest.approx(
        ACROSS[name](expected, said, **keywords)
    )


@pytest.mark.parametrize("label", LABELS)
def test_one_label_is_that_of_scikit_learn(label: str) -> None:
    expected, said = drawn(300, 0.6, 3)
    found = sklearn.precision_recall_fscore_support(expected, said, labels=[label])
    for name, value in zip(("precision", "recall", "f1"), found, strict=False):
        assert measured("Classification", name, expected, chosen(said), label).value == pytest.approx(value[0])


def test_a_table_computed_by_hand() -> None:
    # card: 2 of 3 right, answered 3 times. loan: 1 of 2, answered 2 times. fees: 0 of 1, never answered.
    expected = ["card", "card", "card", "loan", "loan", "fees"]
    answers = chosen(["card", "card", "loan", "loan", "card", "pin"])
    values = {name: measured("Classification", name, expected, answers).value for name in ACROSS}
    assert values["accuracy"] == values["f1_micro"] == 0.5
    assert values["precision"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert values["recall"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert values["f1_macro"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert values["f1_weighted"] == pytest.approx((3 * 2 / 3 + 2 * 1 / 2 + 0) / 6)


@pytest.mark.parametrize("label", [None, "card"])
def test_the_f1_of_one_label_alone_falls_with_every_wrong_answer(label: str | None) -> None:
    """With nothing to mistake for it, recall r makes 2r/(1 + r)."""
    found = measured("Classification", "f1", ["card"] * 4, chosen(["card", "card", "card", "loan"]), label)
    assert found.value == pytest.approx(1.5 / 1.75)


def test_an_answer_that_is_no_label_is_wrong() -> None:
    found = measured("Classification", "accuracy", ["card", "loan"], chosen(["card", "nonsense"]))
    assert found.value == 0.5
    assert measured("Classification", "f1_macro", ["card", "loan"], chosen(["card", "nonsense"])).value == 0.5


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_that_of_scikit_learn(ties: bool) -> None:
    expected, _ = drawn(200, 1, 4)
    random = np.random.default_rng(5)
    scores = random.dirichlet(np.ones(len(LABELS)), 200)
    scores[np.arange(200), [LABELS.index(label) for label in expected]] += 0.2
    if ties:
        scores = np.round(scores, 1) + 1e-9
    scores /= scores.sum(axis=1, keepdims=True)
    answers = [Answer(row=row, label="card", scores=tuple(each)) for row, each in enumerate(scores)]
    order = np.argsort(LABELS)
    value = sklearn.roc_auc_score(expected, scores[:, order], multi_class="ovr", labels=sorted(LABELS))
    assert measured("Classification", "auc_roc", expected, answers).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "label", "expected", "answers", "why"),
    [
        ("recall", "pin", ["card", "loan"], chosen(["card", "loan"]), "'pin'"),
        ("f1", "no label at all", ["card", "loan"], chosen(["card", "loan"]), "'no label at all'"),
        ("mcc", None, ["card", "card"], chosen(["card", "loan"]), "same label"),
        ("auc_roc", None, ["card", "card"], chosen(["card", "loan"]), "same label"),
        ("precision", None, ["card", "card"], chosen(["card", "loan"]), "same label"),
        ("precision", "card", ["card", "card"], chosen(["card", "loan"]), "same label"),
        ("auc_roc", None, ["card", "loan"], chosen(["card", "loan"]), "probability"),
    ],
)
def test_what_is_undefined_says_why(
    name: str, label: str | None, expected: list[str], answers: list[Answer], why: str
) -> None:
    with pytest.raises(Undefined, match=why):
        measured("Classification", name, expected, answers, label)


# Of seqeval 1.2.2: its report on these rows.
GIVEN = [
    ("B-PER", "I-PER", "O", "B-LOC"),
    ("O", "B-ORG", "I-ORG", "I-ORG"),
    ("B-PER", "B-PER", "O"),
    ("I-LOC", "I-LOC", "O", "O"),
    ("O", "O"),
    ("B-LOC", "I-PER", "O"),
]
FOUND = [
    ("B-PER", "I-PER", "O", "B-ORG"),
    ("O", "B-ORG", "I-ORG", "O"),
    ("B-PER", "I-PER", "O"),
    ("B-LOC", "I-LOC", "O", "O"),
    ("B-LOC", "O"),
    ("B-LOC", "I-PER", "O"),
]


@pytest.mark.parametrize(("label", "value"), [(None, 0.5), ("LOC", 0.666667), ("ORG", 0.0), ("PER", 0.571429)])
def test_entities_are_counted_as_seqeval_does(label: str | None, value: float) -> None:
    found = measured("TokenClassification", "seqeval_f1", GIVEN, tagged(FOUND), label)
    assert found.value == pytest.approx(value, abs=1e-6)


def test_tags_are_counted_one_by_one() -> None:
    assert measured("TokenClassification", "accuracy", GIVEN, tagged(FOUND)).value == pytest.approx(15 / 20)


def test_an_entity_that_no_row_has_is_undefined() -> None:
    with pytest.raises(Undefined, match="'MISC'"):
        measured("TokenClassification", "seqeval_f1", GIVEN, tagged(FOUND), "MISC")


TEXTS = [
    ("The cat sat on the mat.", "The cat is on the mat."),
    ("A long sentence, with a comma and more than four words.", "A long sentence with comma."),
    ("Nothing alike", "wholly different"),
    ("short", "short"),
    ("Füße auf dem Tisch", "Fusse auf dem Tische"),
    ("It was written.", ""),
]


@pytest.mark.parametrize("rows", [TEXTS, TEXTS[:1], TEXTS[2:4], TEXTS[2:3], TEXTS[-1:], TEXTS * 3])
@pytest.mark.parametrize(("name", "library"), [("bleu", BLEU()), ("chrf", CHRF())])
def test_bleu_and_chrf_are_those_of_sacrebleu(name: str, library: BLEU | CHRF, rows: list[tuple[str, str]]) -> None:
    expected, said = (list(each) for each in zip(*rows, strict=True))
    value = library.corpus_score(said, [expected]).score
    assert measured("Translation", name, expected, written(said)).value == pytest.approx(value)


def test_exact_match_leaves_out_white_space_at_the_ends() -> None:
    found = measured("Generation", "exact_match", ["a b", "c", "d"], written([" a b\n", "C", "d"]))
    assert found.value == pytest.approx(2 / 3)


# Expected, written, and F1 of ROUGE-1, ROUGE-2 and ROUGE-L by rouge-score 0.1.2, without stemming.
ROUGE = [
    ("The cat sat on the mat.", "the cat, on a mat", 0.7272727272727272, 0.22222222222222224, 0.7272727272727272),
    ("a b c d e", "e d c b a", 1.0, 0.0, 0.20000000000000004),
    ("don't stop-me now", "dont stop me now", 0.6666666666666665, 0.5714285714285715, 0.6666666666666665),
    ("one two one two", "two one two", 0.8571428571428571, 0.8, 0.8571428571428571),
    ("Nothing", "something else", 0.0, 0.0, 0.0),
    ("", "x", 0.0, 0.0, 0.0),
    ("x y", "x y", 1.0, 1.0, 1.0),
    (
        "on a away sat",
        "the the far cat cat away sat far sat mat",
        0.28571428571428575,
        0.16666666666666666,
        0.28571428571428575,
    ),
    ("cat a away", "ran mat the ran on dog the", 0.0, 0.0, 0.0),
    ("sat ran far ran away", "ran on away a dog the sat", 0.5, 0.0, 0.3333333333333333),
    ("away sat mat dog on", "on on sat cat dog away the", 0.6666666666666666, 0.0, 0.3333333333333333),
    (
        "away mat a far away",
        "on ran cat far on cat the far away the",
        0.26666666666666666,
        0.15384615384615383,
        0.26666666666666666,
    ),
    ("sat a", "sat sat a mat ran", 0.5714285714285715, 0.4, 0.5714285714285715),
    ("ran dog far away on away dog", "a on", 0.22222222222222224, 0.0, 0.22222222222222224),
    ("away cat cat mat", "dog away far dog sat on", 0.2, 0.0, 0.2),
    ("far mat a away far cat mat ran away sat cat", "on the sat on the", 0.12500000000000003, 0.0, 0.12500000000000003),
    (
        "on a mat dog dog away mat cat sat on",
        "the dog mat cat mat a a ran far cat ran",
        0.47619047619047616,
        0.10526315789473685,
        0.28571428571428564,
    ),
    ("ran the", "mat a on mat cat dog mat mat the mat", 0.16666666666666669, 0.0, 0.16666666666666669),
    ("mat cat far away the ran", "far sat cat a", 0.4, 0.0, 0.2),
    (
        "away dog far on far dog far the mat",
        "a cat ran cat dog sat sat sat away a",
        0.2105263157894737,
        0.0,
        0.10526315789473685,
    ),
    ("sat", "away sat away away cat ran far mat on cat", 0.18181818181818182, 0.0, 0.18181818181818182),
    ("far far far away a cat", "away", 0.2857142857142857, 0.0, 0.2857142857142857),
    (
        "on a far sat the sat a on cat the on the",
        "a a away on far the cat a far a",
        0.5454545454545454,
        0.09999999999999999,
        0.3636363636363636,
    ),
    ("ran away far far", "sat", 0.0, 0.0, 0.0),
    (
        "far the cat cat on sat sat ran the the",
        "the the sat",
        0.4615384615384615,
        0.1818181818181818,
        0.30769230769230765,
    ),
    ("far", "on sat", 0.0, 0.0, 0.0),
    ("dog dog mat", "dog cat away sat a the ran ran on the", 0.15384615384615383, 0.0, 0.15384615384615383),
    ("mat ran dog far mat sat dog sat", "dog away sat the cat cat on far cat a the dog", 0.4, 0.0, 0.3),
    (
        "ran cat sat a far mat far ran mat",
        "dog on far ran sat cat dog on on mat dog far",
        0.5714285714285715,
        0.10526315789473685,
        0.380952380952381,
    ),
    ("far a far mat far away", "cat the away on on cat on the on on", 0.125, 0.0, 0.125),
]


@pytest.mark.parametrize(("expected", "said", "one", "two", "longest"), ROUGE)
def test_rouge_is_that_of_rouge_score(expected: str, said: str, one: float, two: float, longest: float) -> None:
    for name, value in (("rouge1", one), ("rouge2", two), ("rougeL", longest)):
        found = measured("Summarization", name, [expected], written([said]))
        assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Füße und l'été", ["füße", "und", "l", "été"]),
        ("日本語 test", ["日", "本", "語", "test"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("snake_case 3.5", ["snake", "case", "3", "5"]),
    ],
)
def test_words_are_of_any_script(text: str, words: list[str]) -> None:
    assert rouge.words(text) == words


# Of trec_eval by ir-measures 0.4.3.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mrr", 0.42333333),
        ("recall_at_1", 0.2),
        ("recall_at_5", 0.8),
        ("ndcg_at_3", 0.42618596),
        ("ndcg_at_10", 0.50355651),
    ],
)
def test_ranks_are_measured_as_trec_eval_does(name: str, value: float) -> None:
    found = measured("Embedding", name, [str(row) for row in range(15)], ranked([1, 3, 12, 2, 5] * 3))
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("task", "expected", "answer", "is_scored"),
    [
        ("Classification", "card", Answer(row=0, label="card"), True),
        ("Classification", "card", Answer(row=0, text="card"), False),
        ("Classification", "card", Answer(row=0, label="card", error="cut off"), False),
        ("Generation", "yes", Answer(row=0, text=""), True),
        ("Generation", "yes", Answer(row=0), False),
        ("TokenClassification", ("O", "O"), Answer(row=0, tags=("O", "O")), True),
        ("TokenClassification", ("O", "O"), Answer(row=0, tags=("O",)), False),
        ("Embedding", "passage", Answer(row=0, rank=1), True),
        ("Embedding", "passage", Answer(row=0), False),
    ],
)
def test_a_row_is_scored_when_its_answer_can_be_judged(
    task: str, expected: str, answer: Answer, is_scored: bool
) -> None:
    assert scored(task, expected, answer) is is_scored


def test_a_row_has_the_label_that_is_expected_or_an_entity_of_this_kind() -> None:
    assert [has("Classification", "card", label) for label in ("card", "loan")] == [True, False]
    assert [has("TokenClassification", ("O", "B-LOC"), label) for label in ("LOC", "PER")] == [True, False]
