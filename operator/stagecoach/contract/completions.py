"""What an engine is asked when it chooses a label or writes, and what its answer is: the same judged and served.

Prompts are token ids, so that nobody tokenizes twice. A request is that of `/v1/completions` of vLLM 0.32, apart from
`model` and `prompt`.
"""

import math
from collections.abc import Sequence
from typing import Any

# The engine looks for no NaN: among tokens that are none it takes one, so each is asked with its probability.
_ALWAYS = {"temperature": 0, "return_token_ids": True, "logprobs": 1}
# An answer that was broken off is none.
_COMPLETE = ("stop", "length")
# The engine says so (with 400) where a logarithm of a probability is not a number: there is none in JSON.
NOT_JSON = "not JSON compliant"
# What it says in the place of an infinite one.
_LEAST = -9999.0


class NoAnswer(Exception):
    """What the engine said is no answer; the text says why."""


class NotNumbers(Exception):
    """What the model computes for this is not a number: a token that comes all the same means nothing."""


def choosing(allowed: Sequence[int]) -> dict[str, Any]:
    """Return the request for the likeliest of these tokens."""
    return _ALWAYS | {"max_tokens": 1, "allowed_token_ids": [*allowed]}


def writing(most: int, end: int) -> dict[str, Any]:
    """Return the request for at most so many tokens, up to the one that the model was trained to end by: no other."""
    return _ALWAYS | {"max_tokens": most, "ignore_eos": True, "stop_token_ids": [end]}


def probing() -> dict[str, Any]:
    """Return the request for any one token, which tells whether a model computes numbers."""
    return _ALWAYS | {"max_tokens": 1, "ignore_eos": True}


def tokens(document: Any) -> tuple[int, ...]:
    """Return the tokens of an answer. Raises NoAnswer and NotNumbers."""
    try:
        choice = document["choices"][0]
        ended, found = choice["finish_reason"], tuple(int(token) for token in choice["token_ids"])
        said = (choice.get("logprobs") or {}).get("token_logprobs") or ()
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise NoAnswer("what it said is no answer") from error
    if ended not in _COMPLETE:
        raise NoAnswer(f"it broke an answer off ({ended})")
    if len(said) != len(found) or not all(map(_is_number, said)):
        raise NotNumbers
    return found


def _is_number(said: Any) -> bool:
    return isinstance(said, int | float) and math.isfinite(said) and said > _LEAST
