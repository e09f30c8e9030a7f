"""Specs of deployments as the operator reads them: what the API server takes it takes, and what is broken it refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from stagecoach.api.common import duration
from stagecoach.api.crds import KINDS, definition
from stagecoach.api.modeldeployment import Api, ModelDeployment
from tests import builders
from tests.integration.kinds.admission import Change
from tests.integration.kinds.test_admission_deployments import DEPLOYMENTS, TAKEN, release

# Refused by rules that the API server alone asks: about several fields, about bounds of times, about what is before.
BY_RULES = {
    *(
        "nothing to serve",
        "two to serve",
        "a run and a base",
        "odd labels",
        "a gate twice",
        "an odd rank",
        "no patience",
        "endless patience",
    ),
    *(
        "a limit of days",
        "a limit of hours",
        "a limit of seconds",
        "an interval twice",
        "a long answer",
        "an answer of a day",
    ),
    *("a fallback to nothing", "a fallback to two", "an answer of another form", "an answer of two forms"),
    *("an answer with odd fields", "a label to OpenAI's clients", "another's answer to OpenAI's clients", "a circle"),
    "a circle of one",
    *("weights that fall", "a weight twice", "all may fail", "a step by hand of nobody"),
    *("no objective", "half that comes after all", "a beginning after the end", "a short test", "a long test"),
    *("few requests", "many requests", "a library", "a novel each", "more than the engine takes"),
    *("an approver twice", "an approver of two names"),
    *("pods of two minds", "no pods of two minds", "bounds without room"),
    *("keys of nobody", "feedback that is not kept", "private twice", "samples of minutes", "samples for ever"),
}
BY_SCHEMA = [case for case in DEPLOYMENTS if case[0] not in BY_RULES]


def read(change: Change, **status: Any) -> ModelDeployment:
    obj = builders.stored(builders.deployment())
    change(obj["spec"])
    return ModelDeployment.model_validate(obj | {"status": status})


@pytest.mark.parametrize("change", TAKEN)
def test_what_the_api_server_takes_is_read(change: Change) -> None:
    spec = read(change).spec
    assert spec.gates
    assert duration(spec.contract.timeout) <= duration("1h")
    assert read(lambda kept: kept.update(spec.document())).spec == spec


@pytest.mark.parametrize("change", [case[1] for case in BY_SCHEMA], ids=[case[0] for case in BY_SCHEMA])
def test_what_the_schema_refuses_is_not_read(change: Change) -> None:
    with pytest.raises(ValidationError):
        read(change)


def test_defaults_are_those_that_the_definitions_write_out() -> None:
    spec = read(lambda _spec: None).spec
    schema = definition(next(kind for kind in KINDS if kind.short_name == "mdep"))
    parts = schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    written = {
        "engine": parts["engine"]["properties"],
        "contract": parts["contract"]["properties"],
        "gateway": parts["gateway"]["properties"],
    }
    for name, properties in written.items():
        kept = spec.document()[name]
        assert {key: each["default"] for key, each in properties.items() if each.get("default") not in (None, {})} == {
            key: value for key, value in kept.items() if not isinstance(value, dict)
        }
    assert (spec.replicas, spec.api, spec.rollout, spec.access) == (1, Api.TASK, None, None)
    assert (spec.model.latest and spec.model.latest.selector.match_labels) == {}


def test_a_release_without_a_verdict_is_none_to_the_operator_either() -> None:
    assert read(lambda _spec: None, serving=release("a")).status.serving
    with pytest.raises(ValidationError, match=r"status\.serving\n.*a release without verdicts"):
        read(lambda _spec: None, serving=release("a", gates=[]))
    by = {"approval": "now", "uid": "1", "reviewer": "qa@example.com", "reason": "Down.", "until": builders.CREATED}
    assert read(lambda _spec: None, serving=release("a", gates=[], override=by)).status.serving


def test_a_phase_of_a_later_version_is_forgotten_and_what_it_adds_stays() -> None:
    status = read(lambda _spec: None, phase="Promoting", later={"a": 1}).status
    assert status.phase is None
    assert status.document()["later"] == {"a": 1}


def test_what_scales_says_where_its_pods_are() -> None:
    scaled = [kind.short_name for kind in KINDS if "scale" in definition(kind)["spec"]["versions"][0]["subresources"]]
    assert scaled == ["mdep"]
