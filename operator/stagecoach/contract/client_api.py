"""What clients ask of a deployment: at which paths, by which documents, and what is answered."""

from dataclasses import dataclass
from typing import Any

from stagecoach.contract import openai_schemas, readings
from stagecoach.contract.gateway_routes import Routes
from stagecoach.contract.inputs import OfTask
from stagecoach.contract.readings import Reads
from stagecoach.contract.task_api import input_schema, output_schema

DOCUMENT, MODELS, FEEDBACK, PREDICT = "/openapi.json", "/v1/models", "/v1/feedback", "/v1/predict"
# Longer ones are not read.
HEAD_BYTES, BODY_BYTES = 16_384, 4 << 20
FEEDBACK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "request": {"type": "string", "maxLength": 100, "description": "`x-request-id` of the answer."},
        "expected": {
            "type": "string",
            "maxLength": 10_000,
            "description": "What would have been right: a label, a text.",
        },
        "rating": {"type": "number", "minimum": 0, "maximum": 1, "description": "How good it was."},
        "comment": {"type": "string", "maxLength": 2000},
    },
    "required": ["request"],
    "minProperties": 2,
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Path:
    """A path at which a release answers."""

    path: str
    summary: str
    asks: dict[str, Any]
    answers: dict[str, Any]
    streams: bool = False


WRITE = (
    Path(
        "/v1/chat/completions",
        "Answer a conversation",
        openai_schemas.CHAT,
        openai_schemas.CHAT_ANSWER,
        streams=True,
    ),
    Path(
        "/v1/completions",
        "Go on with a text",
        openai_schemas.COMPLETIONS,
        openai_schemas.COMPLETIONS_ANSWER,
        streams=True,
    ),
)
# By what an encoder makes of a text, what its engine answers: it knows no other of these paths.
READ = {
    Reads.VECTORS: (
        Path(readings.EMBED, "Make vectors of texts", openai_schemas.EMBEDDINGS, openai_schemas.EMBEDDINGS_ANSWER),
        Path("/rerank", "Put documents in the order of a query", openai_schemas.RERANK, openai_schemas.RERANK_ANSWER),
    ),
    Reads.LABELS: (
        Path(
            readings.CLASSIFY,
            "Give each label a probability",
            openai_schemas.CLASSIFY,
            openai_schemas.CLASSIFY_ANSWER,
        ),
    ),
}
OPENAI = (*WRITE, *(path for each in READ.values() for path in each))


def openai_paths(of: OfTask | None) -> tuple[Path, ...]:
    """Return the paths at which such a model can be asked; None: all that there may be, once something is served."""
    if of is None:
        return OPENAI
    what = readings.reads(of)
    return READ[what] if what else WRITE


def task_path(routes: Routes) -> Path:
    """Return the path of the Task API: while nothing is served, nobody knows what its task takes."""
    stable = routes.stable
    if stable is None:
        return Path(PREDICT, "Nothing is served yet", {"type": "object"}, {"type": "object"})
    asked = stable.described.asked
    answers = output_schema(asked.task, stable.labels, asked.family)
    return Path(PREDICT, f"{asked.task} of a text", input_schema(asked.task), answers)


def paths(routes: Routes) -> tuple[Path, ...]:
    """Return the paths at which releases answer by these routes."""
    if routes.api == "OpenAI":
        return openai_paths(routes.stable.described.asked if routes.stable else None)
    return (task_path(routes),)
