"""What is judged and served: a release, and its digest.

A release is more than weights: the same weights behind another prompt, tokenizer or engine give other answers. Whoever
needs its digest (trainer, evaluator, operator, gateway) computes it here, from digests that each of them knows.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from stagecoach.contract.digests import Digest, digest_of_document
from stagecoach.contract.inputs import BaseInput, Decided, LabelsInput, OfTask, Prompt, Tokenization
from stagecoach.contract.model import ContractModel


class Asked(OfTask):
    """How a model of a base is asked: all but its weights, and what computes with them."""

    labels: LabelsInput | None = Field(None, description="None: the task has no labels.")
    base: BaseInput
    prompt: Prompt
    tokenization: Tokenization

    @classmethod
    def of(cls, decided: Decided) -> "Asked":
        """Return how a run's model is asked: as it was trained."""
        return cls(**{name: getattr(decided, name) for name in cls.model_fields})

    @property
    def digest(self) -> str:
        """Identity of all of it."""
        return digest_of_document(self.document())


class EngineType(StrEnum):
    """What computes the answers."""

    TRANSFORMERS = "Transformers"
    VLLM = "vLLM"


class Precision(StrEnum):
    """The number format that a model computes in."""

    AUTO = "auto"  # as its files say
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Engine(ContractModel):
    """What computes the answers, and all of its settings that change them. Answers are always the likeliest ones.

    The image is no part of it, whatever the type: another version adds numbers up in another order, as another GPU
    does, and a release that changed with it would lose its verdicts whenever the operator is upgraded. Records name the
    image. What vLLM is told beside the precision is the same for all (contract/serving.py), or follows from how it is
    asked.
    """

    type: EngineType = EngineType.TRANSFORMERS
    precision: Precision = Precision.AUTO


class Release(ContractModel):
    """A model as it answers. Equal digests mean equal answers, as far as the engine's arithmetic allows."""

    schema_version: Literal[1] = 1
    asked: Digest = Field(description="Digest of an Asked.")
    artifact: Digest | None = Field(
        None, description="Adapter or model that was trained or imported. None: the base itself."
    )
    engine: Engine

    @property
    def digest(self) -> str:
        """The identity by which verdicts, routes and metrics name it."""
        return digest_of_document(self.model_dump(mode="json", by_alias=True))


class DescribedRelease(ContractModel):
    """What a release is made of, as the storage keeps it."""

    release: Release
    asked: Asked
