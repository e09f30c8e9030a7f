"""What the chunks of a text say of its label, as one: the one implementation for evaluation and serving."""

from collections.abc import Callable, Sequence
from statistics import fmean

from stagecoach.contract.inputs import Combine

_WAYS: dict[Combine, Callable[[Sequence[float]], float]] = {Combine.MEAN: fmean, Combine.MAX: max}


def combined(chunks: Sequence[Sequence[float]], combine: Combine) -> list[float]:
    """Return a number for each label, of the probabilities that each chunk gives it.

    Of means the sum is 1; of maxima it is not, where chunks say different things. One chunk's are what they are.
    """
    return [_WAYS[combine](of_label) for of_label in zip(*chunks, strict=True)]
