"""Stage 3 of a project: base models to choose from, and prompts."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from stagecoach.api.common import BaseModel, Enum, ModelUri, Name, Optional, Revision, ShortText, Text, cel, rules

MAX_CANDIDATES = 4


MODEL_RULES = rules(
    cel(
        "!has(self.revision) || self.uri.startsWith('hf://')",
        "revision is for a model of a hub, hf://<organization>/<name>: leave it out for a folder",
    )
)


class Model(BaseModel, json_schema_extra=MODEL_RULES):
    """A base model's place."""

    uri: ModelUri = Field(
        description="pvc://<claim>/<folder>, s3://<bucket>/<folder> or gs://<bucket>/<folder> with config.json,"
        " tokenizer and safetensors weights, or hf://<organization>/<name> of a model hub.",
    )
    revision: Optional[Revision] = Field(
        None,
        description="Commit, branch or tag of a model of a hub. Runs use the commit that it stood for when the"
        " project was resolved. Default: main.",
    )


class Candidate(BaseModel):
    """Stage 3: a base model that could be chosen."""

    name: Name = Field(description="Name by which runs refer to it.")
    model: Model = Field(description="The base model.")
    license: Optional[ShortText] = Field(None, description="SPDX identifier, such as Apache-2.0. Unknown is a finding.")
    provenance: Optional[Text] = Field(
        None,
        description="Where the model came from: for people who read the object. Nothing computes with it, and no record"
        " or card has it.",
    )


PROMPT_RULES = rules(
    cel(
        "self == oldSelf",
        "a prompt's version cannot change, for runs and verdicts refer to it: add the prompt with the next version",
    )
)


def _holds_text(field: str) -> dict[str, Any]:
    return rules(
        cel(
            "self.indexOf('{text}') >= 0 && self.indexOf('{text}') == self.lastIndexOf('{text}')",
            f"{field} must hold {{text}} exactly once: there the row's text is put in",
        )
    )


class Prompt(BaseModel, json_schema_extra=PROMPT_RULES):
    """One version of a prompt. A version is never edited: add the next one."""

    name: Name = Field(description="Name of the prompt.")
    version: int = Field(ge=1, le=100000, description="Version of the prompt, counted from 1.")
    system: Optional[Annotated[str, StringConstraints(max_length=8192)]] = Field(
        None, description="The system's turn; an Encoder or EncoderDecoder has none. Default: none."
    )
    template: str = Field(
        min_length=6,
        max_length=8192,
        description="The user's turn, and all that an Encoder or EncoderDecoder reads; {text} stands for the row's"
        " text, input, prompt or query, and has to occur exactly once. A task's prefix is written here. With"
        " conversations it is {text} alone.",
        json_schema_extra=_holds_text("template"),
    )
    passage_template: Optional[str] = Field(
        None,
        min_length=6,
        max_length=8192,
        description="All that is read of a passage, for task Embedding, whose template is for queries alone; {text}"
        " stands for the passage, and has to occur exactly once. Default: {text}, the passage without a prefix.",
        json_schema_extra=_holds_text("passageTemplate"),
    )


class PromptRef(BaseModel):
    """A version of a prompt."""

    name: Name = Field(description="Name of the prompt.")
    version: int = Field(ge=1, description="Version of the prompt.")


class InferencePrecision(Enum):
    """The number format in which a model answers."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class InferenceEngine(Enum):
    """What computes the answers."""

    TRANSFORMERS = "Transformers"
    VLLM = "vLLM"


class Inference(BaseModel):
    """How the model is asked, in training, evaluation and serving alike."""

    prompt: PromptRef = Field(description="The prompt in force: one of spec.prompts.")
    # Not defaults of the definitions: see common.BaseModel.
    engine: Optional[InferenceEngine] = Field(
        None,
        description="What computes the answers when a model is judged: it is part of what a release is. Choose what"
        " serves the model. vLLM is for decoders, and for encoders that choose a label or make a vector; it needs an"
        " operator that was installed with an image of it. Default: Transformers.",
    )
    precision: Optional[InferencePrecision] = Field(
        None,
        description="Number format in which a model answers when it is judged: it is part of what a release is, as"
        " other numbers may give other answers. auto: as the model's files say. It decides nothing about a training."
        " Default: auto.",
    )
