"""What was told from what: results by label, and which label was taken for which."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stagecoach.contract.answers import Answer
from stagecoach.contract.entities import Score, entities, scores
from stagecoach.contract.evaluation_report import MAX_CONFUSIONS, MAX_LABELS, Cell, ClassResult, Confusion, OfLabel
from stagecoach_evaluator.report_rows import Case, Said

Pairs = Counter[tuple[str, str]]
Answers = Sequence[Answer]


@dataclass(frozen=True)
class ByLabel:
    """All of it; empty for a task without labels."""

    classes: tuple[ClassResult, ...] = ()
    labels: int = 0
    confusion: Confusion | None = None


def results(cases: Sequence[Case], said: Said, order: Sequence[str]) -> ByLabel:
    """Return the results by label, those of the candidate and beside them those of what it is compared with."""
    pairs = _pairs(cases, said.candidate)
    by_label = _scores(cases, said.candidate)
    if not pairs:
        return ByLabel()
    base, served = (_scores(cases, answers) if answers else {} for answers in (said.baseline, said.incumbent))
    known = {label: place for place, label in enumerate(order)}

    def in_order(labels: Iterable[str]) -> list[str]:
        return sorted(labels, key=lambda label: (known.get(label, len(known)), label))

    listed = in_order(by_label)
    if len(listed) > MAX_LABELS:
        listed = sorted(listed, key=lambda label: (-_mistakes(by_label[label]), label))[:MAX_LABELS]
    return ByLabel(
        classes=tuple(_class(label, by_label[label], base.get(label), served.get(label)) for label in listed),
        labels=len(by_label),
        confusion=_confusion(pairs, in_order({label for pair in pairs for label in pair})),
    )


def _pairs(cases: Sequence[Case], answers: Answers) -> Pairs:
    """Count what was expected and answered: labels or, token by token, what tags say."""
    pairs: Pairs = Counter()
    for case, answer in zip(cases, answers, strict=True):
        if answer.label is not None:
            pairs[case.expected, answer.label] += 1
        elif case.tags is not None and answer.tags is not None:
            pairs.update((_plain(one), _plain(other)) for one, other in zip(case.tags, answer.tags, strict=False))
    return pairs


def _plain(tag: str) -> str:
    prefix, dash, label = tag.partition("-")
    return label if dash and label and prefix in {"B", "I", "E", "S"} else tag


def _scores(cases: Sequence[Case], answers: Answers) -> dict[str, Score]:
    both = list(zip(cases, answers, strict=True))
    if any(answer.tags is not None for answer in answers):
        tagged = [(case.tags, answer.tags) for case, answer in both if case.tags and answer.tags]
        return scores((set(entities(there)), set(entities(said))) for there, said in tagged)
    pairs = [(case.expected, answer.label) for case, answer in both if answer.label is not None]
    given, found = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    hits = Counter(one for one, other in pairs if one == other)
    return {label: Score(given[label], found[label], hits[label]) for label in given | found}


def _mistakes(score: Score) -> int:
    return score.given + score.found - 2 * score.right


def _class(label: str, score: Score, base: Score | None, served: Score | None) -> ClassResult:
    return ClassResult(
        **dict(_numbers(score)),
        label=label,
        baseline_f1=base.f1 if base and base.given else None,
        incumbent=_numbers(served) if served else None,
    )


def _numbers(score: Score) -> OfLabel:
    return OfLabel(
        rows=score.given,
        answered=score.found,
        right=score.right,
        precision=score.precision if score.found else None,
        recall=score.recall if score.given else None,
        f1=score.f1 if score.given else None,
    )


def _confusion(pairs: Pairs, labels: list[str]) -> Confusion:
    cells = [Cell(expected=one, answered=other, count=count) for (one, other), count in sorted(pairs.items())]
    mistakes = [cell for cell in cells if cell.expected != cell.answered]
    fits = len(labels) <= MAX_LABELS + 1
    return Confusion(
        labels=tuple(labels) if fits else (),
        cells=tuple(cells) if fits else (),
        most=tuple(sorted(mistakes, key=lambda cell: -cell.count)[:MAX_CONFUSIONS]),
        mistakes=sum(cell.count for cell in mistakes),
    )
