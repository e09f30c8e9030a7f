"""Rows that a suite has more than once: the same is asked of each, and the same is right.

Their answers are the same too, as one prompt has one answer. So they are one row that was drawn, and to count each
would make a number surer than its rows are.
"""

from collections.abc import Hashable, Sequence

from stagecoach.contract.rows import AnyRow, Match


def first(rows: Sequence[AnyRow]) -> tuple[int, ...]:
    """Return the positions of all rows but those that repeat an earlier one."""
    places: dict[Hashable, int] = {}
    for position, row in enumerate(rows):
        places.setdefault(_all_of(row), position)
    return tuple(places.values())


def _all_of(row: AnyRow) -> Hashable:
    """Return what is asked and what is right, to the letter: another letter may have another answer."""
    if isinstance(row, Match):  # what does not answer a query is for training
        return row.query, row.positive
    return row._replace(number=0)
