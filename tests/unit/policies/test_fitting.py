"""Whether a release can be what a deployment promises."""

from typing import Any

import pytest

from stagecoach.api.modeldeployment import ModelDeploymentSpec
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.inputs import Family, Prompt
from stagecoach.policies.fitting import MOST_BYTES, beside, servable_problem, untestable
from tests.remedies import speaks
from tests.unit.kinds.gateways import admitted

WRITER: dict[str, Any] = {"task": "Summarization", "labels": None}
CANARY = {"rollout": {"canary": {"steps": [{"weight": 5, "hold": "5m"}]}}}


def spec(**changes: Any) -> ModelDeploymentSpec:
    told = {"project": "desk", "model": {"latest": {}}, "gates": [{"name": "good"}]}
    return ModelDeploymentSpec.model_validate(told | changes)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, None),
        ({"architecture": Family.ENCODER}, None),
        (WRITER, None),
        ({"task": "Embedding", "labels": None, "architecture": Family.ENCODER}, None),
        ({"task": "Embedding", "labels": None}, "TaskUnsuited"),
        ({"task": "TokenClassification", "labels": None, "architecture": Family.ENCODER}, "TaskUnsuited"),
        (WRITER | {"architecture": Family.ENCODER_DECODER}, "TaskUnsuited"),
        ({"task": "Reranking", "labels": None, "architecture": Family.ENCODER}, "TaskUnsuited"),
    ],
)
def test_what_the_task_api_has_an_answer_for(asked: dict[str, Any], reason: str | None) -> None:
    found = servable_problem(spec(), admitted(**asked))
    assert (found and found.reason) == reason
    assert found is None or speaks(found.reason, found.message)
    assert servable_problem(spec(api="OpenAI"), admitted(**asked)) is None


def test_what_writes_nothing_is_not_asked_for_what_is_written() -> None:
    load = {"requestsPerSecond": 20, "promptTokens": 60, "outputTokens": 16}
    tested = spec(sla={"p99": "1s", "load": load})
    encoder = admitted(architecture=Family.ENCODER)
    assert untestable(tested, admitted()) is None
    assert untestable(spec(), encoder) is None
    assert servable_problem(tested, encoder) is None, "what serves goes on, and can be told"
    found = untestable(tested, encoder)
    assert found is not None
    assert (found.reason, "spec.sla" in found.message) == ("TaskUnsuited", True)
    assert speaks(found.reason, found.message)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({}, None),
        ({"properties": {"text": {"maxLength": 200, "pattern": "^[a-z ]*$"}}, "$defs": {}}, None),
        ({"type": "nonsense"}, "at type: "),
        ({"properties": {"text": {"pattern": "(a{1000}){1000}"}}}, "at properties/text/pattern: "),
        ({"$ref": "https://a.example/b"}, "https://a.example/b is not in the document"),
        ({"$ref": "#/$defs/no"}, "no"),
        ({"const": "x" * 65_536}, "it takes 65549 bytes, and 65536 are the most"),
    ],
)
@pytest.mark.parametrize("place", ["input", "output"])
def test_a_contract_is_made_of_schemas(place: str, schema: dict[str, Any], why: str | None) -> None:
    found = servable_problem(spec(contract={place: {"schema": schema}}), admitted())
    if why is None:
        assert found is None
        return
    assert found is not None
    assert found.reason == "BadSchema"
    assert why in found.message
    assert f"spec.contract.{place}.schema is no JSON Schema" in found.message
    assert speaks(found.reason, found.message)


def test_what_gateways_cannot_be_told_is_not_admitted() -> None:
    long = admitted(prompt=Prompt(template="ö" * (MOST_BYTES // 2) + "{text}"))
    found = servable_problem(spec(), long)
    assert found is not None
    assert found.reason == "ReleaseTooLarge"
    assert "its labels and prompt take 35" in found.message
    assert speaks(found.reason, found.message)
    most = tuple(f"{number:03}{'é' * 60}" for number in range(500))
    assert servable_problem(spec(), admitted(labels=most)) is None


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (admitted("b"), True),
        (admitted("b", prompt=Prompt(template="{text}")), True),
        (admitted("b", labels=("top up", "lost pin", "lost card")), False),
        (admitted("b", architecture=Family.ENCODER), False),
        (admitted("b", **WRITER), False),
    ],
)
def test_requests_are_shared_out_between_likes(other: Admitted, alike: bool) -> None:
    assert beside(other, admitted("a")) is alike
    assert servable_problem(spec(), other, serving=admitted("a")) is None, "at once it needs no likeness"
    found = servable_problem(spec(**CANARY), other, serving=admitted("a"))
    assert (found is None) is alike
    assert found is None or (found.reason == "OtherContract" and "of what is served" in found.message)
    assert found is None or speaks(found.reason, found.message)


def test_gateways_know_engines_by_the_release() -> None:
    """Of one release on two engines they could not tell which is which."""
    assert not beside(admitted("a"), admitted("a"))
    assert servable_problem(spec(**CANARY), admitted("a"), serving=admitted("a")) is None
