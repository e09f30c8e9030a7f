"""What an engine is asked where an encoder reads, and which of its answers are some."""

import math
from typing import Any

import pytest

from stagecoach.contract import readings
from stagecoach.contract.completions import NoAnswer, NotNumbers
from stagecoach.contract.inputs import Architecture, Family, OfTask
from stagecoach.contract.readings import Reads


@pytest.mark.parametrize(
    ("task", "architecture", "expected"),
    [
        ("Classification", Family.ENCODER, Reads.LABELS),
        ("Embedding", Family.ENCODER, Reads.VECTORS),
        ("TokenClassification", Family.ENCODER, None),
        ("Classification", None, None),
        ("Translation", Family.ENCODER_DECODER, None),
    ],
)
def test_what_an_encoder_makes_of_a_text(task: str, architecture: Architecture | None, expected: Reads | None) -> None:
    assert readings.reads(OfTask(task=task, architecture=architecture)) is expected


def probs(*rows: Any) -> dict[str, Any]:
    return {"data": [{"index": index, "probs": row} for index, row in enumerate(rows)]}


def test_probabilities_come_in_the_order_of_the_prompts() -> None:
    said = probs([0.25, 0.75], [1, 0.0])
    said["data"].reverse()
    assert readings.probabilities(said, 2, 2) == [[0.25, 0.75], [1.0, 0.0]]
    assert readings.probabilities(said, 2) == [[0.25, 0.75], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (probs([0.25, 0.75]), None),
        (probs(), NoAnswer),
        (probs([0.25, 0.75], [0.25, 0.75]), NoAnswer),
        (probs([0.25, 0.25, 0.5]), NoAnswer),
        (probs([]), NoAnswer),
        (probs([0.25, "x"]), NoAnswer),
        (probs(None), NoAnswer),
        (probs([0.9, 0.8]), NoAnswer),  # each label by itself, as of several that may be right
        (probs([-1.5, 2.5]), NoAnswer),
        (probs([0.25, None]), NotNumbers),
        (probs([math.nan, math.nan]), NotNumbers),
        (probs([math.inf, 0.0]), NotNumbers),
        ({"data": [{"probs": [0.25, 0.75]}]}, NoAnswer),
        ({"data": [{"index": 0, "embedding": [0.25, 0.75]}]}, NoAnswer),
        ({"error": "no"}, NoAnswer),
        ([], NoAnswer),
    ],
)
def test_what_are_probabilities_of_two_labels(said: Any, error: type[Exception] | None) -> None:
    if error is None:
        assert readings.probabilities(said, 1, 2)
        return
    with pytest.raises(error):
        readings.probabilities(said, 1, 2)


@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        ([[0.6, -0.8]], None),
        ([[1]], None),
        ([[0.6, 0.801]], None),  # rounded
        ([[0.5, -2.0]], NoAnswer),  # of another length
        ([[0.0, 0.0]], NoAnswer),
        ([["0.6", "0.8"]], NoAnswer),
        ([[True]], NoAnswer),
        (["1"], NoAnswer),
        ([{"1": 1}], NoAnswer),
        ([], NoAnswer),
        ([[1.0], [1.0]], NoAnswer),
        ([[]], NoAnswer),
        (["AACAPw=="], NoAnswer),
        ([[0.5, None]], NotNumbers),
        ([[0.5, math.nan]], NotNumbers),
    ],
)
def test_what_is_a_vector(vectors: list[Any], error: type[Exception] | None) -> None:
    said = {"data": [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]}
    if error is None:
        assert readings.vector(said) == vectors[0]
        return
    with pytest.raises(error):
        readings.vector(said)
