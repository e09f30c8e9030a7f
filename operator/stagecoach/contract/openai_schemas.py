"""OpenAI's API and vLLM's: what clients may ask, where every field is named that an engine will see, and the answers.

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
# What vLLM answers in a message beside what it says, nothing but for reasoning. Clients send an answer back as it came:
# it is taken, and no engine is told.
_LEFT_OUT = {"description": "As an answer has it; it is left out."}
_NOTHING = {"type": "null"} | _LEFT_OUT
SAID_BESIDE = {
    "annotations": _NOTHING,
    "audio": _NOTHING,
    "function_call": _NOTHING,
    "reasoning": {"anyOf": [_TEXT, {"type": "null"}]} | _LEFT_OUT,
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
    }
    | SAID_BESIDE,
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
    "user": {"type": ["string", "null"], "maxLength": 200}
    | {"description": "Requests of one user are answered by one release."},
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

# What is answered, as far as clients may rely on it: an engine says more.
_NUMBER = {"type": "integer", "minimum": 0}
_USAGE = {
    "type": "object",
    "properties": {"prompt_tokens": _NUMBER, "completion_tokens": _NUMBER, "total_tokens": _NUMBER},
}
_ENDED = {"type": ["string", "null"]}


def _said(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required]}


def _rows(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer with rows of this name."""
    rows = {"type": "array", "items": row}
    return _said({"model": _MODEL, name: rows, "usage": _USAGE}, "model", name)


_SPOKEN = _said(
    {
        "role": {"const": "assistant"},
        "content": {"type": ["string", "null"]},
        "tool_calls": {"type": "array", "items": _OBJECT},
    },
    "role",
)
CHAT_ANSWER = _rows(
    "choices",
    _said({"index": _NUMBER, "message": _SPOKEN, "finish_reason": _ENDED}, "index", "message", "finish_reason"),
)
COMPLETIONS_ANSWER = _rows(
    "choices",
    _said({"index": _NUMBER, "text": {"type": "string"}, "finish_reason": _ENDED}, "index", "text", "finish_reason"),
)
_VECTOR = {
    "anyOf": [
        {"type": "array", "items": {"type": "number"}},
        {"type": "string", "description": "Where encoding_format is base64."},
    ]
}
EMBEDDINGS_ANSWER = _rows("data", _said({"index": _NUMBER, "embedding": _VECTOR}, "index", "embedding"))
CLASSIFY_ANSWER = _rows(
    "data",
    _said(
        {
            "index": _NUMBER,
            "label": {"type": ["string", "null"]},
            "probs": {
                "type": "array",
                "items": {"type": "number"},
                "description": "In the order of the deployment's labels.",
            },
        },
        "index",
        "probs",
    ),
)
RERANK_ANSWER = _rows(
    "results", _said({"index": _NUMBER, "relevance_score": {"type": "number"}}, "index", "relevance_score")
)
MODEL_ANSWER = _said(
    {"id": _MODEL, "object": {"const": "model"}, "created": _NUMBER, "owned_by": {"const": "stagecoach"}},
    *("id", "object", "created", "owned_by"),
)
MODELS_ANSWER = _said(
    {"object": {"const": "list"}, "data": {"type": "array", "items": MODEL_ANSWER, "minItems": 1, "maxItems": 1}},
    *("object", "data"),
)
