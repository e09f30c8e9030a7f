"""Asking a base, and what was trained from it, the same prompts: what `compare` does for every task."""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, TypeVar

import torch
from peft import PeftModel

from stagecoach.contract.inputs import Family
from stagecoach.contract.prompts import Encoded
from stagecoach.contract.records import Record, RunRecord
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import decoder, embedding, encoder, encoder_decoder, tagger

Answer = TypeVar("Answer")
Prompts = Sequence[tuple[int, ...]]
Ask = Callable[[Prompts], list[Answer]]
# Virtual tokens stand right before the input: padding between the two would move it away from them.
UNPADDED = {"PrefixTuning", "PromptTuning", "PTuning"}


def both(
    record: RunRecord, base: Base, artifact: str, prompts: Prompts, batch: int, asks: Callable[[Any], Ask[Answer]]
) -> tuple[list[Answer], list[Answer]]:
    """Return the answers of the base and of what was trained; `asks` makes of a model what asks it."""
    padded = record.method not in UNPADDED
    found = []
    for name, model in _models(record, base, artifact):
        ask = asks(model)
        found.append(_answers(ask, prompts, list(_batches(prompts, batch, padded=padded)), name))
        del model, ask  # before the next one is loaded
    return found[0], found[1]


def by_row(
    record: RunRecord,
    base: Base,
    artifact: str,
    rows: Sequence[Sequence[Encoded]],
    batch: int,
    asks: Callable[[Any], Ask[Answer]],
) -> tuple[list[list[Answer]], list[list[Answer]]]:
    """Return what `both` does, of rows that may be of several chunks: the answers for each row's chunks."""
    prompts = [chunk.ids for chunks in rows for chunk in chunks]
    before, after = (iter(answers) for answers in both(record, base, artifact, prompts, batch, asks))
    return [list(islice(before, len(row))) for row in rows], [list(islice(after, len(row))) for row in rows]


def _models(record: RunRecord, base: Base, artifact: str) -> Iterator[tuple[str, Any]]:
    """Yield base and tuned model by name, one after the other: two whole models are never in memory at once."""
    name = record.artifact.type.lower()
    if record.artifact.type == "Model":
        yield "base", _load(record, base, base.folder)
        yield name, _load(record, base, artifact)
        return
    model = PeftModel.from_pretrained(_load(record, base, base.folder), artifact).eval()
    with model.disable_adapter():
        yield "base", model
    yield name, model


def _load(record: RunRecord, base: Base, folder: str) -> Any:
    precision = record.precision
    match record.inputs.family:
        case Family.ENCODER if record.inputs.embeds:
            model = embedding.load(base, folder, precision)
        case Family.ENCODER:
            seed = record.inputs.hyperparameters.seed if isinstance(record, Record) else 0
            model = encoder.load(folder, record.labels, precision, seed, tagger.head_of(record.inputs)).model
        case Family.ENCODER_DECODER:
            model = encoder_decoder.load(folder, precision)
        case Family.DECODER:
            model = decoder.load(folder, precision)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _batches(prompts: Prompts, batch: int, *, padded: bool) -> Iterator[list[int]]:
    """Yield indices of prompts that are asked together: those of similar length, or of equal length."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for _, group in groupby(order, key=lambda index: 0 if padded else len(prompts[index])):
        same = list(group)
        yield from (same[start : start + batch] for start in range(0, len(same), batch))


def _answers(ask: Ask[Answer], prompts: Prompts, batches: list[list[int]], name: str) -> list[Answer]:
    """Ask all prompts, batch by batch; return the answers in the prompts' order."""
    found: dict[int, Answer] = {}
    for part in batches:
        found |= zip(part, ask([prompts[index] for index in part]), strict=True)
        print(f"{name}: {len(found)} of {len(prompts)} prompts", file=sys.stderr, flush=True)
    return [found[index] for index in range(len(prompts))]
