"""The settings of adapters that were made elsewhere: those that are known, and what may stand in them.

PEFT takes a text for a pattern where it takes a list for names, and JSON has no numbers that are infinite or none.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stagecoach.contract.inputs import ModuleName

# What the base decides, and PEFT writes down.
OF_THE_BASE = ("token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers")
Size = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Settings(BaseModel):
    """Of each setting the form; all of them may be left out."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _OfModules(_Settings):
    target_modules: list[ModuleName] | Literal["all-linear"] | None = None
    exclude_modules: list[ModuleName] | None = None
    fan_in_fan_out: bool = False
    modules_to_save: list[ModuleName] | None = None


class _LowRank(_OfModules):
    r: Size = 0
    lora_alpha: float = 0
    lora_dropout: Share = 0
    use_rslora: bool = False
    use_dora: bool = False
    layers_to_transform: list[Size] | Size | None = None
    layers_pattern: list[ModuleName] | ModuleName | None = None


class _Factors(_OfModules):
    feedforward_modules: list[ModuleName] | None = None


class _OfTokens(_Settings):
    num_virtual_tokens: Size = 0
    token_dim: Size | None = None
    num_transformer_submodules: Size | None = None
    num_attention_heads: Size | None = None
    num_layers: Size | None = None


class _Prefix(_OfTokens):
    encoder_hidden_size: Size | None = None


class _Prompt(_OfTokens):
    prompt_tuning_init: Literal["TEXT", "SAMPLE_VOCAB", "RANDOM"] = "RANDOM"
    prompt_tuning_init_text: str | None = None
    tokenizer_name_or_path: str | None = None


class _MadePrompt(_OfTokens):
    encoder_reparameterization_type: Literal["MLP", "LSTM"] = "MLP"
    encoder_hidden_size: Size | None = None
    encoder_num_layers: Size = 0
    encoder_dropout: Share = 0


# By PEFT's name of a type, the settings that may be other than PEFT's default. Any other changes what is computed in
# a way that is not known here, or not to the engine.
SETTINGS: dict[str, type[BaseModel]] = {
    "LORA": _LowRank,
    "IA3": _Factors,
    "PREFIX_TUNING": _Prefix,
    "PROMPT_TUNING": _Prompt,
    "P_TUNING": _MadePrompt,
}


def misformed(kind: str, given: dict[str, Any]) -> str | None:
    """Return a setting that has not the form that it should have, if there is one."""
    try:
        SETTINGS[kind].model_validate(given)
    except ValidationError as error:
        return str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
    return None
