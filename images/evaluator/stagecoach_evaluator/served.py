"""Asking releases the rows of suites through the engine that serves them: vLLM, beside this container.

An adapter is served beside its base, as it is: merged into it, sums would be added in another order than where the
adapter is served. A whole model is served in the place of the base, and so is whatever was made of an encoder.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stagecoach.contract import completions, readings, serving
from stagecoach.contract.answers import Answer
from stagecoach.contract.completions import NotNumbers
from stagecoach.contract.digests import hex_of
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.label_choice import LabelChoice
from stagecoach.contract.prompts import Encoded, Encoder
from stagecoach.contract.readings import Reads
from stagecoach.contract.store import Store
from stagecoach_evaluator import engine, heads, laying, pieces, reading, taking
from stagecoach_evaluator.engine import Away, Client, Patience, Served
from stagecoach_evaluator.parties import Party
from stagecoach_evaluator.pieces import Pieces
from stagecoach_evaluator.reading import NOT_NUMBERS, none
from stagecoach_evaluator.served_encoders import Choosing, Finding
from stagecoach_evaluator.server import Server
from stagecoach_evaluator.suites import Rows
from stagecoach_evaluator.telling import Teller
from stagecoach_trainer import bases, lengths
from stagecoach_trainer.bases import Base
from stagecoach_trainer.train import say

Answered = tuple[Rows, tuple[Answer, ...], float]


@dataclass
class Asker:
    """What it takes to ask: the engine, with base and artifact where it finds them."""

    server: Server
    pieces: pieces.All
    ranks: Mapping[str, int]  # by base, of the adapters of it that are asked: the largest, as the engine counts
    engine_image: str
    unasked: frozenset[str] = frozenset()
    engine: str = ""  # what answers: known once it does

    def ask(self, party: Party, suites: Sequence[Rows], teller: Teller) -> Iterator[Answered]:
        """Yield the answers of a release to each suite, with the seconds it took. Two models are never in memory."""
        tokens = pieces.encoder(party, self.base(party))
        limit = self._limit(party, tokens)
        words, name = self.served(party, limit)
        patience = Patience(partial(self.server.wait, name), self.server.see)
        rows = self._rows(party, tokens, limit, patience)
        say(f"waiting for the engine to serve {party.name}")
        version = self.server.serve(words, name)
        taking.check_version(version, f"the engine ({self.engine_image})")
        self.engine = f"{self.engine_image}, vLLM {version}"
        for each in suites:
            begun = time.monotonic()
            answers = tuple(rows.answers(each, partial(teller.made, party.name)))
            teller.done(len(answers))
            yield each, answers, time.monotonic() - begun

    def base(self, party: Party) -> Base:
        """Return the base of a release."""
        return self.pieces[party.release.digest].base

    def served(self, party: Party, limit: int) -> tuple[list[str], str]:
        """Return the server's arguments, and by which name it is known that they are those that are served."""
        whole, base = _whole(party), self.base(party).model
        name = hex_of(party.release.artifact) if whole and party.release.artifact else hex_of(base)
        words = taking.words(name, limit, party.release.engine.precision)
        if what := readings.reads(party.asked):
            words += taking.of_an_encoder(what, self.base(party), limit)
        if base in self.ranks and not whole:
            words += ["--enable-lora", "--max-lora-rank", str(self.ranks[base])]
        return words, name

    def _limit(self, party: Party, tokens: Encoder) -> int:
        """Return how many tokens may come together: the engine takes no more than the base has positions for."""
        told = lengths.of(tokens, party.labels)
        return min(told.rule.max_length + told.written, self.base(party).context)

    def _rows(self, party: Party, tokens: Encoder, limit: int, patience: Patience) -> "_Writing | Choosing | Finding":
        """Return what asks rows. A release is asked by the name of its adapter, or that of a whole model."""
        served = Served(self.server.client, hex_of(party.release.artifact or self.base(party).model), patience)
        match readings.reads(party.asked):
            case Reads.LABELS:
                return Choosing(party.labels, tokens, served)
            case Reads.VECTORS:
                return Finding(tokens, served)
            case None:
                return _Writing(party.labels, tokens, limit, served)


def ready(job: EvaluateJob, wanted: Sequence[Party], storage: Store) -> Asker:
    """Return what asks these. Raises BadInput when one of them cannot be asked, before any of them is."""
    for party in wanted:
        taking.check_task(party.asked, party.name)
    found = pieces.ready(job, wanted, storage)
    ranks: dict[str, int] = {}
    unasked = []
    for party in wanted:
        own = found[party.release.digest]
        if heads.chooses_by_chance(party, own.base):
            unasked.append(party.release.digest)
            continue
        if party.record is None:
            pieces.check_base(party, own.base)
            taking.check_base(party.asked, own.base)
        if rank := _laid(party, own):
            ranks[own.base.model] = max(rank, ranks.get(own.base.model, 0))
    see = f"See kubectl logs {os.environ.get('HOSTNAME', 'POD')} -n {job.subject.namespace} -c {serving.CONTAINER}."
    asker = Asker(Server(Client(serving.PORT), see), found, ranks, job.engine_image or "", frozenset(unasked))
    for party in wanted:
        if party.release.digest not in unasked:
            asker.served(party, 0)
    return asker


def _laid(party: Party, own: Pieces) -> int | None:
    """Lay a release where the engine finds it; return the rank of an adapter, as the engine counts."""
    laying.base(own.base)
    if party.record is None or own.artifact is None:
        return None
    digest = party.record.artifact.digest
    if _whole(party):
        laying.whole(digest, own.artifact, own.base)
        return None
    taking.check_adapter(party.asked)
    rank = serving.rank(taking.rank(Path(own.artifact) / bases.ADAPTER))
    laying.lay(f"{laying.ADAPTERS}/{hex_of(digest)}", laying.files(own.artifact))
    return rank


def _whole(party: Party) -> bool:
    return party.record is not None and party.record.artifact.type == "Model"


class _Writing:
    """What a decoder is asked of rows, and what it writes for each."""

    def __init__(self, labels: tuple[str, ...], tokens: Encoder, limit: int, served: Served) -> None:
        self._labels, self._tokens, self._limit, self._served = labels, tokens, limit, served
        self._answer = lengths.of(tokens, labels).written
        self._choice = LabelChoice(tuple(tokens.completion(label) for label in labels))

    def answers(self, rows: Rows, tell: Callable[[int, int, int], None]) -> list[Answer]:
        """Return an answer for each row; of a row that cannot be asked, why."""
        count = len(rows.dataset.rows)
        read, found = reading.each(rows.dataset.rows, self._tokens.all_of)
        fit = {position: chunks for position, chunks in read.items() if self._fits(chunks)}
        for position in read.keys() - fit.keys():
            found[position] = none(position, self._too_long(read[position]))

        def ask(item: tuple[int, Sequence[Encoded]]) -> Answer:
            position, [prompt] = item
            place = rows.dataset.place(position)
            return self._served.patience.ask(place, lambda: self._answered(position, prompt.ids))

        said = engine.side_by_side(ask, list(fit.items()), serving.AT_ONCE, lambda done: tell(done, len(fit), count))
        found |= zip(fit, said, strict=True)
        return [found[position] for position in range(count)]

    def _fits(self, chunks: Sequence[Encoded]) -> bool:
        return len(chunks[0].ids) + self._answer <= self._limit

    def _too_long(self, chunks: Sequence[Encoded]) -> str:
        return (
            f"{len(chunks[0].ids)} tokens, and {self._answer} of an answer, and the model takes {self._limit} together"
        )

    def _answered(self, row: int, prompt: tuple[int, ...]) -> Answer:
        try:
            if not self._labels:
                return Answer(row=row, text=self._write(prompt))
            return Answer(row=row, label=self._labels[self._choice.choose(partial(self._next, prompt))])
        except NotNumbers:
            return none(row, NOT_NUMBERS)

    def _next(self, prompt: tuple[int, ...], written: tuple[int, ...], allowed: Sequence[int]) -> int:
        tokens = self._served.client.complete(self._served.model, (*prompt, *written), completions.choosing(allowed))
        if len(tokens) != 1 or tokens[0] not in allowed:
            raise Away("what it said is not one token of those that were allowed")
        return tokens[0]

    def _write(self, prompt: tuple[int, ...]) -> str:
        request = completions.writing(self._answer, self._tokens.end[-1])
        tokens = self._served.client.complete(self._served.model, prompt, request)
        return str(self._tokens.tokenizer.decode(list(tokens), skip_special_tokens=True))
