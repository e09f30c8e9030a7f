"""Every metric of a task, from expected values and answers: the number, its intervals, and those of a difference."""

from collections.abc import Sequence
from typing import Any, Protocol

from stagecoach.contract.answers import Answer
from stagecoach.contract.entities import entities
from stagecoach.contract.inputs import EMBEDDING, TAGGING
from stagecoach.contract.metrics import Metric
from stagecoach_evaluator.classification import Chosen
from stagecoach_evaluator.ranking import Ranked
from stagecoach_evaluator.samples import RESAMPLES, Sample
from stagecoach_evaluator.tagging import Tagged
from stagecoach_evaluator.writing import Written

# What is right for a row: a label, a text, or a tag for each of its units.
Expected = str | tuple[str, ...]
CLASSIFICATION = "Classification"


class Answered(Protocol):
    """Rows with the answers of one release or two, of which each metric is computed."""

    def sample(self, metric: Metric, label: Any) -> Sample:
        """What the metric is computed from. Raises Undefined."""


def scored(task: str, expected: Expected, answer: Answer) -> bool:
    """Whether a row has an answer that can be judged."""
    if answer.error is not None:
        return False
    if answer.values is not None:
        return True
    if task == TAGGING:
        return answer.tags is not None and len(answer.tags) == len(expected)
    said: Any = {CLASSIFICATION: answer.label, EMBEDDING: answer.rank}.get(task, answer.text)
    return said is not None


def has(task: str, expected: Expected, label: str) -> bool:
    """Whether a row has a label: it is expected of it or, of a TokenClassification, an entity of this kind is."""
    if task == TAGGING:
        return any(span.label == label for span in entities(expected))
    return expected == label


def answered(
    task: str,
    labels: Sequence[str],
    expected: Sequence[Any],
    answers: Sequence[Sequence[Answer]],
    key: str,
    resamples: int = RESAMPLES,
) -> Answered:
    """Return rows that are all scored, and at least one, with the answers of each release. The key seeds resamples."""
    match task:
        case "Classification":
            return Chosen(labels, expected, answers, key, resamples)
        case "TokenClassification":
            return Tagged(expected, answers, key, resamples)
        case "Embedding":
            return Ranked(expected, answers, key, resamples)
        case _:
            return Written(expected, answers, key, resamples)
