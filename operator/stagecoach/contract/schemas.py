"""JSON Schemas that requests and answers have to fulfil: what may be one is decided here, wherever it is read."""

import json
from typing import Any

import jsonschema_rs
from jsonschema_rs import Draft202012Validator

# Of each, as text: routes hold two of them, beside two releases.
MOST_BYTES = 65_536


class BadSchema(ValueError):
    """A document is no JSON Schema that can be held to; the message says why."""


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return what decides by a schema of draft 2020-12. Its patterns take linear time; its references stay in it.

    Raises BadSchema.
    """
    if (size := len(json.dumps(schema, ensure_ascii=False).encode())) > MOST_BYTES:
        raise BadSchema(f"it takes {size} bytes, and {MOST_BYTES} are the most")
    options = jsonschema_rs.RegexOptions()
    try:
        return Draft202012Validator(schema, pattern_options=options, retriever=_nowhere)
    except jsonschema_rs.ValidationError as error:
        place = "/".join(map(str, error.instance_path))
        raise BadSchema(f"{f'at {place}: ' if place else ''}{error.message}"[:300]) from error
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise BadSchema(str(error)[:300]) from error


def _nowhere(uri: str) -> Any:
    raise ValueError(f"{uri} is not in the document")
