"""Which label base and tuned model choose for a text: what `compare` counts for a Classification."""

from typing import Any

import torch

from stagecoach.contract.combining import combined
from stagecoach.contract.inputs import Combine, Family
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
    if inputs.family is Family.ENCODER:
        chunks = [tokens.chunks(text) for text in texts]
        combine = inputs.tokenization.chunk.combine if inputs.tokenization.chunk else None
        before, after = asking.by_row(record, base, artifact, chunks, batch, _reader)
        return [_best(row, combine) for row in before], [_best(row, combine) for row in after]
    prompts = [tokens.encode(text).ids for text in texts]
    completions = [tokens.completion(label) for label in record.labels]
    return asking.both(record, base, artifact, prompts, batch, lambda model: Chooser(model, completions).choose)


def _reader(model: Any) -> Ask[list[float]]:
    """Return what asks the head of a sequence classifier for the probability of each label."""
    return lambda prompts: logits(model, prompts).double().softmax(dim=-1).tolist()


def _best(chunks: list[list[float]], combine: Combine | None) -> int:
    """Return the label of a text by the probabilities in its chunks."""
    together = combined(chunks, combine) if combine else chunks[0]
    return together.index(max(together))


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
