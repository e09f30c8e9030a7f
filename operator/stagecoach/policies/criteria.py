"""Whether a criterion can be measured at all: known before anything is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from stagecoach.api.evalgate import Criterion
from stagecoach.contract import metrics
from stagecoach.contract.entities import entities
from stagecoach.contract.inputs import TAGGING


@dataclass(frozen=True)
class Labels:
    """What a criterion may name as its label: as many as are known, and whether these are all."""

    names: Sequence[str]
    complete: bool

    @classmethod
    def of(cls, task: str, first: Sequence[str], count: int) -> Self:
        """Return the labels of a project; where these are tags, what is found are entities."""
        names = [span.label for tag in first for span in entities([tag])] if task == TAGGING else first
        return cls(tuple(dict.fromkeys(names)), complete=len(first) >= count)


def misfit(criterion: Criterion, task: str, labels: Labels | None) -> tuple[str, str] | None:
    """Return reason and message when a criterion does not fit the task: it could never be measured, or never hold."""
    field = f"spec.criteria[{criterion.name}]"
    metric = metrics.find(task, criterion.metric)
    if metric is None:
        return "UnknownMetric", (
            f"{field}.metric: {criterion.metric!r} is no metric of task {task}. Choose one of"
            f" {', '.join(metrics.names(task))}."
        )
    if criterion.label is not None and not metric.by_label:
        return "LabelUnsuited", (
            f"{field}.label: there is no {criterion.metric} of one label. Leave out label, or choose a metric that"
            f" there is for each: {', '.join(_by_label(task)) or 'this task has none'}. Correct the gate."
        )
    if criterion.label is not None and labels is not None and labels.complete and criterion.label not in labels.names:
        return "UnknownLabel", (
            f"{field}.label: the project has no label {criterion.label!r}. Choose one of {_shown(labels.names)}."
        )
    return _impossible(criterion, field, metric)


def misfit_of_harness(criterion: Criterion) -> tuple[str, str] | None:
    """The same for a task of lm-evaluation-harness, whose metrics are known when it is loaded.

    Until then it is known that only those from 0 to 1 are compared, and that but for `mcc` none that is the better the
    more it is can be below 0.
    """
    field = f"spec.criteria[{criterion.name}]"
    if criterion.label is not None:
        return "LabelUnsuited", (
            f"{field}.label: a task of lm-evaluation-harness has no metric of one label. Correct the gate: leave out"
            " label."
        )
    least = -1.0 if criterion.metric.partition(",")[0] == "mcc" else 0.0
    if criterion.min is not None and criterion.min <= least:
        return "BoundIdle", _idle(f"{field}.min: {criterion.min:g}, and {criterion.metric} is {least:g} or more")
    drop = criterion.allowed_drop.absolute if criterion.allowed_drop else 0.0
    gain = criterion.min_gain.absolute if criterion.min_gain else 0.0
    compared = "what is compared of a task of lm-evaluation-harness is from 0 to 1"
    decides = not criterion.advisory
    if decides and criterion.confidence is not None and criterion.min is not None and criterion.min >= 1:
        between = "what has an interval of a task of lm-evaluation-harness is from 0 to 1"
        return "BoundImpossible", _out_of_reach(f"{field}.min: {criterion.min:g}, and {between}", "min")
    if drop >= 1:
        return "BoundIdle", _idle(f"{field}.allowedDrop.absolute: {drop:g}, and {compared}")
    if gain > 1:
        return "BoundImpossible", f"{field}.minGain.absolute: {gain:g}, and {compared}. {_SAME_UNIT}"
    if decides and gain == 1:
        return "BoundImpossible", _out_of_reach(f"{field}.minGain.absolute: 1, and {compared}", "minGain")
    return None


_SAME_UNIT = "Give it in the same unit, such as 0.8 and not 80."


def _idle(what: str) -> str:
    return f"{what}: this holds of every model. Give a bound that a bad one does not meet."


def _out_of_reach(what: str, bound: str) -> str:
    remedy = "Give a lower one, or leave out confidence." if bound == "min" else "Give a lower one."
    return f"{what}: no interval is clear of that, however good the model and however many the rows. {remedy}"


def _by_label(task: str) -> list[str]:
    found = ((name, metrics.find(task, name)) for name in metrics.names(task))
    return [name for name, metric in found if metric and metric.by_label]


def _shown(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _impossible(criterion: Criterion, field: str, metric: metrics.Metric) -> tuple[str, str] | None:
    """A bound outside of the metric's range is a mistake of the unit: 80 for 0.8. One that always holds is none.

    Nor, where it decides, is one that no interval is clear of: none is so narrow that it begins where the range ends.
    """
    drop = criterion.allowed_drop.absolute if criterion.allowed_drop else None
    gain = criterion.min_gain.absolute if criterion.min_gain else None
    decides = not criterion.advisory
    by_interval = decides and criterion.confidence is not None
    # By field: the bound, the least and the most it can be, whether it always holds, and whether it never does.
    bounds = [
        ("min", criterion.min, metric.low, metric.high, criterion.min == metric.low, by_interval),
        ("allowedDrop.absolute", drop, 0.0, metric.width, drop == metric.width, False),
        ("minGain.absolute", gain, 0.0, metric.width, False, decides),
    ]
    for name, value, low, high, idle, unreached in bounds:
        if value is None:
            continue
        within = f"{field}.{name}: {value:g}, and {criterion.metric} is from {metric.low:g} to {metric.high:g}"
        if not low <= value <= high:
            return "BoundImpossible", f"{within}. {_SAME_UNIT}"
        if unreached and value == high:
            return "BoundImpossible", _out_of_reach(within, name)
        if idle:
            return "BoundIdle", _idle(within)
    return None
