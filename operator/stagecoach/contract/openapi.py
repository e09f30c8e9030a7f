"""The deployment's contract as an OpenAPI document: what it takes and answers, every error, limits and fallback.

Operator and gateways make the same one of the same routes.
"""

from typing import Any

from stagecoach.contract import client_api, openai_schemas
from stagecoach.contract.client_api import Path
from stagecoach.contract.digests import digest_of_document, short
from stagecoach.contract.gateway_errors import ERRORS
from stagecoach.contract.gateway_routes import Routes
from stagecoach.contract.model import canonical_json

_HEADERS = {
    "x-request-id": {"description": "Names the request, in feedback and in logs.", "schema": {"type": "string"}},
    "x-stagecoach-release": {"description": "The release that answered, by digest.", "schema": {"type": "string"}},
    "x-stagecoach-fallback": {
        "description": "That no release answered, and what did.",
        "schema": {"enum": ["static", "gateway"]},
    },
}
_KEY: list[dict[str, Any]] = [{"key": []}]
_PLACE = "#/components/schemas/"
# Of a schema's keywords those with schemas by name, and those whose values are no schemas.
_NAMED = {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
_DATA = {"const", "enum", "default", "examples"}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"enum": list(ERRORS)},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_ACCEPTED = {
    "type": "object",
    "properties": {"accepted": {"const": True}},
    "required": ["accepted"],
    "additionalProperties": False,
}


def text(routes: Routes, *, feedback: bool) -> bytes:
    """Return the document as it is answered and kept: the same bytes of the same contract."""
    return canonical_json(document(routes, feedback=feedback))


def document(routes: Routes, *, feedback: bool) -> dict[str, Any]:
    """Return the document. Its version says what is in it, and not by which revision of the routes it is in force."""
    paths: dict[str, Any] = {each.path: {"post": _operation(each, routes)} for each in client_api.paths(routes)}
    if routes.api == "OpenAI":
        paths |= _models(routes.name)
    if feedback:
        operation = _plain("Say what of an answer was good or wrong", {"202": _json("It is kept.", _ACCEPTED)})
        if routes.sources:
            operation |= {"description": "For who has a key to give feedback, on any answer.", "security": _KEY}
        paths[client_api.FEEDBACK] = {"post": operation | {"requestBody": _body(client_api.FEEDBACK_SCHEMA)}}
    this = {"200": _json("This document.", {"type": "object"})}
    paths[client_api.DOCUMENT] = {"get": {"summary": "This document", "security": [], "responses": this}}
    limits = f"Bodies have at most {client_api.BODY_BYTES} bytes, heads {client_api.HEAD_BYTES}."
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": routes.name, "description": limits},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, **_own(routes)}},
        "x-stagecoach-rate-limits": [{"per": "Client and gateway", **limit.document()} for limit in routes.rate_limits],
        "x-stagecoach-timeout-seconds": routes.timeout,
    }
    if routes.keys or routes.sources:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    if routes.keys:
        found["security"] = _KEY
    if routes.fallback:
        found["x-stagecoach-fallback"] = routes.fallback.document()
    found["info"]["version"] = short(digest_of_document(found))
    return found


def _own(routes: Routes) -> dict[str, Any]:
    """Return the schemas of the deployment's own."""
    own = {"Input": routes.input_schema, "Output": routes.output_schema}
    return {name: _moved(schema, _PLACE + name) for name, schema in own.items() if schema}


def _moved(schema: Any, place: str) -> Any:
    """Return a schema whose references within it, which were from its root, lead there from this place."""
    if isinstance(schema, list):
        return [_moved(each, place) for each in schema]
    if not isinstance(schema, dict) or "$id" in schema:  # what has a name of its own is referred to by that
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str) and value[:2] in ("#", "#/"):
            found[key] = place + value[1:]
        elif key in _NAMED and isinstance(value, dict):
            found[key] = {name: _moved(each, place) for name, each in value.items()}
        else:
            found[key] = value if key in _DATA else _moved(value, place)
    return found


def _operation(at: Path, routes: Routes) -> dict[str, Any]:
    asks, answers = at.asks, at.answers
    if routes.input_schema:
        asks = {"allOf": [asks, _reference("Input")]}
    if routes.output_schema:
        answers = {"allOf": [answers, _reference("Output")]}
    if routes.fallback and routes.fallback.static is not None:
        answers = {"anyOf": [answers, {"const": routes.fallback.static}]}
    responses = {"200": _json("The answer.", answers) | {"headers": _HEADERS}}
    if at.streams and not routes.output_schema:
        responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return _plain(at.summary, responses) | {"requestBody": _body(asks)}


def _models(name: str) -> dict[str, Any]:
    """Return the paths of the one model that there is."""
    listed = {"200": _json("The only model: this deployment.", openai_schemas.MODELS_ANSWER)}
    alone = {"200": _json("This deployment.", openai_schemas.MODEL_ANSWER)}
    return {
        client_api.MODELS: {"get": _plain("The model", listed)},
        f"{client_api.MODELS}/{name}": {"get": _plain("The model by its name", alone)},
    }


def _plain(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": responses | _errors()}


def _errors() -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code, kind in ERRORS.items():
        by_status.setdefault(str(kind.status), []).append(f"`{code}`: {kind.meaning}")
    return {status: _json(" ".join(meanings), _reference("Error")) for status, meanings in by_status.items()}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _PLACE + name}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
