import pytest

from stagecoach_trainer.chooser import Chooser
from stagecoach_trainer.compare import Score, overall, table

# As tokens with an end: "ab", "abc", "ad", "x".
CHOICES = [(1, 2, 9), (1, 2, 3, 9), (1, 4, 9), (7, 9)]


@pytest.mark.parametrize(
    ("written", "left", "allowed"),
    [
        ([], [0, 1, 2, 3], [1, 7]),
        ([1], [0, 1, 2], [2, 4]),
        ([1, 2], [0, 1], [3, 9]),
        ([1, 2, 9], [0], [0]),
        ([1, 2, 3], [1], [0]),
        ([1, 4], [2], [0]),
        ([7], [3], [0]),
        ([7, 0, 0, 0], [3], [0]),
        ([1, 2, 9, 0], [0], [0]),
    ],
)
def test_choosing_ends_where_one_choice_is_left(written: list[int], left: list[int], allowed: list[int]) -> None:
    chooser = Chooser(None, CHOICES)
    assert chooser._left(written) == left
    assert chooser._allowed(written) == allowed


def test_the_table() -> None:
    scores = {"card_lost": Score(4, 1, 3), "é": Score(1, 0, 1)}
    assert overall(scores) == Score(5, 1, 4)
    assert table(scores, "adapter").splitlines() == [
        "             rows    base  adapter",
        "accuracy        5   0.200    0.800",
        "card_lost       4   0.250    0.750",
        "é               1   0.000    1.000",
    ]
