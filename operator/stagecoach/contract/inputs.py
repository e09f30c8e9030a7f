"""Everything that decides the result of a fine-tuning run, and its digest."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from stagecoach.contract.digests import Digest, digest_of_document
from stagecoach.contract.model import ContractModel

# Raised only when the trainer, given the same inputs, would produce another result.
TRAINER_REVISION = 1
# The task whose models choose a tag for each token.
TAGGING = "TokenClassification"
# The task whose models make vectors of texts.
EMBEDDING = "Embedding"
# A module of a model, or the last parts of its name: never a pattern.
MODULE_PATTERN = r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+){0,8}$"
MAX_MODULE = 128
ModuleName = Annotated[str, StringConstraints(pattern=MODULE_PATTERN, max_length=MAX_MODULE)]


class Overflow(StrEnum):
    """What happens to an input that is longer than `maxLength` tokens."""

    TRUNCATE = "Truncate"
    REJECT = "Reject"
    CHUNK = "Chunk"


class Combine(StrEnum):
    """How the probabilities of a label in the chunks of a text become one."""

    MEAN = "Mean"
    MAX = "Max"


class Columns(ContractModel):
    """Which columns of a file hold what."""

    text: str = "text"
    label: str = "label"


class PairColumns(ContractModel):
    """Which columns of a file hold what is read and what is to be written."""

    input: str
    target: str


class CompletionColumns(ContractModel):
    """The same by the other usual names."""

    prompt: str
    completion: str


class MessagesColumns(ContractModel):
    """Which column of a file holds conversations, whose last turn is to be written."""

    messages: str


class WordColumns(ContractModel):
    """Which columns of a file hold lists of words, and lists of as many tags."""

    tokens: str
    tags: str


class SpanColumns(ContractModel):
    """Which columns of a file hold texts, and lists of what is marked in them."""

    text: str
    spans: str


class MatchColumns(ContractModel):
    """Which columns of a file hold queries, the passages that answer them, and passages that do not."""

    query: str
    positive: str
    negative: str | None = Field(None, description="None: the positives of other rows are all the negatives there are.")


class TaskDocuments(ContractModel):
    """That a file holds documents of a benchmark, which are read whole: its task says what is in them."""

    documents: Literal["Whole"] = "Whole"
    task: str | None = Field(None, description="The task of lm-evaluation-harness that a suite is. None: any.")
    lm_eval: str | None = Field(None, description="The version whose task that is.")


# What a document holds of them tells which it is: none has the keys of another.
AnyColumns = (
    Columns
    | PairColumns
    | CompletionColumns
    | MessagesColumns
    | WordColumns
    | SpanColumns
    | MatchColumns
    | TaskDocuments
)


class DataInput(ContractModel):
    """A data set by its content: neither its name nor its place decides a result."""

    digest: Digest
    columns: AnyColumns


class BaseInput(ContractModel):
    """The base model by its content."""

    model: Digest
    tokenizer: Digest


class LabelsInput(ContractModel):
    """The labels in their fixed order: given, or those of a data set in code point order."""

    values: tuple[str, ...] | None = None
    from_data: Digest | None = None


class Prompt(ContractModel):
    """How a row becomes a conversation."""

    system: str | None = None
    template: str = Field(description="The user's turn; `{text}` stands for the row's text.")
    passage_template: str | None = Field(None, description="The same of a passage of an Embedding. None: `{text}`.")


class Chunk(ContractModel):
    """How a text that is too long is cut into chunks."""

    stride: int = Field(ge=0, description="Tokens that a chunk has in common with the one before.")
    combine: Combine | None = Field(None, description="Of a Classification. None: a tag is of one chunk alone.")


class Tokenization(ContractModel):
    """How long an input may be, and a target."""

    max_length: int = Field(ge=8, description="Tokens of the whole rendered prompt, chat template included.")
    max_target_length: int | None = Field(
        None, ge=1, description="Tokens of a target, its end included; None where labels are written."
    )
    overflow: Overflow
    chunk: Chunk | None = Field(None, description="With the overflow of this name only.")

    @model_validator(mode="after")
    def _chunk_goes_with_its_overflow(self) -> Self:
        if (self.chunk is not None) != (self.overflow is Overflow.CHUNK):
            raise ValueError("chunk goes with the overflow Chunk, and with no other")
        return self


class Family(StrEnum):
    """The transformer family of a base model."""

    DECODER = "Decoder"
    ENCODER = "Encoder"
    ENCODER_DECODER = "EncoderDecoder"


# As documents tell it: they are older than the choice, and say nothing of a decoder.
Architecture = Literal[Family.ENCODER, Family.ENCODER_DECODER]


class _LowRank(ContractModel):
    """What all kinds of low-rank adaptation have in common."""

    rank: int
    alpha: int
    dropout: float
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        description="Module name suffixes, or every linear layer but the output head."
    )


class LoraMethod(_LowRank):
    """Low-rank adaptation (Hu et al. 2021), all base weights frozen; RsLoRA scales, and DoRA splits, otherwise."""

    type: Literal["LoRA", "RsLoRA", "DoRA"] = "LoRA"


class QloraMethod(_LowRank):
    """LoRA beside weights that are quantized to 4 bits for the training (Dettmers et al. 2023).

    How they are quantized is the trainer's: NF4, and the scales once more. It is no LoraMethod, so that a family that
    does not know of it refuses it.
    """

    type: Literal["QLoRA"] = "QLoRA"


LowRankMethod = LoraMethod | QloraMethod


class Ia3Method(ContractModel):
    """Learned factors of activations (Liu et al. 2022), all base weights frozen."""

    type: Literal["IA3"] = "IA3"
    target_modules: tuple[str, ...] | None = Field(None, description="None: those that PEFT knows for the base.")
    feedforward_modules: tuple[str, ...] | None = Field(
        None, description="Those of the target modules whose input is scaled instead of the output."
    )


class PrefixTuningMethod(ContractModel):
    """Learned keys and values before those of the input, in every layer (Li and Liang 2021)."""

    type: Literal["PrefixTuning"] = "PrefixTuning"
    virtual_tokens: int


class PromptTuningMethod(ContractModel):
    """Learned embeddings before those of the input (Lester et al. 2021)."""

    type: Literal["PromptTuning"] = "PromptTuning"
    virtual_tokens: int
    init_text: str | None = Field(None, description="None: tokens of the vocabulary, drawn by the seed.")


class PTuningMethod(ContractModel):
    """Learned embeddings before those of the input, made by a small network in training (Liu et al. 2021)."""

    type: Literal["PTuning"] = "PTuning"
    virtual_tokens: int
    encoder_hidden_size: int


class Freeze(ContractModel):
    """What stays as it is while the rest of a model is trained."""

    embeddings: bool
    layers: int = Field(ge=0, description="Counted from the input.")


class FullMethod(ContractModel):
    """All weights are trained, but for those that are frozen."""

    type: Literal["Full"] = "Full"
    freeze: Freeze | None = None


AdapterMethod = LoraMethod | QloraMethod | Ia3Method | PrefixTuningMethod | PromptTuningMethod | PTuningMethod
Method = Annotated[AdapterMethod | FullMethod, Field(discriminator="type")]


# Methods that train a model of which each process holds a part.
SHARDABLE = ("Full", "LoRA", "RsLoRA")


class Hyperparameters(ContractModel):
    """The optimizer's settings; names as in transformers' TrainingArguments."""

    learning_rate: float
    learning_rate_schedule: str
    per_device_batch_size: int
    gradient_accumulation_steps: int
    epochs: int | None = None
    max_steps: int | None = None
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    optimizer: str
    precision: str
    seed: int
    gradient_checkpointing: Literal[True] | None = None
    class_weights: Literal["balanced"] | None = None


class OfTask(ContractModel):
    """What a model is for, and what follows from that."""

    task: str
    architecture: Architecture | None = Field(None, description="None is a decoder, all there once was.")

    @property
    def family(self) -> Family:
        """The transformer family of the base."""
        return self.architecture or Family.DECODER

    @property
    def tags(self) -> bool:
        """Whether the model chooses a tag for each token."""
        return self.task == TAGGING

    @property
    def embeds(self) -> bool:
        """Whether the model makes vectors of texts."""
        return self.task == EMBEDDING


class Decided(OfTask):
    """What decides the result of any run: the task and what it is done with, whether it is trained or imported."""

    revision: int = TRAINER_REVISION
    labels: LabelsInput | None = Field(None, description="None: the task has no labels.")
    base: BaseInput
    prompt: Prompt
    tokenization: Tokenization

    @property
    def digest(self) -> str:
        """The inputs digest."""
        return digest_of_document(self.document())


class RunInputs(Decided):
    """Everything that decides the result of a training. Equal digests mean the same artifact: it is computed once."""

    train: tuple[DataInput, ...]
    validation: tuple[DataInput, ...]
    method: Method
    hyperparameters: Hyperparameters
    best: Literal["eval_loss"] | None = Field(
        None, description="Publish what the model was when this was lowest, of all evaluations. None: as it ended."
    )
    label_columns: AnyColumns | None = Field(
        None,
        description="The columns of the data set that the labels are taken from, when it is not trained on with these."
        " None: the labels are given, or of what is trained on.",
    )
    devices: int = Field(ge=0, description="GPUs that take part; 0 is a CPU. It decides precision and reduction order.")
    processes: int | None = Field(
        None,
        ge=2,
        description="Processes that train together, each on rows of its own: it decides the batch. None is one.",
    )
    sharding: Literal["Full"] | None = Field(
        None,
        description="Each of the processes holds a part of the model: it decides the order of sums. None: all of it.",
    )

    @model_validator(mode="after")
    def _shared_out_among_several(self) -> Self:
        if self.sharding is not None and self.processes is None:
            raise ValueError("sharding goes with several processes")
        if self.sharding is not None and (self.architecture is not None or self.method.type not in SHARDABLE):
            raise ValueError("sharding goes with decoders and some methods")
        if self.sharding is not None and self.hyperparameters.optimizer == "adafactor":
            raise ValueError("sharding does not go with adafactor")
        return self


class ImportMethod(ContractModel):
    """Nothing is trained: the adapter or model was made elsewhere."""

    type: Literal["Import"] = "Import"
    source: Digest = Field(description="Identity of what was imported: its place decides nothing.")
    trained_on: tuple[Digest, ...] | None = Field(
        None, description="The data sets that it was trained on, sorted, as the run says. None: unknown."
    )
    labels: tuple[str, ...] | None = Field(
        None, description="Those of an adapter's head in its order, as the run says: nothing in an adapter names them."
    )


class ImportInputs(Decided):
    """Everything that decides the result of an import, and what its record says of it."""

    method: ImportMethod
    label_columns: AnyColumns | None = Field(
        None, description="The columns of the data set that the labels are taken from. None: they are given."
    )
