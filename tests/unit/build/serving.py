"""What is served in tests: the smallest deployment, and releases that it may have."""

import copy
from typing import Any

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build.pods import Network
from stagecoach.build.recipes import Images
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.inputs import BaseInput, LabelsInput, Overflow, Prompt, Tokenization
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.releases import Asked, DescribedRelease, Engine, EngineType, Release
from stagecoach.kinds.controller import Settings
from tests import builders

Object = dict[str, Any]

UID = "0b7d7ab4-0000-4000-8000-000000000001"
MASTER_KEY = b"k" * 32
GATEWAY_IMAGE = "registry.example/gateway@sha256:" + "d" * 64
IMAGES = Images(engine=builders.ENGINE_IMAGE, loader=builders.EVALUATOR_IMAGE)
LABELS = ("billing", "größe")


def settings(**changes: Any) -> Settings:
    """Return what whoever installed the operator chose."""
    values: dict[str, Any] = {
        "trainer_image": builders.IMAGE,
        "evaluator_image": builders.EVALUATOR_IMAGE,
        "engine_image": builders.GPU_ENGINE_IMAGE,
        "engine_cpu_image": builders.ENGINE_IMAGE,
        "gateway_image": GATEWAY_IMAGE,
        "namespace": "stagecoach-system",
        "master_key": MASTER_KEY,
        "network": Network(),
    }
    return Settings(**(values | changes))


def deployment(uid: str = UID, **changes: Any) -> ModelDeployment:
    """Return a deployment as the API server keeps it."""
    spec = {"project": "desk", "model": {"latest": {}}, "gates": [{"name": "good"}]}
    written = {
        "apiVersion": "stagecoach.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "intents", "namespace": "team"},
        "spec": spec | changes,
    }
    return ModelDeployment.model_validate(builders.stored(written, uid=uid))


def project(**changes: Any) -> TransformerProject:
    """Return the project."""
    return TransformerProject.model_validate(builders.stored(builders.project(**copy.deepcopy(changes))))


def admitted(letter: str = "7", kind: str | None = "Adapter", **changes: Any) -> Admitted:
    """Return a release of an artifact with this letter; `changes` are those of the whole document."""
    asked = Asked(
        task="Classification",
        labels=LabelsInput(values=LABELS),
        base=BaseInput(model=builders.digest("5"), tokenizer=builders.digest("6")),
        prompt=Prompt(template="Which queue? {text}"),
        tokenization=Tokenization(max_length=128, overflow=Overflow.TRUNCATE),
    )
    described = described_by(asked, builders.digest(letter) if kind else None)
    values: dict[str, Any] = {
        "described": described,
        "labels": LABELS,
        "base": base(),
        "artifact": kind,
        "storage": "pvc://store/desk",
        "run": "first" if kind else None,
    }
    return Admitted(**(values | changes))


def described_by(asked: Asked, artifact: str | None) -> DescribedRelease:
    """Return a release that vLLM answers for."""
    return DescribedRelease(
        release=Release(asked=asked.digest, artifact=artifact, engine=Engine(type=EngineType.VLLM)), asked=asked
    )


def base(**changes: Any) -> ModelSource:
    """Return the base of all of them."""
    values: dict[str, Any] = {
        "name": "small",
        "uri": "pvc://models/small",
        "license": "Apache-2.0",
        "model": builders.digest("5"),
        "tokenizer": builders.digest("6"),
    }
    return ModelSource(**(values | changes))
