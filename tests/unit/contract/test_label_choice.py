import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.inputs import Family
from stagecoach.contract.label_choice import LabelChoice
from stagecoach.contract.task_api import TASKS, input_schema, output_schema

END = 99
LABELS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=8, unique_by=tuple)


@given(LABELS, st.data())
def test_whatever_tokens_are_chosen_they_lead_to_one_label(labels: list[list[int]], data: st.DataObject) -> None:
    choice = LabelChoice(tuple((*label, END) for label in labels))
    written: tuple[int, ...] = ()
    while following := choice.following(written):
        written = (*written, data.draw(st.sampled_from(following)))
    (left,) = choice.left(written)
    assert choice.completions[left][: len(written)] == written


@pytest.mark.parametrize(("task", "families"), TASKS.items())
def test_a_task_has_a_schema_for_both_ways(task: str, families: tuple[Family, ...]) -> None:
    assert "text" in input_schema(task)["required"]
    for family in families:
        assert output_schema(task, ("a", "b"), family)["additionalProperties"] is False


def test_a_task_that_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="does not know TokenClassification"):
        output_schema("TokenClassification", None, Family.ENCODER)
