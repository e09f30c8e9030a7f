"""A deployment that serves, for tests: what was admitted, and a view that knows what its pods said."""

from datetime import datetime
from typing import Any

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.digests import short
from stagecoach.contract.inputs import BaseInput, Family, LabelsInput, Overflow, Prompt, Tokenization
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.releases import Asked, DescribedRelease, Engine, EngineType, Release
from stagecoach.kinds.view import Answer
from tests import builders
from tests.builders import Object

UID = "0b7d7ab4-0000-4000-8000-000000000001"
LABELS = ("lost card", "lost pin", "top up")


def admitted(
    letter: str, *, tokenizer: str = builders.digest("6"), artifact: str | None = "Adapter", **changes: Any
) -> Admitted:
    """Return what was admitted of a run of this name: a classification by a decoder, unless something else is said."""
    values: dict[str, Any] = {
        "task": "Classification",
        "base": BaseInput(model=builders.digest("5"), tokenizer=tokenizer),
        "prompt": Prompt(system="route this message", template="message : {text}"),
        "tokenization": Tokenization(max_length=64, overflow=Overflow.TRUNCATE),
        "labels": LABELS,
    } | changes
    labels = (
        values.pop("labels")
        if values["task"] in ("Classification", "TokenClassification")
        else values.pop("labels") and None
    )
    architecture = values.pop("architecture", None)
    asked = Asked(
        architecture=None if architecture in (None, Family.DECODER) else architecture,
        labels=LabelsInput(values=labels) if labels else None,
        **values,
    )
    made = builders.digest(letter) if artifact else None
    release = Release(asked=asked.digest, artifact=made, engine=Engine(type=EngineType.VLLM))
    return Admitted(
        described=DescribedRelease(release=release, asked=asked),
        labels=labels if values["task"] == "Classification" else None,
        base=ModelSource(
            name="small", uri="pvc://models/small", model=builders.digest("5"), tokenizer=tokenizer, license="MIT"
        ),
        artifact=artifact,
        storage="pvc://store/desk",
        run=letter,
    )


def served(document: Admitted, engine: str = "answers-e-00000001") -> Object:
    """Return how a status tells of it."""
    return {
        "release": document.release,
        "short": short(document.release),
        "run": document.run,
        "runCreated": builders.CREATED,
        "admitted": f"answers-{document.run}",
        "engine": engine,
        "engineImage": builders.ENGINE_IMAGE,
        "since": builders.CREATED,
    }


def deployment(status: Object | None = None, **changes: Any) -> ModelDeployment:
    """Return a deployment as the API server keeps it."""
    spec = {"project": "desk", "model": {"latest": {}}, "gates": [{"name": "good"}]} | changes
    metadata = {"name": "answers", "namespace": "team", "uid": UID, "generation": 1}
    metadata["creationTimestamp"] = builders.CREATED
    return ModelDeployment.model_validate({"metadata": metadata, "spec": spec, "status": status or {}})


class Said:
    """What pods said."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, str], Answer] = {}

    def says(
        self, uid: str, method: str, path: str, status: int, body: bytes, at: datetime, asked: bytes = b""
    ) -> None:
        self.answers[uid, method, path] = Answer(status, body, at, asked)

    def answer(self, pod_uid: str, method: str, path: str) -> Answer | None:
        return self.answers.get((pod_uid, method, path))
