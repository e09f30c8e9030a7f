"""The committed definitions are the generated ones, small, and described."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stagecoach.api.crds import KINDS, definition, main
from stagecoach.api.finetunerun import Resources

ROOT = Path(__file__).parents[3]
FOLDERS = ("crds", "charts/stagecoach/files/crds")


def test_the_committed_definitions_are_the_generated_ones(tmp_path: Path) -> None:
    assert main(["--check", *(str(ROOT / folder) for folder in FOLDERS)]) == 0, "run `make generate`"
    assert main(["--check", str(tmp_path)]) == 1
    main([str(tmp_path)])
    assert main(["--check", str(tmp_path)]) == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.plural))
def test_a_definition_is_small_enough_for_kubectl_apply(kind: Any) -> None:
    # It keeps the object beside itself, as JSON, in an annotation: of all annotations there may be 256 KiB.
    assert len(json.dumps(definition(kind), separators=(",", ":"))) < 100_000


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in schema.get("properties", {}).items():
        yield f"{path}.{name}", part
        yield from nodes(part, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.plural))
def test_every_field_is_described_and_bounded(kind: Any) -> None:
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, part in nodes(schema, kind.plural):
        assert part.get("description", "").strip(), f"{path} has no description"
        assert part.get("type") != "array" or "maxItems" in part, f"{path} is a list without a bound"
        assert "anyOf" not in part, f"{path} is not structural"
        assert "$ref" not in part


# Each of them once promised more than was done with it.
FOR_PEOPLE = ("spec.problem.statement", "spec.data.sets[].provenance", "spec.candidates[].provenance")


@pytest.mark.parametrize("path", FOR_PEOPLE)
def test_a_field_that_nothing_reads_says_so(path: str) -> None:
    schema = definition(KINDS[0])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    words = dict(nodes(schema, ""))[f".{path}"]["description"]
    assert "for people who read the object. Nothing computes with it" in words


def test_an_overflow_that_is_missing_on_purpose_has_a_rule_that_says_why() -> None:
    schema = definition(KINDS[0])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    overflow = dict(nodes(schema, ""))[".spec.tokenization.overflow"]
    assert "enum" not in overflow, "it would be refused before any rule is asked"
    told = {each["rule"]: each["message"] for each in overflow["x-kubernetes-validations"]}
    assert told["self in ['Truncate', 'Reject', 'Chunk']"] == "must be Truncate, Reject or Chunk"
    why = told["self != 'Hierarchical'"]
    assert "which no serving engine loads without remote code" in why
    assert "set overflow Chunk" in why


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.plural))
def test_what_a_text_must_be_is_told_in_words(kind: Any) -> None:
    assert '"pattern": "' not in json.dumps(definition(kind)), "the API server would show the expression: use Matches"


def test_the_operator_says_the_same_words() -> None:
    with pytest.raises(ValidationError, match="must be <domain>/<name>, such as"):
        Resources.model_validate({"gpuResource": "../gpu"})
