"""Which fields name a claim."""

import pytest

from stagecoach.api.transformerproject import TransformerProjectSpec
from stagecoach.kinds.claims import named_by, places
from tests import builders

FIELDS = {"a": "pvc://models/small", "b": "pvc://models", "c": "s3://models/small", "d": "configmap://models/x.csv"}
CASES = [
    ("one", {"a": "pvc://models/small", "b": "pvc://lake/x.csv"}, "It is named by a."),
    ("no other scheme", FIELDS, "It is named by a, b."),
    ("none", {"a": "pvc://model", "b": "hf://models/small"}, ""),
    ("as many as are shown", dict.fromkeys("abc", "pvc://models/x"), "It is named by a, b, c."),
    ("many", dict.fromkeys("abcde", "pvc://models/x"), "It is named by a, b, c and 2 more."),
]


@pytest.mark.parametrize(("fields", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_fields_that_name_a_claim_are_told(fields: dict[str, str], words: str) -> None:
    assert named_by("models", fields) == words


def test_where_no_claim_is_meant_no_field_is_told() -> None:
    assert named_by("", FIELDS) == ""


def test_the_places_of_a_project() -> None:
    found = places(TransformerProjectSpec.model_validate(builders.project_spec()))
    assert found == {
        "candidates[small].model.uri": "pvc://models/small",
        "data.sets[train].uri": "configmap://desk/train.csv",
        "data.sets[valid].uri": "configmap://desk/valid.csv",
        "data.sets[test].uri": "pvc://lake/desk/test.csv",
        "storage.uri": "pvc://store/desk",
    }
