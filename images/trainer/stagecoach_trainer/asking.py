"""Asking a model prompts: a base as it is, or what was trained from it.

`compare` asks both, and an evaluation one release after the other. What is asked, and what the answers come to, is said
by one module for each kind of task: choosing, tagging, writing, finding.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Generic, Self, TypeVar

import torch
from peft import PeftModel

from stagecoach.contract.inputs import Family, OfTask
from stagecoach.contract.prompts import Encoded
from stagecoach.contract.records import Record, RunRecord
from stagecoach_trainer import bases
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import decoder, embedding, encoder, encoder_decoder, tagger

Answer = TypeVar("Answer")
Found = TypeVar("Found")
Prompts = Sequence[tuple[int, ...]]
Ask = Callable[[Prompts], list[Answer]]
# Virtual tokens stand right before the input: padding between the two would move it away from them.
UNPADDED = {"PrefixTuning", "PromptTuning", "PTuning"}


@dataclass(frozen=True)
class Questions(Generic[Answer, Found]):
    """Prompts, what asks them of a model, and what the answers to all of them come to."""

    prompts: Prompts
    asks: Callable[[Any], Ask[Answer]]
    read: Callable[[list[Answer]], Found]


@dataclass(frozen=True)
class Tuned:
    """What was trained from a base: where its files are, and what they are."""

    folder: str
    type: str  # Adapter or Model
    method: str

    @classmethod
    def of(cls, record: RunRecord, folder: str) -> Self:
        """Return the artifact of a record, whose files are in a folder."""
        return cls(folder, record.artifact.type, record.method)


@dataclass(frozen=True)
class Model:
    """What is asked: a base, or what was trained from it."""

    of: OfTask
    labels: tuple[str, ...]
    base: Base
    tuned: Tuned | None
    precision: str  # a number format, or auto: as its files say
    seed: int = 0  # of a head that the base lacks

    @property
    def padded(self) -> bool:
        """Whether prompts of different length may be asked together."""
        return self.tuned is None or self.tuned.method not in UNPADDED


class Loaded:
    """A model in memory."""

    def __init__(self, model: Model) -> None:
        self.model: Any = _loaded(model)
        self.padded = model.padded

    def answers(self, questions: Questions[Answer, Found], batch: int, tell: Callable[[int], None]) -> Found:
        """Return what its answers come to; `tell` hears how many prompts were answered."""
        batches = list(_batches(questions.prompts, batch, padded=self.padded))
        return questions.read(_answers(questions.asks(self.model), questions.prompts, batches, tell))

    def forget(self) -> None:
        """Leave the memory to another model."""
        self.model = None
        gc.collect()  # modules refer to each other


@contextmanager
def loaded(model: Model) -> Iterator[Loaded]:
    """Have a model in memory, and then no more."""
    ready = Loaded(model)
    try:
        yield ready
    finally:
        ready.forget()


def both(
    record: RunRecord, base: Base, artifact: str, questions: Questions[Answer, Found], batch: int
) -> tuple[Found, Found]:
    """Return what the answers of the base, and of what was trained from it, come to."""
    tuned = _model(record, base, Tuned.of(record, artifact))
    prompts = questions.prompts
    found = []
    for name, model in _models(record, tuned):
        ask = questions.asks(model)
        answers = _answers(ask, prompts, list(_batches(prompts, batch, padded=tuned.padded)), _teller(name, prompts))
        found.append(questions.read(answers))
        del model, ask  # before the next one is loaded
    return found[0], found[1]


def by_row(rows: Sequence[Sequence[Encoded]], answers: Sequence[Answer]) -> list[list[Answer]]:
    """Return the answers for each row's chunks, of answers to all of them in order."""
    left = iter(answers)
    return [list(islice(left, len(chunks))) for chunks in rows]


def prompts_of(rows: Sequence[Sequence[Encoded]]) -> list[tuple[int, ...]]:
    """Return the tokens of all rows' chunks, in order."""
    return [chunk.ids for chunks in rows for chunk in chunks]


def _model(record: RunRecord, base: Base, tuned: Tuned | None) -> Model:
    seed = record.inputs.hyperparameters.seed if isinstance(record, Record) else 0
    return Model(record.inputs, record.labels, base, tuned, record.precision, seed)


def _models(record: RunRecord, tuned: Model) -> Iterator[tuple[str, Any]]:
    """Yield base and tuned model by name, one after the other: two whole models are never in memory at once."""
    name = record.artifact.type.lower()
    if record.artifact.type == "Model":
        yield "base", _loaded(_model(record, tuned.base, None))
        yield name, _loaded(tuned)
        return
    model = _loaded(tuned)
    with model.disable_adapter():
        yield "base", model
    yield name, model


def _loaded(model: Model) -> Any:
    """Return the model, where it can be asked."""
    whole = model.tuned is not None and model.tuned.type == "Model"
    with bases.loading(model.base):
        loaded = _load(model, model.tuned.folder if whole and model.tuned else model.base.folder)
    if model.tuned is not None and not whole:
        loaded = PeftModel.from_pretrained(loaded, model.tuned.folder)
    return loaded.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _load(model: Model, folder: str) -> Any:
    match model.of.family:
        case Family.ENCODER if model.of.embeds:
            return embedding.load(folder, model.precision)
        case Family.ENCODER:
            head = tagger.head_of(model.of)
            return encoder.load(folder, model.labels, model.precision, model.seed, head).model
        case Family.ENCODER_DECODER:
            return encoder_decoder.load(folder, model.precision)
        case Family.DECODER:
            return decoder.load(folder, model.precision)


def _batches(prompts: Prompts, batch: int, *, padded: bool) -> Iterator[list[int]]:
    """Yield indices of prompts that are asked together: those of similar length, or of equal length."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for _, group in groupby(order, key=lambda index: 0 if padded else len(prompts[index])):
        same = list(group)
        yield from (same[start : start + batch] for start in range(0, len(same), batch))


def _answers(ask: Ask[Answer], prompts: Prompts, batches: list[list[int]], tell: Callable[[int], None]) -> list[Answer]:
    """Ask all prompts, batch by batch; return the answers in the prompts' order."""
    found: dict[int, Answer] = {}
    for part in batches:
        found |= zip(part, ask([prompts[index] for index in part]), strict=True)
        tell(len(found))
    return [found[index] for index in range(len(prompts))]


def _teller(name: str, prompts: Prompts) -> Callable[[int], None]:
    return lambda done: print(f"{name}: {done} of {len(prompts)} prompts", file=sys.stderr, flush=True)
