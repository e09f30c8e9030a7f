"""Asking releases the rows of suites through the engine that serves them: vLLM, beside this container.

An adapter is served beside its base, as it is: merged into it, sums would be added in another order than where the
adapter is served. A whole model is served in the place of the base.
"""

import json
import os
import re
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stagecoach.contract import completions, mounts, serving
from stagecoach.contract.answers import Answer
from stagecoach.contract.completions import NotNumbers
from stagecoach.contract.digests import hex_of
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.inputs import Family
from stagecoach.contract.label_choice import LabelChoice
from stagecoach.contract.prompts import Encoded, Encoder
from stagecoach.contract.releases import Precision
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store
from stagecoach_evaluator import engine, pieces, reading, server
from stagecoach_evaluator.engine import Away, Client, Patience
from stagecoach_evaluator.parties import Parties, Party
from stagecoach_evaluator.reading import NOT_NUMBERS, none
from stagecoach_evaluator.server import Server
from stagecoach_evaluator.suites import Rows
from stagecoach_evaluator.telling import Teller
from stagecoach_trainer import bases, lengths
from stagecoach_trainer.bases import Base
from stagecoach_trainer.train import say

BY_TRANSFORMERS = "Set the project's spec.inference.engine to Transformers."
NUMBERS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
# Of vLLM. Its arguments, the ranks that it takes, how it loads adapters and what it answers were tested with this one.
OLDEST = (0, 32)

Answered = tuple[Rows, tuple[Answer, ...], float]


@dataclass
class Asker:
    """What it takes to ask: the engine, with base and artifact where it finds them."""

    server: Server
    base: Base
    rank: int | None  # of an adapter that is asked, as the engine counts
    engine_image: str
    unasked: frozenset[str] = frozenset()
    engine: str = ""  # what answers: known once it does

    def ask(self, party: Party, suites: Sequence[Rows], teller: Teller) -> Iterator[Answered]:
        """Yield the answers of a release to each suite, with the seconds it took. Two models are never in memory."""
        rows = _Rows(party, pieces.encoder(party, self.base), self)
        say(f"waiting for the engine to serve {party.name}")
        version = self.server.serve(*self.served(party, rows.limit))
        _check_version(version, self.engine_image)
        self.engine = f"{self.engine_image}, vLLM {version}"
        for each in suites:
            begun = time.monotonic()
            answers = tuple(rows.answers(each, partial(teller.made, party.name)))
            teller.done(len(answers))
            yield each, answers, time.monotonic() - begun

    def served(self, party: Party, limit: int) -> tuple[list[str], str]:
        """Return the server's arguments, and by which name it is known that they are those that are served."""
        whole = _whole(party)
        name = hex_of(party.release.artifact) if whole and party.release.artifact else hex_of(self.base.model)
        words = ["--model", f"{mounts.MODELS}/{name}", "--served-model-name", name, "--max-model-len", str(limit)]
        words += ["--dtype", _numbers(party.release.engine.precision, server.models() / name)]
        if self.rank and not whole:
            words += ["--enable-lora", "--max-lora-rank", str(self.rank)]
        return words, name

    def asked(self, party: Party) -> str:
        """Return the name by which a release is asked: an adapter's, or that of a whole model."""
        return hex_of(party.release.artifact or self.base.model)


def ready(job: EvaluateJob, parties: Parties, wanted: Sequence[Party], storage: Store) -> Asker:
    """Return what asks these. Raises BadInput when one of them cannot be asked, before any of them is."""
    if parties.record.inputs.family is not Family.DECODER:
        message = f"the engine vLLM is asked for decoders alone, and the run {job.run} is of another architecture."
        raise BadInput(Problem.of("EngineUnsuited", message, remedy=BY_TRANSFORMERS))
    base = pieces.base(job, parties)
    for party in wanted:
        if party.record is None:
            pieces.check_base(party, base)
    artifact = pieces.artifact(job, parties, wanted, storage)
    server.lay(hex_of(base.model), _files(base.folder, tokenizer=True))
    server.lay(Path(serving.ADAPTERS).name, ())
    rank = None
    if artifact and _whole(parties.candidate):
        # It lies in the storage without its tokenizer, which is the base's.
        both = [*_files(artifact), *((base.folder, name) for name in _names(base.folder) & bases.TOKENIZER_FILES)]
        server.lay(hex_of(parties.record.artifact.digest), both)
    elif artifact:
        rank = _rank(Path(artifact) / bases.ADAPTER)
        server.lay(f"{Path(serving.ADAPTERS).name}/{hex_of(parties.record.artifact.digest)}", _files(artifact))
    see = f"See kubectl logs {os.environ.get('HOSTNAME', 'POD')} -n {job.subject.namespace} -c {serving.CONTAINER}."
    asker = Asker(Server(Client(serving.PORT), see), base, rank, job.engine_image or "")
    for party in wanted:
        asker.served(party, 0)
    return asker


def _check_version(version: str, image: str) -> None:
    """Raise BadInput for a vLLM that does not say its version, or is older than what was tested."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) >= OLDEST:
        return
    oldest = ".".join(map(str, OLDEST))
    message = f"the engine ({image}) says version {version!r}, and nothing before vLLM {oldest} was tested."
    remedy = f"Whoever installed the operator sets engine.image of the chart to vLLM {oldest} or later."
    raise BadInput(Problem.of("EngineUnsuited", message, remedy=remedy))


def _whole(party: Party) -> bool:
    return party.record is not None and party.record.artifact.type == "Model"


def _names(folder: str) -> set[str]:
    return {each.name for each in Path(folder).iterdir()}


def _files(folder: str, *, tokenizer: bool = False) -> list[tuple[str, str]]:
    """Return what of a folder is in its digest, where a folder may hold more."""
    known = bases.TOKENIZER_FILES if tokenizer else set()
    names = (name for name in _names(folder) if bases.is_model_file(name) or name == bases.ADAPTER or name in known)
    return [(folder, name) for name in sorted(names)]


def _rank(config: Path) -> int:
    """Return the rank that the engine has to be prepared for. Raises BadInput for an adapter that it does not take."""
    found: dict[str, Any] = json.loads(config.read_text())
    others = (
        ("peft_type", found.get("peft_type") != "LORA"),
        ("use_dora", found.get("use_dora")),
        ("modules_to_save", found.get("modules_to_save")),
        # The engine has one rank for all modules, and reads neither.
        ("rank_pattern", found.get("rank_pattern")),
        ("alpha_pattern", found.get("alpha_pattern")),
    )
    fitting = next((rank for rank in serving.RANKS if rank >= (found.get("r") or 0)), None)
    wrong = next((name for name, other in others if other), None) or (None if fitting else "r")
    if wrong or fitting is None:
        message = f"the adapter's {wrong} is {found.get(wrong or '')}, which the engine vLLM does not take."
        raise BadInput(Problem.of("EngineUnsuited", message, remedy=BY_TRANSFORMERS))
    return fitting


def _numbers(precision: Precision, folder: Path) -> str:
    """Return the number format: as the model's files say, as transformers reads them; vLLM's own `auto` is another.

    Raises BadInput for any other word: it becomes an argument in a command line.
    """
    if precision is not Precision.AUTO:
        return precision.value
    config = json.loads((folder / bases.CONFIG).read_text())
    said = config.get("dtype") or config.get("torch_dtype")
    if not said:
        return _of_weights(folder)
    word = str(said).removeprefix("torch.")
    if word not in NUMBERS.values():
        message = (
            f"dtype in the model's {bases.CONFIG} is {word[:60]!r}, and the engine takes {', '.join(NUMBERS.values())}."
        )
        remedy = f"Set the project's spec.inference.precision to one of these. {BY_TRANSFORMERS}"
        raise BadInput(Problem.of("EngineUnsuited", message, remedy=remedy))
    return word


def _of_weights(folder: Path) -> str:
    """Return the number format of the first weights that are fractions."""
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        kinds = [each["dtype"] for name, each in header.items() if name != "__metadata__"]
        if found := next((NUMBERS[kind] for kind in kinds if kind in NUMBERS), None):
            return found
    return "float32"


class _Rows:
    """What a release is asked of rows, and what it says of each."""

    def __init__(self, party: Party, tokens: Encoder, asker: Asker) -> None:
        self._party = party
        self._tokens = tokens
        self._client = asker.server.client
        self._model = asker.asked(party)
        told = lengths.of(tokens, party.labels)
        self._answer = told.written
        # What both may have together: the engine takes no more than the base has positions for.
        self.limit = min(told.rule.max_length + told.written, asker.base.context)
        _, name = asker.served(party, self.limit)
        self._patience = Patience(partial(asker.server.wait, name), asker.server.see)
        self._choice = LabelChoice(tuple(tokens.completion(label) for label in party.labels))

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
            return self._patience.ask(place, lambda: self._answered(position, prompt.ids))

        said = engine.side_by_side(ask, list(fit.items()), serving.AT_ONCE, lambda done: tell(done, len(fit), count))
        found |= zip(fit, said, strict=True)
        return [found[position] for position in range(count)]

    def _fits(self, chunks: Sequence[Encoded]) -> bool:
        return len(chunks[0].ids) + self._answer <= self.limit

    def _too_long(self, chunks: Sequence[Encoded]) -> str:
        return (
            f"{len(chunks[0].ids)} tokens, and {self._answer} of an answer, and the model takes {self.limit} together"
        )

    def _answered(self, row: int, prompt: tuple[int, ...]) -> Answer:
        try:
            if not self._party.labels:
                return Answer(row=row, text=self._write(prompt))
            return Answer(row=row, label=self._party.labels[self._choice.choose(partial(self._next, prompt))])
        except NotNumbers:
            return none(row, NOT_NUMBERS)

    def _next(self, prompt: tuple[int, ...], written: tuple[int, ...], allowed: Sequence[int]) -> int:
        tokens = self._client.complete(self._model, (*prompt, *written), completions.choosing(allowed))
        if len(tokens) != 1 or tokens[0] not in allowed:
            raise Away("what it said is not one token of those that were allowed")
        return tokens[0]

    def _write(self, prompt: tuple[int, ...]) -> str:
        request = completions.writing(self._answer, self._tokens.end[-1])
        tokens = self._client.complete(self._model, prompt, request)
        return str(self._tokens.tokenizer.decode(list(tokens), skip_special_tokens=True))
