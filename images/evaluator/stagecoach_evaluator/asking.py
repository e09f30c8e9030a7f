"""Asking releases the rows of suites, by the library that trained them: the engine Transformers."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from stagecoach.contract import alignment
from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.prompts import Encoder, for_passages
from stagecoach.contract.rows import AnyRow, Match
from stagecoach.contract.store import Store
from stagecoach.contract.tagged import Marked, Words
from stagecoach_evaluator import heads, passages, pieces, reading
from stagecoach_evaluator.harness import Task
from stagecoach_evaluator.parties import Party
from stagecoach_evaluator.pieces import Pieces
from stagecoach_evaluator.reading import NOT_NUMBERS, none
from stagecoach_evaluator.suites import Rows
from stagecoach_evaluator.telling import Teller
from stagecoach_trainer import asking as models
from stagecoach_trainer import bases, choosing, finding, tagging, writing
from stagecoach_trainer.asking import Loaded, Model, Questions, Tuned
from stagecoach_trainer.bases import Base

BATCH = 16

Answered = tuple[Rows, tuple[Answer, ...], float]


@dataclass(frozen=True)
class Asker:
    """What it takes to ask, and whom nobody need ask."""

    pieces: pieces.All
    unasked: frozenset[str] = frozenset()  # the releases that answer by chance
    engine: None = None  # in a container of its own

    def ask(self, party: Party, suites: Sequence[Rows], teller: Teller) -> Iterator[Answered]:
        """Yield the answers of a release to each suite, with the seconds it took. Two models are never in memory."""
        own = self.pieces[party.release.digest]
        tokens = pieces.encoder(party, own.base)
        with models.loaded(_model(party, own)) as loaded:
            # To write for the project's rows changes the model's settings, which lm-eval takes as they are: that first.
            for rows in sorted(suites, key=lambda rows: rows.harness is None):
                begun = time.monotonic()
                count = len(rows.dataset.rows)
                tell = partial(teller.made, party.name)
                if rows.harness is not None:
                    answers = _by_harness(rows.harness, loaded, own.base)
                else:
                    answers = tuple(_Rows(party, tokens, own.base).answers(rows.dataset.rows, loaded, tell))
                teller.done(count)
                yield rows, answers, time.monotonic() - begun


def _by_harness(task: Task, loaded: Loaded, base: Base) -> tuple[Answer, ...]:
    """Return the answers as lm-evaluation-harness gets them: by its own prompts, not by the project's."""
    from stagecoach_evaluator import harness_asking

    batch = BATCH if loaded.padded else 1
    return tuple(harness_asking.answers(task, loaded.model, bases.load_tokenizer(base), batch))


def _model(party: Party, own: Pieces) -> Model:
    tuned = Tuned.of(party.record, own.artifact) if party.record and own.artifact else None
    return Model(party.asked, party.labels, own.base, tuned, party.release.engine.precision, party.seed)


def ready(job: EvaluateJob, wanted: Sequence[Party], storage: Store) -> Asker:
    """Return what asks these. Raises BadInput when one of them cannot be asked, before any of them is."""
    found = pieces.ready(job, wanted, storage)
    unasked = []
    for party in wanted:
        base = found[party.release.digest].base
        if heads.chooses_by_chance(party, base):
            unasked.append(party.release.digest)
        elif party.record is None:
            pieces.check_base(party, base)
    return Asker(found, frozenset(unasked))


class _Rows:
    """What a release is asked of rows, and what it says of each."""

    def __init__(self, party: Party, tokens: Encoder, base: Base) -> None:
        self._party = party
        self._tokens = tokens
        self._passages = for_passages(tokens)
        self._base = base
        self._others: tuple[str, ...] = ()

    def answers(self, rows: Sequence[AnyRow], model: Loaded, tell: Callable[[int, int, int], None]) -> list[Answer]:
        """Return an answer for each row; of a row that cannot be asked, why."""
        self._others = tuple(passages.of(rows, self._passages))
        read, found = reading.each(rows, self._read)
        if read:
            questions = self._questions([rows[position] for position in read], list(read.values()))
            prompts = len(questions.prompts)
            said = model.answers(questions, BATCH, lambda done: tell(done, prompts, len(rows)))
            found |= zip(read, said, strict=True)
        return [found[position].model_copy(update={"row": position}) for position in range(len(rows))]

    def _read(self, row: AnyRow) -> Any:
        """Return a row as tokens. Raises TooLong, and BadInput when the template refuses it."""
        if isinstance(row, Match):
            return self._tokens.encode(row.query), self._passages.encode(row.positive)
        if isinstance(row, Words | Marked):
            return tagging.located(self._tokens, row)
        return self._tokens.all_of(row)

    def _questions(self, rows: Sequence[Any], read: Sequence[Any]) -> Questions[Any, list[Answer]]:
        asked, labels = self._party.asked, self._party.labels
        if asked.embeds:
            return _then(
                finding.questions(self._base.pooling, self._tokens, rows, self._others),
                partial(passages.ranked, passages=len({*(row.positive for row in rows), *self._others})),
            )
        if asked.tags:
            return _then(tagging.questions(labels, read), partial(_tagged, rows, read, labels))
        if labels:
            return _then(choosing.questions(asked, labels, self._tokens, read), partial(_chosen, labels))
        return _then(writing.questions(self._tokens, read), _written)


def _then(questions: Questions[Any, Any], answers: Callable[[Any], list[Answer]]) -> Questions[Any, list[Answer]]:
    return Questions(questions.prompts, questions.asks, lambda found: answers(questions.read(found)))


def _tagged(
    rows: Sequence[Any], read: Sequence[tagging.Located], labels: Sequence[str], chosen: list[list[str]]
) -> list[Answer]:
    return [
        none(0, NOT_NUMBERS)
        if tagging.UNKNOWN in set(tags) - set(labels)
        else Answer(row=0, tags=alignment.answered(row, located.places, tags))
        for row, located, tags in zip(rows, read, chosen, strict=True)
    ]


def _chosen(labels: Sequence[str], choices: list[choosing.Choice]) -> list[Answer]:
    return [
        none(0, NOT_NUMBERS)
        if choice.label is None
        else Answer(row=0, label=labels[choice.label], scores=choice.scores)
        for choice in choices
    ]


def _written(texts: list[str | None]) -> list[Answer]:
    return [none(0, NOT_NUMBERS) if text is None else Answer(row=0, text=text) for text in texts]
