"""The Task API: what `POST /v1/predict` takes and answers, by the task and its labels."""

from typing import Any

from stagecoach.contract.inputs import EMBEDDING, Family

CLASSIFICATION = "Classification"
WRITES = frozenset({"Generation", "Summarization", "Translation"})
# By task, the families whose models an engine can be asked for it.
TASKS: dict[str, tuple[Family, ...]] = {
    CLASSIFICATION: (Family.ENCODER, Family.DECODER),
    EMBEDDING: (Family.ENCODER,),
    **dict.fromkeys(WRITES, (Family.DECODER,)),
}
# More characters than any maxLength lets through, and not enough to keep a processor busy.
MAX_TEXT = 200_000


def input_schema(task: str) -> dict[str, Any]:
    """Return the JSON Schema of what is asked."""
    properties: dict[str, Any] = {
        "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "description": "What is to be read."},
        "session": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "Requests of one session are answered by one release.",
        },
    }
    if task == EMBEDDING:
        properties["kind"] = {
            "enum": ["query", "passage"],
            "default": "query",
            "description": "Whether the text asks, or is looked among.",
        }
    return _object(properties, ["text"])


def output_schema(task: str, labels: tuple[str, ...] | None, family: Family) -> dict[str, Any]:
    """Return the JSON Schema of what is answered. Raises ValueError for a task that cannot be asked for."""
    if task == CLASSIFICATION:
        each = list(labels or ())
        properties: dict[str, Any] = {"label": {"enum": each}}
        if family is Family.ENCODER:  # a head gives every label a probability
            probability = {"type": "number", "minimum": 0, "maximum": 1.000001}
            properties["scores"] = _object(dict.fromkeys(each, probability), each)
    elif task == EMBEDDING:
        properties = {"embedding": {"type": "array", "items": {"type": "number"}, "minItems": 1}}
    elif task in WRITES:
        properties = {"text": {"type": "string"}}
    else:
        raise ValueError(f"the Task API does not know {task}")
    return _object(properties, list(properties))


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
