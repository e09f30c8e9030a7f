"""How models of each transformer family are built for a training: one module a family."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parts:
    """What a trainer is made of, apart from its settings: the model and the trainer's own options."""

    model: Any
    options: dict[str, Any]


def with_padding(tokenizer: Any) -> Any:
    """Return the tokenizer with a token to pad with. Padding is masked: which token it is decides nothing."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
    return tokenizer
