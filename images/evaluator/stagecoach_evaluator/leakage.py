"""Rows of suites that are in the training data too: by these a model would be judged on what it has learned by heart.

Or in its prompt, as an example of what to answer: those are before its eyes.

Texts are the same when they are after normalization: compatibility forms, case, white space and punctuation do not
count. They are nearly the same when they have as much in common as a Jaccard index of 0.8 says, over runs of five
words, or of five characters where a text has few words. MinHash finds those that may be, and each is then counted.

What is kept in memory are the suites, which are small; the training data pass by once.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from datasketch import MinHash, MinHashLSH

from stagecoach.contract import progress
from stagecoach.contract.benchmarks import Document
from stagecoach.contract.inputs import Prompt
from stagecoach.contract.rows import AnyRow, Conversation, Match
from stagecoach.contract.turns import SYSTEM
from stagecoach_trainer.findings import normalized
from stagecoach_trainer.sources import Dataset

SIMILAR = 0.8
RUN = 5
# With fewer words a text is compared by characters: one word that differs would be in most of its runs of words.
FEW_WORDS = 50
# Texts so near to that bound may be on the other side of it from one that they are like.
NEARLY = 0.75
# Of two texts that are as similar as that, one in 20,000 pairs is missed; a half of those half as similar is counted.
BANDS, OF_A_BAND = 25, 5
NOTHING = "\0" * (RUN - 1)
# A text of fewer characters, such as the name of a label, may be in a prompt and be no example.
LONG = 20
# By data set and position: where in the training data the same is.
Leaks = tuple[dict[int, str], ...]
Place = tuple[int, int]


def find(suites: Sequence[Dataset], trained_on: Iterable[Dataset]) -> Leaks:
    """Return for each suite which of its rows are in the training data, and where there."""
    wanted = _Wanted()
    for number, suite in enumerate(suites):
        for position, row in enumerate(suite.rows):
            progress.made()
            for text in _texts_of(row):
                wanted.add(text, (number, position))
    found: tuple[dict[int, str], ...] = tuple({} for _ in suites)
    for dataset in trained_on:
        for position, row in enumerate(dataset.rows):
            progress.made()
            for number, at in wanted.like(text_of(row)):
                found[number].setdefault(at, f"{dataset.source.name}:{dataset.place(position)}")
    return tuple(dict(sorted(each.items())) for each in found)


def find_in_prompt(suite: Dataset, prompt: Prompt) -> dict[int, str]:
    """Return which rows of a suite stand in a prompt word by word, and in which part of it."""
    parts = {"system": prompt.system, "template": prompt.template, "passageTemplate": prompt.passage_template}
    plain = {f"the prompt's {name}": f" {folded(text)} " for name, text in parts.items() if text}
    found: dict[int, str] = {}
    for position, row in enumerate(suite.rows):
        text = folded(text_of(row))
        for where, part in plain.items():
            if len(text) >= LONG and f" {text} " in part:
                found.setdefault(position, where)
    return found


def text_of(row: AnyRow) -> str:
    """Return what is read of a row, as far as it is the row's own: a query, but not what answers it."""
    if isinstance(row, Match):
        return row.query
    if isinstance(row, Conversation):  # all of them may have the same system's turn, which may be long
        return "\n".join(turn.content for turn in row.turns if turn.role != SYSTEM)
    return row.text


def _texts_of(row: AnyRow) -> tuple[str, ...]:
    """Return the texts by which a suite's row is looked for: a document of a benchmark has several."""
    return row.texts if isinstance(row, Document) else (text_of(row),)


class _Folded(dict[int, str | int]):
    """What each character becomes, looked up once: a space for what stands between words."""

    def __missing__(self, number: int) -> str | int:
        between = unicodedata.category(chr(number))[0] in "PZC"
        self[number] = " " if between else number
        return self[number]


_FOLDED = _Folded()
# To draw its permutations takes longer than to make a sketch.
_BLANK = MinHash(num_perm=BANDS * OF_A_BAND)


def folded(text: str) -> str:
    """Return a text without what does not make it another one. One of nothing but punctuation keeps that."""
    plain = normalized(text)
    return " ".join(plain.translate(_FOLDED).split()) or plain


@dataclass
class _Wanted:
    """The texts that are looked for, by what they are after normalization."""

    places: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    runs: dict[tuple[str, bool], frozenset[str]] = field(default_factory=dict)
    index: MinHashLSH = field(default_factory=lambda: MinHashLSH(num_perm=BANDS * OF_A_BAND, params=(BANDS, OF_A_BAND)))

    def add(self, text: str, place: Place) -> None:
        plain = folded(text)
        if plain not in self.places:
            for by_words in _ways(plain):
                self._add(plain, by_words)
        self.places[plain].append(place)

    def _add(self, plain: str, by_words: bool) -> None:
        runs = _runs(plain, by_words)
        if runs:
            self.runs[plain, by_words] = runs
            self.index.insert((plain, by_words), _sketch(runs), check_duplication=False)

    def like(self, text: str) -> Iterator[Place]:
        """Yield the places of texts that are the same as this one, or nearly."""
        plain = folded(text)
        found = {plain} if plain in self.places else set()
        by_words = _many(len(plain.split()))
        if runs := _runs(plain, by_words):
            for candidate in self.index.query(_sketch(runs)):
                theirs = self.runs[candidate] if candidate[1] == by_words else frozenset()
                if theirs and len(runs & theirs) >= SIMILAR * len(runs | theirs):
                    found.add(candidate[0])
        for each in found:
            yield from self.places[each]


def _many(words: float) -> bool:
    return words >= FEW_WORDS


def _ways(plain: str) -> set[bool]:
    """Return how a text is looked for: by words, by characters, or both."""
    words = len(plain.split())
    return {_many(words * NEARLY), _many(words), _many(words / NEARLY)}


def _runs(plain: str, by_words: bool) -> frozenset[str]:
    if by_words:
        words = plain.split()
        return frozenset(" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
    # Beyond its ends is nothing, so that a character there is in as many runs as any other.
    padded = f"{NOTHING}{plain}{NOTHING}"
    return (
        frozenset(padded[start : start + RUN] for start in range(len(padded) - RUN + 1))
        if len(plain) >= RUN
        else frozenset()
    )


def _sketch(runs: frozenset[str]) -> MinHash:
    sketch = _BLANK.copy()
    sketch.update_batch([run.encode() for run in runs])
    return sketch
