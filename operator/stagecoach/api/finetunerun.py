"""FineTuneRun: stage 4 of the workflow, one training of one artifact."""

from typing import Any

from pydantic import Field

from stagecoach.api.common import (
    DURATION,
    BaseModel,
    Cpu,
    CustomObject,
    Duration,
    Enum,
    Memory,
    Name,
    Optional,
    cel,
    keyed,
    rules,
)
from stagecoach.api.imports import import_rules
from stagecoach.api.methods import METHOD_RULES, DataRef, Method
from stagecoach.api.pods import RESOURCE_RULES, ResourceName
from stagecoach.api.run_status import FineTuneRunStatus
from stagecoach.contract.inputs import SHARDABLE

MAX_RETRIES = 5
# Not a default of the definitions: see common.BaseModel.
PROGRESS_DEADLINE = "30m"
CLEAN_UP_RULES = rules(
    DURATION.rule,
    cel(
        # An odd string is the other rule's matter: here it must only not be an error.
        "!self.matches('^[0-9]{1,7}[sm]$') || int(self.substring(0, size(self) - 1)) >="
        " (self.endsWith('m') ? 10 : 600)",
        "cleanUpAfter must be at least 10m: the Job's name protects against a second start",
    ),
)


class Purpose(Enum):
    """What a run is for."""

    CANDIDATE = "Candidate"
    EXPERIMENT = "Experiment"


class BaseRef(BaseModel):
    """Which base model is tuned."""

    candidate: Optional[Name] = Field(
        None, description="Name of one of the project's candidates. Default: the project's selected one."
    )


class RunData(BaseModel):
    """Which of the project's data sets are used."""

    train: list[DataRef] = Field(
        min_length=1,
        max_length=8,
        description="Data sets with split Train, read in this order.",
        json_schema_extra=keyed("name"),
    )
    validation: list[DataRef] = Field(
        [],
        max_length=4,
        description="Data sets with split Validation, for the evaluation loss. Default: none.",
        json_schema_extra=keyed("name"),
    )


class Schedule(Enum):
    """How the learning rate changes, as named by transformers."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"


class Optimizer(Enum):
    """The optimizer, as named by transformers."""

    ADAMW = "adamw_torch"
    ADAFACTOR = "adafactor"
    SGD = "sgd"


class Precision(Enum):
    """The number format of the training."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class ClassWeights(Enum):
    """How rows count in the loss of a classification head."""

    NONE = "none"
    BALANCED = "balanced"


class Hyperparameters(BaseModel):
    """The optimizer's settings."""

    learning_rate: float = Field(
        2.0e-4,
        ge=1e-9,
        le=1,
        description="Highest learning rate. Write 2.0e-4: readers of YAML 1.1, not kubectl, take 2e-4 for a string."
        " Default: 2.0e-4.",
        # The API server compares whole numbers with the minimum as a whole number, and 1e-9 as such is 0.
        json_schema_extra=rules(
            cel("self > 0.0", "hyperparameters.learningRate must be more than 0, at which nothing is learned")
        ),
    )
    learning_rate_schedule: Schedule = Field(
        Schedule.COSINE, description="How the learning rate changes after the warm-up. Default: cosine."
    )
    per_device_batch_size: int = Field(
        8,
        ge=1,
        le=4096,
        description="Rows in one forward pass of one process: of a GPU, or of a pod on the CPU. Default: 8.",
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=4096, description="Forward passes before one step of the optimizer. Default: 1."
    )
    epochs: Optional[int] = Field(
        None,
        ge=1,
        le=1000,
        description="Passes over the training data. Exclusive with maxSteps; 3 when neither is given.",
    )
    max_steps: Optional[int] = Field(
        None, ge=1, le=10_000_000, description="Steps of the optimizer. Exclusive with epochs."
    )
    warmup_ratio: float = Field(
        0.03, ge=0, le=0.9, description="Share of the steps in which the learning rate rises. Default: 0.03."
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="Weight decay of the optimizer. Default: 0.")
    max_grad_norm: float = Field(
        1.0, ge=0, le=1000, description="Gradients are clipped to this norm; 0 does not clip. Default: 1."
    )
    optimizer: Optimizer = Field(
        Optimizer.ADAMW, description="The optimizer, by transformers' name. Default: adamw_torch."
    )
    precision: Precision = Field(
        Precision.AUTO, description="Number format. auto: bfloat16 on a GPU that has it, else float32. Default: auto."
    )
    seed: int = Field(17, ge=0, le=2147483647, description="Seed of all randomness. Default: 17.")
    gradient_checkpointing: Optional[bool] = Field(
        None,
        description="Compute activations again instead of keeping them: less memory, about a third slower."
        " Default: false.",
    )
    class_weights: Optional[ClassWeights] = Field(
        None,
        description="balanced: the rows of a label, or the tokens of a tag, count in inverse proportion to their"
        " number. For the head of an Encoder only: a decoder writes its label as text. Default: none.",
    )


class Sharding(Enum):
    """What of a model each of several processes holds."""

    NONE = "None"
    FULL = "Full"


class Resources(BaseModel):
    """What the training pods ask for."""

    nodes: int = Field(
        1,
        ge=1,
        le=32,
        description="Pods that train together, each asking for all that is said here. Each of their processes (one for"
        " a GPU, or one on the CPU) takes perDeviceBatchSize rows of its own, so their number is part of what decides"
        " the result. The claims that they mount have to be ReadWriteMany. Default: 1.",
    )
    gpus_per_node: int = Field(
        0, ge=0, le=16, description="GPUs of a pod, each with a process of its own; 0 trains on the CPU. Default: 0."
    )
    gpu_resource: ResourceName = Field(
        "nvidia.com/gpu",
        description="Name of the GPU resource. Default: nvidia.com/gpu.",
        json_schema_extra=RESOURCE_RULES,
    )
    cpu: Cpu = Field(
        "2", description='CPUs a pod asks for, less than 1000, in quotes: "1"; also its threads. Default: 2.'
    )
    memory: Memory = Field(
        "8Gi", description="Memory a pod asks for, and its limit; at least 1M and at most 99Ti. Default: 8Gi."
    )
    sharding: Optional[Sharding] = Field(
        None,
        description="Full: each of several processes holds a part of the model (FSDP), for a Decoder that is too large"
        " for one GPU, with Full, LoRA or RsLoRA. It is part of what decides the result. None: each holds all of it"
        " (DDP). Default: None.",
    )


class BestBy(Enum):
    """By what the best model is chosen."""

    EVAL_LOSS = "eval_loss"


class Checkpoints(BaseModel):
    """How the training saves itself, and which of its models is published."""

    every_steps: Optional[int] = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Steps between two checkpoints. Default: one every ten minutes. A pod that is asked to stop saves"
        " one at once. It changes nothing about the result.",
    )
    keep: int = Field(2, ge=1, le=20, description="How many of the newest checkpoints are kept. Default: 2.")
    best: Optional[BestBy] = Field(
        None,
        description="eval_loss: publish the model of the epoch whose loss on the validation data is lowest. It is part"
        " of what decides the result. Default: the model as it is after the last step.",
    )


class FineTuneRunSpec(BaseModel):
    """What is trained, on what, and how. It cannot change, apart from `suspend`."""

    project: Name = Field(description="The TransformerProject, in the same namespace.")
    # Not a default of the definitions: see common.BaseModel.
    purpose: Optional[Purpose] = Field(
        None,
        description="Candidate: what it makes asks to be used, and the project's EvalGates judge it. Experiment: it"
        " never reaches a gate. It changes nothing about the result. Default: Candidate.",
    )
    base: BaseRef = Field(
        default_factory=BaseRef, description="Which base model is tuned.", json_schema_extra={"default": {}}
    )
    method: Method = Field(description="How the model is tuned.", json_schema_extra=METHOD_RULES)
    data: Optional[RunData] = Field(
        None, description="Which of the project's data sets are used. Every method needs it, but Import takes none."
    )
    hyperparameters: Hyperparameters = Field(
        default_factory=Hyperparameters,
        description="The optimizer's settings.",
        json_schema_extra={"default": {}}
        | rules(
            cel(
                "!(has(self.epochs) && has(self.maxSteps))",
                "give only one of hyperparameters.epochs and hyperparameters.maxSteps",
            )
        ),
    )
    resources: Resources = Field(
        default_factory=Resources,
        description="What the training pods ask for.",
        json_schema_extra={"default": {}}
        | rules(
            cel(
                "!has(self.sharding) || self.sharding != 'Full' || self.nodes > 1 || self.gpusPerNode > 1",
                "resources.sharding: Full shares a model out among several processes, and this is one: raise"
                " resources.nodes or resources.gpusPerNode, or leave it out",
            )
        ),
    )
    checkpoints: Checkpoints = Field(
        default_factory=Checkpoints,
        description="How the training saves itself in the project's storage, to go on after an interruption. The"
        " checkpoints are removed when the artifact is published. Default: every ten minutes.",
        json_schema_extra={"default": {}},
    )
    max_duration: Duration = Field(
        "24h",
        description="Longest time that training pods may run, over all attempts: 90s, 30m, 24h, 7d. Waiting and being"
        " suspended do not count. Default: 24h.",
    )
    progress_deadline: Optional[Duration] = Field(
        None,
        description="Longest time in which an attempt may make no progress, at least 1m: no step, no batch of an"
        " evaluation, no row tokenized, no megabyte read, copied, hashed or sent. One that makes none, such as on a"
        " mount or a GPU that hangs, is ended with the reason ProgressDeadlineExceeded, and counts against retries; the"
        " next one goes on from the newest checkpoint. It changes nothing about the result. Default:"
        f" {PROGRESS_DEADLINE}.",
        json_schema_extra=rules(
            DURATION.rule,
            cel(
                # An odd string is the other rule's matter: here it must only not be an error.
                "!self.matches('^[0-9]{1,7}s$') || int(self.substring(0, size(self) - 1)) >= 60",
                "progressDeadline must be at least 1m: loading libraries and model may take that long",
            ),
        ),
    )
    retries: int = Field(
        2,
        ge=0,
        le=MAX_RETRIES,
        description="How often an attempt that failed for what may pass is repeated. An interruption (preemption, a"
        " drain, a deleted pod) does not count; after three in a row without a newer checkpoint the run fails."
        " Default: 2.",
    )
    clean_up_after: Duration = Field(
        "7d",
        description="How long Jobs and pods (with their logs) stay after their end; at least 10m. The run and its"
        " artifact stay. Default: 7d.",
        json_schema_extra=CLEAN_UP_RULES,
    )
    force: bool = Field(False, description="Train although the storage holds a record of these inputs. Default: false.")
    suspend: bool = Field(
        False,
        description="true: stop, after saving a checkpoint, or do not start. false: go on. The one field that"
        " may change. Default: false.",
    )


def _unchanged(field: str) -> str:
    # Every other field has a value: it is required, or has a default.
    if field in ("data", "progressDeadline", "purpose"):
        return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return f"self.{field} == oldSelf.{field}"


SHARDED = "has(self.resources.sharding) && self.resources.sharding == 'Full'"
SPEC_RULES = rules(
    cel(
        # A status write changes nothing of the spec, and this is asked at each: at once for all fields is cheaper.
        "self == oldSelf || "
        + " && ".join(
            _unchanged(field.alias or name) for name, field in FineTuneRunSpec.model_fields.items() if name != "suspend"
        ),
        "a run's spec cannot change, apart from suspend, so that it stays true of what ran: create another FineTuneRun",
    ),
    cel(
        "!has(self.checkpoints.best) || !has(self.data) ||"
        " (has(self.data.validation) && size(self.data.validation) > 0)",
        "checkpoints.best needs data.validation: name the data sets whose loss decides",
    ),
    cel(
        "self.method.type != 'PrefixTuning' || !has(self.hyperparameters.gradientCheckpointing) ||"
        " !self.hyperparameters.gradientCheckpointing",
        "hyperparameters.gradientCheckpointing does not go with PrefixTuning, whose prefix is a cache of activations:"
        " leave it out",
    ),
    cel(
        f"!({SHARDED}) || self.method.type in {list(SHARDABLE)}",
        f"resources.sharding: Full goes with method.type {', '.join(SHARDABLE[:-1])} and {SHARDABLE[-1]}: take one of"
        " these, or leave it out",
    ),
    cel(
        f"!({SHARDED}) || self.hyperparameters.optimizer != 'adafactor'",
        "resources.sharding: Full does not go with hyperparameters.optimizer adafactor, whose factors are of whole"
        " weights: take adamw_torch or sgd, or leave it out",
    ),
    *import_rules(Hyperparameters, Checkpoints),
)


COLUMNS: list[dict[str, Any]] = [
    {"name": "Project", "type": "string", "jsonPath": ".spec.project"},
    {"name": "Method", "type": "string", "jsonPath": ".spec.method.type"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Progress", "type": "integer", "jsonPath": ".status.progress.percent"},
    {"name": "Loss", "type": "number", "jsonPath": ".status.loss"},
    {"name": "Artifact", "type": "string", "jsonPath": ".status.artifact.short"},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": '.status.conditions[?(@.type=="Ready")].message'},
]


class FineTuneRun(CustomObject):
    """A fine-tuning run: immutable inputs, attempts, and the artifact with its record."""

    spec: FineTuneRunSpec = Field(
        description="What is trained, on what, and how. It cannot change, apart from suspend.",
        json_schema_extra=SPEC_RULES,
    )
    status: FineTuneRunStatus = Field(default_factory=FineTuneRunStatus, description="What became of the run.")
