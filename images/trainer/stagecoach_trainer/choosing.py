"""Which label base and tuned model choose for a text: what `compare` counts for a Classification."""

from typing import Any

import torch

from stagecoach.contract.inputs import Family
from stagecoach.contract.prompts import encoder_for
from stagecoach.contract.records import RunRecord
from stagecoach_trainer import asking, bases
from stagecoach_trainer.asking import Ask, Prompts
from stagecoach_trainer.bases import Base
from stagecoach_trainer.chooser import Chooser


def choices(record: RunRecord, base: Base, artifact: str, texts: list[str], batch: int) -> tuple[list[int], list[int]]:
    """Return the indices of the labels that the base, and what was trained from it, choose for each text."""
    inputs = record.inputs
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    prompts = [tokens.encode(text).ids for text in texts]
    completions = [tokens.completion(label) for label in record.labels]

    def asks(model: Any) -> Ask[int]:
        return _reader(model) if inputs.family is Family.ENCODER else Chooser(model, completions).choose

    return asking.both(record, base, artifact, prompts, batch, asks)


def _reader(model: Any) -> Ask[int]:
    """Return what chooses by the head of a sequence classifier."""
    return lambda prompts: [int(index) for index in logits(model, prompts).argmax(dim=-1)]


def logits(model: Any, prompts: Prompts) -> Any:
    """Return what a classifier says of prompts, which are padded at their ends to the longest one."""
    width = max(map(len, prompts))
    padding = model.config.pad_token_id or 0
    ids = [[*prompt, *[padding] * (width - len(prompt))] for prompt in prompts]
    mask = [[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in prompts]
    with torch.inference_mode():
        return model(
            input_ids=torch.tensor(ids, device=model.device), attention_mask=torch.tensor(mask, device=model.device)
        ).logits
