"""The evaluation's report: what it is made of, row by row."""

from collections.abc import Sequence

from stagecoach.contract import alignment
from stagecoach.contract.evaluation_report import Measured
from stagecoach.contract.evaluations import EvaluateJob, EvaluationRecord
from stagecoach.contract.records import BaseRecord
from stagecoach.contract.rows import AnyRow
from stagecoach.contract.tagged import Marked, Words
from stagecoach_evaluator import leakage
from stagecoach_evaluator.judging import Judged
from stagecoach_evaluator.parties import Parties
from stagecoach_evaluator.report import Data, SuiteData, render
from stagecoach_evaluator.report_rows import Case
from stagecoach_evaluator.seen import Seen


def files(
    job: EvaluateJob, who: Parties, seen: Sequence[Seen], judged: Judged, record: EvaluationRecord
) -> dict[str, bytes]:
    """Return the report's files by their names."""
    return render(
        Data(
            job=job,
            asked=who.candidate.asked,
            base=who.record.base if who.record else _base(job),
            method=who.record.method if who.record else None,
            labels=who.candidate.labels,
            suites=tuple(
                _suite(job, number, each, judged.metrics[each.rows.suite.name]) for number, each in enumerate(seen)
            ),
            verdict=judged.verdict,
            message=judged.message,
            results=judged.results,
            exposures=record.exposures,
            started=record.started,
            finished=record.finished,
            seconds=record.seconds,
        )
    )


def _base(job: EvaluateJob) -> BaseRecord:
    """Return what the report says of a base that is judged itself: of others a run's record does."""
    source, told = job.base, job.untuned
    if told is None:
        raise AssertionError("a job without a run tells of a base itself")
    return BaseRecord(
        name=source.name,
        uri=source.uri,
        revision=source.revision,
        license=source.license,
        model=told.asked.base.model,
        tokenizer=told.asked.base.tokenizer,
        architecture=told.architecture,
        context=told.context,
    )


def _suite(job: EvaluateJob, number: int, seen: Seen, metrics: tuple[Measured, ...]) -> SuiteData:
    dataset = seen.rows.dataset
    return SuiteData(
        suite=seen.rows.suite,
        source=job.datasets[number],
        cases=[_case(dataset.rows[position], dataset.place(position)) for position in seen.rows.judged],
        candidate=seen.candidate.each,
        baseline=seen.baseline.each if seen.baseline else None,
        incumbent=seen.incumbent.each if seen.incumbent else None,
        metrics=metrics,
        scored=seen.scored,
        exposures=seen.exposures,
        shown=seen.shown_places,
    )


def _case(row: AnyRow, place: str) -> Case:
    if isinstance(row, Words | Marked):
        tokens = row.tokens if isinstance(row, Words) else None
        return Case(place, row.text, row.target, alignment.expected(row), tokens)
    return Case(place, leakage.text_of(row), row.target)
