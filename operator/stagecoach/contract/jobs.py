"""What the operator asks of a Job: one JSON document in the Job's own, immutable template."""

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from stagecoach.contract.digests import Digest
from stagecoach.contract.inputs import AnyColumns, Architecture, Prompt, RunInputs, Tokenization
from stagecoach.contract.model import ContractModel

ENVIRONMENT_VARIABLE = "STAGECOACH_JOB"
# Linux refuses an environment string above 128 KiB; the rest is head room for its name and for the Job around it.
MAX_BYTES = 120_000

# By kind of Job: how long a pod may take to stop once it is asked to. A training saves a checkpoint in this time.
GRACE_SECONDS = {"Resolve": 30, "Lookup": 30, "Train": 120}


class Split(StrEnum):
    """What a data set may be used for."""

    TRAIN = "Train"
    VALIDATION = "Validation"
    TEST = "Test"


class Subject(ContractModel):
    """The object that a Job works for."""

    kind: str
    namespace: str
    name: str
    uid: str


class DataSource(ContractModel):
    """A data set and where it lies."""

    name: str
    uri: str
    split: Split
    columns: AnyColumns
    digest: Digest | None = Field(None, description="What the content must be; None before it is resolved.")


class ModelSource(ContractModel):
    """A base model and where it lies."""

    name: str
    uri: str
    revision: str | None = Field(None, description="Of a hub's model: what to take, a commit once it is resolved.")
    license: str | None = None
    model: Digest | None = None
    tokenizer: Digest | None = None


class Labels(ContractModel):
    """The label set: exactly one of the two."""

    values: tuple[str, ...] | None = None
    from_dataset: str | None = None


class ResolveJob(ContractModel):
    """Hash data sets and candidates, check every row, and report digests and findings. CPU only."""

    kind: Literal["Resolve"] = "Resolve"
    subject: Subject
    architecture: Architecture | None = Field(None, description="None is a decoder.")
    datasets: tuple[DataSource, ...]
    labels: Labels | None = Field(None, description="None: the task has no labels.")
    candidates: tuple[ModelSource, ...]
    selected: str
    prompt: Prompt
    tokenization: Tokenization


class LookupJob(ContractModel):
    """Look whether the storage holds a record of these inputs. CPU only."""

    kind: Literal["Lookup"] = "Lookup"
    subject: Subject
    inputs_digest: Digest


class Owner(ContractModel):
    """Who answers for the project."""

    name: str
    contact: str | None = None


class Checkpoints(ContractModel):
    """How a training saves itself. It decides nothing about the result, so it is no part of the inputs."""

    every_steps: int | None = Field(None, ge=1, description="None: by time, see the trainer.")
    keep: int = Field(2, ge=1, description="How many stay; the best one is kept beside them.")


class TrainJob(ContractModel):
    """Train, publish the artifact and the record, report both."""

    kind: Literal["Train"] = "Train"
    subject: Subject
    project: str
    owner: Owner
    attempt: int
    force: bool = Field(description="Train although the storage holds a record of these inputs.")
    inputs: RunInputs
    base: ModelSource
    train: tuple[DataSource, ...]
    validation: tuple[DataSource, ...]
    image: str = Field(description="The image as the operator asked for it; the record keeps it.")
    checkpoints: Checkpoints = Field(default_factory=Checkpoints)
    threads: int = Field(1, ge=1, description="CPU threads to train with: whole CPUs that the run asked for.")


Job = Annotated[ResolveJob | LookupJob | TrainJob, Field(discriminator="kind")]
_JOB: TypeAdapter[ResolveJob | LookupJob | TrainJob] = TypeAdapter(Job)


def read_job(environment: Mapping[str, str] = os.environ) -> ResolveJob | LookupJob | TrainJob:
    """Return the Job that this pod was started for. Raises KeyError or pydantic's ValidationError."""
    return _JOB.validate_json(environment[ENVIRONMENT_VARIABLE])
