"""What a person should know about data and base before the next stage."""

import unicodedata
from collections.abc import Iterable, Iterator

from stagecoach.contract.jobs import Split
from stagecoach.contract.reports import Finding
from stagecoach_trainer.bases import Base
from stagecoach_trainer.encoding import Encoding
from stagecoach_trainer.lengths import Lengths, is_decoder
from stagecoach_trainer.sources import Dataset

MAX_OVERFLOW = 0.01
MAX_MESSAGE = 300
# What a model learns from is not what it is chosen by, and neither is what it is judged by.
JUDGING = (Split.TEST, Split.ADVERSARIAL, Split.CANARY)  # of a benchmark the gate sees what leaked
APART = {Split.TRAIN: (Split.VALIDATION, *JUDGING), Split.VALIDATION: JUDGING}
KINDS = {Split.TRAIN: "training", Split.VALIDATION: "validation"}


def find(datasets: list[Dataset], encodings: list[Encoding], base: Base, needed: Lengths) -> tuple[Finding, ...]:
    """Return all findings, at most one of each code."""
    found = (
        ("Leakage", list(_leaks(datasets))),
        ("OverflowAboveOnePercent", list(_overflows(encodings))),
        ("LongerThanContext", list(_context(base, needed))),
    )
    return tuple(Finding(code=code, message=_joined(sentences)) for code, sentences in found if sentences)


def normalized(text: str) -> str:
    """Return a text without what does not make it another one: case, compatibility forms, white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _joined(sentences: list[str]) -> str:
    text = " ".join(sentences)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _leaks(datasets: Iterable[Dataset]) -> Iterator[str]:
    all_sets = list(datasets)
    for split, others in APART.items():
        seen = {
            normalized(row.text): _place(dataset, position)
            for dataset in reversed(all_sets)
            if dataset.source.split is split
            for position, row in reversed(list(enumerate(dataset.rows)))
        }
        for dataset in (each for each in all_sets if each.source.split in others):
            same = [place for place, row in enumerate(dataset.rows) if normalized(row.text) in seen]
            if same:
                first = f"{_place(dataset, same[0])} = {seen[normalized(dataset.rows[same[0]].text)]}"
                what = f"{len(same)} of {len(dataset.rows)} rows of {dataset.source.name}"
                yield f"{what} are {KINDS[split]} rows too ({first})."


def _place(dataset: Dataset, position: int) -> str:
    """Return where a row is, in few words: of one file the data set's name says enough."""
    if len(dataset.files) > 1:
        return f"{dataset.source.name}:{dataset.place(position)}"
    return f"{dataset.source.name}:{dataset.rows[position].number}"


def _overflows(encodings: Iterable[Encoding]) -> Iterator[str]:
    for encoding in encodings:
        rows = len(encoding.dataset.rows)
        if encoding.truncated > MAX_OVERFLOW * rows:
            share = 100 * encoding.truncated / rows
            yield f"{encoding.truncated} of {rows} rows of {encoding.dataset.source.name} are cut ({share:.1f} %)."


def _context(base: Base, needed: Lengths) -> Iterator[str]:
    rule = needed.rule
    lengths = (rule.max_length, needed.written)
    # A decoder writes behind what it reads; other models read the one and write the other.
    longest = sum(lengths) if is_decoder(base) else max(lengths)
    if longest > base.context:
        what = f"tokenization.maxLength is {rule.max_length}"
        if rule.max_target_length:
            what = f"{what} and maxTargetLength {rule.max_target_length}"
        elif needed.written:
            what = f"{what}, the longest label has {needed.written} tokens with its end"
        yield f"{what}, and {base.source.name} has a context of {base.context}."
