"""What can be measured of a task: names, ranges, and whether there is one for each label."""

import re
from dataclasses import dataclass

WRITING = ("Generation", "Summarization", "Translation")


@dataclass(frozen=True)
class Metric:
    """What a metric may be."""

    low: float = 0.0
    high: float = 1.0
    by_label: bool = False  # there is one for each label too
    higher_is_better: bool = True


_SHARE, _BY_LABEL, _POINTS = Metric(), Metric(by_label=True), Metric(high=100.0)
_CLASSIFICATION = {
    "accuracy": _SHARE,
    "precision": _BY_LABEL,
    "recall": _BY_LABEL,
    "f1": _BY_LABEL,
    "f1_macro": _SHARE,
    "f1_micro": _SHARE,
    "f1_weighted": _SHARE,
    "auc_roc": _SHARE,
    "mcc": Metric(low=-1.0),
}
_TEXTS = {"bleu": _POINTS, "chrf": _POINTS, "rouge1": _SHARE, "rouge2": _SHARE, "rougeL": _SHARE, "exact_match": _SHARE}
_TABLE: dict[str, dict[str, Metric]] = {
    "Classification": _CLASSIFICATION,
    "TokenClassification": {"seqeval_f1": _BY_LABEL, "accuracy": _SHARE},
    "Embedding": {"mrr": _SHARE, "recall_at_<k>": _SHARE, "ndcg_at_<k>": _SHARE},
    **dict.fromkeys(WRITING, _TEXTS),
}


def names(task: str) -> tuple[str, ...]:
    """Return the metrics of a task; `<k>` stands for a number from 1 on."""
    return tuple(_TABLE[task])


def find(task: str, name: str) -> Metric | None:
    """Return what a metric of a task may be; None when the task has none of this name."""
    return _TABLE[task].get(re.sub(r"_at_[1-9][0-9]{0,3}$", "_at_<k>", name))
