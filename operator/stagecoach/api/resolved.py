"""What the operator found of a project."""

from typing import Annotated, Any

from annotated_types import Len
from pydantic import Field, field_validator

from stagecoach.api.candidates import MAX_CANDIDATES
from stagecoach.api.common import Condition, Digest, Enum, Name, Optional, Time, Told, keyed
from stagecoach.api.data import MAX_DATASETS


class FindingCode(Enum):
    """What the operator can find about a project."""

    ARCHITECTURE_UNUSUAL = "ArchitectureUnusual"
    LEAKAGE = "Leakage"
    LICENSE_UNKNOWN = "LicenseUnknown"
    LONGER_THAN_CONTEXT = "LongerThanContext"
    OVERFLOW_ABOVE_ONE_PERCENT = "OverflowAboveOnePercent"


class Phase(Enum):
    """Where a project is, in one word."""

    INCOMPLETE = "Incomplete"
    RESOLVING = "Resolving"
    READY = "Ready"


class ResolvedDataset(Told):
    """A data set as it was found."""

    name: Name = Field(description="Name in spec.data.sets.")
    digest: Digest = Field(description="Identity of its content.")
    examples: int = Field(description="Rows.")
    revision: Optional[str] = Field(None, max_length=64, description="Commit of a data set of a hub.")


class ResolvedCandidate(Told):
    """A base model as it was found."""

    name: Name = Field(description="Name in spec.candidates.")
    model: Digest = Field(description="Identity of weights and configuration.")
    tokenizer: Digest = Field(description="Identity of tokenizer and chat template.")
    architecture: str = Field(max_length=64, description="Class of the model in transformers.")
    context: int = Field(description="Longest native context, in tokens.")
    revision: Optional[str] = Field(None, max_length=64, description="Commit of a model of a hub.")


class ResolvedLabels(Told):
    """The label set as it was found."""

    count: int = Field(description="How many labels there are.")
    digest: Digest = Field(description="Identity of the ordered list.")
    first: Annotated[list[str], Len(max_length=100)] = Field(description="The first of them, in order.")


class ReportedFinding(Told):
    """What the resolving Job found."""

    # Not only those of FindingCode: a Job of a later trainer may have found it.
    code: str = Field(max_length=64, description="What was found.")
    message: str = Field(max_length=512, description="The same in words.")


class Resolution(Told):
    """The Job that hashes and checks data and models."""

    inputs: Digest = Field(description="Identity of the part of the spec that this resolution is of.")
    requested_at: Optional[str] = Field(None, max_length=256, description="Value of the annotation that asked for it.")
    pods: Digest = Field(description="Identity of the pods' settings and credentials that the Job was made with.")
    number: int = Field(description="Jobs of this kind so far; the name of the Job ends with it.")
    failures: int = Field(description="How often this resolution failed for what may pass.")
    job: str = Field(max_length=63, description="Name of the Job of the current attempt.")
    image: str = Field(max_length=512, description="Image of the Job.")
    start_time: Time = Field(description="When the current attempt was decided.")
    completion_time: Optional[Time] = Field(None, description="When the current attempt ended.")
    outcome: Optional[str] = Field(None, max_length=64, description="How the current attempt ended.")
    message: Optional[str] = Field(None, max_length=2048, description="The same in words.")
    findings: list[ReportedFinding] = Field(
        [], max_length=16, description="What the Job found.", json_schema_extra=keyed("code")
    )


class FindingStatus(Told):
    """Something that a person should know before the next stage."""

    code: str = Field(max_length=64, description="What was found.")
    message: str = Field(max_length=1024, description="The same in words, with what to do about it.")
    accepted: bool = Field(description="Whether spec.accepted names it.")


class StorageStatus(Told):
    """What is known of the storage."""

    records: bool = Field(description="It holds records: a new run is first looked up there.")


class RetentionStatus(Told):
    """What may leave the storage, and what did."""

    number: int = Field(description="Jobs of this kind so far; the name of the Job ends with it.")
    job: str = Field(max_length=63, description="Name of the last Job.")
    image: str = Field(max_length=512, description="Image of the Job.")
    asked: Digest = Field(description="Identity of what spec.storage said when the Job was decided.")
    made: Digest = Field(description="Identity of the artifacts that the project's runs had then.")
    failures: int = Field(description="How often it failed in a row for what may pass.")
    start_time: Time = Field(description="When the Job was decided.")
    completion_time: Optional[Time] = Field(None, description="When it ended.")
    outcome: Optional[str] = Field(None, max_length=64, description="How it ended.")
    message: Optional[str] = Field(None, max_length=2048, description="What stays, what leaves and why, in words.")
    at: Optional[Time] = Field(None, description="When the storage was last looked through; what follows is of then.")
    kept: Optional[int] = Field(None, description="Artifacts that are there and stay, whoever's.")
    leaving: Optional[int] = Field(None, description="Artifacts that are announced to be removed; a pin brings back.")
    removed: Optional[int] = Field(None, description="Artifacts that were removed then.")
    bytes: Optional[int] = Field(None, description="What that freed, with checkpoints and staged files of the past.")
    again: Optional[Time] = Field(None, description="When there may be more to do by time alone.")


class TransformerProjectStatus(Told):
    """What the operator found."""

    observed_generation: Optional[int] = Field(None, description="The metadata.generation that this status is about.")
    phase: Optional[Phase] = Field(
        None,
        description="Incomplete: something needs you, see Ready. Resolving: hashing and checking. Ready: runs start.",
    )
    conditions: list[Condition] = Field(
        [], max_length=8, description="Ready and Resolved.", json_schema_extra=keyed("type")
    )
    resolution: Optional[Resolution] = Field(None, description="The Job that hashes and checks data and models.")
    datasets: list[ResolvedDataset] = Field(
        [], max_length=MAX_DATASETS, description="Data sets by digest.", json_schema_extra=keyed("name")
    )
    labels: Optional[ResolvedLabels] = Field(
        None, description="The label set of a Classification or TokenClassification."
    )
    candidates: list[ResolvedCandidate] = Field(
        [], max_length=MAX_CANDIDATES, description="Base models by digest.", json_schema_extra=keyed("name")
    )
    findings: list[FindingStatus] = Field(
        [], max_length=16, description="What a person should know.", json_schema_extra=keyed("code")
    )
    storage: Optional[StorageStatus] = Field(None, description="What is known of the storage.")
    retention: Optional[RetentionStatus] = Field(
        None, description="What spec.storage.retention came to. It says nothing about whether the project is Ready."
    )

    @field_validator("phase", mode="before")
    @classmethod
    def _known(cls, word: Any) -> Any:
        """Forget a word of a later version: it is only for people, and said anew."""
        return None if isinstance(word, str) and word not in {each.value for each in Phase} else word
