"""Which criteria can be measured."""

import pytest

from stagecoach.api.evalgate import Criterion
from stagecoach.policies.criteria import Labels, misfit, misfit_of_harness
from tests.remedies import speaks

TEXTS = Labels.of("Classification", ["billing", "delivery"], 2)
TAGS = Labels.of("TokenClassification", ["O", "B-name", "I-name", "B-place"], 4)


def criterion(**given: object) -> Criterion:
    return Criterion.model_validate({"name": "c", "suite": "s", "metric": "accuracy", "min": 0.5} | given)


@pytest.mark.parametrize(
    ("task", "labels", "given"),
    [
        ("Classification", TEXTS, {}),
        ("Classification", TEXTS, {"metric": "recall", "label": "billing"}),
        ("Classification", Labels.of("Classification", ["a"], 500), {"metric": "recall", "label": "of the others"}),
        ("Classification", None, {"metric": "recall", "label": "not known yet"}),
        ("Classification", TEXTS, {"metric": "mcc", "min": -0.9}),
        ("TokenClassification", TAGS, {"metric": "seqeval_f1", "label": "place"}),
        ("Generation", None, {"metric": "rougeL"}),
        ("Generation", None, {"metric": "bleu", "min": 30.0}),
        ("Classification", TEXTS, {"min": 1.0}),
        ("Classification", TEXTS, {"min": 0.999, "confidence": 0.9999}),
        ("Classification", TEXTS, {"min": None, "against": "Baseline", "minGain": {"absolute": 0.999}}),
        ("Classification", TEXTS, {"min": 1.0, "confidence": 0.95, "advisory": True}),
        (
            "Classification",
            TEXTS,
            {"min": None, "against": "Baseline", "minGain": {"absolute": 1.0}, "advisory": True},
        ),
        ("Embedding", None, {"metric": "recall_at_10"}),
        ("Generation", None, {"metric": "bleu", "min": None, "against": "Baseline", "allowedDrop": {"absolute": 2.0}}),
    ],
)
def test_what_fits(task: str, labels: Labels | None, given: dict[str, object]) -> None:
    assert misfit(criterion(**given), task, labels) is None


@pytest.mark.parametrize(
    ("task", "labels", "given", "reason", "words"),
    [
        ("Classification", TEXTS, {"metric": "bleu"}, "UnknownMetric", "accuracy, precision"),
        ("Embedding", None, {"metric": "recall_at_0"}, "UnknownMetric", "recall_at_<k>"),
        ("Classification", TEXTS, {"label": "billing"}, "LabelUnsuited", "precision, recall, f1"),
        ("Generation", None, {"metric": "bleu", "label": "x"}, "LabelUnsuited", "this task has none"),
        ("Classification", TEXTS, {"metric": "f1", "label": "x"}, "UnknownLabel", "billing, delivery"),
        ("TokenClassification", TAGS, {"metric": "seqeval_f1", "label": "B-name"}, "UnknownLabel", "name, place"),
        ("Classification", TEXTS, {"min": 80.0}, "BoundImpossible", "min: 80, and accuracy is from 0 to 1"),
        ("Classification", TEXTS, {"min": 80.0, "advisory": True}, "BoundImpossible", "min: 80"),
        ("Classification", TEXTS, {"min": -0.5}, "BoundImpossible", "min: -0.5"),
        ("Classification", TEXTS, {"min": 0.0}, "BoundIdle", "min: 0, and accuracy is from 0 to 1: this holds of"),
        ("Classification", TEXTS, {"metric": "mcc", "min": -1.0}, "BoundIdle", "min: -1"),
        ("Generation", None, {"metric": "bleu", "min": 0.0}, "BoundIdle", "min: 0"),
        ("Classification", TEXTS, {"min": 1.0, "confidence": 0.95}, "BoundImpossible", "no interval is clear of that"),
        ("Generation", None, {"metric": "bleu", "min": 100.0, "confidence": 0.5}, "BoundImpossible", "min: 100"),
        (
            "Classification",
            TEXTS,
            {"metric": "mcc", "min": None, "against": "Baseline", "minGain": {"absolute": 2.0}},
            "BoundImpossible",
            "minGain.absolute: 2, and mcc is from -1 to 1: no interval is clear of that",
        ),
        (
            "Generation",
            None,
            {"metric": "bleu", "min": None, "against": "Baseline", "allowedDrop": {"absolute": 100.0}},
            "BoundIdle",
            "allowedDrop.absolute: 100",
        ),
        (
            "Classification",
            TEXTS,
            {"metric": "mcc", "min": None, "against": "Baseline", "allowedDrop": {"absolute": 2.0}},
            "BoundIdle",
            "allowedDrop.absolute: 2",
        ),
        (
            "Classification",
            TEXTS,
            {"min": None, "against": "Baseline", "allowedDrop": {"absolute": 3.0}},
            "BoundImpossible",
            "allowedDrop.absolute: 3",
        ),
    ],
)
def test_what_does_not(task: str, labels: Labels | None, given: dict[str, object], reason: str, words: str) -> None:
    found = misfit(criterion(**given), task, labels)
    assert found
    assert found[0] == reason
    assert words in found[1]
    assert speaks(*found)


def compared(**given: object) -> dict[str, object]:
    return {"metric": "acc", "min": None, "against": "Baseline"} | given


@pytest.mark.parametrize(
    "given",
    [
        {"metric": "acc", "min": 0.01},
        {"metric": "mcc", "min": 0.0},
        {"metric": "bleu", "min": 30.0},
        compared(allowedDrop={"absolute": 0.99}),
        compared(minGain={"absolute": 0.0}),
        {"metric": "acc", "min": 1.0},
        {"metric": "acc", "min": 0.99, "confidence": 0.95},
        {"metric": "acc", "min": 1.0, "confidence": 0.95, "advisory": True},
        compared(minGain={"absolute": 1.0}, advisory=True),
    ],
)
def test_what_fits_a_task_of_lm_eval(given: dict[str, object]) -> None:
    assert misfit_of_harness(criterion(**given)) is None


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        ({"metric": "acc", "min": 0.0}, "BoundIdle", "min: 0, and acc is 0 or more: this holds of"),
        ({"metric": "exact_match,strict-match", "min": -1.0}, "BoundIdle", "min: -1"),
        ({"metric": "mcc", "min": -1.0}, "BoundIdle", "mcc is -1 or more"),
        (compared(allowedDrop={"absolute": 1.0}), "BoundIdle", "allowedDrop.absolute: 1, and what is compared"),
        (compared(allowedDrop={"absolute": 5.0}), "BoundIdle", "allowedDrop.absolute: 5"),
        (compared(minGain={"absolute": 2.0}), "BoundImpossible", "minGain.absolute: 2"),
        (compared(minGain={"absolute": 1.0}), "BoundImpossible", "no interval is clear of that"),
        ({"metric": "acc", "min": 1.0, "confidence": 0.95}, "BoundImpossible", "min: 1"),
        ({"metric": "acc", "label": "x"}, "LabelUnsuited", "no metric of one label"),
    ],
)
def test_what_does_not_fit_a_task_of_lm_eval(given: dict[str, object], reason: str, words: str) -> None:
    found = misfit_of_harness(criterion(**given))
    assert found
    assert found[0] == reason
    assert words in found[1]
    assert speaks(*found)
