"""What base and tuned model write for a row: what `compare` holds against the targets of tasks that write."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from stagecoach.contract.prompts import Encoder, encoder_for
from stagecoach.contract.records import Record
from stagecoach.contract.rows import AnyRow
from stagecoach_trainer import asking, bases
from stagecoach_trainer.asking import Ask, Prompts
from stagecoach_trainer.bases import Base


def texts(record: Record, base: Base, artifact: str, rows: Sequence[AnyRow], batch: int) -> tuple[list[str], list[str]]:
    """Return what the base, and what was trained from it, write for each row, the likeliest token at each step."""
    inputs = record.inputs
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    prompts = [tokens.of(row).ids for row in rows]

    def asks(model: Any) -> Ask[str]:
        return _writer(model, tokens, inputs.tokenization.max_target_length or 0)

    return asking.both(record, base, artifact, prompts, batch, asks)


def _writer(model: Any, tokens: Encoder, limit: int) -> Ask[str]:
    end, tokenizer = tokens.end[-1], tokens.tokenizer
    # A base's own settings, such as beams or penalties for what was said already, are left out: plain for both.
    _set(model, GenerationConfig(eos_token_id=end, pad_token_id=end))

    def write(prompts: Prompts) -> list[str]:
        width = max(map(len, prompts))
        ids = [[end] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        with torch.inference_mode():
            output = model.generate(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                do_sample=False,
                max_new_tokens=limit,
            )
        return [tokenizer.decode(written[width:].tolist(), skip_special_tokens=True) for written in output]

    return write


def _set(model: Any, settings: Any) -> None:
    """Give a model, and the one inside an adapter, these settings."""
    model.generation_config = settings
    if hasattr(model, "get_base_model"):
        model.get_base_model().generation_config = settings
