"""Every error that a gateway answers: its status, its type in OpenAI's terms, and what it means.

The message of an error says more; programs go by the code.
"""

from enum import StrEnum
from typing import NamedTuple


class ErrorType(StrEnum):
    """OpenAI's types of errors."""

    INVALID = "invalid_request_error"
    AUTHENTICATION = "authentication_error"
    RATE = "rate_limit_error"
    SERVER = "server_error"


class Kind(NamedTuple):
    """An error."""

    status: int
    type: ErrorType
    meaning: str


ERRORS: dict[str, Kind] = {
    "bad_http": Kind(400, ErrorType.INVALID, "The request is no HTTP/1.1, or could be read in two ways."),
    "invalid_json": Kind(400, ErrorType.INVALID, "The body is no JSON document."),
    "invalid_request": Kind(400, ErrorType.INVALID, "The body does not fulfil the schema; `param` names the field."),
    "text_too_long": Kind(400, ErrorType.INVALID, "The text has more tokens than the model reads."),
    "engine_refused": Kind(400, ErrorType.INVALID, "The engine says that it cannot answer such a request."),
    "missing_key": Kind(401, ErrorType.AUTHENTICATION, "There is no key in `Authorization: Bearer`."),
    "invalid_key": Kind(401, ErrorType.AUTHENTICATION, "The key is not known here, or not any more."),
    "unknown_path": Kind(404, ErrorType.INVALID, "There is nothing at this path."),
    "model_not_found": Kind(404, ErrorType.INVALID, "`model` is not the name of this deployment."),
    "unknown_request": Kind(404, ErrorType.INVALID, "Feedback names a request that this client did not make here."),
    "method_not_allowed": Kind(405, ErrorType.INVALID, "The path knows other methods; `Allow` names them."),
    "request_timeout": Kind(408, ErrorType.INVALID, "The request did not arrive in time."),
    "body_too_large": Kind(413, ErrorType.INVALID, "The body is longer than is read."),
    "unsupported_media_type": Kind(415, ErrorType.INVALID, "The body is not of type application/json, or is encoded."),
    "rate_limited": Kind(429, ErrorType.RATE, "This client asks too often; `Retry-After` says when to ask again."),
    "headers_too_large": Kind(431, ErrorType.INVALID, "The headers are longer than are read."),
    "internal_error": Kind(500, ErrorType.SERVER, "The gateway failed; its log has the request id."),
    "engine_error": Kind(502, ErrorType.SERVER, "The engine failed, or what it answers is none."),
    "engine_unavailable": Kind(502, ErrorType.SERVER, "No engine can be reached."),
    "contract_violation": Kind(502, ErrorType.SERVER, "The answer does not fulfil the deployment's output schema."),
    "nothing_served": Kind(503, ErrorType.SERVER, "No release is admitted, or the gateway has no routes yet."),
    "too_many_connections": Kind(503, ErrorType.SERVER, "The gateway has as many connections as it takes."),
    "engine_timeout": Kind(504, ErrorType.SERVER, "The engine did not answer in time."),
    "too_many_hops": Kind(508, ErrorType.SERVER, "Deployments fall back to each other in a circle."),
}  # fmt: skip
