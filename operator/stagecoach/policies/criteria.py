"""Whether a criterion can be measured at all: known before anything is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from stagecoach.api.evalgate import Criterion
from stagecoach.contract import metrics


@dataclass(frozen=True)
class Labels:
    """The labels of a project, as far as they are known by name."""

    count: int
    first: Sequence[str]

    def lacks(self, label: str) -> bool:
        """Whether a label is surely none of them."""
        return label not in self.first and len(self.first) >= self.count


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
    if criterion.label is not None and labels is not None and labels.lacks(criterion.label):
        return "UnknownLabel", (
            f"{field}.label: the project has no label {criterion.label!r}. Choose one of {_shown(labels)}."
        )
    return _impossible(criterion, field, metric)


def _by_label(task: str) -> list[str]:
    found = ((name, metrics.find(task, name)) for name in metrics.names(task))
    return [name for name, metric in found if metric and metric.by_label]


def _shown(labels: Labels, most: int = 10) -> str:
    more = f" and {labels.count - most} more" if labels.count > most else ""
    return f"{', '.join(labels.first[:most])}{more}"


def _impossible(criterion: Criterion, field: str, metric: metrics.Metric) -> tuple[str, str] | None:
    """A bound outside of the metric's range is a mistake of the unit: 80 for 0.8."""
    drop, gain = criterion.allowed_drop, criterion.min_gain
    bounds = {"min": criterion.min, "max": criterion.max}
    differences = {
        "allowedDrop.absolute": drop.absolute if drop else None,
        "minGain.absolute": gain.absolute if gain else None,
    }
    width = metric.high - metric.low
    wrong = [name for name, value in bounds.items() if value is not None and not metric.low <= value <= metric.high]
    wrong += [name for name, value in differences.items() if value is not None and value > width]
    if not wrong:
        return None
    value = (bounds | differences)[wrong[0]]
    return "BoundImpossible", (
        f"{field}.{wrong[0]}: {value:g}, and {criterion.metric} is from {metric.low:g} to {metric.high:g}. Give it in"
        " the same unit, such as 0.8 and not 80."
    )
