"""Which label a model chooses for a text: what `compare` counts, and a gate judges, of a Classification."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from stagecoach.contract.combining import combined
from stagecoach.contract.inputs import Combine, Family, OfTask
from stagecoach.contract.prompts import Encoded, Encoder, encoder_for
from stagecoach.contract.records import RunRecord
from stagecoach_trainer import asking, bases
from stagecoach_trainer.asking import Ask, Prompts, Questions
from stagecoach_trainer.bases import Base
from stagecoach_trainer.chooser import Chooser


class Choice(NamedTuple):
    """The index of the label that was chosen, and the probability of each where a head gives it.

    No label: what the model computed is not a number.
    """

    label: int | None
    scores: tuple[float, ...] | None = None


def choices(
    record: RunRecord, base: Base, artifact: str, texts: list[str], batch: int
) -> tuple[list[int | None], list[int | None]]:
    """Return the indices of the labels that the base, and what was trained from it, choose for each text."""
    inputs = record.inputs
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    asked = questions(inputs, record.labels, tokens, [tokens.chunks(text) for text in texts])
    before, after = asking.both(record, base, artifact, asked, batch)
    return [choice.label for choice in before], [choice.label for choice in after]


def questions(
    of: OfTask, labels: Sequence[str], tokens: Encoder, rows: Sequence[Sequence[Encoded]]
) -> Questions[Any, list[Choice]]:
    """Return what is asked of rows, each of one chunk or several: a choice for each row."""
    prompts = asking.prompts_of(rows)
    if of.family is Family.ENCODER:
        combine = tokens.tokenization.chunk.combine if tokens.tokenization.chunk else None
        return Questions(prompts, _reader, lambda found: [_best(row, combine) for row in asking.by_row(rows, found)])
    completions = [tokens.completion(label) for label in labels]
    return Questions(prompts, lambda model: Chooser(model, completions).choose, lambda found: [*map(Choice, found)])


def _reader(model: Any) -> Ask[list[float]]:
    """Return what asks the head of a sequence classifier for the probability of each label."""
    return lambda prompts: logits(model, prompts).double().softmax(dim=-1).tolist()


def _best(chunks: list[list[float]], combine: Combine | None) -> Choice:
    """Return the label of a text by the probabilities in its chunks."""
    together = combined(chunks, combine) if combine else chunks[0]
    if not all(map(math.isfinite, together)):
        return Choice(None)
    return Choice(together.index(max(together)), tuple(together))


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
