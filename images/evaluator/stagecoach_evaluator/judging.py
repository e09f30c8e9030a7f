"""From answers to numbers, results and a verdict, in the words that the statistics take."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from stagecoach.contract import progress
from stagecoach.contract.evaluation_report import Estimate as Told
from stagecoach.contract.evaluation_report import Measured as Row
from stagecoach.contract.evaluations import EvaluateJob, Reference
from stagecoach.contract.metrics import Metric
from stagecoach.contract.verdicts import CriterionResult, Verdict
from stagecoach_evaluator.criteria import CONFIDENCE, judge
from stagecoach_evaluator.intervals import Estimate, Undefined, Unsure
from stagecoach_evaluator.measured import Measured, Suite, SuiteAnswers
from stagecoach_evaluator.parties import Parties
from stagecoach_evaluator.seen import Seen

MAX_MESSAGE = 300
# How a row of the report calls what the candidate is compared with, and the difference.
_COMPARED = {
    Reference.BASELINE: ("baseline", "difference"),
    Reference.INCUMBENT: ("incumbent", "incumbent_difference"),
}
_UNTRAINED = (
    "the base has no head for these labels: what it would choose is chance, and to be better than that is no merit.",
    "Leave out `against: Baseline`, and give a min.",
)


@dataclass(frozen=True)
class Judged:
    """The verdict with what it follows from, and by suite what else was measured."""

    verdict: Verdict
    message: str
    results: tuple[CriterionResult, ...]
    metrics: Mapping[str, tuple[Row, ...]]


def judged(job: EvaluateJob, who: Parties, seen: Sequence[Seen]) -> Judged:
    """Judge the answers, and measure whatever the task has."""
    suites = {
        each.rows.suite.name: SuiteAnswers(
            each.rows.expected(),
            each.candidate.each,
            each.baseline.each if each.baseline else None,
            each.leaked_places,
            None if each.baseline or job.reference is None else _UNTRAINED,
            each.rows.harness,
            each.incumbent.each if each.incumbent else None,
            each.shown_places,
            each.rows.repeated,
        )
        for each in seen
    }
    measured = Measured(who.candidate.asked.task, who.candidate.labels, suites, job.inputs.digest)
    results, verdict, message = judge(job.inputs, measured)
    return Judged(verdict, message, results, {name: _table(name, suite, job) for name, suite in measured.each.items()})


def _table(name: str, suite: Suite, job: EvaluateJob) -> tuple[Row, ...]:
    """Return the suite's metrics: those of the criteria, and those that the task has besides."""
    asked: list[tuple[Metric, str | None]] = []
    for criterion in job.inputs.criteria:
        if criterion.suite == name:
            with suppress(Undefined):  # the criterion's result says so
                asked.append((suite.metric(criterion.metric), criterion.label))
    every = dict.fromkeys([*((metric, None) for metric in suite.usual()), *asked])
    return tuple(_row(metric, label, suite) for metric, label in every)


def _row(metric: Metric, label: str | None, suite: Suite) -> Row:
    progress.made(f"measuring {metric.name}")
    told: dict[str, object] = {}
    # The candidate's number is that of all rows that it answered, whatever it is compared with.
    try:
        told["candidate"] = _told(suite.estimate(metric, label))
    except Undefined as error:
        told["message"] = str(error)[:MAX_MESSAGE]
    for reference, (name, difference) in _COMPARED.items():
        if suite.answers.of(reference) is None:
            continue
        try:
            three = suite.difference(metric, label, reference)
        except Undefined as error:
            told.setdefault("message", str(error)[:MAX_MESSAGE])
        else:
            told |= {name: _told(three.reference), difference: _told(three.difference)}
    return Row(metric=metric.name, label=label, confidence=CONFIDENCE).model_copy(update=told)


def _told(estimate: Estimate) -> Told:
    if isinstance(estimate, Unsure):
        return Told(value=estimate.value)
    low, high = estimate.interval(CONFIDENCE)
    known = math.isfinite(low) and math.isfinite(high)
    return Told(value=estimate.value, low=low if known else None, high=high if known else None)
