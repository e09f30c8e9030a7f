"""What a model writes for a row: what `compare`, or a gate, holds against the targets of tasks that write."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from stagecoach.contract import progress
from stagecoach.contract.prompts import Encoded, Encoder, encoder_for
from stagecoach.contract.records import RunRecord
from stagecoach.contract.rows import AnyRow
from stagecoach_trainer import asking, bases
from stagecoach_trainer.asking import Ask, Prompts, Questions
from stagecoach_trainer.bases import Base


def texts(
    record: RunRecord, base: Base, artifact: str, rows: Sequence[AnyRow], batch: int
) -> tuple[list[str], list[str]]:
    """Return what the base, and what was trained from it, write for each row, the likeliest token at each step."""
    inputs = record.inputs
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    return asking.both(record, base, artifact, questions(tokens, [tokens.all_of(row) for row in rows]), batch)


def questions(tokens: Encoder, rows: Sequence[Sequence[Encoded]]) -> Questions[str, list[str]]:
    """Return what is asked of rows: a text for each."""
    limit = tokens.tokenization.max_target_length or 0
    return Questions(asking.prompts_of(rows), lambda model: _writer(model, tokens, limit), list)


def _writer(model: Any, tokens: Encoder, limit: int) -> Ask[str]:
    end, tokenizer = tokens.end[-1], tokens.tokenizer
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    # A base's own settings, such as beams or penalties for what was said already, are left out: plain for both.
    start = inner.config.decoder_start_token_id if inner.config.is_encoder_decoder else None
    settings = GenerationConfig(eos_token_id=end, pad_token_id=end, decoder_start_token_id=start)
    inner.generation_config = model.generation_config = settings

    def write(prompts: Prompts) -> list[str]:
        width = max(map(len, prompts))
        ids, mask = (torch.full((len(prompts), width), value) for value in (end, 0))
        for row, prompt in enumerate(prompts):
            # A decoder writes right behind what it reads: padding comes before that.
            place = slice(len(prompt)) if start is not None else slice(width - len(prompt), width)
            ids[row, place], mask[row, place] = torch.tensor(prompt), 1
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                max_new_tokens=limit,
                stopping_criteria=[_moves],
            )
        written = output if start is not None else output[:, width:]
        return [tokenizer.decode(each.tolist(), skip_special_tokens=True) for each in written]

    return write


def _moves(sequences: Any, _scores: Any) -> Any:
    """Tell that something was written, and end nothing: a long text takes long."""
    progress.made()
    return torch.zeros(len(sequences), dtype=torch.bool, device=sequences.device)
