"""TransformerProject: stages 1 to 3 of the workflow, and what every other kind refers to."""

from typing import Annotated, Any

from annotated_types import Len
from pydantic import Field, StringConstraints

from stagecoach.api.common import (
    BaseModel,
    Condition,
    CustomObject,
    Digest,
    Enum,
    FileUri,
    LocalSecret,
    ModelUri,
    Name,
    Optional,
    PodSettings,
    ShortText,
    StorageUri,
    Text,
    Time,
    TrackingUri,
    UriBeginning,
    cel,
    keyed,
    rules,
)

MAX_DATASETS = 12
MAX_CANDIDATES = 4
MAX_CREDENTIALS = 16
# Set to a new value, this annotation makes the project hash its data again.
REQUESTED_AT = "stagecoach.dev/requested-at"

Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Task(Enum):
    """What the model does."""

    CLASSIFICATION = "Classification"


class Architecture(Enum):
    """The transformer family."""

    DECODER = "Decoder"
    ENCODER = "Encoder"


class Split(Enum):
    """What a data set may be used for."""

    TRAIN = "Train"
    VALIDATION = "Validation"
    TEST = "Test"


class Overflow(Enum):
    """What happens to an input that is too long."""

    TRUNCATE = "Truncate"
    REJECT = "Reject"


class FindingCode(Enum):
    """What the operator can find about a project."""

    ARCHITECTURE_UNUSUAL = "ArchitectureUnusual"
    LEAKAGE = "Leakage"
    LICENSE_UNKNOWN = "LicenseUnknown"
    LONGER_THAN_CONTEXT = "LongerThanContext"
    OVERFLOW_ABOVE_ONE_PERCENT = "OverflowAboveOnePercent"


class Owner(BaseModel):
    """Who answers for the project."""

    name: ShortText = Field(description="Team or person. It is kept in every record.")
    contact: Optional[ShortText] = Field(None, description="Where to reach them: an e-mail address, a channel.")


class Labels(BaseModel):
    """The label set; its order is fixed once resolved."""

    from_dataset: Optional[Name] = Field(
        None, description="Take the labels that occur in this data set, in code point order."
    )
    values: Optional[list[Label]] = Field(
        None,
        min_length=2,
        max_length=500,
        description="The labels, in this order. A row with another label is refused.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Problem(BaseModel):
    """Stage 1: what is to be solved, and with which kind of model."""

    statement: Text = Field(description="What the model is for, in a sentence or two.")
    task: Task = Field(description="What the model does. Classification: one label for one text.")
    labels: Labels = Field(
        description="The labels, given or taken from a data set.",
        json_schema_extra=rules(
            cel(
                "has(self.fromDataset) != has(self.values)",
                "give exactly one of labels.fromDataset (a data set's name) and labels.values (the list)",
            )
        ),
    )
    architecture: Architecture = Field(
        description="The transformer family. Decoder: a causal language model that writes the label. Encoder: a model"
        " such as BERT that gets a classification head."
    )
    rationale: Optional[Text] = Field(
        None,
        description="Why this architecture. Asked for where it is unusual, as is a decoder that classifies.",
    )


class Columns(BaseModel):
    """Which columns hold what."""

    text: Column = Field("text", description="Column of the input text. Default: text.")
    label: Column = Field("label", description="Column of the label. Default: label.")


class DataSet(BaseModel):
    """A data set: where it lies and what it may be used for."""

    name: Name = Field(max_length=40, description="Name by which runs refer to it.")
    uri: FileUri = Field(
        description="A .csv, .jsonl or .parquet file: pvc://<claim>/<path> or configmap://<name>/<key> in the project's"
        " namespace, s3://<bucket>/<path> or https://<host>/<path>.",
    )
    digest: Optional[Digest] = Field(
        None, description="Pin: the content must have this digest. Default: whatever is there when it is resolved."
    )
    split: Split = Field(
        description="Train; Validation (tuning and comparison); or Test, which no run may name: it is for judging."
    )
    columns: Columns = Field(
        default_factory=Columns, description="Which columns hold text and label.", json_schema_extra={"default": {}}
    )
    provenance: Optional[Text] = Field(None, description="Where the data came from, and under which terms.")


class Data(BaseModel):
    """Stage 2: the data."""

    sets: list[DataSet] = Field(
        min_length=1, max_length=MAX_DATASETS, description="The data sets.", json_schema_extra=keyed("name")
    )


class Tokenization(BaseModel):
    """How long an input may be, and what happens to longer ones."""

    max_length: int = Field(
        ge=8, le=32768, description="Longest prompt in tokens, chat template included; the label comes on top."
    )
    overflow: Overflow = Field(
        description="Truncate cuts the row's text until the prompt fits; Reject refuses a data set with such a row."
    )


MODEL_RULES = rules(
    cel(
        "!has(self.revision) || self.uri.startsWith('hf://')",
        "revision is for a model of a hub, hf://<organization>/<name>: leave it out for a folder",
    )
)


class Model(BaseModel, json_schema_extra=MODEL_RULES):
    """A base model's place."""

    uri: ModelUri = Field(
        description="pvc://<claim>/<folder> or s3://<bucket>/<folder> with config.json, tokenizer and safetensors"
        " weights, or hf://<organization>/<name> of a model hub.",
    )
    revision: Optional[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=128)]] = (
        Field(
            None,
            description="Commit, branch or tag of a model of a hub. Runs use the commit that it stood for when the"
            " project was resolved. Default: main.",
        )
    )


class Candidate(BaseModel):
    """Stage 3: a base model that could be chosen."""

    name: Name = Field(max_length=40, description="Name by which runs refer to it.")
    model: Model = Field(description="The base model.")
    license: Optional[ShortText] = Field(None, description="SPDX identifier, such as Apache-2.0. Unknown is a finding.")
    provenance: Optional[Text] = Field(None, description="Where the model came from.")


PROMPT_RULES = rules(
    cel(
        "self == oldSelf",
        "a prompt's version cannot change, for runs and verdicts refer to it: add the prompt with the next version",
    )
)


class Prompt(BaseModel, json_schema_extra=PROMPT_RULES):
    """One version of a prompt. A version is never edited: add the next one."""

    name: Name = Field(max_length=40, description="Name of the prompt.")
    version: int = Field(ge=1, le=100000, description="Version of the prompt, counted from 1.")
    system: Optional[Annotated[str, StringConstraints(max_length=8192)]] = Field(
        None, description="The system's turn; an Encoder has none. Default: none."
    )
    template: str = Field(
        min_length=6,
        max_length=8192,
        description="The user's turn, and all that an Encoder reads; {text} stands for the row's text, and has to occur"
        " exactly once.",
        json_schema_extra=rules(
            cel(
                "self.indexOf('{text}') >= 0 && self.indexOf('{text}') == self.lastIndexOf('{text}')",
                "template must hold {text} exactly once: there the row's text is put in",
            )
        ),
    )


class PromptRef(BaseModel):
    """A version of a prompt."""

    name: Name = Field(description="Name of the prompt.")
    version: int = Field(ge=1, description="Version of the prompt.")


class Inference(BaseModel):
    """How the model is asked, in training, evaluation and serving alike."""

    prompt: PromptRef = Field(description="The prompt in force: one of spec.prompts.")


class Accepted(BaseModel):
    """A finding that somebody has looked at and accepts."""

    finding: FindingCode = Field(description="Code of the finding, as in status.findings.")
    reason: Text = Field(description="Why it is acceptable.")
    by: ShortText = Field(description="Who accepts it.")


class Storage(BaseModel):
    """Where artifacts and records are kept. They outlive the cluster."""

    uri: StorageUri = Field(
        description="pvc://<claim>/<folder> in the project's namespace, where the folder is made when it is missing, or"
        " s3://<bucket>/<folder>, where the bucket must exist.",
    )


class Credential(BaseModel):
    """What opens a place that is not in the cluster."""

    match: UriBeginning = Field(
        description="The beginning of the URIs that it is for, such as s3://lake/ or hf://. The longest match counts.",
    )
    secret: LocalSecret = Field(
        description="Secret of the project's namespace, mounted as files into the pods that read or write there; the"
        " operator never reads it. Keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,"
        " AWS_ENDPOINT_URL (s3); username and password, or token (https, tracking); token, HF_ENDPOINT (hf).",
    )


class Mlflow(BaseModel):
    """An MLflow tracking server."""

    uri: TrackingUri = Field(
        description="http:// or https://, as in MLFLOW_TRACKING_URI; the server may be in the cluster. Its Secret, if"
        " it asks for one, is that of spec.credentials.",
    )


class Tracking(BaseModel):
    """Where trainings are told beside their records."""

    mlflow: Mlflow = Field(description="An MLflow tracking server.")


class TransformerProjectSpec(BaseModel):
    """What the team decided."""

    owner: Owner = Field(description="Who answers for the project.")
    problem: Problem = Field(description="Stage 1: what is to be solved, and with which kind of model.")
    data: Data = Field(description="Stage 2: the data.")
    tokenization: Tokenization = Field(description="Stage 2: how long an input may be.")
    candidates: list[Candidate] = Field(
        min_length=1,
        max_length=MAX_CANDIDATES,
        description="Stage 3: base models to choose from.",
        json_schema_extra=keyed("name"),
    )
    selected: Optional[Name] = Field(
        None, description="Name of the chosen candidate. Required with more than one. Default: the only one."
    )
    prompts: list[Prompt] = Field(
        min_length=1,
        max_length=20,
        description="Stage 3: prompts by name and version.",
        json_schema_extra=keyed("name", "version"),
    )
    inference: Inference = Field(description="How the model is asked.")
    accepted: list[Accepted] = Field(
        [],
        max_length=16,
        description="Findings that are accepted. A finding that is not blocks the next stage. Default: none.",
        json_schema_extra=keyed("finding"),
    )
    storage: Storage = Field(description="Where artifacts and records are kept.")
    credentials: list[Credential] = Field(
        [],
        max_length=MAX_CREDENTIALS,
        description="Secrets for places that ask for them. Default: none, every place is read without.",
        json_schema_extra=keyed("match"),
    )
    tracking: Optional[Tracking] = Field(
        None,
        description="Where trainings are told beside their records: parameters, metrics by step, digests. It decides"
        " nothing about a run and fails none; a run's condition Tracked says how it went. Default: nowhere.",
    )
    pods: PodSettings = Field(
        default_factory=PodSettings,
        description="Settings of every pod of the project.",
        json_schema_extra={"default": {}},
    )


SPEC_RULES = rules(
    cel(
        "size(self.candidates) == 1 || has(self.selected)",
        "selected is required with more than one candidate: name the one that runs train by default",
    ),
    cel(
        "!has(self.selected) || self.candidates.exists(c, c.name == self.selected)",
        "selected must be the name of one of candidates",
    ),
    cel(
        "self.prompts.exists(p, p.name == self.inference.prompt.name && p.version == self.inference.prompt.version)",
        "inference.prompt must be the name and version of one of prompts",
    ),
    cel(
        "self.problem.architecture != 'Encoder' || !self.prompts.exists(p, p.name == self.inference.prompt.name &&"
        " p.version == self.inference.prompt.version && has(p.system))",
        "an Encoder reads a prompt's template alone: leave out system in the prompt in force",
    ),
    cel(
        "!has(self.problem.labels.fromDataset) ||"
        " self.data.sets.exists(s, s.name == self.problem.labels.fromDataset && s.split == 'Train')",
        "problem.labels.fromDataset must be the name of one of data.sets with split Train",
    ),
)


class Phase(Enum):
    """Where a project is, in one word."""

    INCOMPLETE = "Incomplete"
    RESOLVING = "Resolving"
    READY = "Ready"


class ResolvedDataset(BaseModel):
    """A data set as it was found."""

    name: Name = Field(description="Name in spec.data.sets.")
    digest: Digest = Field(description="Identity of its content.")
    examples: int = Field(description="Rows.")


class ResolvedCandidate(BaseModel):
    """A base model as it was found."""

    name: Name = Field(description="Name in spec.candidates.")
    model: Digest = Field(description="Identity of weights and configuration.")
    tokenizer: Digest = Field(description="Identity of tokenizer and chat template.")
    architecture: str = Field(max_length=64, description="Class of the model in transformers.")
    context: int = Field(description="Longest native context, in tokens.")
    revision: Optional[str] = Field(None, max_length=64, description="Commit of a model of a hub.")


class ResolvedLabels(BaseModel):
    """The label set as it was found."""

    count: int = Field(description="How many labels there are.")
    digest: Digest = Field(description="Identity of the ordered list.")
    first: Annotated[list[str], Len(max_length=100)] = Field(description="The first of them, in order.")


class ReportedFinding(BaseModel):
    """What the resolving Job found."""

    code: FindingCode = Field(description="What was found.")
    message: str = Field(max_length=512, description="The same in words.")


class Resolution(BaseModel):
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


class FindingStatus(BaseModel):
    """Something that a person should know before the next stage."""

    code: FindingCode = Field(description="What was found.")
    message: str = Field(max_length=1024, description="The same in words, with what to do about it.")
    accepted: bool = Field(description="Whether spec.accepted names it.")


class StorageStatus(BaseModel):
    """What is known of the storage."""

    records: bool = Field(description="It holds records: a new run is first looked up there.")


class TransformerProjectStatus(BaseModel):
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
    labels: Optional[ResolvedLabels] = Field(None, description="The label set.")
    candidates: list[ResolvedCandidate] = Field(
        [], max_length=MAX_CANDIDATES, description="Base models by digest.", json_schema_extra=keyed("name")
    )
    findings: list[FindingStatus] = Field(
        [], max_length=16, description="What a person should know.", json_schema_extra=keyed("code")
    )
    storage: Optional[StorageStatus] = Field(None, description="What is known of the storage.")


COLUMNS: list[dict[str, Any]] = [
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Task", "type": "string", "jsonPath": ".spec.problem.task"},
    {"name": "Labels", "type": "integer", "jsonPath": ".status.labels.count"},
    {"name": "Owner", "type": "string", "jsonPath": ".spec.owner.name"},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": '.status.conditions[?(@.type=="Ready")].message'},
]


class TransformerProject(CustomObject):
    """A project: the problem, its data, base models and prompts, and where its artifacts are kept."""

    spec: TransformerProjectSpec = Field(description="What the team decided.", json_schema_extra=SPEC_RULES)
    status: TransformerProjectStatus = Field(default_factory=TransformerProjectStatus, description="What was found.")

    @property
    def requested_at(self) -> str | None:
        """What the annotation that asks for another resolution says, as far as status keeps it."""
        return self.metadata.annotations.get(REQUESTED_AT, "")[:256] or None
