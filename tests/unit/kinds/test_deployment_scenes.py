"""What is told of a deployment in every state that it comes to."""

import pytest

from stagecoach.kinds.conditions import TYPES
from tests.remedies import speaks
from tests.unit.kinds.deployment_scenes import OF_DECISIONS, OF_DEPLOYMENTS, rejected_before_anything_is_served


@pytest.mark.parametrize("scene", OF_DEPLOYMENTS)
def test_a_scene_ends_as_it_is_called_and_says_what_to_do(scene: str) -> None:
    here = OF_DEPLOYMENTS[scene]()
    conditions = {each["type"]: each for each in here.status["conditions"]}
    assert conditions["Ready"]["reason"] == scene.partition(" ")[0]
    assert all(each["status"] == "True" or speaks(each["reason"], each["message"]) for each in conditions.values())
    assert conditions.keys() <= TYPES, "what is over would be told for ever"


@pytest.mark.parametrize("scene", OF_DECISIONS)
def test_a_decision_ends_as_its_scene_is_called_and_says_what_to_do(scene: str) -> None:
    here = OF_DECISIONS[scene]()
    [ready] = [each for each in here.status["conditions"] if each["type"] == "Ready"]
    assert ready["reason"] == scene.partition(" ")[0]
    assert ready["status"] == "True" or speaks(ready["reason"], ready["message"])


def test_what_is_over_is_told_no_longer() -> None:
    here = rejected_before_anything_is_served()
    assert {
        each["type"] for version in here.history[1:] for each in version.get("status", {}).get("conditions", ())
    } >= {"Loaded"}
    assert here.condition("Loaded") == {}
