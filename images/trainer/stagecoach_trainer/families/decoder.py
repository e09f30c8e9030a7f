"""Decoders: causal language models that write a label or text after the prompt. Trained by TRL's SFTTrainer."""

from typing import Any

from datasets import Dataset
from peft import get_peft_model
from transformers import AutoModelForCausalLM, set_seed

from stagecoach.contract.inputs import FullMethod, QloraMethod
from stagecoach_trainer import modules, sharding
from stagecoach_trainer.bases import Base
from stagecoach_trainer.encoding import Encoding, Example
from stagecoach_trainer.families import IGNORED, Parts, adapters, freezing, pretrained, quantized, with_padding
from stagecoach_trainer.train import Prepared


def build(prepared: Prepared, precision: str) -> Parts:
    """Return model, data and adapter. Raises BadInput when the method does not fit the base."""
    inputs, base = prepared.job.inputs, prepared.base
    method = inputs.method
    adapter = None
    # Weights that are trained themselves are kept in float32: in bfloat16 most steps would be rounded away.
    if isinstance(method, FullMethod):
        model = whole(base, method, "float32", **sharding.options(inputs, base, precision))
    elif isinstance(method, QloraMethod):
        skeleton = modules.skeleton(base)
        targets = modules.choose(skeleton, method.target_modules)
        model = quantized.load(AutoModelForCausalLM, skeleton, base, precision, inputs.devices)
        set_seed(inputs.hyperparameters.seed)
        model = get_peft_model(model, adapters.low_rank(method, targets, adapters.CAUSAL))
    else:
        adapter = adapters.for_decoder(base, method)
        model = load(base.folder, precision, **sharding.options(inputs, base, precision))
    return Parts(
        model,
        {
            "train_dataset": _dataset(prepared.train),
            "eval_dataset": _dataset(prepared.validation) if prepared.validation else None,
            "processing_class": with_padding(prepared.tokenizer),
            "peft_config": adapter,
        },
    )


def load(folder: str, precision: str, **options: Any) -> Any:
    """Return the model in a folder."""
    return pretrained(AutoModelForCausalLM, folder, precision, **options).model


def whole(base: Base, method: FullMethod, precision: str, **options: Any) -> Any:
    """Return the base to be trained itself, but for what the method freezes."""
    model = load(base.folder, precision, **options)
    freezing.freeze(model, method.freeze)
    return model


def _dataset(encodings: tuple[Encoding, ...]) -> Any:
    return Dataset.from_list([_features(example) for encoding in encodings for example in encoding.examples])


def _features(example: Example) -> dict[str, list[int]]:
    return {
        "input_ids": [*example.prompt, *example.completion],
        "labels": [IGNORED] * len(example.prompt) + list(example.completion),
    }
