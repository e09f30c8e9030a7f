"""What texts look like to a model, as counts of bounded size: of a training's rows, and the same way of live requests.

Counted is what a text adds to its prompt: the tokens between those at the beginning and at the end that every prompt
has, so that a long system turn hides nothing.

- Lengths: how many prompts have how many tokens of text, in bins whose bounds grow by the square root of 2 up to
  `maxLength`, and one more bin for those that were cut, or read in chunks. At most 32 bins; the bounds follow from
  `maxLength` alone.
- Vocabulary: how often a token occurs, hashed into 1024 buckets. Tokens next to each other in the vocabulary come into
  different buckets, and the bucket of a token is the same everywhere and for ever. Of chunks all tokens are counted,
  so that those of two count twice, as they are read.

Both are sums over texts. Counts of the same bounds are merged by adding them: of several replicas, of the hours of a
window, of several data sets. Two such counts are what a population stability index (lengths) and a Jensen-Shannon
divergence (vocabulary) are computed from.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from itertools import chain, takewhile
from typing import Literal, Self

from pydantic import Field

from stagecoach.contract.model import ContractModel
from stagecoach.contract.prompts import Encoded, Encoder

BUCKETS = 1024
# Fibonacci hashing: 2^32 divided by the golden ratio, the highest 10 bits of the product.
_FACTOR, _WORD, _SHIFT = 2654435769, 0xFFFFFFFF, 22


class Profile(ContractModel):
    """What the texts of some prompts look like."""

    schema_version: Literal[1] = 1
    max_length: int = Field(ge=1, description="Tokens that a prompt may have; it decides the bins.")
    prompts: int = Field(ge=0, description="How many prompts were counted; all chunks of a text as one.")
    bounds: tuple[int, ...] = Field(description="The highest number of tokens of text in each bin but the last.")
    lengths: tuple[int, ...] = Field(description="Prompts by bin; in the last bin texts that were cut, or in chunks.")
    vocabulary: tuple[int, ...] = Field(description="Tokens by bucket.")

    def __add__(self, other: "Profile") -> "Profile":
        """Return the profile of both. Raises ValueError when they were counted by other rules."""
        if (self.schema_version, self.bounds) != (other.schema_version, other.bounds):
            raise ValueError(f"profiles up to {self.max_length} and {other.max_length} tokens cannot be added")
        return Profile(
            max_length=self.max_length,
            prompts=self.prompts + other.prompts,
            bounds=self.bounds,
            lengths=_sum(self.lengths, other.lengths),
            vocabulary=_sum(self.vocabulary, other.vocabulary),
        )


class Profiler:
    """Counts prompts. `frame` are the tokens of the prompt of an empty text."""

    def __init__(self, frame: Sequence[int], max_length: int) -> None:
        self._frame = tuple(frame)
        self._max_length = max_length
        self._bounds = length_bounds(max_length)
        self._lengths = [0] * (len(self._bounds) + 1)
        self._vocabulary = [0] * BUCKETS

    @classmethod
    def of(cls, encoder: Encoder) -> Self:
        """Return what counts the prompts of an encoder."""
        return cls(encoder.frame, encoder.tokenization.max_length)

    def add(self, first: Encoded, *others: Encoded) -> None:
        """Count a prompt, or all chunks of a text as one."""
        parts = [text_tokens(encoded.ids, self._frame) for encoded in (first, *others)]
        longer = first.truncated or others
        self._lengths[len(self._bounds) if longer else bisect_left(self._bounds, len(parts[0]))] += 1
        for token in chain(*parts):
            self._vocabulary[bucket(token)] += 1

    def merge(self, other: "Profiler") -> None:
        """Count what another one, of the same bounds, has counted. Raises ValueError for other bounds."""
        if self._bounds != other._bounds:
            raise ValueError(f"profiles up to {self._max_length} and {other._max_length} tokens cannot be added")
        self._lengths = list(_sum(self._lengths, other._lengths))
        self._vocabulary = list(_sum(self._vocabulary, other._vocabulary))

    def profile(self) -> Profile:
        """Return what was counted so far."""
        return Profile(
            max_length=self._max_length,
            prompts=sum(self._lengths),
            bounds=self._bounds,
            lengths=tuple(self._lengths),
            vocabulary=tuple(self._vocabulary),
        )


def bucket(token: int) -> int:
    """Return the bucket of a token id."""
    return (token * _FACTOR & _WORD) >> _SHIFT


@cache
def length_bounds(max_length: int) -> tuple[int, ...]:
    """Return the highest length of each bin: 1, 2, 3, 4, 6, 8, 11, 16 and so on, the last one `max_length`."""
    below = takewhile(lambda bound: bound < max_length, (round(2 ** (half / 2)) for half in range(64)))
    return (*dict.fromkeys(below), max_length)


def text_tokens(ids: Sequence[int], frame: Sequence[int]) -> Sequence[int]:
    """Return the tokens that a text has added to the frame.

    Where the text begins as the frame goes on, the same tokens come in another order: for counts it is all one.
    """
    shorter = min(len(ids), len(frame))
    before = next((place for place in range(shorter) if ids[place] != frame[place]), shorter)
    rest = shorter - before
    after = next((place for place in range(rest) if ids[-1 - place] != frame[-1 - place]), rest)
    return ids[before : len(ids) - after]


def _sum(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))
