"""Encoders that make a vector of a text, near those of the passages that answer it. Trained by transformers' Trainer.

The loss is InfoNCE, or multiple negatives ranking (Henderson et al. 2017): among all passages of the batch, the cosine
chooses that of the row. What the data say is right for a query is never counted against it, whichever row says so.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import get_peft_model
from torch.nn import functional
from transformers import AutoModel, set_seed

from stagecoach.contract.inputs import FullMethod, LoraMethod
from stagecoach_trainer import modules, pooling
from stagecoach_trainer.encoding import Encoding
from stagecoach_trainer.families import POOLER, Parts, adapters, freezing, pretrained, refuse, with_padding
from stagecoach_trainer.train import Prepared

# What a cosine is multiplied by before the softmax, the inverse of a temperature: as sentence-transformers has it.
SCALE = 20.0
TASK = "FEATURE_EXTRACTION"  # PEFT's word for it
Tokens = tuple[int, ...]
Row = dict[str, Any]


def build(prepared: Prepared, precision: str) -> Parts:
    """Return model and data. Raises BadInput when the method does not fit the base."""
    inputs = prepared.job.inputs
    method = inputs.method
    # Weights that are trained themselves are kept in float32: in bfloat16 most steps would be rounded away.
    model = load(prepared.base.folder, precision if isinstance(method, LoraMethod) else "float32")
    if isinstance(method, LoraMethod):
        # PEFT shortens names as far as they tell modules apart. The user of an adapter has a model with a pooler, where
        # too short a name would mean a module as well: so the pooler goes when all have their names.
        targets = modules.choose(model, method.target_modules, without=(POOLER,))
        set_seed(inputs.hyperparameters.seed)
        model = get_peft_model(model, adapters.low_rank(method, targets, TASK))
        drop_pooler(model.get_base_model())
    elif isinstance(method, FullMethod):
        drop_pooler(model)
        freezing.freeze(model, method.freeze)
    else:
        refuse(method.type, "encoder")
    tokenizer = with_padding(prepared.tokenizer)
    return Parts(
        model,
        {
            "train_dataset": rows(prepared.train),
            "eval_dataset": rows(prepared.validation) if prepared.validation else None,
            "processing_class": tokenizer,
            "data_collator": collator(tokenizer.pad),
            "compute_loss_func": loss,
            "pooling": prepared.base.pooling,
        },
    )


def load(folder: str, precision: str) -> Any:
    """Return the encoder in a folder."""
    return pretrained(AutoModel, folder, precision).model


def drop_pooler(model: Any) -> None:
    """Leave out what makes a vector for a task of the pretraining: it is not what is made here."""
    if getattr(model, POOLER, None) is not None:
        setattr(model, POOLER, None)


def vectors(model: Any, mode: str | None, batch: dict[str, Any]) -> Any:
    """Return the vectors of texts that are tokens, of length 1."""
    mask = batch["attention_mask"]
    states = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state.float()
    if mode == pooling.CLS:
        return functional.normalize(states[:, 0], dim=-1)
    weights = mask.unsqueeze(-1).float()
    return functional.normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=-1)


def scores(queries: Any, passages: Any, known: Any) -> Any:
    """Return what each query says of each passage; nothing of a passage that is known to be right beside its own."""
    return (SCALE * queries @ passages.T).masked_fill(known, -torch.inf)


def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Return the loss of a batch: the mean over the rows of all batches of a step, of all processes."""
    total = functional.cross_entropy(outputs["logits"], labels, reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def rows(encodings: Sequence[Encoding]) -> list[Row]:
    """Return the rows of data sets, each with all passages that any of these rows has as right for its query.

    Texts are the same when their tokens are: what was cut off the model does not see.
    """
    examples = [example for encoding in encodings for example in encoding.examples]
    right: dict[Tokens, set[Tokens]] = defaultdict(set)
    for example in examples:
        right[example.prompt].add(example.completion)
    return [
        {
            "query": example.prompt,
            "positive": example.completion,
            "negative": example.negative,
            "right": right[example.prompt],
        }
        for example in examples
    ]


def collator(pad: Callable[..., Any]) -> Callable[[list[Row]], dict[str, Any]]:
    """Return what makes a batch of rows: queries, passages, which of these is whose, and which do not count."""

    def padded(texts: Sequence[Tokens]) -> dict[str, Any]:
        return dict(pad({"input_ids": [list(text) for text in texts]}, return_tensors="pt"))

    def collate(batch: list[Row]) -> dict[str, Any]:
        passages = [row["positive"] for row in batch] + [row["negative"] for row in batch if row["negative"]]
        known = [
            [column != own and passage in row["right"] for column, passage in enumerate(passages)]
            for own, row in enumerate(batch)
        ]
        return {
            "labels": torch.arange(len(batch)),
            "known": torch.tensor(known),
            "queries": padded([row["query"] for row in batch]),
            "passages": padded(passages),
        }

    return collate
