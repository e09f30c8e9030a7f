"""Which token may come next when a model writes labels only: how a decoder chooses one, whoever asks it.

At each place where the labels' tokens part, the likeliest of those that follow in any label decides, until one label is
left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelChoice:
    """Labels as completions, in token ids."""

    completions: tuple[tuple[int, ...], ...]

    def choose(self, likeliest: Callable[[tuple[int, ...], Sequence[int]], int]) -> int:
        """Return the index of the label that is chosen, by the likeliest of tokens after what was written so far.

        Of labels with the same tokens it is the first.
        """
        written: tuple[int, ...] = ()
        while following := self.following(written):
            written = (*written, following[0] if len(following) == 1 else likeliest(written, following))
        return self.left(written)[0]

    def following(self, written: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens that part the labels that begin as written; none when one label is left."""
        left = self.left(written)
        if len(left) < 2:
            return ()
        place = len(written)
        tokens = {self.completions[label][place] for label in left if len(self.completions[label]) > place}
        return tuple(sorted(tokens))

    def left(self, written: Sequence[int]) -> list[int]:
        """Return the indices of the labels that begin as written."""
        begin = tuple(written)
        return [index for index, label in enumerate(self.completions) if label[: len(begin)] == begin]
