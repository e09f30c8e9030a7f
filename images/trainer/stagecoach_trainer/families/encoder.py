"""Encoders: models that read a text and choose a label with a head. Trained by transformers' Trainer."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForSequenceClassification, DataCollatorWithPadding, set_seed

from stagecoach.contract.inputs import LoraMethod
from stagecoach_trainer import modules
from stagecoach_trainer.encoding import Encoding
from stagecoach_trainer.families import Parts, adapters, freezing, pretrained, refuse, with_padding
from stagecoach_trainer.train import Prepared

# What transformers calls the head of a sequence classifier; PEFT trains and saves modules of these names by itself.
HEADS = ("classifier", "score")


@dataclass(frozen=True)
class Classifier:
    """A sequence classifier, and the modules that its checkpoint had no weights for: they were drawn by the seed."""

    model: Any
    fresh: tuple[str, ...]


def build(prepared: Prepared, precision: str) -> Parts:
    """Return model and data. Raises BadInput when the method does not fit the base."""
    inputs = prepared.job.inputs
    method = inputs.method
    low_rank = isinstance(method, LoraMethod)
    loaded = load(
        prepared.base.folder, prepared.labels, precision if low_rank else "float32", inputs.hyperparameters.seed
    )
    model = loaded.model
    if isinstance(method, LoraMethod):
        targets = modules.choose(model, method.target_modules, without=loaded.fresh)
        model = get_peft_model(model, adapters.low_rank(method, targets, "SEQ_CLS", loaded.fresh))
    elif method.type == "Full":
        freezing.freeze(model, method.freeze)
    else:
        refuse(method.type, "encoder")
    return Parts(
        model,
        {
            "train_dataset": _dataset(prepared.train, prepared.labels),
            "eval_dataset": _dataset(prepared.validation, prepared.labels) if prepared.validation else None,
            "processing_class": with_padding(prepared.tokenizer),
            "data_collator": DataCollatorWithPadding(prepared.tokenizer),
            "compute_loss_func": _loss(_balanced(prepared) if inputs.hyperparameters.class_weights else None),
        },
    )


def load(folder: str, labels: tuple[str, ...], precision: str, seed: int) -> Classifier:
    """Return the base in a folder as a classifier of these labels, its head new unless it was trained on just these."""
    set_seed(seed)
    model, found = pretrained(
        AutoModelForSequenceClassification,
        folder,
        precision,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type="single_label_classification",
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    names = {*found["missing_keys"], *(item[0] for item in found["mismatched_keys"])}
    drawn = {_module(name) for name in names}
    if not keeps_head(folder, labels) and not drawn & _heads(model):
        # As many labels, and others: what the head knows is not about these.
        set_seed(seed)
        new = AutoModelForSequenceClassification.from_config(model.config, dtype=model.dtype)
        for head in _heads(model):
            setattr(model, head, getattr(new, head))
    return Classifier(model, tuple(sorted(drawn | _heads(model))))


def keeps_head(folder: str, labels: tuple[str, ...]) -> bool:
    """Whether the base in a folder has a head for exactly these labels, in this order."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    named = tuple(config.id2label[index] for index in sorted(config.id2label))
    return named == labels and str((config.architectures or [""])[0]).endswith("ForSequenceClassification")


def _heads(model: Any) -> set[str]:
    return {name for name, _ in model.named_children() if name in HEADS}


def _module(parameter: str) -> str:
    """Return the module to train whole for a parameter that the checkpoint lacks: a head as one, else its own."""
    parts = parameter.split(".")
    return parts[0] if parts[0] in HEADS else ".".join(parts[:-1])


def _dataset(encodings: tuple[Encoding, ...], labels: tuple[str, ...]) -> Any:
    numbers = {label: index for index, label in enumerate(labels)}
    return Dataset.from_list(
        [
            {"input_ids": list(example.prompt), "labels": numbers[row.label]}
            for encoding in encodings
            for row, example in zip(encoding.dataset.labelled, encoding.examples, strict=True)
        ]
    )


def _balanced(prepared: Prepared) -> list[float]:
    """Return the weight of each label: every label counts as much as every other, and a mean row counts 1."""
    counts = Counter(row.label for encoding in prepared.train for row in encoding.dataset.labelled)
    rows = sum(counts.values())
    return [rows / (len(counts) * counts[label]) if label in counts else 0.0 for label in prepared.labels]


def _loss(weights: list[float] | None) -> Callable[..., Any]:
    """Return the loss of a batch: the mean over the rows of all batches of a step, of all processes.

    The model's own is a mean over its own batch, which the Trainer would take for a share of the step's.
    """

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        logits = outputs["logits"].float()
        weight = None if weights is None else torch.tensor(weights, device=logits.device)
        total = torch.nn.functional.cross_entropy(logits, labels, weight=weight, reduction="sum")
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return loss
