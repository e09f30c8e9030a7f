"""What the operator says of a FineTuneRun."""

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from stagecoach.api.candidates import PromptRef
from stagecoach.api.common import (
    Condition,
    Digest,
    Enum,
    Name,
    Optional,
    Time,
    Told,
    keyed,
)

MAX_ATTEMPTS = 10


class Phase(Enum):
    """Where a run is, in one word."""

    BLOCKED = "Blocked"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class InputDataset(Told):
    """A data set as it was when the run's inputs were fixed."""

    name: Name = Field(description="Name in the project.")
    digest: Digest = Field(description="Identity of its content.")
    revision: Optional[str] = Field(None, max_length=64, description="Commit of a data set of a hub.")


class Inputs(Told):
    """Everything that decides the result, fixed once."""

    digest: Digest = Field(description="Identity of all of it. Runs with equal inputs are trained once.")
    revision: int = Field(description="Revision of the trainer: raised when equal inputs would give another result.")
    labels: Optional[Digest] = Field(None, description="Data set that the labels are taken from, unless listed.")
    labels_revision: Optional[str] = Field(
        None, max_length=64, description="Commit of a hub's data set that the labels are taken from."
    )
    candidate: Name = Field(description="The base model's name in the project.")
    base: Digest = Field(description="Identity of the base model.")
    tokenizer: Digest = Field(description="Identity of its tokenizer and chat template.")
    base_revision: Optional[str] = Field(None, max_length=64, description="Commit of a base model of a hub.")
    train: list[InputDataset] = Field(max_length=8, description="Training data.", json_schema_extra=keyed("name"))
    validation: list[InputDataset] = Field(
        [], max_length=4, description="Validation data.", json_schema_extra=keyed("name")
    )
    source: Optional[Digest] = Field(None, description="Of an import: identity of what is imported.")
    trained_on: Optional[list[InputDataset]] = Field(
        None,
        max_length=12,
        description="Of an import: what it was trained on, as the run says. Absent: unknown.",
        json_schema_extra=keyed("name"),
    )
    prompt: PromptRef = Field(description="The prompt in force when the inputs were fixed.")
    storage: str = Field(max_length=512, description="The project's storage when the inputs were fixed.")
    image: str = Field(max_length=512, description="The trainer image of all attempts.")
    asked: Optional[Digest] = Field(
        None,
        description="Identity of how the model is asked: task, labels, base, prompt, tokenization. With the artifact"
        " and what computes the answers it makes the release that a gate judges.",
    )


class Intent(Enum):
    """What an attempt is for."""

    LOOKUP = "Lookup"
    TRAIN = "Train"


class Attempt(Told):
    """One Job. It is written here before it is made."""

    number: int = Field(description="Counted from 1.")
    intent: Intent = Field(description="Lookup: ask the storage for a record. Train: train, or import.")
    job: str = Field(max_length=63, description="Name of the Job.")
    decided: Time = Field(description="When the attempt was decided.")
    start: Optional[Time] = Field(None, description="When its pod started; nothing while it waits for a queue.")
    end: Optional[Time] = Field(None, description="When it was found to have ended.")
    outcome: Optional[str] = Field(None, max_length=64, description="How it ended.")
    counted: Optional[bool] = Field(None, description="Whether it counts against spec.retries.")
    checkpoint: Optional[int] = Field(
        None, description="Step of the newest checkpoint that was seen when its pod ended or went."
    )
    message: Optional[str] = Field(None, max_length=2048, description="How it ended, in words.")


class Progress(Told):
    """How far the training is."""

    step: int = Field(description="Steps of the optimizer so far.")
    steps: int = Field(description="Steps of the optimizer in all.")
    percent: int = Field(description="Share of the steps, 0 to 100.")
    remaining_seconds: Optional[int] = Field(None, description="Seconds to go, estimated.")
    tokens_per_second: Optional[float] = Field(None, description="Training speed, padding not counted.")
    loss: Optional[float] = Field(None, description="Training loss, last logged.")
    checkpoint: Optional[int] = Field(None, description="Step of the newest checkpoint in the storage.")
    at: Time = Field(description="When this was read.")


class Totals(Told):
    """What all attempts came to, also those that are no longer listed."""

    failures: int = Field(0, description="Attempts that count against spec.retries.")
    interruptions: int = Field(
        0, description="How often an attempt was interrupted, or its pod taken back by a queue; these do not count."
    )
    idle_interruptions: int = Field(
        0, description="Interruptions in a row of pods that ran, without a newer checkpoint; the run fails at three."
    )
    seconds: float = Field(0, description="How long training pods ran; counts against spec.maxDuration.")
    checkpoint: Optional[int] = Field(
        None,
        description="Step of the newest checkpoint that was seen when an attempt ended or had to wait again; while one"
        " trains, see progress.checkpoint. The next attempt goes on from the newest one in the storage: mostly this,"
        " or a later one that was saved and not seen.",
    )


class Artifact(Told):
    """What was trained or imported."""

    digest: Digest = Field(description="Identity of weights and configuration.")
    short: str = Field(max_length=12, description="The first 12 hex digits of the digest, for tables.")
    uri: str = Field(max_length=1024, description="Where it is.")
    bytes: int = Field(description="Size of its files.")
    type: str = Field(max_length=16, description="Adapter: to be used with its base. Model: a whole model.")


class RecordRef(Told):
    """The record of all that was done."""

    uri: str = Field(max_length=1024, description="Where the JSON is; a model card for people is beside it.")
    digest: Digest = Field(description="Identity of the JSON.")


class AdoptedFrom(Told):
    """The run that made what was adopted."""

    namespace: str = Field(max_length=63, description="Its namespace, maybe of another cluster.")
    name: str = Field(max_length=253, description="Its name. It may be gone.")
    at: Time = Field(description="When it had made it.")


class Cost(Told):
    """What the training took."""

    seconds: Optional[float] = Field(None, description="Training time.")
    cpu_hours: Optional[float] = Field(None, description="CPU time used.")
    gpu_hours: Optional[float] = Field(None, description="GPU time held.")


class FineTuneRunStatus(Told):
    """What became of the run."""

    observed_generation: Optional[int] = Field(None, description="The metadata.generation that this status is about.")
    phase: Optional[Phase] = Field(
        None,
        description="Empty: not looked at yet. Blocked: waits for something else, see Ready. Queued: its pod does not"
        " run yet. Running. Suspended: by spec.suspend. Succeeded. Failed: see Ready.",
    )
    start_time: Optional[Time] = Field(None, description="When the first attempt was decided.")
    completion_time: Optional[Time] = Field(None, description="When the run ended.")
    conditions: list[Condition] = Field(
        [],
        max_length=8,
        description="Ready, InputsResolved, Servable, Complete, Tracked; Reconciling and Stalled as kstatus has them.",
        json_schema_extra=keyed("type"),
    )
    inputs: Optional[Inputs] = Field(None, description="Everything that decides the result, fixed once.")
    attempts: Annotated[list[Attempt], Len(max_length=MAX_ATTEMPTS)] = Field(
        [], description="The Jobs of this run, the last ten of them.", json_schema_extra=keyed("number")
    )
    totals: Optional[Totals] = Field(None, description="What all attempts came to, also those no longer listed.")
    progress: Optional[Progress] = Field(None, description="How far the training is.")
    loss: Optional[float] = Field(
        None,
        description="For tables, in four digits: the training loss last logged; of a run that succeeded, evalLoss, or"
        " trainLoss where it has no validation data.",
    )
    artifact: Optional[Artifact] = Field(None, description="What was trained, imported or adopted.")
    record: Optional[RecordRef] = Field(None, description="The record of all that was done.")
    adopted_from: Optional[AdoptedFrom] = Field(
        None, description="Of an adopted artifact: the run that made it, as the record says."
    )
    train_loss: Optional[float] = Field(None, description="Mean training loss.")
    eval_loss: Optional[float] = Field(None, description="Loss on the validation data at the end.")
    cost: Optional[Cost] = Field(None, description="What the training took; nothing when it was adopted or imported.")
