"""Decoders: causal language models that write a label or text after the prompt. Trained by TRL's SFTTrainer."""

from typing import Any

from datasets import Dataset
from transformers import AutoModelForCausalLM

from stagecoach.contract.inputs import FullMethod
from stagecoach_trainer.encoding import Encoding, Example
from stagecoach_trainer.families import IGNORED, Parts, adapters, freezing, pretrained, with_padding
from stagecoach_trainer.train import Prepared


def build(prepared: Prepared, precision: str) -> Parts:
    """Return model, data and adapter. Raises BadInput when the method does not fit the base."""
    method = prepared.job.inputs.method
    adapter = None if isinstance(method, FullMethod) else adapters.for_decoder(prepared.base, method)
    # Weights that are trained themselves are kept in float32: in bfloat16 most steps would be rounded away.
    model = load(prepared.base.folder, precision if adapter else "float32")
    if isinstance(method, FullMethod):
        freezing.freeze(model, method.freeze)
    return Parts(
        model,
        {
            "train_dataset": _dataset(prepared.train),
            "eval_dataset": _dataset(prepared.validation) if prepared.validation else None,
            "processing_class": with_padding(prepared.tokenizer),
            "peft_config": adapter,
        },
    )


def load(folder: str, precision: str) -> Any:
    """Return the model in a folder."""
    return pretrained(AutoModelForCausalLM, folder, precision)


def _dataset(encodings: tuple[Encoding, ...]) -> Any:
    return Dataset.from_list([_features(example) for encoding in encodings for example in encoding.examples])


def _features(example: Example) -> dict[str, list[int]]:
    return {
        "input_ids": [*example.prompt, *example.completion],
        "labels": [IGNORED] * len(example.prompt) + list(example.completion),
    }
