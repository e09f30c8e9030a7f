"""Rows as what a model is asked, and those that cannot be asked, with the reason: the same whatever the engine is."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from stagecoach.contract import progress
from stagecoach.contract.answers import Answer
from stagecoach.contract.prompts import TooLong
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import AnyRow

MAX_ERROR = 500  # characters
NOT_NUMBERS = "what the model computes for this row is not a number"

Read = TypeVar("Read")


def each(rows: Sequence[AnyRow], read: Callable[[AnyRow], Read]) -> tuple[dict[int, Read], dict[int, Answer]]:
    """Return by their positions the rows that can be asked, as tokens, and the answers of those that cannot."""
    asked: dict[int, Read] = {}
    refused: dict[int, Answer] = {}
    for position, row in enumerate(rows):
        progress.made()
        try:
            asked[position] = read(row)
        except TooLong as error:
            refused[position] = none(position, str(error))
        except BadInput as error:
            refused[position] = none(position, error.problem.message)
    return asked, refused


def none(row: int, why: str) -> Answer:
    """Return the answer of a row that has none."""
    return Answer(row=row, error=why if len(why) <= MAX_ERROR else f"{why[: MAX_ERROR - 1]}…")
