"""TransformerProject: stages 1 to 3 of the workflow, and what every other kind refers to."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from stagecoach.api.candidates import MAX_CANDIDATES, Candidate, Inference, Prompt
from stagecoach.api.common import (
    BaseModel,
    CustomObject,
    Digest,
    LocalSecret,
    Matches,
    Name,
    Optional,
    ShortText,
    StorageUri,
    Text,
    TrackingUri,
    UriBeginning,
    cel,
    keyed,
    rules,
)
from stagecoach.api.data import Data, Tokenization
from stagecoach.api.pods import PodSettings
from stagecoach.api.problem import Problem
from stagecoach.api.resolved import FindingCode, TransformerProjectStatus

MAX_CREDENTIALS = 16
# Set to a new value, this annotation makes the project hash its data again.
REQUESTED_AT = "stagecoach.dev/requested-at"


class Owner(BaseModel):
    """Who answers for the project."""

    name: ShortText = Field(description="Team or person. It is kept in every record.")
    contact: Optional[ShortText] = Field(None, description="Where to reach them: an e-mail address, a channel.")


class Accepted(BaseModel):
    """A finding that somebody has looked at and accepts."""

    finding: FindingCode = Field(description="Code of the finding, as in status.findings.")
    reason: Text = Field(description="Why it is acceptable.")
    by: ShortText = Field(description="Who accepts it.")


class Pin(BaseModel):
    """Something that retention leaves alone."""

    digest: Digest = Field(description="Of an artifact, or of the inputs of a run, which stands for its artifacts.")
    reason: ShortText = Field(description="Why it is kept, such as where it is served.")


class Retention(BaseModel):
    """Which artifacts may be removed. It is destructive, so nothing of it is there by default."""

    runs: int = Field(
        ge=1, le=1000, description="How many of the project's newest records keep their artifacts, whatever their age."
    )
    keep_for: Annotated[
        str,
        StringConstraints(max_length=4),
        Matches("^[1-9][0-9]{0,2}d$", "must be a number of days such as 30d, and at least 1d"),
    ] = Field("30d", description="An artifact that was made or adopted in this time stays as well. Default: 30d.")
    pinned: list[Pin] = Field(
        [],
        max_length=100,
        description="What stays although no FineTuneRun has it any more. Default: none.",
        json_schema_extra=keyed("digest"),
    )


class Storage(BaseModel):
    """Where artifacts and records are kept. They outlive the cluster."""

    uri: StorageUri = Field(
        description="pvc://<claim>/<folder> in the project's namespace, where the folder is made when it is missing;"
        " s3://<bucket>/<folder> or gs://<bucket>/<folder>, where the bucket must exist.",
    )
    retention: Optional[Retention] = Field(
        None,
        description="What may be removed there: artifacts of this project's own runs that no object of the cluster"
        " names, each after a notice. Records stay. Default: nothing is ever removed.",
    )


class Credential(BaseModel):
    """What opens a place that is not in the cluster."""

    match: UriBeginning = Field(
        description="The beginning of the URIs that it is for, such as s3://lake/, gs:// or hf://; one on https:// or http://"
        " is that of a data set or of tracking. The longest match counts.",
    )
    secret: LocalSecret = Field(
        description="Secret of the project's namespace, mounted as files into the pods that read or write there; the"
        " operator never reads it. Keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,"
        " AWS_ENDPOINT_URL (s3); GOOGLE_APPLICATION_CREDENTIALS_JSON, GCS_ENDPOINT_URL (gs);"
        " username and password, or token (https, tracking); token, HF_ENDPOINT (hf).",
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
        description="Secrets for places that ask for them. Default: none. Then every place is read without, and"
        " gs:// with the identity that the pod has of its ServiceAccount, or on some clusters of its node.",
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


TAGGING_RULES = (
    cel(
        "self.problem.task == 'TokenClassification' ||"
        " !self.data.sets.exists(s, has(s.columns.tokens) || has(s.columns.tags) || has(s.columns.spans))",
        "columns.tokens, columns.tags and columns.spans are for TokenClassification: set this task, or name the columns"
        " of yours",
    ),
    cel(
        "self.problem.task != 'TokenClassification' || self.data.sets.all(s, !has(s.columns.label) &&"
        " !has(s.columns.input) && !has(s.columns.target) && !has(s.columns.prompt) && !has(s.columns.completion) &&"
        " !has(s.columns.messages))",
        "a TokenClassification learns tags of words, or spans of texts: name columns.tokens and columns.tags, or"
        " columns.text and columns.spans",
    ),
    cel(
        "self.problem.task != 'TokenClassification' || self.data.sets.all(s, s.split == 'Benchmark' ||"
        " has(s.columns.text) || has(s.columns.spans)) ||"
        " !self.data.sets.exists(s, has(s.columns.text) || has(s.columns.spans))",
        "words and spans are learned in two ways: name columns.tokens and columns.tags in all data sets of the project,"
        " or columns.text and columns.spans in all",
    ),
)

EMBEDDING_RULES = (
    cel(
        "self.problem.task == 'Embedding' || !self.data.sets.exists(s, has(s.columns.query) || has(s.columns.positive)"
        " || has(s.columns.negative))",
        "columns.query, columns.positive and columns.negative are for Embedding: set this task, or name the columns of"
        " yours",
    ),
    cel(
        "self.problem.task != 'Embedding' || self.data.sets.all(s, !has(s.columns.text) && !has(s.columns.label)"
        " && !has(s.columns.input) && !has(s.columns.target) && !has(s.columns.prompt) && !has(s.columns.completion)"
        " && !has(s.columns.messages))",
        "an Embedding learns from queries and passages: name columns.query and columns.positive",
    ),
    cel(
        "self.problem.task == 'Embedding' || !self.prompts.exists(p, p.name == self.inference.prompt.name &&"
        " p.version == self.inference.prompt.version && has(p.passageTemplate))",
        "passageTemplate is for the passages of an Embedding: leave it out in the prompt in force",
    ),
)

CHUNK_RULES = (
    cel(
        "self.tokenization.overflow != 'Chunk' || self.problem.task in ['Classification', 'TokenClassification']",
        "overflow Chunk is for Classification and TokenClassification, where chunks have the label or tags of their"
        " text: set overflow Truncate or Reject, or raise maxLength",
    ),
    cel(
        "self.tokenization.overflow != 'Chunk' || self.problem.architecture != 'Decoder'",
        "overflow Chunk is for an Encoder: a Decoder writes a label, and gives no probabilities to combine over"
        " chunks; set architecture Encoder, or overflow Truncate or Reject",
    ),
    cel(
        "self.problem.task != 'TokenClassification' || !has(self.tokenization.chunk) ||"
        " !has(self.tokenization.chunk.combine)",
        "tokenization.chunk.combine is for Classification: the tag of a token comes from one chunk, so leave it out",
    ),
)

# What contract/access.py calls opening, of a credential `c`.
_BEGINNING = "(c.match.endsWith('/') ? c.match : c.match + '/')"
# Only data sets and the tracking server are asked over HTTP, and both are in the spec.
CREDENTIAL_RULE = cel(
    "self.credentials.all(c, !c.match.startsWith('http') ||"
    f" self.data.sets.exists(s, (s.uri + '/').startsWith({_BEGINNING})) ||"
    f" (has(self.tracking) && (self.tracking.mlflow.uri + '/').startsWith({_BEGINNING})))",
    "credentials[].match on https:// or http:// must be the beginning of a data set's uri or of tracking.mlflow.uri, in"
    " whole segments: nothing else is asked with it. Correct it, set tracking, or leave it out",
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
        "self.problem.architecture == 'Decoder' || !self.prompts.exists(p, p.name == self.inference.prompt.name &&"
        " p.version == self.inference.prompt.version && has(p.system))",
        "an Encoder or EncoderDecoder reads a prompt's template alone: leave out system in the prompt in force",
    ),
    cel(
        "!has(self.problem.labels) || !has(self.problem.labels.fromDataset) ||"
        " self.data.sets.exists(s, s.name == self.problem.labels.fromDataset && s.split == 'Train')",
        "problem.labels.fromDataset must be the name of one of data.sets with split Train",
    ),
    cel(
        "self.problem.task in ['Classification', 'TokenClassification', 'Embedding'] ||"
        " !self.data.sets.exists(s, has(s.columns.text) || has(s.columns.label))",
        "columns.text and columns.label are for Classification: name input and target, prompt and completion, or"
        " messages",
    ),
    cel(
        "self.problem.task != 'Classification' || self.data.sets.all(s, !has(s.columns.input) && !has(s.columns.target)"
        " && !has(s.columns.prompt) && !has(s.columns.completion) && !has(s.columns.messages))",
        "a Classification learns labels: name columns.text and columns.label, or set a task that writes texts",
    ),
    *TAGGING_RULES,
    *EMBEDDING_RULES,
    *CHUNK_RULES,
    CREDENTIAL_RULE,
    cel(
        "!(self.problem.task in ['Classification', 'TokenClassification', 'Embedding']) ||"
        " !has(self.tokenization.maxTargetLength)",
        "tokenization.maxTargetLength is for tasks that write texts: leave it out",
    ),
    cel(
        "self.problem.architecture != 'EncoderDecoder' || !self.data.sets.exists(s, has(s.columns.messages))",
        "an EncoderDecoder reads one text and knows no turns: name columns.input and columns.target",
    ),
    cel(
        "!self.data.sets.exists(s, has(s.columns.messages)) || self.prompts.exists(p, p.template == '{text}' &&"
        " p.name == self.inference.prompt.name && p.version == self.inference.prompt.version)",
        "a conversation in columns.messages has its own turns: let the template of the prompt in force be {text}, and"
        " write instructions into its system turn",
    ),
)


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
