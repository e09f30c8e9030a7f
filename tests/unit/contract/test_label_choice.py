import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.inputs import Family
from stagecoach.contract.label_choice import LabelChoice
from stagecoach.contract.task_api import TASKS, input_schema, output_schema

END = 99
COMPLETIONS = ((1, 2, 9), (1, 3, 9), (4, 5, 6, 9), (4, 5, 7, 9))
LABELS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=8, unique_by=tuple)


@given(LABELS, st.data())
def test_whatever_tokens_are_chosen_they_lead_to_one_label(labels: list[list[int]], data: st.DataObject) -> None:
    choice = LabelChoice(tuple((*label, END) for label in labels))
    written: tuple[int, ...] = ()
    while following := choice.following(written):
        written = (*written, data.draw(st.sampled_from(following)))
    (left,) = choice.left(written)
    assert choice.completions[left][: len(written)] == written


@pytest.mark.parametrize(
    ("said", "expected", "asked"),
    [
        ([1, 2], 0, [((), [1, 4]), ((1,), [2, 3])]),
        ([1, 3], 1, [((), [1, 4]), ((1,), [2, 3])]),
        ([4, 7], 3, [((), [1, 4]), ((4, 5), [6, 7])]),
    ],
)
def test_a_label_is_chosen_where_labels_part(
    said: list[int], expected: int, asked: list[tuple[tuple[int, ...], list[int]]]
) -> None:
    seen: list[tuple[tuple[int, ...], list[int]]] = []

    def following(written: tuple[int, ...], allowed: object) -> int:
        seen.append((written, list(allowed)))  # type: ignore[call-overload]
        return said[len(seen) - 1]

    assert LabelChoice(COMPLETIONS).choose(following) == expected
    assert seen == asked


def test_one_label_needs_no_question() -> None:
    assert LabelChoice(((1, 2),)).choose(lambda *_: 0) == 0


@pytest.mark.parametrize(("task", "families"), sorted(TASKS.items()))
def test_a_task_has_a_schema_for_both_ways(task: str, families: tuple[Family, ...]) -> None:
    assert "text" in input_schema(task)["required"]
    for family in families:
        assert output_schema(task, ("a", "b"), family)["additionalProperties"] is False


def test_a_task_that_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="does not know TokenClassification"):
        output_schema("TokenClassification", None, Family.ENCODER)
