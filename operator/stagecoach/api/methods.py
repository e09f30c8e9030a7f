"""How a FineTuneRun tunes its model: the types, and which parameters each of them takes."""

from typing import Annotated

from pydantic import Field, StringConstraints

from stagecoach.api.common import (
    BaseModel,
    Digest,
    Enum,
    Matches,
    ModelUri,
    Name,
    Optional,
    Revision,
    cel,
    keyed,
    rules,
)
from stagecoach.api.problem import Label
from stagecoach.contract.inputs import MAX_MODULE, MODULE_PATTERN

ModuleName = Annotated[
    str,
    StringConstraints(max_length=MAX_MODULE),
    Matches(
        MODULE_PATTERN,
        "must be a module's name or its last parts, such as q_proj or self_attn.q_proj: at most 9 parts of letters,"
        " digits and '_', with a '.' between two",
    ),
]


class MethodType(Enum):
    """How the model is tuned."""

    LORA = "LoRA"
    RS_LORA = "RsLoRA"
    DORA = "DoRA"
    QLORA = "QLoRA"
    IA3 = "IA3"
    PREFIX_TUNING = "PrefixTuning"
    PROMPT_TUNING = "PromptTuning"
    P_TUNING = "PTuning"
    FULL = "Full"
    IMPORT = "Import"


LOW_RANK = (MethodType.LORA, MethodType.RS_LORA, MethodType.DORA, MethodType.QLORA)
PROMPT_LEARNING = (MethodType.PREFIX_TUNING, MethodType.PROMPT_TUNING, MethodType.P_TUNING)
# The types that take a parameter; with any other type it is refused.
TAKEN_BY = {
    "rank": LOW_RANK,
    "alpha": LOW_RANK,
    "dropout": LOW_RANK,
    "targetModules": (*LOW_RANK, MethodType.IA3),
    "feedforwardModules": (MethodType.IA3,),
    "virtualTokens": PROMPT_LEARNING,
    "initText": (MethodType.PROMPT_TUNING,),
    "encoderHiddenSize": (MethodType.P_TUNING,),
    "freeze": (MethodType.FULL,),
    "uri": (MethodType.IMPORT,),
    "revision": (MethodType.IMPORT,),
    "digest": (MethodType.IMPORT,),
    "trainedOn": (MethodType.IMPORT,),
    "labels": (MethodType.IMPORT,),
}


class DataRef(BaseModel):
    """A data set of the project."""

    name: Name = Field(description="Name of one of the project's data sets.")


class TargetPreset(Enum):
    """A named choice of modules."""

    ALL_LINEAR = "all-linear"


class TargetModules(BaseModel):
    """The modules that get an adapter."""

    preset: Optional[TargetPreset] = Field(None, description="all-linear: every linear layer but the output head.")
    names: Optional[list[ModuleName]] = Field(
        None,
        min_length=1,
        max_length=32,
        description="Module names, or their last parts, such as q_proj.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Freeze(BaseModel):
    """What stays as it is."""

    embeddings: Optional[bool] = Field(
        None, description="Whether the embeddings stay, and with them an output head that shares them. Default: false."
    )
    layers: Optional[int] = Field(
        None, ge=1, le=1000, description="How many of the lowest layers stay, counted from the input. Default: none."
    )


def _taken_by(parameter: str) -> dict[str, str]:
    types = [item.value for item in TAKEN_BY[parameter]]
    words = types[0] if len(types) == 1 else f"{', '.join(types[:-1])} and {types[-1]}"
    return cel(
        f"!has(self.{parameter}) || self.type in [{', '.join(map(repr, types))}]",
        f"method.{parameter} is a parameter of {words}: leave it out, or choose such a type",
    )


METHOD_RULES = rules(
    *map(_taken_by, TAKEN_BY),
    cel("self.type != 'Import' || has(self.uri)", "Import needs method.uri: the folder that is imported"),
    cel(
        "self.type != 'Import' || has(self.digest)",
        "Import needs method.digest, for a run's artifact its status.artifact.digest; if you do not know it, give"
        " sha256: and 64 zeros, and the run ends with a message that says what the folder's digest is",
    ),
    cel(
        "!has(self.revision) || !has(self.uri) || self.uri.startsWith('hf://')",
        "method.revision is for a model hub, hf://<organization>/<name>: leave it out for a folder",
    ),
    cel(
        "self.type != 'IA3' || has(self.targetModules) == has(self.feedforwardModules)",
        "IA3 takes method.targetModules and method.feedforwardModules together, or neither: then those that PEFT knows"
        " for the base",
    ),
    cel(
        "!has(self.feedforwardModules) || !has(self.targetModules) || (has(self.targetModules.names) &&"
        " self.feedforwardModules.all(m, m in self.targetModules.names))",
        "IA3 takes method.targetModules.names, and every one of method.feedforwardModules must be among them",
    ),
)


class Method(BaseModel):
    """How the model is tuned. No parameter has a default in the schema: most types do not take it."""

    type: MethodType = Field(
        description="LoRA: low-rank adaptation; the base's weights stay as they are. RsLoRA: the same, scaled by"
        " alpha/√rank, for high ranks. DoRA: direction and size apart; slower. QLoRA: as LoRA, while the base's"
        " weights are held in 4 bits: least memory, slower. IA3: learned factors, very few. PrefixTuning, PromptTuning,"
        " PTuning: learned virtual tokens before the input. Full: all weights are trained and a whole model is"
        " published; it takes about a tenth of LoRA's learning rate. Import: nothing is trained; an adapter or a model"
        " that was made elsewhere is checked, recorded and published."
    )
    rank: Optional[int] = Field(
        None, ge=1, le=512, description="Of LoRA, RsLoRA, DoRA, QLoRA: rank of the adapter matrices. Default: 16."
    )
    alpha: Optional[int] = Field(
        None,
        ge=1,
        le=2048,
        description="Of LoRA, RsLoRA, DoRA, QLoRA: scale of the adapter: its output counts alpha/rank. Default: 32.",
    )
    dropout: Optional[float] = Field(
        None,
        ge=0,
        le=0.9,
        description="Of LoRA, RsLoRA, DoRA, QLoRA: share of the adapter's input dropped in training. Default: 0.",
    )
    target_modules: Optional[TargetModules] = Field(
        None,
        description="Of LoRA, RsLoRA, DoRA, QLoRA, IA3: the modules that get an adapter. Default: preset all-linear;"
        " with IA3 those that PEFT knows for the base.",
        json_schema_extra=rules(
            cel(
                "has(self.preset) != has(self.names)",
                "give exactly one of targetModules.preset and targetModules.names",
            )
        ),
    )
    feedforward_modules: Optional[list[ModuleName]] = Field(
        None,
        max_length=32,
        description="Of IA3: those of targetModules.names whose input is scaled instead of the output. Default: those"
        " that PEFT knows for the base.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    virtual_tokens: Optional[int] = Field(
        None,
        ge=1,
        le=1000,
        description="Of PrefixTuning, PromptTuning, PTuning: learned tokens before the input; they take context."
        " Default: 20.",
    )
    init_text: Optional[str] = Field(
        None,
        min_length=1,
        max_length=2048,
        description="Of PromptTuning: the virtual tokens start as those of this text. Default: as tokens of the"
        " vocabulary, drawn by the seed.",
    )
    encoder_hidden_size: Optional[int] = Field(
        None,
        ge=1,
        le=16384,
        description="Of PTuning: width of the network that makes the virtual tokens in training. Default: 128.",
    )
    freeze: Optional[Freeze] = Field(
        None,
        description="Of Full: what stays as it is. Default: nothing.",
        json_schema_extra=rules(
            cel(
                "has(self.embeddings) || has(self.layers)",
                "give freeze.embeddings, freeze.layers or both, or leave out method.freeze",
            )
        ),
    )
    uri: Optional[ModelUri] = Field(
        None,
        description="Of Import: pvc://<claim>/<folder>, s3://<bucket>/<folder>, gs://<bucket>/<folder> or"
        " hf://<organization>/<name>, with"
        " adapter_config.json and adapter_model.safetensors, or with config.json and safetensors weights.",
    )
    revision: Optional[Revision] = Field(
        None, description="Of Import: commit, branch or tag of a model hub's repository. Default: main."
    )
    digest: Optional[Digest] = Field(
        None,
        description="Of Import: identity of what is imported; other content is refused, with its digest in the message."
        " That of a run's artifact is in its status.artifact.",
    )
    trained_on: Optional[list[DataRef]] = Field(
        None,
        min_length=1,
        max_length=12,
        description="Of Import: the project's data sets of split Train that it was trained on. Default: recorded as"
        " Unknown.",
        json_schema_extra=keyed("name"),
    )
    labels: Optional[list[Label]] = Field(
        None,
        min_length=2,
        max_length=500,
        description="Of Import: the labels of the classification head, in the order of its training (id2label). They"
        " have to be the project's, in its order. Needed for an adapter of an Encoder that has any: nothing in it"
        " names them.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
