"""The metrics of each task, by their names: what a criterion may name. The evaluator computes them.

docs/statistics.md says what each of them is, and by which library it is computed or held against.
"""

import re
from dataclasses import dataclass

from stagecoach.contract.inputs import EMBEDDING, TAGGING


@dataclass(frozen=True)
class Metric:
    """A number that says how good answers are: the higher, the better."""

    name: str
    high: float = 1.0
    low: float = 0.0
    by_label: bool = False  # there is one of each label too; of a TokenClassification, of each kind of entity
    labels_alike: bool = False  # without a label, each label counts as much as any other, however few rows it has

    @property
    def width(self) -> float:
        """The largest difference there can be."""
        return self.high - self.low


_CHOSEN = (
    Metric("accuracy"),
    Metric("precision", by_label=True, labels_alike=True),
    Metric("recall", by_label=True, labels_alike=True),
    Metric("f1", by_label=True, labels_alike=True),
    Metric("f1_macro", labels_alike=True),
    Metric("f1_micro"),
    Metric("f1_weighted"),
    Metric("auc_roc", labels_alike=True),
    Metric("mcc", low=-1.0, labels_alike=True),
)
_TAGGED = (Metric("seqeval_f1", by_label=True), Metric("accuracy"))
_WRITTEN = (
    Metric("bleu", high=100.0),
    Metric("chrf", high=100.0),
    Metric("rouge1"),
    Metric("rouge2"),
    Metric("rougeL"),
    Metric("exact_match"),
)
_TASKS = {
    "Classification": _CHOSEN,
    TAGGING: _TAGGED,
    "Generation": _WRITTEN,
    "Summarization": _WRITTEN,
    "Translation": _WRITTEN,
    EMBEDDING: (Metric("mrr"),),
}
# Of an Embedding: how far down is looked for the passage.
_AT = re.compile(r"(recall|ndcg)_at_([1-9][0-9]{0,3})")
_USUAL_AT = ("recall_at_1", "recall_at_5", "recall_at_10", "ndcg_at_10")


def find(task: str, name: str) -> Metric | None:
    """Return the metric that a task has by this name, or None."""
    if task == EMBEDDING and _AT.fullmatch(name):
        return Metric(name)
    return next((metric for metric in _TASKS.get(task, ()) if metric.name == name), None)


def names(task: str) -> tuple[str, ...]:
    """Return what the task's metrics are called, for messages."""
    at = ("recall_at_<k>", "ndcg_at_<k>") if task == EMBEDDING else ()
    return (*at, *(metric.name for metric in _TASKS.get(task, ())))


def usual(task: str) -> tuple[Metric, ...]:
    """Return the metrics of a task that a report shows, whatever the criteria ask for."""
    at = _USUAL_AT if task == EMBEDDING else ()
    return (*(Metric(name) for name in at), *_TASKS.get(task, ()))


def cut(name: str) -> tuple[str, int] | None:
    """Return the kind and the k of a metric that is cut at a rank, such as recall_at_5."""
    found = _AT.fullmatch(name)
    return (found[1], int(found[2])) if found else None
