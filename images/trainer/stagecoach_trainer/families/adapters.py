"""PEFT's configuration for a method."""

from collections.abc import Sequence
from typing import Any

from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

from stagecoach.contract.inputs import (
    AdapterMethod,
    Ia3Method,
    LoraMethod,
    LowRankMethod,
    PrefixTuningMethod,
    PromptTuningMethod,
    PTuningMethod,
    QloraMethod,
)
from stagecoach_trainer import modules
from stagecoach_trainer.bases import Base

CAUSAL = "CAUSAL_LM"


def for_decoder(base: Base, method: AdapterMethod) -> Any:
    """Return the configuration of an adapter for a decoder. Raises BadInput when the base lacks a target module."""
    match method:
        case LoraMethod() | QloraMethod():
            return low_rank(method, modules.resolve(base, method.target_modules), CAUSAL)
        case Ia3Method():
            targets, feedforward = modules.scaled(base, method)
            return IA3Config(target_modules=list(targets), feedforward_modules=list(feedforward), task_type=CAUSAL)
        case PrefixTuningMethod():
            return PrefixTuningConfig(num_virtual_tokens=method.virtual_tokens, task_type=CAUSAL)
        case PromptTuningMethod():
            return _prompt(base, method)
        case PTuningMethod():
            return PromptEncoderConfig(
                num_virtual_tokens=method.virtual_tokens,
                encoder_hidden_size=method.encoder_hidden_size,
                task_type=CAUSAL,
            )


def low_rank(method: LowRankMethod, targets: Sequence[str], task: str, whole: Sequence[str] | None = None) -> Any:
    """Return the configuration of LoRA, RsLoRA, DoRA or QLoRA; the modules in `whole` are trained as they are."""
    return LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=list(targets),
        modules_to_save=list(whole) if whole else None,
        use_rslora=method.type == "RsLoRA",
        use_dora=method.type == "DoRA",
        bias="none",
        task_type=task,
    )


def _prompt(base: Base, method: PromptTuningMethod) -> Any:
    # Random numbers lie outside of what the model knows as tokens; those of its vocabulary do not.
    start = {"prompt_tuning_init": "SAMPLE_VOCAB"}
    if method.init_text is not None:
        start = {
            "prompt_tuning_init": "TEXT",
            "prompt_tuning_init_text": method.init_text,
            "tokenizer_name_or_path": base.folder,
        }
    return PromptTuningConfig(num_virtual_tokens=method.virtual_tokens, task_type=CAUSAL, **start)
