"""Results by label, held against numbers that were counted by hand."""

from typing import Any

import pytest

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import OfLabel
from stagecoach_evaluator.report_labels import ByLabel, results
from stagecoach_evaluator.report_rows import Case, Said


def of(expected: str, answered: str, **changes: Any) -> ByLabel:
    cases = [Case(str(place), "text", label) for place, label in enumerate(expected)]
    answers = [
        Answer(row=place, error="no") if label == "-" else Answer(row=place, label=label)
        for place, label in enumerate(answered)
    ]
    return results(cases, Said(answers, changes.get("baseline"), changes.get("incumbent")), changes.get("order", "abc"))


def test_each_label_has_its_numbers() -> None:
    found = of("aaaabbc", "aabbbac")
    by_label = {each.label: each for each in found.classes}
    a = by_label["a"]
    assert (a.rows, a.answered, a.right) == (4, 3, 2)
    assert (a.precision, a.recall, a.f1) == pytest.approx((2 / 3, 1 / 2, 4 / 7))
    assert (by_label["c"].precision, by_label["c"].recall, by_label["c"].f1) == (1, 1, 1)


def test_what_there_is_nothing_to_divide_by_is_no_number() -> None:
    by_label = {each.label: each for each in of("aab", "aac").classes}
    assert (by_label["b"].precision, by_label["b"].recall, by_label["b"].f1) == (None, 0, 0)
    assert (by_label["c"].precision, by_label["c"].recall, by_label["c"].f1) == (0, None, None)


def test_rows_without_an_answer_are_not_counted() -> None:
    found = of("aab", "a-b")
    assert [each.rows for each in found.classes] == [1, 1]
    assert found.confusion is not None
    assert found.confusion.mistakes == 0


def test_labels_are_in_the_order_of_the_task_and_unknown_ones_after_them() -> None:
    found = of("abcx", "abcz", order="cba")
    assert [each.label for each in found.classes] == ["c", "b", "a", "x", "z"]
    assert found.confusion is not None
    assert found.confusion.labels == ("c", "b", "a", "x", "z")


def test_the_baseline_stands_beside() -> None:
    baseline = [Answer(row=0, label="a"), Answer(row=1, label="b"), Answer(row=2, label="b")]
    found = of("aab", "aab", baseline=baseline)
    assert {each.label: each.baseline_f1 for each in found.classes} == pytest.approx({"a": 2 / 3, "b": 2 / 3})


def test_what_is_served_stands_beside_with_all_its_numbers() -> None:
    served = [Answer(row=0, label="a"), Answer(row=1, label="b"), Answer(row=2, error="no"), Answer(row=3, label="b")]
    by_label = {each.label: each for each in of("aabc", "aabc", incumbent=served).classes}
    assert by_label["a"].incumbent == OfLabel(rows=2, answered=1, right=1, precision=1, recall=1 / 2, f1=2 / 3)
    assert by_label["b"].incumbent == OfLabel(rows=0, answered=2, right=0, precision=0), "by the rows that it answered"
    assert by_label["c"].incumbent == OfLabel(rows=1, answered=0, right=0, recall=0, f1=0)
    assert by_label["a"].baseline_f1 is None


def test_a_label_that_what_is_served_never_met_has_no_numbers_of_it() -> None:
    served = [Answer(row=0, label="a"), Answer(row=1, error="no")]
    by_label = {each.label: each.incumbent for each in of("ab", "ab", incumbent=served).classes}
    assert by_label["b"] is None


def test_what_is_taken_for_what() -> None:
    found = of("aaaabbc", "abbcbac").confusion
    assert found is not None
    cells = {(cell.expected, cell.answered): cell.count for cell in found.cells}
    assert cells == {("a", "a"): 1, ("a", "b"): 2, ("a", "c"): 1, ("b", "a"): 1, ("b", "b"): 1, ("c", "c"): 1}
    assert [(cell.expected, cell.answered, cell.count) for cell in found.most] == [
        ("a", "b", 2),
        ("a", "c", 1),
        ("b", "a", 1),
    ]
    assert found.mistakes == 4


def test_entities_are_counted_whole_and_their_tags_one_by_one() -> None:
    case = Case("1", "Anna B. met Bob", "", ("B-PER", "I-PER", "O", "B-PER"), ("Anna", "B.", "met", "Bob"))
    found = results([case], Said([Answer(row=0, tags=("B-PER", "O", "O", "B-LOC"))]), ())
    by_label = {each.label: (each.rows, each.answered, each.right) for each in found.classes}
    assert by_label == {"PER": (2, 1, 0), "LOC": (0, 1, 0)}
    assert found.confusion is not None
    cells = {(cell.expected, cell.answered): cell.count for cell in found.confusion.cells}
    assert cells == {("O", "O"): 1, ("PER", "LOC"): 1, ("PER", "O"): 1, ("PER", "PER"): 1}


def test_of_many_labels_those_with_the_most_mistakes_are_kept() -> None:
    labels = [f"{number:03}" for number in range(150)]
    cases = [Case(str(place), "text", label) for place, label in enumerate(labels)]
    answers = [Answer(row=place, label=label if place < 149 else "000") for place, label in enumerate(labels)]
    found = results(cases, Said(answers), labels)
    assert (found.labels, len(found.classes)) == (150, 100)
    assert [each.label for each in found.classes[:3]] == ["000", "149", "001"]
    assert found.confusion is not None
    assert (found.confusion.labels, found.confusion.cells, found.confusion.mistakes) == ((), (), 1)


def test_a_task_without_labels_has_none() -> None:
    case = Case("1", "text", "target")
    assert results([case], Said([Answer(row=0, text="target")]), ()) == ByLabel()
    assert results([case], Said([Answer(row=0, rank=1)]), ()) == ByLabel()
    assert results([], Said([]), ("a",)) == ByLabel()
