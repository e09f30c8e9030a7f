"""The contract as a document: valid for all that may be served, to the byte what the operator keeps, and kept to."""

import itertools
import json
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest

from stagecoach.contract import openapi
from stagecoach.contract.gateway_routes import Routes
from stagecoach.contract.inputs import Overflow, Tokenization
from stagecoach_gateway.schemas import Schema
from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine, Running
from tests.unit.gateway.test_openai import BODIES, ENCODER, serves

WRITES = Tokenization(max_length=64, max_target_length=8, overflow=Overflow.TRUNCATE)
SERVED: dict[str, dict[str, Any] | None] = {
    "nothing": None,
    "labels by a decoder": {},
    "labels by an encoder": ENCODER,
    "vectors": ENCODER | {"task": "Embedding"},
    **{task: {"task": task, "tokenization": WRITES} for task in ("Generation", "Summarization", "Translation")},
}
# With references within them, as tools write them.
OWN = {
    "input_schema": {"$defs": {"short": {"type": "object", "maxProperties": 9}}, "$ref": "#/$defs/short"},
    "output_schema": {
        "properties": {"$ref": {"type": "string"}, "inner": {"$ref": "#"}},
        "not": {"const": {"$ref": "#/no/reference"}},
    },
}


async def told(gateway: Running) -> str:
    status, text = await gateway.get(f"{gateway.url}/openapi.json")
    assert status == 200
    return text


async def test_what_is_answered_is_valid_and_what_the_operator_keeps(root: Path, engine: MockEngine) -> None:
    plain, chat = (releases.tokenizer(root / "tokenizers", chat=chat) for chat in (False, True))
    made = {
        name: releases.target(plain if "architecture" in kind else chat, (engine.url,), **kind)
        if kind is not None
        else None
        for name, kind in SERVED.items()
    }
    running.write_root(root, releases.routes(made["labels by a decoder"]))
    async with running.gateway(root) as gateway:
        for revision, (name, api, own) in enumerate(itertools.product(made, ("Task", "OpenAI"), ({}, OWN)), 2):
            routes = releases.routes(made[name], api=api, revision=revision, **own)
            assert (await gateway.put(routes))[0] == 200, (name, api)
            text = await told(gateway)
            assert text.encode() == openapi.text(routes, feedback=False)
            openapi_spec_validator.validate(json.loads(text))


def test_its_version_is_that_of_the_contract_and_not_of_the_routes() -> None:
    def version(**changes: Any) -> str:
        made: Routes = releases.routes(releases.target(releases.DIGEST, ("http://a:1",)), **changes)
        return str(openapi.document(made, feedback=False)["info"]["version"])

    assert version(revision=7) == version() != version(timeout=6.0)


def answers_of(document: dict[str, Any], path: str, method: str) -> Schema:
    responses = document["paths"][path][method]["responses"]
    return Schema(responses["200"]["content"]["application/json"]["schema"])


@pytest.mark.parametrize("path", BODIES)
async def test_engines_answer_as_it_says(path: str, root: Path, engine: MockEngine) -> None:
    running.write_root(root, releases.routes(serves(root, engine, path)))
    async with running.gateway(root) as gateway:
        document = json.loads(await told(gateway))
        says = answers_of(document, path, "post")
        assert says.wrong((await gateway.post(path, BODIES[path]))[1]) is None
        assert says.wrong({"model": "intents"}) is not None, "an answer without what was asked for is none"
        for known in ("/v1/models", "/v1/models/intents"):
            found = json.loads((await gateway.get(f"{gateway.url}{known}"))[1])
            assert answers_of(document, known, "get").wrong(found) is None
