"""Which label base and tuned model choose for a text: what `compare` counts."""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from peft import PeftModel

from stagecoach.contract.inputs import Family
from stagecoach.contract.prompts import encoder_for
from stagecoach.contract.records import Record
from stagecoach_trainer import bases
from stagecoach_trainer.bases import Base
from stagecoach_trainer.chooser import Chooser
from stagecoach_trainer.families import decoder, encoder

Prompts = Sequence[tuple[int, ...]]
# Virtual tokens stand right before the input: padding between the two would move it away from them.
UNPADDED = {"PrefixTuning", "PromptTuning", "PTuning"}


def choices(record: Record, base: Base, artifact: str, texts: list[str], batch: int) -> tuple[list[int], list[int]]:
    """Return the indices of the labels that the base, and what was trained from it, choose for each text."""
    inputs = record.inputs
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    prompts = [tokens.encode(text).ids for text in texts]
    completions = [tokens.completion(label) for label in record.labels]
    padded = inputs.method.type not in UNPADDED
    found = []
    for name, model in _models(record, base, artifact):
        choose = _reader(model) if inputs.family is Family.ENCODER else Chooser(model, completions).choose
        found.append(_chosen(choose, prompts, list(_batches(prompts, batch, padded=padded)), name))
        del model, choose  # before the next one is loaded
    return found[0], found[1]


def _models(record: Record, base: Base, artifact: str) -> Iterator[tuple[str, Any]]:
    """Yield base and tuned model by name, one after the other: two whole models are never in memory at once."""
    name = record.artifact.type.lower()
    if record.artifact.type == "Model":
        yield "base", _load(record, base.folder)
        yield name, _load(record, artifact)
        return
    model = PeftModel.from_pretrained(_load(record, base.folder), artifact).eval()
    with model.disable_adapter():
        yield "base", model
    yield name, model


def _load(record: Record, folder: str) -> Any:
    precision = record.training.precision
    if record.inputs.family is Family.ENCODER:
        model = encoder.load(folder, record.labels, precision, record.inputs.hyperparameters.seed).model
    else:
        model = decoder.load(folder, precision)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _batches(prompts: Prompts, batch: int, *, padded: bool) -> Iterator[list[int]]:
    """Yield indices of prompts that are asked together: those of similar length, or of equal length."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for _, group in groupby(order, key=lambda index: 0 if padded else len(prompts[index])):
        same = list(group)
        yield from (same[start : start + batch] for start in range(0, len(same), batch))


def _reader(model: Any) -> Callable[[Prompts], list[int]]:
    """Return what chooses by the head of a sequence classifier."""

    def choose(prompts: Prompts) -> list[int]:
        width = max(map(len, prompts))
        padding = model.config.pad_token_id or 0
        ids = [[*prompt, *[padding] * (width - len(prompt))] for prompt in prompts]
        mask = [[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in prompts]
        with torch.inference_mode():
            logits = model(
                input_ids=torch.tensor(ids, device=model.device), attention_mask=torch.tensor(mask, device=model.device)
            ).logits
        return [int(index) for index in logits.argmax(dim=-1)]

    return choose


def _chosen(choose: Callable[[Prompts], list[int]], prompts: Prompts, batches: list[list[int]], name: str) -> list[int]:
    """Choose for all prompts, batch by batch; return choices in the prompts' order."""
    found, done = [0] * len(prompts), 0
    for part in batches:
        for index, choice in zip(part, choose([prompts[index] for index in part]), strict=True):
            found[index] = choice
        done += len(part)
        print(f"{name}: {done} of {len(prompts)} rows", file=sys.stderr, flush=True)
    return found
