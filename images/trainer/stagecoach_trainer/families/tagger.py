"""Encoders that choose a tag for each token with a head. Trained by transformers' Trainer."""

from typing import Any

from datasets import Dataset
from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification

from stagecoach.contract.inputs import OfTask
from stagecoach_trainer import kept
from stagecoach_trainer.encoding import Encoding
from stagecoach_trainer.families import IGNORED, Parts, with_padding
from stagecoach_trainer.families.encoder import SEQUENCES, Head, balanced, loss_of, trainable
from stagecoach_trainer.train import Prepared

TOKENS = Head(AutoModelForTokenClassification, kept.OF_TOKENS, "TOKEN_CLS")


def head_of(of: OfTask) -> Head:
    """Return what the head of such an encoder chooses for."""
    return TOKENS if of.tags else SEQUENCES


def build(prepared: Prepared, precision: str) -> Parts:
    """Return model and data. Raises BadInput when the method does not fit the base."""
    weights = None
    if prepared.job.inputs.hyperparameters.class_weights:
        examples = (example for encoding in prepared.train for example in encoding.examples)
        weights = balanced((tag for example in examples for tag in example.tags if tag is not None), prepared.labels)
    return Parts(
        trainable(prepared, precision, TOKENS),
        {
            "train_dataset": _dataset(prepared.train, prepared.labels),
            "eval_dataset": _dataset(prepared.validation, prepared.labels) if prepared.validation else None,
            "processing_class": with_padding(prepared.tokenizer),
            "data_collator": DataCollatorForTokenClassification(prepared.tokenizer, label_pad_token_id=IGNORED),
            "compute_loss_func": loss_of(weights),
        },
    )


def _dataset(encodings: tuple[Encoding, ...], labels: tuple[str, ...]) -> Any:
    numbers: dict[str | None, int] = {label: index for index, label in enumerate(labels)} | {None: IGNORED}
    return Dataset.from_list(
        [
            {"input_ids": list(example.prompt), "labels": [numbers[tag] for tag in example.tags]}
            for encoding in encodings
            for example in encoding.examples
        ]
    )
