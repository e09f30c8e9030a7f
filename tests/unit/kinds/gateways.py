"""A deployment that serves, for tests: what was admitted, and what its gateways said."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.digests import short
from stagecoach.contract.inputs import BaseInput, LabelsInput, Overflow, Prompt, Tokenization
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.releases import Asked, DescribedRelease, Engine, EngineType, Release
from tests import builders
from tests.builders import Object

UID = "0b7d7ab4-0000-4000-8000-000000000001"
LABELS = ("lost card", "lost pin", "top up")
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Pod:
    """A gateway."""

    uid: str
    ready: bool = True
    address: str = "10.0.0.1"

    @property
    def name(self) -> str:
        return f"answers-gateway-{self.uid}"


def admitted(
    run: str = "a",
    kind: Literal["Adapter", "Model"] | None = "Adapter",
    *,
    labels: tuple[str, ...] | None = LABELS,
    tokenizer: str = builders.digest("6"),
    **asked: Any,
) -> Admitted:
    """Return what was admitted of a run of one letter: a classification by a decoder, unless something else is said."""
    values: dict[str, Any] = {
        "task": "Classification",
        "labels": LabelsInput(values=labels) if labels else None,
        "base": BaseInput(model=builders.digest("5"), tokenizer=tokenizer),
        "prompt": Prompt(system="route this message", template="message : {text}"),
        "tokenization": Tokenization(max_length=64, overflow=Overflow.TRUNCATE),
    } | asked
    how = Asked(**values)
    release = Release(
        asked=how.digest, artifact=builders.digest(run) if kind else None, engine=Engine(type=EngineType.VLLM)
    )
    return Admitted(
        described=DescribedRelease(release=release, asked=how),
        labels=labels,
        base=ModelSource(name="small", uri="pvc://models/small", model=builders.digest("5"), tokenizer=tokenizer),
        artifact=kind,
        storage="pvc://store/desk",
        run=run if kind else None,
    )


def served(document: Admitted, engine: str = "answers-e-00000001", **changes: Any) -> Object:
    """Return how a status tells of it."""
    told = {
        "release": document.release,
        "short": short(document.release),
        "admitted": f"answers-{document.run or document.base.name}",
        "engine": engine,
        "engineImage": builders.ENGINE_IMAGE,
        "loaderImage": builders.EVALUATOR_IMAGE,
        "gates": [{"gate": "good", "evaluation": "good-0123456789ab", "key": builders.digest("e")}],
        "since": builders.CREATED,
    }
    of = {"run": document.run, "runCreated": builders.CREATED} if document.run else {"base": document.base.name}
    return told | of | changes


def in_step(document: Admitted, weight: int = 5, **changes: Any) -> Object:
    """Return how a status tells of a candidate that has requests."""
    times = {"stepSince": "2026-01-02T11:55:00Z", "weightUntil": "2026-01-02T12:05:00Z"}
    return served(document, **({"step": 0, "weight": weight} | times | changes))


def deployment(status: Object | None = None, **changes: Any) -> ModelDeployment:
    """Return a deployment as the API server keeps it."""
    spec = {"project": "desk", "model": {"latest": {}}, "gates": [{"name": "good"}]} | changes
    metadata = {"name": "answers", "namespace": "team", "uid": UID, "generation": 1}
    metadata["creationTimestamp"] = builders.CREATED
    return ModelDeployment.model_validate({"metadata": metadata, "spec": spec, "status": status or {}})


def after(seconds: float) -> datetime:
    """Return a time."""
    return NOW + timedelta(seconds=seconds)
