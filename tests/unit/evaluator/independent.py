"""The numbers of a Classification's report.json, computed a second time: by scikit-learn and scipy from answers and data.

Nothing of the evaluator is used: who holds a report against this sees where one of both is wrong.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn

Object = dict[str, Any]
Interval = tuple[float, float]
CONFIDENCE, POWER = 0.95, 0.8
AVERAGES = {"f1": "macro", "f1_macro": "macro", "f1_micro": "micro", "f1_weighted": "weighted"}


@dataclass(frozen=True)
class Suite:
    """What was expected and, as it lies in the storage, what was answered: a document for each row."""

    expected: Sequence[str]
    candidate: Sequence[Object]
    baseline: Sequence[Object] | None
    labels: Sequence[str]  # in the order of the answers' scores
    incumbent: Sequence[Object] | None = None


@dataclass(frozen=True)
class Rows:
    """Rows that all have an answer."""

    expected: list[str]
    said: list[str]
    scores: list[Sequence[float] | None]
    labels: Sequence[str]

    @property
    def right(self) -> list[bool]:
        return [one == other for one, other in zip(self.expected, self.said, strict=True)]

    def value(self, metric: str, label: str | None) -> float | None:
        """Return a metric; None: there is none."""
        here = sorted(set(self.expected))
        if metric == "precision" and len(here) < 2:
            return None
        if label is not None:
            return self._of_label(metric, label) if label in here else None
        if metric == "accuracy":
            return float(sklearn.accuracy_score(self.expected, self.said))
        if metric == "auc_roc":
            return self._area(here)
        if metric == "mcc":
            return float(sklearn.matthews_corrcoef(self.expected, self.said)) if len(here) > 1 else None
        score = {"precision": sklearn.precision_score, "recall": sklearn.recall_score}.get(metric, sklearn.f1_score)
        keywords = {} if metric == "f1_micro" else {"labels": here, "zero_division": 0}
        return float(score(self.expected, self.said, average=AVERAGES.get(metric, "macro"), **keywords))

    def _of_label(self, metric: str, label: str) -> float:
        found = sklearn.precision_recall_fscore_support(self.expected, self.said, labels=[label], zero_division=0)
        return float(found[("precision", "recall", "f1").index(metric)][0])

    def _area(self, here: list[str]) -> float | None:
        if len(here) < 2 or any(each is None for each in self.scores):
            return None
        scores = np.array([list(each or ()) for each in self.scores])
        # Of each label that there are rows of, against the others.
        areas = [
            sklearn.roc_auc_score([each == label for each in self.expected], scores[:, self.labels.index(label)])
            for label in here
        ]
        return float(np.mean(areas))

    def interval(self, metric: str, label: str | None, confidence: float) -> Interval | None:
        """Return the exact interval of what is a share of rows; None: the metric is none."""
        if metric in ("accuracy", "f1_micro") and label is None:
            return _exact(sum(self.right), len(self.right), confidence)
        if label is None:
            return None
        own, answered = ([each == label for each in some] for some in (self.expected, self.said))
        hits = sum(one and other for one, other in zip(own, answered, strict=True))
        if metric == "f1":
            either = sum(one or other for one, other in zip(own, answered, strict=True))
            low, high = _exact(hits, either, confidence)
            return 2 * low / (1 + low), 2 * high / (1 + high)
        return _exact(hits, sum(own if metric == "recall" else answered), confidence)


def differences(report: Object, suites: dict[str, Suite]) -> list[str]:
    """Return what of a report.json is not what it is by this computation."""
    found: list[str] = []
    for told in report["suites"]:
        found += (f"{told['name']}: {words}" for words in _suite(told, suites[told["name"]]))
    for criterion, told in zip(report["inputs"]["criteria"], report["results"], strict=True):
        words = _result(criterion, told, suites[criterion["suite"]], report["inputs"]["minScored"])
        found += (f"criterion {criterion['name']}: {each}" for each in words)
    return found


def _suite(told: Object, suite: Suite) -> Iterator[str]:
    every = _rows(suite, suite.candidate)
    yield from _same("rows", told["rows"], len(suite.expected))
    yield from _same("scored", told["scored"], len(every.expected))
    reasons = Counter(answer["error"] for answer in suite.candidate if "error" in answer)
    yield from _same("unscored", {each["reason"]: each["rows"] for each in told["unscored"]}, dict(reasons))
    for metric in told["metrics"]:
        yield from _metric(metric, every, suite)
    for name, who, others in (
        ("paired", "Baseline", suite.baseline),
        ("pairedIncumbent", "Incumbent", suite.incumbent),
    ):
        if others is not None:
            yield from _same(name, told[name], _paired(suite, others, who))
    if told.get("confusion"):
        yield from _labels(told, every, suite)
        yield from _same("wrong answers", told["worst"]["wrong"], len(every.right) - sum(every.right))


def _metric(told: Object, every: Rows, suite: Suite) -> Iterator[str]:
    metric, label = told["metric"], told.get("label")
    name = metric if label is None else f"{metric} of {label}"
    yield from _estimate(name, told.get("candidate"), every, metric, label)
    if "candidate" not in told:
        return
    for who, to, others in (
        ("baseline", "difference", suite.baseline),
        ("incumbent", "incumbentDifference", suite.incumbent),
    ):
        if others is not None:
            both = _both(suite, others)
            yield from _estimate(f"{who}'s {name}", told.get(who), both[1], metric, label)
            yield from _difference(f"{name} to {who}", told.get(to), *(each.value(metric, label) for each in both))
    if difference := told.get("incumbentDifference") or told.get("difference"):
        half = (difference["high"] - difference["low"]) / 2
        normal = NormalDist()
        reach = normal.inv_cdf(0.5 + CONFIDENCE / 2)
        yield from _same(f"detectable {name}", told["detectable"], half * (1 + normal.inv_cdf(POWER) / reach))


def _difference(name: str, told: Object | None, one: float | None, other: float | None) -> Iterator[str]:
    if one is not None and other is not None:
        yield from _same(f"difference of {name}", told and told["value"], one - other)
        if told is not None:
            yield from _around(f"difference of {name}", told)


def _estimate(name: str, told: Object | None, rows: Rows, metric: str, label: str | None) -> Iterator[str]:
    value = rows.value(metric, label)
    yield from _same(name, told and told["value"], value)
    if told is None or value is None:
        return
    if exact := rows.interval(metric, label, CONFIDENCE):
        yield from _same(f"interval of {name}", [told["low"], told["high"]], list(exact))
    yield from _around(name, told)


def _around(name: str, told: Object) -> Iterator[str]:
    if not told["low"] - 1e-9 <= told["value"] <= told["high"] + 1e-9:
        yield f"{name} is {told['value']}, outside of its interval"


def _labels(told: Object, every: Rows, suite: Suite) -> Iterator[str]:
    labels = told["confusion"]["labels"]
    matrix = sklearn.confusion_matrix(every.expected, every.said, labels=labels)
    cells = {
        (labels[one], labels[other]): int(matrix[one, other]) for one, other in zip(*np.nonzero(matrix), strict=True)
    }
    shown = {(each["expected"], each["answered"]): each["count"] for each in told["confusion"]["cells"]}
    yield from _same("confusion", shown, cells)
    yield from _same("rows in the confusion", int(matrix.sum()), len(every.expected))
    mistakes = {pair: count for pair, count in cells.items() if pair[0] != pair[1]}
    yield from _same("mistakes", told["confusion"]["mistakes"], sum(mistakes.values()))
    most = [each["count"] for each in told["confusion"]["most"]]
    yield from _same("most mistakes", most, sorted(mistakes.values(), reverse=True)[: len(most)])
    base, served = (None if each is None else _rows(suite, each) for each in (suite.baseline, suite.incumbent))
    yield from _same("labels", told["labels"], len(labels))
    for each in told["classes"]:
        label = each["label"]
        yield from _class(label, each, every)
        yield from _same(f"{label}: baseline's f1", each.get("baselineF1"), base and base.value("f1", label))
        if served is not None and label in {*served.expected, *served.said}:
            yield from (f"incumbent's {words}" for words in _class(label, each.get("incumbent", {}), served))
        else:
            yield from _same(f"{label}: incumbent", each.get("incumbent"), None)


def _class(label: str, told: Object, every: Rows) -> Iterator[str]:
    there, said = every.expected.count(label), every.said.count(label)
    hits = sum(one == other == label for one, other in zip(every.expected, every.said, strict=True))
    yield from _same(
        f"{label}: counts", [told.get("rows"), told.get("answered"), told.get("right")], [there, said, hits]
    )
    of = {name: every.value(name, label) for name in ("recall", "f1")}
    of["precision"] = (
        sklearn.precision_score(every.expected, every.said, labels=[label], average="macro") if said else None
    )
    for name, value in of.items():
        yield from _same(f"{label}: {name}", told.get(name), value)


def _result(criterion: Object, told: Object, suite: Suite, least: float) -> Iterator[str]:
    metric, label, against = criterion["metric"], criterion.get("label"), criterion.get("against")
    others = (suite.incumbent if against == "Incumbent" else suite.baseline) or ()
    if told["outcome"] == "Error":
        rows = _rows(suite, suite.candidate) if against is None else _both(suite, others)[0]
        if _enough(suite.expected, rows.expected, metric, label, least) and rows.value(metric, label) is not None:
            yield "it is Error, and there is nothing that keeps it from being measured"
        return
    if against is None:
        rows = _rows(suite, suite.candidate)
        yield from _same("value", told.get("value"), rows.value(metric, label))
        exact = rows.interval(metric, label, criterion["confidence"]) if "confidence" in criterion else None
        if exact:
            yield from _same("interval", [told["low"], told["high"]], list(exact))
    else:
        rows, reference = _both(suite, others)
        yield from _same("value", told.get("value"), rows.value(metric, label))
        yield from _same("reference", told.get("reference"), reference.value(metric, label))
        if metric in ("accuracy", "f1_micro"):
            counts = _paired(suite, others, against)
            fewer = min(counts["onlyCandidate"], counts[f"only{against}"])
            differing = counts["onlyCandidate"] + counts[f"only{against}"]
            p = min(1.0, 2 * float(stats.binom.cdf(fewer, differing, 0.5)))
            yield from _same("McNemar's p", told.get("mcnemar"), p)
    yield from _same("scored", told["scored"], sum(label in (None, each) for each in rows.expected))


def _enough(every: Sequence[str], answered: Sequence[str], metric: str, label: str | None, least: float) -> bool:
    """Whether so many rows have an answer: of all and of the label or, where labels count alike, of their mean."""
    whole, some = Counter(every), Counter(answered)
    shares = [some[each] / count for each, count in whole.items() if label in (None, each)]
    alike = label is not None or metric in ("precision", "recall", "f1", "f1_macro", "auc_roc", "mcc")
    own = min(shares, default=1) > 0 and np.mean(shares or [1]) >= least - 1e-9
    return len(answered) >= least * len(every) - 1e-9 and bool(own or not alike)


def _paired(suite: Suite, others: Sequence[Object], who: str) -> Object:
    candidate, reference = _both(suite, others)
    counts = Counter(zip(candidate.right, reference.right, strict=True))
    return {
        "both": counts[True, True],
        "onlyCandidate": counts[True, False],
        f"only{who}": counts[False, True],
        "neither": counts[False, False],
    }


def _both(suite: Suite, others: Sequence[Object]) -> tuple[Rows, Rows]:
    """Return the rows that both answered, with the answers of each."""
    which = [_has(one) and _has(other) for one, other in zip(suite.candidate, others, strict=True)]
    return _rows(suite, suite.candidate, which), _rows(suite, others, which)


def _rows(suite: Suite, answers: Sequence[Object], which: Sequence[bool] | None = None) -> Rows:
    chosen = [_has(each) for each in answers] if which is None else which
    kept = [(right, each) for right, each, keep in zip(suite.expected, answers, chosen, strict=True) if keep]
    return Rows(
        expected=[right for right, _ in kept],
        said=[each["label"] for _, each in kept],
        scores=[each.get("scores") for _, each in kept],
        labels=suite.labels,
    )


def _has(answer: Object) -> bool:
    return "label" in answer and "error" not in answer


def _exact(hits: int, rows: int, confidence: float) -> Interval:
    """Return the interval of Clopper and Pearson, by quantiles of the beta distribution."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, rows - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, rows - hits)) if hits < rows else 1.0
    return low, high


def _same(what: str, told: Any, computed: Any) -> Iterator[str]:
    if not _equal(told, computed):
        yield f"{what} is {told}, and {computed} by the other computation"


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)
