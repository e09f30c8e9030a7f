"""Rows in the report: what is right, which wrong answers come first, and how they are told."""

import pytest

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import MAX_TEXT, WorstBy
from stagecoach_evaluator.report_rows import (
    Case,
    Said,
    confidence,
    cut,
    overlap,
    paired,
    paired_incumbent,
    right,
    told,
    worst,
)

LABELS = ("a", "b", "c")
CASE = Case("test.csv:1", "text", "a")
WORDS = Case("ner.jsonl:1", "Anna met Bob", "", ("B-PER", "O", "B-PER"), ("Anna", "met", "Bob"))
MARKED = Case("ner.jsonl:2", "in Bonn.", "", ("O", "O", "O", "B-LOC", "I-LOC", "I-LOC", "I-LOC", "O"))


def label(row: int, value: str, *scores: float) -> Answer:
    return Answer(row=row, label=value, scores=scores or None)


@pytest.mark.parametrize(
    ("case", "answer", "expected"),
    [
        (CASE, Answer(row=0, label="a"), True),
        (CASE, Answer(row=0, label="b"), False),
        (CASE, Answer(row=0, error="too long"), None),
        (Case("p", "t", "It is.\n"), Answer(row=0, text=" It is."), True),
        (Case("p", "t", "It is."), Answer(row=0, text="it is."), False),
        (Case("p", "t", "It is."), Answer(row=0, text=""), False),
        (Case("p", "t", "passage"), Answer(row=0, rank=1), True),
        (Case("p", "t", "passage"), Answer(row=0, rank=2), False),
        (WORDS, Answer(row=0, tags=("B-PER", "O", "B-PER")), True),
        (WORDS, Answer(row=0, tags=("B-PER", "O", "O")), False),
        (WORDS, Answer(row=0, error="too long"), None),
    ],
)
def test_what_is_right(case: Case, answer: Answer, expected: bool | None) -> None:
    assert right(case, answer) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (label(0, "b", 0.1, 0.7, 0.2), 0.7),
        (label(0, "b"), None),
        (label(0, "unknown", 0.1, 0.7, 0.2), None),
        (label(0, "b", 0.3, 0.7), None),
    ],
)
def test_how_sure_it_is(answer: Answer, expected: float | None) -> None:
    assert confidence(answer, LABELS) == expected


def test_long_texts_are_cut() -> None:
    assert cut("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert cut("x" * (MAX_TEXT + 1)) == "x" * (MAX_TEXT - 1) + "…"


@pytest.mark.parametrize(
    ("case", "answer", "expected", "said"),
    [
        (CASE, Answer(row=0, label="b"), "a", "b"),
        (CASE, Answer(row=0, text="b c"), "a", "b c"),
        (CASE, Answer(row=0, rank=1200), "a", "found at place 1,200"),
        (CASE, Answer(row=0, error="why"), "a", None),
        (WORDS, Answer(row=0, tags=("B-PER", "I-PER", "O")), "PER: Anna; PER: Bob", "PER: Anna met"),
        (WORDS, Answer(row=0, tags=("O", "O", "O")), "PER: Anna; PER: Bob", "nothing"),
        (MARKED, Answer(row=0, tags=("B-LOC", *["O"] * 7)), "LOC: Bonn", "LOC: i"),
    ],
)
def test_what_is_told_of_a_row(case: Case, answer: Answer, expected: str, said: str | None) -> None:
    (row,) = told([case], Said([answer]))
    assert (row.place, row.input, row.expected, row.candidate) == (case.place, case.text, expected, said)
    assert (row.baseline, row.baseline_right, row.problem) == (None, None, answer.error)
    assert (row.incumbent, row.incumbent_right) == (None, None)


def test_what_is_compared_stands_beside_it() -> None:
    said = Said([label(0, "a")], [label(0, "b")], [Answer(row=0, error="too long")])
    (row,) = told([CASE], said)
    assert (row.candidate, row.baseline, row.incumbent) == ("a", "b", None)
    assert (row.right, row.baseline_right, row.incumbent_right) == (True, False, None)
    assert (row.problem, row.baseline_problem, row.incumbent_problem) == (None, None, "too long")


def test_rows_that_both_answered_are_counted() -> None:
    cases = [CASE] * 6
    one = [label(0, value) for value in "aaabb"] + [Answer(row=5, error="too long")]
    other = [label(0, value) for value in "aabab"] + [label(5, "a")]
    found = paired(cases, one, other)
    assert (found.both, found.only_candidate, found.only_baseline, found.neither) == (2, 1, 1, 1)
    served = paired_incumbent(cases, one, other)
    assert (served.both, served.only_candidate, served.only_incumbent, served.neither) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("expected", "said", "shared"),
    [
        ("night", "nacht", 2 * 3 / 12),
        ("Abc", "abc", 1),
        ("a  b\n", "a b", 1),
        ("a", "b", 0),
        ("a", "", 0),
        ("", "", 1),
        ("港を深くする", "港を浅くする", 2 * 5 / 14),
    ],
)
def test_how_much_texts_are_alike(expected: str, said: str, shared: float) -> None:
    assert overlap(expected, said) == pytest.approx(shared)


def rows(
    cases: list[Case], answers: list[Answer], most: int = 500
) -> tuple[WorstBy, list[tuple[str, float | None]], int]:
    found = worst(cases, Said(answers), LABELS, most)
    return found.by, [(row.place, row.weight) for row in found.rows], found.wrong


def cases(*expected: str) -> list[Case]:
    return [Case(str(place), f"text {place}", each) for place, each in enumerate(expected)]


def test_the_surest_wrong_answer_comes_first() -> None:
    answers = [
        label(0, "a", 1, 0, 0),
        label(1, "b", 0.2, 0.6, 0.2),
        label(2, "c", 0, 0.1, 0.9),
        label(3, "b", 0.2, 0.6, 0.2),
    ]
    assert rows(cases("a", "a", "a", "a"), answers) == (WorstBy.CONFIDENCE, [("2", 0.9), ("1", 0.6), ("3", 0.6)], 3)
    assert rows(cases("a", "a", "a", "a"), answers, most=1) == (WorstBy.CONFIDENCE, [("2", 0.9)], 3)


def test_without_probabilities_the_most_frequent_confusion_comes_first() -> None:
    answers = [label(place, value) for place, value in enumerate("bcbb")]
    told = [("2", 2.0), ("3", 2.0), ("0", 1.0), ("1", 1.0)]
    assert rows(cases("c", "a", "a", "a"), answers) == (WorstBy.CONFUSIONS, told, 4)


def test_if_one_has_no_probability_none_is_ordered_by_it() -> None:
    answers = [label(0, "b", 0.1, 0.8, 0.1), label(1, "c")]
    assert rows(cases("a", "a"), answers)[0] is WorstBy.CONFUSIONS


def test_of_texts_the_least_alike_comes_first() -> None:
    answers = [
        Answer(row=0, text="one two"),
        Answer(row=1, text=""),
        Answer(row=2, text="one"),
        Answer(row=3, error="no"),
    ]
    found = rows(cases("one two three", "one two three", "one", "one"), answers)
    assert found == (WorstBy.OVERLAP, [("1", 0.0), ("0", pytest.approx(2 * 8 / 22))], 2)


def test_of_passages_the_one_found_last_comes_first() -> None:
    answers = [Answer(row=0, rank=3), Answer(row=1, rank=1), Answer(row=2, rank=40)]
    assert rows(cases("p", "p", "p"), answers) == (WorstBy.RANK, [("2", 40.0), ("0", 3.0)], 2)


def test_of_tags_the_row_with_the_most_wrong_entities_comes_first() -> None:
    answers = [Answer(row=0, tags=("B-PER", "O", "O")), Answer(row=1, tags=("B-LOC", "O", "B-LOC"))]
    assert rows([WORDS, WORDS], answers)[1] == [(WORDS.place, 4.0), (WORDS.place, 1.0)]


def test_where_nothing_is_wrong_nothing_is_told() -> None:
    assert rows(cases("a"), [label(0, "a")])[1:] == ([], 0)
    assert rows([], [])[1:] == ([], 0)
