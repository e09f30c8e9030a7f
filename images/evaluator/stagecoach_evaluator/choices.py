"""Choosing a label by writing it, one request for each place where labels part.

The label is the one that the trainer's Chooser takes: that of the likeliest next token which any label still allows.
"""

from collections.abc import Callable, Sequence

# From what was written so far, and the tokens that may follow, to the likeliest of them.
Next = Callable[[tuple[int, ...], Sequence[int]], int]


class Choices:
    """Labels as completions (token ids)."""

    def __init__(self, completions: Sequence[tuple[int, ...]]) -> None:
        self._completions = completions

    def choose(self, following: Next) -> int:
        """Return the index of the label that is written if nothing but labels may be."""
        written: tuple[int, ...] = ()
        while len(left := self._left(written)) > 1:
            allowed = self._allowed(left, len(written))
            if not allowed:
                break  # two labels of the same tokens
            written = (*written, allowed[0] if len(allowed) == 1 else following(written, allowed))
        return left[0]

    def _left(self, written: tuple[int, ...]) -> list[int]:
        return [index for index, each in enumerate(self._completions) if each[: len(written)] == written]

    def _allowed(self, left: Sequence[int], position: int) -> list[int]:
        labels = (self._completions[index] for index in left)
        return sorted({label[position] for label in labels if len(label) > position})
