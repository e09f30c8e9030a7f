"""What a run did, kept in the project's storage beside its artifact: it outlives the cluster."""

from typing import Literal

from pydantic import Field

from stagecoach.contract.digests import Digest, FileEntry
from stagecoach.contract.inputs import Decided, ImportInputs, RunInputs
from stagecoach.contract.jobs import HubPart, Owner, Split, Subject
from stagecoach.contract.layout import RECORD
from stagecoach.contract.model import ContractModel
from stagecoach.contract.reports import ArtifactReport, Maker, TrackingReport


class BaseRecord(ContractModel):
    """The checkpoint that was tuned."""

    name: str
    uri: str
    revision: str | None = Field(None, description="Commit of a hub's model.")
    license: str | None = Field(None, description="As the project says; nothing when it does not.")
    model: Digest
    tokenizer: Digest
    architecture: str
    context: int = Field(description="Longest native context in tokens.")
    pooling: Literal["mean", "cls"] | None = Field(
        None, description="Of an Embedding: how the tokens' vectors become one, which is then made of length 1."
    )


class KnownData(ContractModel):
    """A data set of the project, by its name, place and content."""

    name: str
    uri: str
    revision: str | None = Field(None, description="Commit of a hub's data set.")
    hub: HubPart | None = Field(None, description="Part of a hub's data set; nothing for one file.")
    split: Split
    digest: Digest


class DataRecord(KnownData):
    """A data set that was used."""

    examples: int = Field(description="Rows.")
    truncated: int = Field(description="Rows whose text was cut to fit.")
    chunked: int | None = Field(None, description="Rows that were read in chunks; nothing where none would have been.")
    chunks: int | None = Field(None, description="Examples that came of these rows.")


class LossPoint(ContractModel):
    """The training loss at a step: the mean since the point before."""

    step: int
    loss: float
    learning_rate: float


class EvalPoint(ContractModel):
    """The loss on the validation sets at the end of an epoch."""

    step: int
    epoch: float
    loss: float


class Stretch(ContractModel):
    """The part of a training that one attempt did; what it did after its last checkpoint is lost, and not counted."""

    attempt: int
    first_step: int = Field(description="Step of the checkpoint that it went on from; 0 when it began.")
    last_step: int
    seconds: float


class Quantization(ContractModel):
    """How the base's weights were held while an adapter was trained."""

    type: str = Field(description="The number format of the weights, such as nf4.")
    double: bool = Field(description="Whether the scales of the weights were quantized too.")
    block: int = Field(description="Numbers that have a scale in common.")
    storage: str = Field(description="The number format in which they lay in memory, packed.")
    compute: str = Field(description="The number format in which was computed with them.")
    library: str = Field(description="What quantized them, with its version.")
    layers: int = Field(description="Linear layers that were quantized.")
    parameters: int = Field(description="Numbers in their weights.")
    statement: str = Field(description="Of which base the losses are, and for which base the adapter is.")


class TrainingRecord(ContractModel):
    """How the training went. What was asked for is in `inputs`; here is what came of it."""

    steps: int
    epochs: float
    effective_batch_size: int = Field(
        description="Rows, or chunks of rows, in one step of the optimizer, over all processes."
    )
    weighting: str | None = Field(None, description="Where rows are read in chunks: what each counts, in words.")
    processes: int | None = Field(None, description="Processes that trained together; nothing when it was one.")
    data_order: str | None = Field(None, description="With several processes: which rows each of them got, in words.")
    sharding: str | None = Field(None, description="Where each of them held a part of the model: of what, in words.")
    warmup_steps: int
    precision: str = Field(description="float32 or bfloat16.")
    quantization: Quantization | None = Field(None, description="Of a base that was quantized for the training.")
    target_modules: tuple[str, ...] = Field(description="The module names that got an adapter, sorted.")
    adapted_layers: int = Field(description="Number of modules that got an adapter.")
    whole_modules: tuple[str, ...] | None = Field(
        None, description="Modules that were trained whole beside the adapter, such as an encoder's new head."
    )
    frozen: str = Field(description="What was not trained, in words.")
    trainable_parameters: int
    total_parameters: int
    trainable_share: float = Field(description="Between 0 and 1.")
    losses: tuple[LossPoint, ...]
    evaluations: tuple[EvalPoint, ...]
    train_loss: float = Field(description="Mean over all steps.")
    eval_loss: float | None = Field(None, description="Of the model that was published.")
    best_step: int | None = Field(None, description="The step whose model was published, if it was chosen.")
    stretches: tuple[Stretch, ...] = Field((), description="By attempt; more than one when it was interrupted.")
    seconds: float = Field(description="Of all stretches; likewise tokens, CPU and GPU hours.")
    tokens: int = Field(description="Tokens that went through training, padding not counted.")
    tokens_per_second: float
    cpu_hours: float
    gpu_hours: float
    peak_memory_bytes: int = Field(description="Largest resident set of the training process.")
    peak_gpu_memory_bytes: int | None = None


class Hardware(ContractModel):
    """What it ran on."""

    cpu: str
    threads: int
    memory_bytes: int
    nodes: int | None = Field(None, description="Pods; nothing when it was one. All of them ask for the same.")
    gpu: str | None = None
    gpu_memory_bytes: int | None = None


class Software(ContractModel):
    """What it ran with."""

    image: str
    python: str
    platform: str
    packages: dict[str, str]


class Determinism(ContractModel):
    """Whether the same inputs give the same bytes."""

    deterministic: bool
    statement: str
    exceptions: tuple[str, ...] = Field((), description="Operations that have no deterministic form, as torch warns.")


class ArtifactRecord(ContractModel):
    """What was published."""

    digest: Digest
    path: str = Field(description="Folder relative to the storage's root.")
    type: Literal["Adapter", "Model"] = "Adapter"
    bytes: int
    files: tuple[FileEntry, ...]


class ProfileRecord(ContractModel):
    """Where the profile of the training texts is: their lengths and vocabulary, for comparison with what is served."""

    path: str = Field(description="File relative to the storage's root; what it holds is in contract/profiles.py.")
    digest: Digest = Field(description="Digest of the file's content.")


class AnyRecord(ContractModel):
    """What the record of any run says, whether it was a training or an import."""

    schema_version: Literal[1] = 1
    inputs_digest: Digest
    inputs: Decided
    project: str
    project_uid: str | None = Field(None, description="None in a record of before retention: it keeps its artifact.")
    owner: Owner
    subject: Subject
    attempt: int
    started: str = Field(description="RFC 3339 time, UTC.")
    finished: str
    base: BaseRecord
    labels: tuple[str, ...] = Field(description="Empty for a task without labels.")
    software: Software
    artifact: ArtifactRecord

    @property
    def maker(self) -> Maker:
        """The run that made the artifact."""
        return Maker(namespace=self.subject.namespace, name=self.subject.name, at=self.finished)


class Record(AnyRecord):
    """The record of a training."""

    inputs: RunInputs
    data: tuple[DataRecord, ...]
    training: TrainingRecord
    hardware: Hardware
    determinism: Determinism
    profile: ProfileRecord | None = Field(None, description="None in a record of before there were profiles.")
    tracking: TrackingReport | None = Field(
        None, description="What a tracking server had of it just before this record was written."
    )

    @property
    def method(self) -> str:
        """The method whose result the artifact is."""
        return self.inputs.method.type

    @property
    def precision(self) -> str:
        """The number format in which base and artifact belong together."""
        return self.training.precision

    def report(self, digest: str, name: str = RECORD, *, adopted: bool) -> ArtifactReport:
        """Return what a Job reports of this record, whose content has the given digest, and whose file this name."""
        training = self.training
        return ArtifactReport(
            digest=self.artifact.digest,
            bytes=self.artifact.bytes,
            type=self.artifact.type,
            record=digest,
            record_name=name,
            adopted=adopted,
            maker=self.maker if adopted else None,
            train_loss=training.train_loss,
            eval_loss=training.eval_loss,
            seconds=training.seconds,
            cpu_hours=training.cpu_hours,
            gpu_hours=training.gpu_hours,
            tracking=None if adopted else self.tracking,
        )


class Imported(ContractModel):
    """Where an adapter or a model comes from that was made elsewhere, and what it turned out to be."""

    uri: str
    revision: str | None = Field(None, description="Commit of a hub's model.")
    source: Digest = Field(description="Identity of what lay there; the artifact is the same in canonical form.")
    method: str = Field(description="The method whose result it is, such as LoRA; Full is a whole model.")
    target_modules: tuple[str, ...] = Field(description="The modules with an adapter, as its configuration names them.")
    whole_modules: tuple[str, ...] | None = Field(None, description="Modules that it brings whole beside the adapter.")
    parameters: int = Field(description="Numbers in its weights.")
    precision: str = Field(description="float32, bfloat16 or float16: as its weights are.")
    trained_on: tuple[KnownData, ...] | Literal["Unknown"] = Field(
        description="The project's data sets that it was trained on, as the run says, not read for the import; Unknown"
        " when it does not say."
    )


class ImportRecord(AnyRecord):
    """The record of an import: there was no training that it could tell of."""

    inputs: ImportInputs
    imported: Imported

    @property
    def method(self) -> str:
        """The method whose result the artifact is."""
        return self.imported.method

    @property
    def precision(self) -> str:
        """The number format in which base and artifact belong together."""
        return self.imported.precision

    def report(self, digest: str, name: str = RECORD, *, adopted: bool) -> ArtifactReport:
        """Return what a Job reports of this record, whose content has the given digest, and whose file this name."""
        return ArtifactReport(
            digest=self.artifact.digest,
            bytes=self.artifact.bytes,
            type=self.artifact.type,
            method=self.imported.method,
            record=digest,
            record_name=name,
            adopted=adopted,
            maker=self.maker if adopted else None,
        )


RunRecord = Record | ImportRecord
