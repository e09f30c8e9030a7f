"""What clients may ask in OpenAI's API and vLLM's: every field that an engine will see is named here.

An engine takes more: templates, adapters, addresses to fetch pictures from, tensors. None of that is a client's to say.
"""

from typing import Any

_TEXT = {"type": "string", "maxLength": 1_000_000}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 2048}]}
_NAME = {"type": "string", "maxLength": 200}
_COUNT = {"type": ["integer", "null"], "minimum": 1, "maximum": 1_000_000}
_PENALTY = {"type": ["number", "null"], "minimum": -2, "maximum": 2}
_OBJECT = {"type": "object"}
_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": _TEXT},
    "required": ["type", "text"],
    "additionalProperties": False,
}
_MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {"anyOf": [_TEXT, {"type": "null"}, {"type": "array", "items": _PART, "maxItems": 256}]},
        "name": _NAME,
        "tool_calls": {"type": "array", "items": _OBJECT, "maxItems": 128},
        "tool_call_id": _NAME,
        "refusal": {"type": ["string", "null"]},
    },
    "required": ["role"],
    "additionalProperties": False,
}
# What decides of a text how it is written.
_WRITING = {
    "model": {"type": "string", "maxLength": 200, "description": "The deployment's name."},
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {
        "type": ["object", "null"],
        "properties": {"include_usage": {"type": "boolean"}},
        "additionalProperties": False,
    },
    "max_tokens": _COUNT,
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
    "top_p": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 8},
    "stop": {"anyOf": [_NAME, {"type": "array", "items": _NAME, "maxItems": 16}, {"type": "null"}]},
    "seed": {"type": ["integer", "null"]},
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "user": _NAME | {"description": "Requests of one user are answered by one release."},
}
_MODEL = _WRITING["model"]
_USER = _WRITING["user"]


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": ["model", *required],
        "additionalProperties": False,
    }


CHAT = _object(
    _WRITING
    | {
        "messages": {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": 1024},
        "max_completion_tokens": _COUNT,
        "logprobs": {"type": ["boolean", "null"]},
        "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
        "response_format": {
            "type": "object",
            "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}, "json_schema": _OBJECT},
            "required": ["type"],
            "additionalProperties": False,
        },
        "tools": {"type": "array", "items": _OBJECT, "maxItems": 128},
        "tool_choice": {"anyOf": [_NAME, _OBJECT]},
        "parallel_tool_calls": {"type": "boolean"},
    },
    "messages",
)
COMPLETIONS = _object(
    _WRITING
    | {
        "prompt": _TEXTS,
        "echo": {"type": ["boolean", "null"]},
        "logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
        "suffix": {"type": "null"},
    },
    "prompt",
)
EMBEDDINGS = _object(
    {
        "model": _MODEL,
        "input": _TEXTS,
        "encoding_format": {"enum": ["float", "base64"]},
        "dimensions": {"type": "integer", "minimum": 1, "maximum": 65_536},
        "user": _USER,
    },
    "input",
)
CLASSIFY = _object({"model": _MODEL, "input": _TEXTS, "user": _USER}, "input")
RERANK = _object(
    {
        "model": _MODEL,
        "query": _TEXT,
        "documents": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1024},
        "top_n": {"type": "integer", "minimum": 0, "maximum": 1024},
        "user": _USER,
    },
    "query",
    "documents",
)
