"""Asking encoders the rows of suites through the engine that serves them: which label, or how near a passage is.

A release is a whole model there, since the engine is not asked for adapters of encoders; or it is the base itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stagecoach.contract import serving
from stagecoach.contract.answers import Answer
from stagecoach.contract.combining import combined
from stagecoach.contract.completions import NotNumbers
from stagecoach.contract.prompts import Encoded, Encoder, for_passages
from stagecoach_evaluator import engine, passages, reading
from stagecoach_evaluator.engine import Served
from stagecoach_evaluator.reading import NOT_NUMBERS, none
from stagecoach_evaluator.suites import Rows
from stagecoach_trainer import nearest
from stagecoach_trainer.nearest import Vector

Tell = Callable[[int, int, int], None]
Ids = tuple[int, ...]


class Choosing:
    """Which label is the likeliest for each row, and how likely each is."""

    def __init__(self, labels: tuple[str, ...], tokens: Encoder, served: Served) -> None:
        self._labels, self._tokens, self._served = labels, tokens, served

    def answers(self, rows: Rows, tell: Tell) -> list[Answer]:
        """Return an answer for each row; of a row that cannot be asked, why."""
        count = len(rows.dataset.rows)
        read, found = reading.each(rows.dataset.rows, self._tokens.all_of)

        def ask(item: tuple[int, Sequence[Encoded]]) -> Answer:
            position, chunks = item
            place = rows.dataset.place(position)
            return self._served.patience.ask(place, lambda: self._answered(position, [chunk.ids for chunk in chunks]))

        said = engine.side_by_side(ask, list(read.items()), serving.AT_ONCE, lambda done: tell(done, len(read), count))
        found |= zip(read, said, strict=True)
        return [found[position] for position in range(count)]

    def _answered(self, row: int, chunks: Sequence[Ids]) -> Answer:
        try:
            each = self._served.client.classify(self._served.model, chunks, len(self._labels))
        except NotNumbers:
            return none(row, NOT_NUMBERS)
        chunk = self._tokens.tokenization.chunk
        scores = combined(each, chunk.combine) if chunk and chunk.combine else each[0]
        return Answer(row=row, label=self._labels[scores.index(max(scores))], scores=tuple(scores))


class Finding:
    """At which rank the passage of each row's query is found among those of all rows."""

    def __init__(self, tokens: Encoder, served: Served) -> None:
        self._queries, self._passages, self._served = tokens, for_passages(tokens), served

    def answers(self, rows: Rows, tell: Tell) -> list[Answer]:
        """Return an answer for each row; of a row that cannot be asked, why."""
        given = rows.dataset.matches
        read, found = reading.each(given, self._read)
        among = passages.of(given, self._passages)
        queries = {given[position].query: ids for position, ids in read.items()}
        if queries:
            prompts = [*queries.items(), *among.items()]
            vectors = self._vectors(rows, prompts, lambda done: tell(done, len(prompts), len(given)))
            own, others = vectors[: len(queries)], vectors[len(queries) :]
            asked = [given[position] for position in read]
            ranks = nearest.ranks(asked, dict(zip(queries, own, strict=True)), dict(zip(among, others, strict=True)))
            found |= zip(read, passages.ranked(ranks, len(among)), strict=True)
        return [found[position].model_copy(update={"row": position}) for position in range(len(given))]

    def _read(self, row: Any) -> Ids:
        """Return a row's query as tokens. Raises TooLong where that, or its passage, is too long to be read."""
        self._passages.encode(row.positive)
        return self._queries.encode(row.query).ids

    def _vectors(self, rows: Rows, prompts: Sequence[tuple[str, Ids]], tell: Callable[[int], None]) -> list[Vector]:
        """Return a vector for each; of what the model computes no numbers for, one that nothing is near to."""
        places = _places(rows)

        def ask(item: tuple[str, Ids]) -> Vector | None:
            text, ids = item
            return self._served.patience.ask(places[text], lambda: self._vector(ids))

        found = engine.side_by_side(ask, prompts, serving.AT_ONCE, tell)
        width = next((len(vector) for vector in found if vector is not None), 1)
        nothing: Vector = np.full(width, np.nan, np.float32)
        return [nothing if vector is None else vector for vector in found]

    def _vector(self, ids: Ids) -> Vector | None:
        try:
            return np.array(self._served.client.embed(self._served.model, ids), np.float32)
        except NotNumbers:
            return None


def _places(rows: Rows) -> dict[str, str]:
    """Return the first place of each text."""
    found: dict[str, str] = {}
    for position, row in enumerate(rows.dataset.matches):
        for text in (row.query, row.positive):
            found.setdefault(text, rows.dataset.place(position))
    return found
