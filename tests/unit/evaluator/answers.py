"""Expected labels and answers, drawn at random or given in a short form."""

from collections.abc import Sequence

import numpy as np

from stagecoach.contract.answers import Answer

LABELS = ("card", "loan", "fees", "pin", "lost")


def chosen(labels: Sequence[str | None]) -> list[Answer]:
    return [
        Answer(row=row, label=label, error=None if label else "TooLong: the row has 900 tokens.")
        for row, label in enumerate(labels)
    ]


def written(texts: Sequence[str]) -> list[Answer]:
    return [Answer(row=row, text=text) for row, text in enumerate(texts)]


def tagged(tags: Sequence[Sequence[str]]) -> list[Answer]:
    return [Answer(row=row, tags=tuple(each)) for row, each in enumerate(tags)]


def ranked(ranks: Sequence[int]) -> list[Answer]:
    return [Answer(row=row, rank=rank) for row, rank in enumerate(ranks)]


def drawn(rows: int, accuracy: float, seed: int, expected: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """Return expected labels, of unequal frequency, and what is answered with this accuracy."""
    random = np.random.default_rng(seed)
    right = list(expected or random.choice(LABELS, rows, p=[0.4, 0.3, 0.15, 0.1, 0.05]))
    said = [label if random.random() < accuracy else str(random.choice(LABELS)) for label in right]
    return [str(label) for label in right], said
