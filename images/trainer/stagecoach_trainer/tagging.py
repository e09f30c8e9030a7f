"""What a model finds in a row by the tags of its tokens: what `compare` counts, and a gate judges, of a
TokenClassification.

An entity is right when its place and its label are. What was cut off a row is there and cannot be found. A row that is
read in chunks is one row all the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

from stagecoach.contract import alignment
from stagecoach.contract.alignment import Places
from stagecoach.contract.entities import Score, overall, scores
from stagecoach.contract.prompts import Encoded, Encoder, encoder_for
from stagecoach.contract.records import RunRecord
from stagecoach.contract.tagged import Marked, Words
from stagecoach_trainer import asking, bases
from stagecoach_trainer.asking import Ask, Prompts, Questions
from stagecoach_trainer.bases import Base
from stagecoach_trainer.choosing import logits

Scores = dict[str, Score]
# In the place of a tag that could not be computed, because what the model says is not a number.
UNKNOWN = "?"


def found(record: RunRecord, base: Base, artifact: str, rows: Sequence[Words | Marked], batch: int) -> list[Scores]:
    """Return by label how much the base, and what was trained from it, find."""
    inputs = record.inputs
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    read = [located(tokens, row) for row in rows]
    return [
        scores(
            (alignment.given(row), alignment.found(row, where.places, tags))
            for row, where, tags in zip(rows, read, answers, strict=True)
        )
        for answers in asking.both(record, base, artifact, questions(record.labels, read), batch)
    ]


class Located(NamedTuple):
    """A row's chunks as tokens, and where in its text each of these is."""

    chunks: tuple[Encoded, ...]
    places: Places


def located(tokens: Encoder, row: Words | Marked) -> Located:
    """Return a row as tokens. Raises TooLong, and BadInput when the template refuses it."""
    read = tokens.all_of(row)
    places = list(chain(*alignment.places_of_all(tokens, read)))
    # The chunks stay while models are asked, and what places were made of is much memory.
    return Located(tuple(replace(chunk, offsets=None) for chunk in read), places)


def questions(labels: tuple[str, ...], rows: Sequence[Located]) -> Questions[list[str], list[list[str]]]:
    """Return what is asked of rows: a tag for each token of a row's chunks, and none where none could be computed."""
    chunks = [row.chunks for row in rows]

    def tags(answers: list[list[str]]) -> list[list[str]]:
        return [list(chain(*of_row)) for of_row in asking.by_row(chunks, answers)]

    return Questions(asking.prompts_of(chunks), lambda model: _reader(model, labels), tags)


def _reader(model: Any, labels: tuple[str, ...]) -> Ask[list[str]]:
    named = (*labels, UNKNOWN)

    def read(prompts: Prompts) -> list[list[str]]:
        said = logits(model, prompts)
        known = said.isfinite().all(dim=-1)
        best = said.argmax(dim=-1).where(known, -1).tolist()
        return [[named[index] for index in row[: len(prompt)]] for row, prompt in zip(best, prompts, strict=True)]

    return read


def table(base: Scores, tuned: Scores, name: str) -> str:
    """Return F1, precision and recall of all entities and F1 by label, as plain text; `name` is what was trained."""
    one, other = overall(base), overall(tuned)
    lines = [
        ("F1", one.given, one.f1, other.f1),
        ("precision", one.given, one.precision, other.precision),
        ("recall", one.given, one.recall, other.recall),
        *((label, score.given, score.f1, after.f1) for label, score, after in _by_label(base, tuned)),
    ]
    width = max(len(line[0]) for line in lines)
    head = f"{'':{width}}  {'entities':>8}  {'base':>6}  {name:>7}"
    return "\n".join(
        (head, *(f"{what:{width}}  {given:>8}  {before:>6.3f}  {after:>7.3f}" for what, given, before, after in lines))
    )


def numbers(base: Scores, tuned: Scores, name: str) -> dict[str, Any]:
    """Return the same for programs."""
    one, other = overall(base), overall(tuned)

    def pair(before: float, after: float, given: int) -> dict[str, Any]:
        return {"entities": given, "base": before, name: after}

    return {
        "f1": pair(one.f1, other.f1, one.given),
        "precision": pair(one.precision, other.precision, one.given),
        "recall": pair(one.recall, other.recall, one.given),
        "labels": {label: pair(score.f1, after.f1, score.given) for label, score, after in _by_label(base, tuned)},
    }


def _by_label(base: Scores, tuned: Scores) -> list[tuple[str, Score, Score]]:
    """Return both scores of each label that is in the rows; what is found of another is in the precision."""
    there = sorted({label for scored in (base, tuned) for label, score in scored.items() if score.given})
    return [(label, base[label], tuned[label]) for label in there]
