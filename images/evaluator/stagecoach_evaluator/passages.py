"""The passages among which a query's own is looked for, and a rank as an answer: the same whatever the engine is."""

from collections.abc import Sequence
from contextlib import suppress

from stagecoach.contract.answers import Answer
from stagecoach.contract.prompts import Encoder, TooLong
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import AnyRow, Match
from stagecoach_evaluator.reading import NOT_NUMBERS, none


def of(rows: Sequence[AnyRow], encoder: Encoder) -> dict[str, tuple[int, ...]]:
    """Return the passages that can be read, as tokens, whether or not their query can be: each makes it harder."""
    found = {}
    for text in dict.fromkeys(row.positive for row in rows if isinstance(row, Match)):
        with suppress(TooLong, BadInput):
            found[text] = encoder.encode(text).ids
    return found


def ranked(ranks: Sequence[int], passages: int) -> list[Answer]:
    """Return ranks as answers. Behind the last place is who is nowhere."""
    return [none(0, NOT_NUMBERS) if rank > passages else Answer(row=0, rank=rank) for rank in ranks]
