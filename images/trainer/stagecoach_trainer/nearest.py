"""At which rank a query's passage is found among others, by vectors of length 1. No torch in here."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagecoach.contract.rows import Match

Vector = NDArray[np.float32]


def ranks(rows: Sequence[Match], queries: Mapping[str, Vector], passages: Mapping[str, Vector]) -> list[int]:
    """Return the rank of each row's passage. Equal ones stand before it: to tell nothing apart is to find nothing."""
    right: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        right[row.query].add(row.positive)
    matrix: NDArray[Any] = np.stack(list(passages.values()))
    columns = {text: index for index, text in enumerate(passages)}
    found = []
    for row in rows:
        cosines = matrix @ queries[row.query]
        own = cosines[columns[row.positive]]
        cosines[[columns[text] for text in right[row.query]]] = -np.inf
        found.append(1 + int((~(cosines < own)).sum()))  # what is not a number is before it as well
    return found
