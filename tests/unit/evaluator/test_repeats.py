"""Which rows of a suite are one row."""

import pytest

from stagecoach.contract.benchmarks import Document
from stagecoach.contract.rows import AnyRow, Conversation, Match, Pair, Row
from stagecoach.contract.tagged import Marked, Span, Words
from stagecoach.contract.turns import Turn
from stagecoach_evaluator import repeats

TURNS = (Turn("system", "Be brief."), Turn("user", "My card?"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Row("my card", "card", 1), Row("my card", "card", 2), True),
        (Row("my card", "card", 1), Row("my card", "loan", 2), False),
        (Row("my card", "card", 1), Row("My card", "card", 2), False),
        (Row("my card", "card", 1), Row("my card ", "card", 2), False),
        (Pair("one", "eins", 1), Pair("one", "eins", 2), True),
        (Pair("one", "eins", 1), Pair("one", "ein", 2), False),
        (Conversation(TURNS, "yes", 1), Conversation(TURNS, "yes", 2), True),
        (Conversation(TURNS, "yes", 1), Conversation(TURNS[1:], "yes", 2), False),
        # Triplets: the same query and passage with another passage that does not answer it.
        (Match("query", "passage", 1, "one"), Match("query", "passage", 2, "other"), True),
        (Match("query", "passage", 1), Match("query", "another", 2), False),
        (Words(("a", "b"), ("O", "O"), 1), Words(("a", "b"), ("O", "O"), 2), True),
        (Words(("a", "b"), ("O", "O"), 1), Words(("a", "b"), ("O", "B-X"), 2), False),
        (Marked("a b", (Span(0, 1, "X"),), 1), Marked("a b", (Span(0, 1, "X"),), 2), True),
        (Marked("a b", (Span(0, 1, "X"),), 1), Marked("a b", (), 2), False),
        # The same question with other wrong choices is another one.
        (Document("why?", 1, "so", ("why?",), ("so", "no")), Document("why?", 2, "so", ("why?",), ("so", "no")), True),
        (Document("why?", 1, "so", ("why?",), ("so", "no")), Document("why?", 2, "so", ("why?",), ("so", "as")), False),
    ],
)
def test_a_row_repeats_another_to_the_letter(one: AnyRow, other: AnyRow, same: bool) -> None:
    assert repeats.first([one, other]) == ((0,) if same else (0, 1))


def test_of_rows_that_are_the_same_the_first_is_kept() -> None:
    rows = [Row(text, "a", number) for number, text in enumerate("abcbad", start=2)]
    assert repeats.first(rows) == (0, 1, 2, 5)
    assert repeats.first([]) == ()
