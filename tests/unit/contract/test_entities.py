"""Entities that tags say, and scores of them."""

import pytest

from stagecoach.contract.entities import Score, entities, overall, scores
from stagecoach.contract.tagged import Span


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-a", [(0, 1, "a")]),
        ("B-a I-a O", [(0, 2, "a")]),
        ("B-a B-a", [(0, 1, "a"), (1, 2, "a")]),
        ("B-a I-b", [(0, 1, "a"), (1, 2, "b")]),
        ("I-a I-a", [(0, 2, "a")]),
        ("O I-a", [(1, 2, "a")]),
        ("B-a O I-a", [(0, 1, "a"), (2, 3, "a")]),
        ("I-a B-a I-a", [(0, 1, "a"), (1, 3, "a")]),
        ("B-a I-a E-a S-b", [(0, 3, "a"), (3, 4, "b")]),
        ("E-a I-a", [(0, 1, "a"), (1, 2, "a")]),
        ("S-a I-a", [(0, 1, "a"), (1, 2, "a")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
        ("NOUN NOUN", [(0, 1, "NOUN"), (1, 2, "NOUN")]),
        ("X-a B- -", [(0, 1, "X-a"), (1, 2, "B-"), (2, 3, "-")]),
    ],
)
def test_entities(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert entities(tags.split()) == expected


@pytest.mark.parametrize(
    ("given", "found", "right", "precision", "recall", "f1"),
    [
        ("B-a I-a O", "B-a I-a O", 1, 1.0, 1.0, 1.0),
        ("B-a I-a O", "B-a O O", 0, 0.0, 0.0, 0.0),  # its place
        ("B-a I-a O", "B-b I-b O", 0, 0.0, 0.0, 0.0),  # its label
        ("B-a O B-b", "B-a O O", 1, 1.0, 0.5, 2 / 3),
        ("B-a O O", "B-a O B-b", 1, 0.5, 1.0, 2 / 3),
        ("O O O", "O O O", 0, 0.0, 0.0, 0.0),
        ("O O O", "O B-a O", 0, 0.0, 0.0, 0.0),
        ("B-a B-b B-c B-d", "B-a B-b O B-c", 2, 2 / 3, 0.5, 4 / 7),
    ],
)
def test_a_score(given: str, found: str, right: int, precision: float, recall: float, f1: float) -> None:
    score = overall(scores([(set(entities(given.split())), set(entities(found.split())))]))
    assert score.right == right
    assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1))


def test_every_entity_counts_alike() -> None:
    one, other = {Span(0, 1, "b"), Span(1, 2, "b"), Span(2, 3, "a")}, {Span(0, 1, "b")}
    found = scores([(one, one), (other, {Span(0, 1, "c")})])
    assert found == {"a": Score(1, 1, 1), "b": Score(3, 2, 2), "c": Score(0, 1, 0)}
    assert list(found) == ["a", "b", "c"]
    assert overall(found) == Score(4, 4, 3)
