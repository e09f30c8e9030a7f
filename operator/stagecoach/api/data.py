"""Stage 2 of a project: its data sets, and how long a row may be."""

from typing import Annotated

from pydantic import Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from stagecoach.api.common import (
    ODD,
    BaseModel,
    Digest,
    Enum,
    FileUri,
    HubWord,
    Name,
    Optional,
    Revision,
    Text,
    cel,
    keyed,
    rules,
)

MAX_DATASETS = 12

Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Split(Enum):
    """What a data set may be used for."""

    TRAIN = "Train"
    VALIDATION = "Validation"
    TEST = "Test"
    ADVERSARIAL = "Adversarial"
    CANARY = "Canary"
    BENCHMARK = "Benchmark"


# What a model is judged by, so that no run may learn from it.
JUDGING = (Split.TEST, Split.ADVERSARIAL, Split.CANARY, Split.BENCHMARK)


NOT_HIERARCHICAL = (
    "there is no hierarchical overflow: a second-level encoder over the chunks is a model class of its own, which no"
    " serving engine loads without remote code. For long texts set overflow Chunk, and tokenization.chunk"
)


class Overflow(Enum):
    """What happens to an input that is too long.

    In the definitions it is a text with rules: the schema's own enum could say of what is missing on purpose only that
    it is not supported.
    """

    TRUNCATE = "Truncate"
    REJECT = "Reject"
    CHUNK = "Chunk"

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        document = super().__get_pydantic_json_schema__(core_schema, handler)
        words = [item.value for item in cls]
        told = rules(
            cel(f"self in {words}", f"must be {', '.join(words[:-1])} or {words[-1]}"),
            cel("self != 'Hierarchical'", NOT_HIERARCHICAL),
        )
        return {key: value for key, value in document.items() if key != "enum"} | {"maxLength": ODD} | told


class Combine(Enum):
    """How the probabilities of a label in the chunks of a text become one."""

    MEAN = "Mean"
    MAX = "Max"


COLUMN_RULES = rules(
    cel(
        "[has(self.label) || (has(self.text) && !has(self.spans)), has(self.tokens) || has(self.tags), has(self.spans),"
        " has(self.input) || has(self.target),"
        " has(self.prompt) || has(self.completion), has(self.messages),"
        " has(self.query) || has(self.positive) || has(self.negative)].filter(given, given).size() <= 1",
        "give columns of one kind: text and label, or input and target, or prompt and completion, or messages, or"
        " tokens and tags, or text and spans, or query and positive",
    )
)


class Columns(BaseModel, json_schema_extra=COLUMN_RULES):
    """Which columns hold what."""

    text: Optional[Column] = Field(
        None, description="Column of the text to classify, or in which spans are. Default: text."
    )
    label: Optional[Column] = Field(None, description="Column of its label. Default: label.")
    input: Optional[Column] = Field(
        None, description="Column of the text that is read, for a task that writes. Default: input."
    )
    target: Optional[Column] = Field(None, description="Column of the text to write. Default: target.")
    prompt: Optional[Column] = Field(None, description="As input, by the other usual name. Default: prompt.")
    completion: Optional[Column] = Field(
        None, description="As target, by the other usual name; goes with prompt. Default: completion."
    )
    messages: Optional[Column] = Field(
        None,
        description="Column of conversations, in a .jsonl or .parquet file: lists of {role, content}. The last turn, of"
        " the assistant, is what is learned, and the turns before it are the prompt.",
    )
    tokens: Optional[Column] = Field(
        None,
        description="Column of the words of a TokenClassification, in a .jsonl or .parquet file: lists of strings."
        " Default: tokens.",
    )
    tags: Optional[Column] = Field(
        None,
        description="Column of their tags: lists of as many strings, such as B-person, I-person, O. Default: tags.",
    )
    spans: Optional[Column] = Field(
        None,
        description="Column of what is marked in the text of a TokenClassification, in a .jsonl or .parquet file: lists"
        " of {start, end, label}, in Unicode characters from 0, the end exclusive. Goes with text. Default: spans.",
    )
    query: Optional[Column] = Field(None, description="Column of what is asked, for an Embedding. Default: query.")
    positive: Optional[Column] = Field(
        None, description="Column of a passage that answers it and is to be found. Default: positive."
    )
    negative: Optional[Column] = Field(
        None,
        description="Column of a passage that is like an answer and is none. Default: none, the positives of other rows"
        " of the batch are the negatives.",
    )


WHOLE = "^hf://datasets/[^/]+/[^/]+$"
HUB_RULES = rules(
    cel(
        "!has(self.hub) || self.uri.startsWith('hf://')",
        "hub is for data of a hub, hf://datasets/<organization>/<name>: leave it out for other places",
    ),
    cel(
        f"!self.uri.matches('{WHOLE}') || has(self.hub) && has(self.hub.split)",
        "a whole data set of a hub has splits: name one by hub.split, such as train, or name a file in the URI",
    ),
    cel(
        f"self.uri.matches('{WHOLE}') || !has(self.hub) || !has(self.hub.config) && !has(self.hub.split)",
        "hub.config and hub.split choose from a whole data set of a hub: leave them out for a file",
    ),
    cel(
        "self.split != 'Benchmark' || ![has(self.columns.text), has(self.columns.label), has(self.columns.input),"
        " has(self.columns.target), has(self.columns.prompt), has(self.columns.completion), has(self.columns.messages),"
        " has(self.columns.tokens), has(self.columns.tags), has(self.columns.spans), has(self.columns.query),"
        " has(self.columns.positive), has(self.columns.negative)].exists(given, given)",
        "documents of a benchmark are read whole, by the task that a gate names: leave out columns",
    ),
)


class HubData(BaseModel):
    """What is to be taken of a hub's data set."""

    config: Optional[HubWord] = Field(
        None,
        description="Config of a whole data set, by the name in its card. Default: the default one, or the only one.",
    )
    split: Optional[HubWord] = Field(
        None,
        description="Split of a whole data set, as the hub calls it, such as train or validation. It says nothing of"
        " what the rows may be used for: that is the split beside hub.",
    )
    revision: Optional[Revision] = Field(
        None,
        description="Commit, branch or tag, such as main or refs/convert/parquet. Runs use the commit that it stood for"
        " when the project was resolved. Default: main.",
    )


class DataSet(BaseModel, json_schema_extra=HUB_RULES):
    """A data set: where it lies and what it may be used for."""

    name: Name = Field(description="Name by which runs refer to it.")
    uri: FileUri = Field(
        description="A .csv, .jsonl or .parquet file: pvc://<claim>/<path> or configmap://<name>/<key> in the project's"
        " namespace, s3://<bucket>/<path>, gs://<bucket>/<path>, https://<host>/<path>, or in a hub"
        " hf://datasets/<organization>/<name>/<path>; or a whole data set of a hub, hf://datasets/<organization>/<name>.",
    )
    hub: Optional[HubData] = Field(
        None, description="What is to be taken of a hub's data set. Default: its branch main."
    )
    digest: Optional[Digest] = Field(
        None, description="Pin: the content must have this digest. Default: whatever is there when it is resolved."
    )
    split: Split = Field(
        description="Train; Validation (tuning and comparison); or what no run may name, for it is judged by it: Test"
        " (rows like those of production), Adversarial (rows that are meant to be hard), Canary (a few rows that people"
        " know by heart), Benchmark (documents of a task of lm-evaluation-harness, which an EvalGate names)."
    )
    columns: Columns = Field(
        default_factory=Columns,
        description="Which columns hold what: text and label for Classification; tokens and tags, or text and spans,"
        " for TokenClassification; query and positive for Embedding; for other tasks input and target, prompt and"
        " completion, or messages. Default: text and label, tokens and tags, query and positive, or input and target.",
        json_schema_extra={"default": {}},
    )
    provenance: Optional[Text] = Field(
        None,
        description="Where the data came from, and under which terms: for people who read the object. Nothing computes"
        " with it, and no record or card has it.",
    )


class Data(BaseModel):
    """Stage 2: the data."""

    sets: list[DataSet] = Field(
        min_length=1, max_length=MAX_DATASETS, description="The data sets.", json_schema_extra=keyed("name")
    )


class Chunk(BaseModel):
    """How a text that is too long is cut into chunks."""

    stride: int = Field(
        ge=0,
        le=16384,
        description="Tokens of the text that a chunk has in common with the one before, as in Hugging Face's"
        " tokenizers; not how far it is from one to the next. At most half of the tokens that the prompt leaves for the"
        " text, so that no token is in more than two chunks.",
    )
    combine: Optional[Combine] = Field(
        None,
        description="How a text gets its label from its chunks, for Classification: by the Mean of the probabilities"
        " that they give each label, or by the Max, for what a single chunk shows. The tag of a token comes from one"
        " chunk alone. Default: Mean.",
    )


TOKENIZATION_RULES = rules(
    cel(
        "has(self.chunk) == (self.overflow == 'Chunk')",
        "tokenization.chunk says how chunks are cut: give it, with a stride, for overflow Chunk, and leave it out for"
        " any other",
    ),
    cel(
        "!has(self.chunk) || self.chunk.stride <= self.maxLength / 2",
        "tokenization.chunk.stride may be at most half of maxLength: lower it, or raise maxLength",
    ),
)


class Tokenization(BaseModel, json_schema_extra=TOKENIZATION_RULES):
    """How long an input may be, and what happens to longer ones."""

    max_length: int = Field(
        ge=8, le=32768, description="Longest prompt in tokens, chat template included; what is written comes on top."
    )
    max_target_length: Optional[int] = Field(
        None,
        ge=1,
        le=32768,
        description="Longest target in tokens, its end included, for tasks that write texts. A longer one refuses the"
        " data set, whatever overflow says: a target is never cut. Default: as maxLength.",
    )
    overflow: Overflow = Field(
        description="Truncate cuts the row's text until the prompt fits, and leaves out a conversation's oldest turns"
        " before that; Reject refuses a data set with such a row; Chunk, for an Encoder that classifies texts or"
        " tokens, reads a longer text as several chunks with the prompt around each."
    )
    chunk: Optional[Chunk] = Field(None, description="How chunks are cut, with overflow Chunk and with no other.")
