"""What an engine is asked where an encoder reads a text, and what its answer is: the same judged and served.

Prompts are token ids, so that nobody tokenizes twice. Requests are those of `/classify` and `/v1/embeddings` of vLLM
0.32, apart from `model`.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from stagecoach.contract.completions import NoAnswer, NotNumbers
from stagecoach.contract.inputs import Family, OfTask

CLASSIFY, EMBED = "/classify", "/v1/embeddings"
# So much the sum of probabilities, or a vector's length, may be off by: they are computed in float32 at least.
OFF_BY = 1e-3
# Of a base that makes vectors without having been trained for it here: so the class ends by whose name vLLM finds its
# weights. It does not find those of a `BertForMaskedLM`; the like of other families are not asked.
PLAIN = "Model"


class Reads(StrEnum):
    """What an encoder makes of a text."""

    LABELS = "Labels"  # a probability of each
    VECTORS = "Vectors"


def reads(of: OfTask) -> Reads | None:
    """Return what an engine is asked of such a model; None of one that is asked to write, or for tags."""
    if of.family is not Family.ENCODER or of.tags:
        return None
    return Reads.VECTORS if of.embeds else Reads.LABELS


def makes_vectors(architecture: str) -> bool:
    """Whether vLLM finds the weights of a base that is stored as this class, to make vectors by it untrained."""
    return architecture.endswith(PLAIN)


def classifying(prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the request for the probability of each label, of each prompt."""
    return {"input": [[*prompt] for prompt in prompts]}


def embedding(prompt: Sequence[int]) -> dict[str, Any]:
    """Return the request for the vector of a prompt."""
    return {"input": [*prompt], "encoding_format": "float"}


def probabilities(document: Any, prompts: int, labels: int | None = None) -> list[list[float]]:
    """Return the probability of each label, of each prompt in order; None: of however many labels.

    Raises NoAnswer and NotNumbers.
    """
    each = _rows(document, "probs")
    if len(each) != prompts or any(labels not in (None, len(row)) for row in each):
        raise NoAnswer("what it said has no probability for each label")
    if any(min(row) < 0 or abs(sum(row) - 1) > OFF_BY for row in each):
        raise NoAnswer("what it said are no probabilities of which one label has to be right")
    return each


def vector(document: Any) -> list[float]:
    """Return the vector of the prompt. Raises NoAnswer and NotNumbers."""
    each = _rows(document, "embedding")
    if len(each) != 1 or abs(math.hypot(*each[0]) - 1) > OFF_BY:
        raise NoAnswer("what it said is not one vector of length 1")
    return each[0]


def _rows(document: Any, name: str) -> list[list[float]]:
    """Return the numbers of each row of an answer, in the order of what was asked. Raises NoAnswer and NotNumbers."""
    try:
        rows = [row[name] for row in sorted(document["data"], key=lambda row: row["index"])]
    except (KeyError, TypeError) as error:
        raise NoAnswer("what it said is no answer") from error
    if not all(isinstance(row, list) and row and all(map(_is_number, row)) for row in rows):
        raise NoAnswer("what it said are no lists of numbers")
    finite = [[float(number) for number in row if number is not None and math.isfinite(number)] for row in rows]
    if any(len(one) < len(other) for one, other in zip(finite, rows, strict=True)):
        # There is no NaN in JSON: it is refused (completions.NOT_JSON), or told as null.
        raise NotNumbers
    return finite


def _is_number(said: Any) -> bool:
    """Whether it is a number as JSON has them, or what is told in the place of one that JSON has no word for."""
    return said is None or type(said) in (int, float)
