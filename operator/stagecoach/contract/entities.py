"""Entities that tags say, and how many of them were found.

Tags are B-, I-, E- or S- and a label, or O. An entity begins with B- or S-, and also with I- or E- where none of the
same label goes on (as conlleval and seqeval have it); it ends with E- or S-. Any other tag is an entity of one word.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stagecoach.contract.tagged import OUTSIDE, Span

_BEGIN, _GO_ON = ("B", "I"), ("I", "E")
_ALONE = "S"


def entities(tags: Sequence[str]) -> list[Span]:
    """Return the entities in a row of tags, by their places in it."""
    found: list[Span] = []
    open_end = False
    for place, tag in enumerate(tags):
        prefix, label = _split(tag)
        if open_end and prefix in _GO_ON and found[-1].label == label:
            found[-1] = found[-1]._replace(end=place + 1)
        elif prefix:
            found.append(Span(place, place + 1, label))
        open_end = prefix in _BEGIN
    return found


def _split(tag: str) -> tuple[str, str]:
    if tag == OUTSIDE:
        return "", ""
    prefix, _, label = tag.partition("-")
    return (prefix, label) if label and prefix in (*_BEGIN, *_GO_ON, _ALONE) else (_ALONE, tag)


@dataclass(frozen=True)
class Score:
    """How many entities there are, how many were said to be, and how many of those are right: place and label."""

    given: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        """The share of what was found that is right; 0 when nothing was."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """The share of what there is that was found; 0 when there is nothing."""
        return self.right / self.given if self.given else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both; 0 when there is nothing at all."""
        return 2 * self.right / (self.given + self.found) if self.given + self.found else 0.0


def scores(rows: Iterable[tuple[set[Span], set[Span]]]) -> dict[str, Score]:
    """Return the scores by label, in code point order, of rows of what is given and what was found."""
    given, found, right = Counter[str](), Counter[str](), Counter[str]()
    for there, said in rows:
        for counter, spans in ((given, there), (found, said), (right, there & said)):
            counter.update(span.label for span in spans)
    return {label: Score(given[label], found[label], right[label]) for label in sorted(given | found)}


def overall(by_label: dict[str, Score]) -> Score:
    """Return the score of all labels together, every entity counting alike."""
    values = by_label.values()
    return Score(sum(s.given for s in values), sum(s.found for s in values), sum(s.right for s in values))
