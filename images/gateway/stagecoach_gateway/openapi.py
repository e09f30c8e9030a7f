"""The deployment's contract as an OpenAPI document: what it takes and answers, every error, limits and fallback."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stagecoach.contract.gateway_errors import ERRORS
from stagecoach.contract.gateway_routes import Routes
from stagecoach_gateway import feedback as feedback_api
from stagecoach_gateway import limits

if TYPE_CHECKING:
    from stagecoach_gateway.gateway import AnyEndpoint

_HEADERS = {
    "x-request-id": {"description": "Names the request, in feedback and in logs.", "schema": {"type": "string"}},
    "x-stagecoach-release": {"description": "The release that answered, by digest.", "schema": {"type": "string"}},
    "x-stagecoach-fallback": {
        "description": "That no release answered, and what did.",
        "schema": {"enum": ["static", "gateway"]},
    },
}
_KEY: list[dict[str, Any]] = [{"key": []}]
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


def document(routes: Routes, endpoints: Sequence["AnyEndpoint"], *, feedback: bool) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, Any] = {each.path: {"post": _operation(each, routes)} for each in endpoints}
    if routes.api == "OpenAI":
        paths["/v1/models"] = {"get": _plain("The model", _any("The only model: this deployment."))}
    if feedback:
        operation = _plain("Say what of an answer was good or wrong", {"202": _json("It is kept.", {"type": "object"})})
        if routes.sources:
            operation |= {"description": "For who has a key to give feedback, on any answer.", "security": _KEY}
        paths[feedback_api.PATH] = {"post": operation | {"requestBody": _body(feedback_api.DOCUMENT)}}
    paths["/openapi.json"] = {"get": {"summary": "This document", "security": [], "responses": _any("This document.")}}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": routes.name,
            "version": str(routes.revision),
            "description": f"Bodies have at most {limits.BODY_BYTES} bytes, heads {limits.HEAD_BYTES}.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}},
        "x-stagecoach-rate-limits": [{"per": "Client and gateway", **limit.document()} for limit in routes.rate_limits],
        "x-stagecoach-timeout-seconds": routes.timeout,
    }
    if routes.keys or routes.sources:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    if routes.keys:
        found["security"] = _KEY
    if routes.fallback:
        found["x-stagecoach-fallback"] = routes.fallback.document()
    return found


def _operation(endpoint: "AnyEndpoint", routes: Routes) -> dict[str, Any]:
    asks: dict[str, Any] = endpoint.document
    answers: dict[str, Any] = getattr(endpoint, "answers", {"type": "object"})
    if routes.input_schema:
        asks = {"allOf": [asks, routes.input_schema]}
    if routes.output_schema:
        answers = {"allOf": [answers, routes.output_schema]}
    if routes.fallback and routes.fallback.static is not None:
        answers = {"anyOf": [answers, {"const": routes.fallback.static}]}
    responses = {"200": _json("The answer.", answers) | {"headers": _HEADERS}}
    if getattr(endpoint, "streams", False) and not routes.output_schema:
        responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return _plain(endpoint.summary, responses) | {"requestBody": _body(asks)}


def _plain(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": responses | _errors()}


def _errors() -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code, kind in ERRORS.items():
        by_status.setdefault(str(kind.status), []).append(f"`{code}`: {kind.meaning}")
    reference = {"$ref": "#/components/schemas/Error"}
    return {status: _json(" ".join(meanings), reference) for status, meanings in by_status.items()}


def _any(description: str) -> dict[str, Any]:
    return {"200": _json(description, {"type": "object"})}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
