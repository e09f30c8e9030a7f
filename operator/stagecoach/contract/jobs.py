"""What the operator asks of a Job: one JSON document in the Job's own, immutable template."""

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from stagecoach.contract.digests import Digest
from stagecoach.contract.inputs import (
    AnyColumns,
    Architecture,
    ImportInputs,
    MatchColumns,
    Prompt,
    RunInputs,
    Tokenization,
)
from stagecoach.contract.model import ContractModel

ENVIRONMENT_VARIABLE = "STAGECOACH_JOB"
# Linux refuses an environment string above 128 KiB; the rest is head room for its name and for the Job around it.
MAX_BYTES = 120_000

# Where the processes of a training meet, at the pod of index 0.
GROUP_PORT = 29500
# Set by Kubernetes in every pod of an Indexed Job.
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"

# By kind of Job: how long a pod may take to stop once it is asked to. A training saves a checkpoint in this time.
GRACE_SECONDS = {"Resolve": 30, "Lookup": 30, "Train": 120, "Import": 30, "Retain": 30, "Evaluate": 30}


class Split(StrEnum):
    """What a data set may be used for."""

    TRAIN = "Train"
    VALIDATION = "Validation"
    TEST = "Test"
    ADVERSARIAL = "Adversarial"
    CANARY = "Canary"
    BENCHMARK = "Benchmark"


class Subject(ContractModel):
    """The object that a Job works for."""

    kind: str
    namespace: str
    name: str
    uid: str


class HubPart(ContractModel):
    """Which part of a hub's data set."""

    config: str | None = Field(None, description="None: the default one, or the only one.")
    split: str


class DataSource(ContractModel):
    """A data set and where it lies."""

    name: str
    uri: str
    revision: str | None = Field(None, description="Of a hub's data set: what to take, a commit once it is resolved.")
    hub: HubPart | None = Field(None, description="None: the URI names one file.")
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

    @property
    def embeds(self) -> bool:
        """Whether the project's models make vectors of texts: nothing else has such columns."""
        return any(isinstance(item.columns, MatchColumns) for item in self.datasets)


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


class Group(ContractModel):
    """The processes that train together, as many in each pod, and where they meet. How many decides the result."""

    nodes: int = Field(ge=1, description="Pods, each of which knows its index from its Job.")
    processes: int = Field(ge=1, description="Of one pod.")
    address: str = Field(description="Name or address of the pod of index 0.")
    port: int = GROUP_PORT

    @property
    def size(self) -> int:
        """All processes."""
        return self.nodes * self.processes


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
    labels_from: DataSource | None = Field(
        None, description="The data set of inputs.labelColumns, which is read for its labels and not trained on."
    )
    image: str = Field(description="The image as the operator asked for it; the record keeps it.")
    checkpoints: Checkpoints = Field(default_factory=Checkpoints)
    threads: int = Field(1, ge=1, description="CPU threads of a process: whole CPUs that the run asked for.")
    group: Group | None = Field(None, description="None: one process trains alone.")

    @model_validator(mode="after")
    def _as_many_as_decided(self) -> Self:
        if (self.group.size if self.group else 1) != (self.inputs.processes or 1):
            raise ValueError("the group is not of as many processes as the inputs say")
        return self

    @model_validator(mode="after")
    def _labels_where_decided(self) -> Self:
        inputs, source = self.inputs, self.labels_from
        digest = inputs.labels.from_data if inputs.labels else None
        if (source.columns if source else None) != inputs.label_columns or (source and source.digest != digest):
            raise ValueError("the labels are not taken from where the inputs say")
        if digest and not source and digest not in {item.digest for item in inputs.train}:
            raise ValueError("nobody says where the data set of the labels lies")
        return self


class ImportSource(ContractModel):
    """An adapter or a model that was made elsewhere, and where it lies; what it must be is in the inputs."""

    uri: str
    revision: str | None = Field(None, description="Of a hub's model: what to take.")


class ImportJob(ContractModel):
    """Check what was made elsewhere, publish it and its record, report both. CPU only."""

    kind: Literal["Import"] = "Import"
    subject: Subject
    project: str
    owner: Owner
    attempt: int
    force: bool = Field(description="Import although the storage holds a record of these inputs.")
    inputs: ImportInputs
    base: ModelSource
    source: ImportSource
    trained_on: tuple[DataSource, ...] = Field(
        description="The data sets of inputs.method.trainedOn; nobody reads them."
    )
    labels_from: DataSource | None = Field(None, description="The data set that the labels are taken from, if any.")
    image: str = Field(description="The image as the operator asked for it; the record keeps it.")
    threads: int = Field(1, ge=1, description="CPU threads: whole CPUs that the run asked for.")


class RetainJob(ContractModel):
    """Remove artifacts that nobody needs any more, after a notice. CPU only.

    The pod may start long after this was decided: what is announced is adopted by nobody, so that what has come into
    use since then is not among what may be removed.
    """

    kind: Literal["Retain"] = "Retain"
    subject: Subject = Field(description="The project. Only what its own runs made is ever removed.")
    runs: int = Field(ge=1, description="How many of the newest records keep their artifacts.")
    keep_seconds: int = Field(ge=86400, description="What was made or adopted in this time stays.")
    notice_seconds: int = Field(ge=0, description="From the announcement to the removal.")
    decided: str = Field(description="RFC 3339 time, UTC: when the two lists were made.")
    protected: tuple[str, ...] = Field(
        description="The first 12 hex digits of every digest that an object of the cluster names: artifacts, inputs."
    )
    known_runs: tuple[str, ...] = Field(
        description="How the uids of the project's runs begin that have not ended; their checkpoints stay."
    )


AnyJob = ResolveJob | LookupJob | TrainJob | ImportJob | RetainJob
Job = Annotated[AnyJob, Field(discriminator="kind")]
_JOB: TypeAdapter[AnyJob] = TypeAdapter(Job)


def read_job(environment: Mapping[str, str] = os.environ) -> AnyJob:
    """Return the Job that this pod was started for. Raises KeyError or pydantic's ValidationError."""
    return _JOB.validate_json(environment[ENVIRONMENT_VARIABLE])
