"""Encoders: models that read a text and choose a label with a head. Trained by transformers' Trainer."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, set_seed

from stagecoach.contract.inputs import FullMethod, LoraMethod
from stagecoach_trainer import kept, modules
from stagecoach_trainer.encoding import Encoding, Example
from stagecoach_trainer.families import Parts, adapters, freezing, pretrained, refuse, with_padding
from stagecoach_trainer.train import Prepared

# What transformers calls the head of a classifier; PEFT trains and saves modules of these names by itself.
HEADS = ("classifier", "score")


@dataclass(frozen=True)
class Head:
    """What a classifier chooses for: a class of transformers, how its models' names end, and PEFT's word for it."""

    auto: Any
    suffix: str
    task: str
    options: dict[str, Any] = field(default_factory=dict)


SEQUENCES = Head(
    AutoModelForSequenceClassification,
    kept.OF_TEXTS,
    "SEQ_CLS",
    {"problem_type": "single_label_classification"},
)


@dataclass(frozen=True)
class Classifier:
    """A classifier, and the modules that its checkpoint had no weights for: they were drawn by the seed."""

    model: Any
    fresh: tuple[str, ...]


def build(prepared: Prepared, precision: str) -> Parts:
    """Return model and data. Raises BadInput when the method does not fit the base."""
    weights = None
    if prepared.job.inputs.hyperparameters.class_weights:
        weights = balanced((label for label, _ in _labelled(prepared.train)), prepared.labels)
    return Parts(
        trainable(prepared, precision, SEQUENCES),
        {
            "train_dataset": _dataset(prepared.train, prepared.labels),
            "eval_dataset": _dataset(prepared.validation, prepared.labels) if prepared.validation else None,
            "processing_class": with_padding(prepared.tokenizer),
            "data_collator": DataCollatorWithPadding(prepared.tokenizer),
            "compute_loss_func": loss_of(weights),
        },
    )


def trainable(prepared: Prepared, precision: str, head: Head) -> Any:
    """Return the base with a head, and what the method trains of it. Raises BadInput when the two do not fit."""
    inputs = prepared.job.inputs
    method = inputs.method
    low_rank = isinstance(method, LoraMethod)
    seed = inputs.hyperparameters.seed
    loaded = load(prepared.base.folder, prepared.labels, precision if low_rank else "float32", seed, head)
    if isinstance(method, LoraMethod):
        targets = modules.choose(loaded.model, method.target_modules, without=loaded.fresh)
        return get_peft_model(loaded.model, adapters.low_rank(method, targets, head.task, loaded.fresh))
    if not isinstance(method, FullMethod):
        refuse(method.type, "encoder")
    freezing.freeze(loaded.model, method.freeze)
    return loaded.model


def load(folder: str, labels: tuple[str, ...], precision: str, seed: int, head: Head = SEQUENCES) -> Classifier:
    """Return the base in a folder as a classifier of these labels, its head new unless it was trained on just these."""
    set_seed(seed)
    loaded = pretrained(
        head.auto,
        folder,
        precision,
        head=True,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        **head.options,
    )
    model, drawn = loaded.model, {_module(name) for name in loaded.drawn}
    if not keeps_head(folder, labels, head) and not drawn & _heads(model):
        # As many labels, and others: what the head knows is not about these.
        set_seed(seed)
        new = head.auto.from_config(model.config, dtype=model.dtype)
        for name in _heads(model):
            setattr(model, name, getattr(new, name))
    return Classifier(model, tuple(sorted(drawn | _heads(model))))


def keeps_head(folder: str, labels: tuple[str, ...], head: Head = SEQUENCES) -> bool:
    """Whether the base in a folder has such a head for exactly these labels, in this order."""
    return kept.keeps_head(folder, labels, head.suffix)


def _heads(model: Any) -> set[str]:
    return {name for name, _ in model.named_children() if name in HEADS}


def _module(parameter: str) -> str:
    """Return the module to train whole for a parameter that the checkpoint lacks: a head as one, else its own."""
    parts = parameter.split(".")
    return parts[0] if parts[0] in HEADS else ".".join(parts[:-1])


def _dataset(encodings: tuple[Encoding, ...], labels: tuple[str, ...]) -> Any:
    numbers = {label: index for index, label in enumerate(labels)}
    return Dataset.from_list(
        [{"input_ids": list(example.prompt), "labels": numbers[label]} for label, example in _labelled(encodings)]
    )


def _labelled(encodings: tuple[Encoding, ...]) -> Iterator[tuple[str, Example]]:
    """Yield all examples, each with the label of its row."""
    for encoding in encodings:
        rows = encoding.dataset.labelled
        yield from ((rows[example.row].label, example) for example in encoding.examples)


def balanced(given: Iterable[str], labels: tuple[str, ...]) -> list[float]:
    """Return the weight of each label: each counts as much as every other, and what is given counts 1 in the mean."""
    counts = Counter(given)
    total = sum(counts.values())
    return [total / (len(counts) * counts[label]) if label in counts else 0.0 for label in labels]


def loss_of(weights: list[float] | None) -> Callable[..., Any]:
    """Return the loss of a batch: the mean over what has a label in all batches of a step, of all processes.

    The model's own is a mean over its own batch, which the Trainer would take for a share of the step's.
    """

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        logits = outputs["logits"].float().flatten(0, -2)
        weight = None if weights is None else torch.tensor(weights, device=logits.device)
        total = torch.nn.functional.cross_entropy(logits, labels.flatten(), weight=weight, reduction="sum")
        return total / ((labels >= 0).sum() if num_items_in_batch is None else num_items_in_batch)

    return loss
