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
    """Return what the base, and what was trained from it, write for each row, the likeliest token at each step.

    Nothing where what is computed is not a number.
    """
    inputs = record.inputs
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    asked = questions(tokens, [tokens.all_of(row) for row in rows])
    before, after = asking.both(record, base, artifact, asked, batch)
    return [text or "" for text in before], [text or "" for text in after]


def questions(tokens: Encoder, rows: Sequence[Sequence[Encoded]]) -> Questions[str | None, list[str | None]]:
    """Return what is asked of rows: a text for each, or None where what the model computes is not a number."""
    limit = tokens.tokenization.max_target_length or 0
    return Questions(asking.prompts_of(rows), lambda model: _writer(model, tokens, limit), list)


def _writer(model: Any, tokens: Encoder, limit: int) -> Ask[str | None]:
    end, tokenizer = tokens.end[-1], tokens.tokenizer
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    # A base's own settings, such as beams or penalties for what was said already, are left out: plain for both.
    start = inner.config.decoder_start_token_id if inner.config.is_encoder_decoder else None
    settings = GenerationConfig(eos_token_id=end, pad_token_id=end, decoder_start_token_id=start)
    inner.generation_config = model.generation_config = settings

    def write(prompts: Prompts) -> list[str | None]:
        width = max(map(len, prompts))
        ids, mask = (torch.full((len(prompts), width), value) for value in (end, 0))
        for row, prompt in enumerate(prompts):
            # A decoder writes right behind what it reads: padding comes before that.
            place = slice(len(prompt)) if start is not None else slice(width - len(prompt), width)
            ids[row, place], mask[row, place] = torch.tensor(prompt), 1
        # An encoder-decoder begins by a token that may be the end's, and writes behind it.
        numbers = Numbers(end, written_from=width if start is None else 1)
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                max_new_tokens=limit,
                logits_processor=[numbers],
                stopping_criteria=[_moves],
            )
        written = output if start is not None else output[:, width:]
        return [
            tokenizer.decode(each.tolist(), skip_special_tokens=True) if well else None
            for each, well in zip(written, numbers.were_computed, strict=True)
        ]

    return write


class Numbers:
    """Looks at what a model says of the next token, and changes nothing: the likeliest of what is no number is a token
    as well.
    """

    def __init__(self, end: int, written_from: int) -> None:
        self._end = end
        self._from = written_from
        self._bad: Any = False

    def __call__(self, sequences: Any, scores: Any) -> Any:
        """Note the rows that are still written, and of which what is computed is not a number."""
        over = (sequences[:, self._from :] == self._end).any(dim=-1)
        # The largest of several is none if one of them is none; -inf, which some models say of some tokens, is not it.
        self._bad = self._bad | ~(scores.amax(dim=-1).isfinite() | over)
        return scores

    @property
    def were_computed(self) -> list[bool]:
        """Whether all tokens of a row were chosen by numbers, by row."""
        return [not bad for bad in self._bad.tolist()]


def _moves(sequences: Any, _scores: Any) -> Any:
    """Tell that something was written, and end nothing: a long text takes long."""
    progress.made()
    return torch.zeros(len(sequences), dtype=torch.bool, device=sequences.device)
