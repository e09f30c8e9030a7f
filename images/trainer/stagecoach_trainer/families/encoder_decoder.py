"""Encoder-decoders: models that read a text whole and then write another. Trained by transformers' Trainer."""

from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import AutoModelForSeq2SeqLM, DataCollatorForSeq2Seq, set_seed

from stagecoach.contract.inputs import FullMethod, LowRankMethod, QloraMethod
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import modules
from stagecoach_trainer.encoding import Encoding
from stagecoach_trainer.families import Parts, adapters, freezing, pretrained, quantized, refuse, with_padding
from stagecoach_trainer.train import Prepared


def build(prepared: Prepared, precision: str) -> Parts:
    """Return model and data. Raises BadInput when the method does not fit the base."""
    inputs, base = prepared.job.inputs, prepared.base
    method = inputs.method
    if isinstance(method, QloraMethod):
        kind = AutoModelForSeq2SeqLM
        model = quantized.load(kind, modules.skeleton(base, kind), base, precision, inputs.devices)
    else:
        # Weights that are trained themselves are kept in float32: in bfloat16 most steps would be rounded away.
        model = load(base.folder, precision if isinstance(method, LowRankMethod) else "float32")
    _check_start(model, prepared)
    if isinstance(method, LowRankMethod):
        targets = modules.choose(model, method.target_modules)
        set_seed(inputs.hyperparameters.seed)
        model = get_peft_model(model, adapters.low_rank(method, targets, "SEQ_2_SEQ_LM"))
    elif isinstance(method, FullMethod):
        freezing.freeze(model, method.freeze)
    else:
        refuse(method.type, "encoder-decoder")
    tokenizer = with_padding(prepared.tokenizer)
    return Parts(
        model,
        {
            "train_dataset": _dataset(prepared.train),
            "eval_dataset": _dataset(prepared.validation) if prepared.validation else None,
            "processing_class": tokenizer,
            # Given the model, it also lays out what the decoder reads: the loss below takes the labels away.
            "data_collator": DataCollatorForSeq2Seq(tokenizer, model=model),
            "compute_loss_func": _loss,
        },
    )


def load(folder: str, precision: str) -> Any:
    """Return the model in a folder."""
    return pretrained(AutoModelForSeq2SeqLM, folder, precision).model


def _loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Return the loss of a batch: the mean over the tokens of all batches of a step, of all processes.

    The model's own is a mean over its own batch, which the Trainer would take for a share of the step's.
    """
    logits = outputs["logits"].float()
    total = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")
    return total / ((labels >= 0).sum() if num_items_in_batch is None else num_items_in_batch)


def _dataset(encodings: tuple[Encoding, ...]) -> Any:
    return Dataset.from_list(
        [
            {"input_ids": list(example.prompt), "labels": list(example.completion)}
            for encoding in encodings
            for example in encoding.examples
        ]
    )


def _check_start(model: Any, prepared: Prepared) -> None:
    """Raise BadInput when the base does not say by which tokens its decoder begins and is padded."""
    for key in ("decoder_start_token_id", "pad_token_id"):
        if getattr(model.config, key, None) is None:
            source = prepared.base.source
            message = f"its config.json has no {key}, without which its decoder cannot begin."
            remedy = f"Set {key} in it, as the model's publisher says."
            field = f"candidates[{source.name}].model.uri"
            raise BadInput(Problem.of("BaseUnusable", message, field=field, value=source.uri, remedy=remedy))
