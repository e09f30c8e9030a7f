"""Rows as the report shows them: what was asked, what was expected, and what came."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

from stagecoach.contract.answers import Answer
from stagecoach.contract.entities import entities
from stagecoach.contract.evaluation_report import MAX_TEXT, Paired, PairedIncumbent, Told, Worst, WorstBy

NOTHING = "nothing"


@dataclass(frozen=True)
class Case:
    """A row of a suite."""

    place: str  # where it is, for people: data set and position
    text: str
    expected: str  # the label, the target or the passage; of tags, whatever names them
    tags: tuple[str, ...] | None = None  # of a TokenClassification
    tokens: tuple[str, ...] | None = None  # what has the tags; None: the characters of the text


def cut(text: str) -> str:
    """Return what a person reads of a text."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def right(case: Case, answer: Answer) -> bool | None:
    """Whether an answer is the expected one, of a text: to the letter. None: it is none.

    Of a task of lm-evaluation-harness its first metric says so, where that is either right or wrong.
    """
    if answer.values is not None:
        first = next(iter(answer.values.values()), None)
        return bool(first) if first in (0, 1) else None
    if case.tags is not None:
        return None if answer.tags is None else answer.tags == case.tags
    if answer.rank is not None:
        return answer.rank == 1
    said = answer.text if answer.label is None else answer.label
    return None if said is None else said.strip() == case.expected.strip()


def confidence(answer: Answer, labels: Sequence[str]) -> float | None:
    """Return the probability that the model gave to its answer. None: it gives none."""
    if answer.scores is None or answer.label not in labels or len(answer.scores) != len(labels):
        return None
    return answer.scores[labels.index(answer.label)]


@dataclass(frozen=True)
class Said:
    """What was answered to each row, by the candidate and by what it is compared with."""

    candidate: Sequence[Answer]
    baseline: Sequence[Answer] | None = None
    incumbent: Sequence[Answer] | None = None

    def at(self, places: Sequence[int]) -> "Said":
        """Return the answers to these rows."""
        each = (self.candidate, self.baseline, self.incumbent)
        candidate, *others = (None if said is None else [said[place] for place in places] for said in each)
        return Said(candidate or (), *others)


def told(cases: Sequence[Case], said: Said) -> list[Told]:
    """Return rows as they are shown."""
    others = (repeat(None) if each is None else each for each in (said.baseline, said.incumbent))
    return [_told(*row) for row in zip(cases, said.candidate, *others, strict=False)]


def _told(case: Case, answer: Answer, other: Answer | None, served: Answer | None) -> Told:
    return Told(
        place=case.place,
        input=cut(case.text),
        expected=cut(case.expected if case.tags is None else _entities(case, case.tags)),
        candidate=_said(case, answer),
        baseline=None if other is None else _said(case, other),
        incumbent=None if served is None else _said(case, served),
        right=right(case, answer),
        baseline_right=None if other is None else right(case, other),
        incumbent_right=None if served is None else right(case, served),
        problem=answer.error,
        baseline_problem=None if other is None else other.error,
        incumbent_problem=None if served is None else served.error,
    )


def _said(case: Case, answer: Answer) -> str | None:
    if answer.tags is not None:
        return cut(_entities(case, answer.tags))
    if answer.rank is not None:
        return f"found at place {answer.rank:,}"
    said = answer.text if answer.label is None else answer.label
    return None if said is None else cut(said)


def _entities(case: Case, tags: Sequence[str]) -> str:
    """Return in words what tags say."""
    words, between = (case.text, "") if case.tokens is None else (case.tokens, " ")
    found = [f"{span.label}: {between.join(words[span.start : span.end])}" for span in entities(tags)]
    return "; ".join(found) or NOTHING


def paired(cases: Sequence[Case], candidate: Sequence[Answer], baseline: Sequence[Answer]) -> Paired:
    """Return in how many rows which of them was right."""
    both, only_candidate, only_baseline, neither = _counts(cases, candidate, baseline)
    return Paired(both=both, only_candidate=only_candidate, only_baseline=only_baseline, neither=neither)


def paired_incumbent(
    cases: Sequence[Case], candidate: Sequence[Answer], incumbent: Sequence[Answer]
) -> PairedIncumbent:
    """Return the same of candidate and incumbent."""
    both, only_candidate, only_incumbent, neither = _counts(cases, candidate, incumbent)
    return PairedIncumbent(both=both, only_candidate=only_candidate, only_incumbent=only_incumbent, neither=neither)


def _counts(cases: Sequence[Case], candidate: Sequence[Answer], other: Sequence[Answer]) -> tuple[int, int, int, int]:
    """Return in how many rows both were right, only one, only the other, and neither."""
    counts = Counter(
        (right(case, one), right(case, two)) for case, one, two in zip(cases, candidate, other, strict=True)
    )
    return counts[True, True], counts[True, False], counts[False, True], counts[False, False]


def worst(cases: Sequence[Case], said: Said, labels: Sequence[str], most: int) -> Worst:
    """Return the wrong answers that a person should see first."""
    candidate = said.candidate
    wrong = [place for place, case in enumerate(cases) if right(case, candidate[place]) is False]
    by, weights = _weights([cases[place] for place in wrong], [candidate[place] for place in wrong], labels)
    sign = 1 if by is WorstBy.OVERLAP else -1
    order = sorted(zip(wrong, weights, strict=True), key=lambda item: (sign * item[1], item[0]))[:most]
    rows = told([cases[place] for place, _ in order], said.at([place for place, _ in order]))
    weighed = (row.model_copy(update={"weight": weight}) for row, (_, weight) in zip(rows, order, strict=True))
    return Worst(by=by, rows=tuple(weighed), wrong=len(wrong))


def _weights(cases: Sequence[Case], answers: Sequence[Answer], labels: Sequence[str]) -> tuple[WorstBy, list[float]]:
    both = list(zip(cases, answers, strict=True))
    if any(case.tags is not None for case in cases):
        return WorstBy.ENTITIES, [_wrong(case.tags or (), answer.tags or ()) for case, answer in both]
    if any(answer.rank is not None for answer in answers):
        return WorstBy.RANK, [float(answer.rank or 0) for answer in answers]
    if any(answer.text is not None for answer in answers):
        return WorstBy.OVERLAP, [overlap(case.expected, answer.text or "") for case, answer in both]
    sure = [confidence(answer, labels) for answer in answers]
    if sure and None not in sure:
        return WorstBy.CONFIDENCE, [value for value in sure if value is not None]
    pairs = Counter((case.expected, answer.label) for case, answer in both)
    return WorstBy.CONFUSIONS, [float(pairs[case.expected, answer.label]) for case, answer in both]


def _wrong(expected: Sequence[str], said: Sequence[str]) -> float:
    return float(len(set(entities(expected)) ^ set(entities(said))))


def overlap(expected: str, said: str) -> float:
    """Return how much two texts are alike: the share of their pairs of letters that both have (Dice).

    Letters, since not all scripts have spaces between words.
    """
    one, other = _pairs(expected), _pairs(said)
    return 2 * (one & other).total() / (one.total() + other.total())


def _pairs(text: str) -> Counter[tuple[str, str]]:
    return Counter(pairwise(f" {' '.join(text.casefold().split())} "))
