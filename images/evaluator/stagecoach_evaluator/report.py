"""The evaluation report: report.json for programs, and of that alone report.html for people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import (
    MAX_CANARIES,
    MAX_LEAKED,
    MAX_METRICS,
    MAX_REASONS,
    MAX_WORST,
    EvaluationDocument,
    KnownAs,
    Leaked,
    Measured,
    SuiteReport,
    Unscored,
)
from stagecoach.contract.evaluations import EvaluateJob, Scored, Suite, SuiteType
from stagecoach.contract.inputs import TaskDocuments
from stagecoach.contract.jobs import DataSource
from stagecoach.contract.records import BaseRecord
from stagecoach.contract.releases import Asked
from stagecoach.contract.verdicts import CriterionResult, Verdict
from stagecoach_evaluator import page, report_labels, report_numbers, silence
from stagecoach_evaluator.report_rows import Case, Said, cut, paired, paired_incumbent, told, worst

JSON = "report.json"
HTML = "report.html"


@dataclass(frozen=True)
class SuiteData:
    """A suite's rows with their answers, each at the same place of all of these, and what was measured on them."""

    suite: Suite
    source: DataSource
    cases: Sequence[Case]
    candidate: Sequence[Answer]
    baseline: Sequence[Answer] | None
    metrics: tuple[Measured, ...]
    scored: Scored
    exposures: int  # releases that these data have judged, this one included
    shown: Mapping[str, str] = field(default_factory=dict)  # places of rows in the prompt, and in which part of it
    incumbent: Sequence[Answer] | None = None

    @property
    def said(self) -> Said:
        """The answers side by side."""
        return Said(self.candidate, self.baseline, self.incumbent)


@dataclass(frozen=True)
class Data:
    """All that the report is made of."""

    job: EvaluateJob
    asked: Asked
    base: BaseRecord
    method: str | None  # None: the base itself
    labels: tuple[str, ...]  # in the order of the scores; empty for a task without labels
    suites: tuple[SuiteData, ...]
    verdict: Verdict
    message: str
    results: tuple[CriterionResult, ...]
    exposures: int
    started: str
    finished: str
    seconds: float


def render(data: Data) -> dict[str, bytes]:
    """Return the files of the report by their names: the same bytes for the same data."""
    whole = document(data)
    content = whole.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n"
    return {JSON: content.encode(), HTML: page.html(whole)}


def document(data: Data) -> EvaluationDocument:
    """Return what the report says."""
    job, trained_on = data.job, None
    if job.inputs.trained_on is not None:
        trained_on = tuple(KnownAs(name=source.name, digest=source.digest or "") for source in job.trained_on)
    shown = MAX_WORST // max(1, sum(item.suite.type is not SuiteType.CANARY for item in data.suites))
    return EvaluationDocument(
        key=job.inputs.digest,
        inputs=job.inputs,
        release=job.release,
        asked=data.asked,
        base=data.base,
        method=data.method,
        run=job.run,
        run_inputs=job.run_inputs,
        incumbent_run=job.incumbent.run if job.incumbent else None,
        trained_on=trained_on,
        project=job.project,
        owner=job.owner,
        subject=job.subject,
        gate=job.gate,
        verdict=data.verdict,
        message=data.message,
        results=data.results,
        suites=tuple(_suite(item, data, shown) for item in data.suites),
        exposures=data.exposures,
        image=job.image,
        started=data.started,
        finished=data.finished,
        seconds=data.seconds,
    )


def _suite(item: SuiteData, data: Data, shown: int) -> SuiteReport:
    """Return the suite's part: a canary's rows are all shown, of other suites the worst."""
    common = SuiteReport(
        name=item.suite.name,
        type=item.suite.type,
        dataset=item.source.name,
        data=item.suite.data,
        task=item.suite.columns.task if isinstance(item.suite.columns, TaskDocuments) else None,
        rows=item.scored.rows,
        repeated=item.scored.repeated,
        scored=item.scored.scored,
        empty=silence.empty(item.candidate),
        unscored=_unscored(item.candidate),
        baseline_unscored=_unscored(item.baseline or ()),
        incumbent_unscored=_unscored(item.incumbent or ()),
        leaked_rows=item.scored.leaked_rows,
        leaked=_leaked(item),
        exposure=report_numbers.exposure(item.exposures, item.suite.name, data.job.inputs.criteria),
        metrics=tuple(report_numbers.with_detectable(measured) for measured in item.metrics[:MAX_METRICS]),
        paired=paired(item.cases, item.candidate, item.baseline) if item.baseline else None,
        paired_incumbent=paired_incumbent(item.cases, item.candidate, item.incumbent) if item.incumbent else None,
    )
    if item.suite.type is SuiteType.CANARY:
        rows = told(item.cases, item.said)[:MAX_CANARIES]
        return common.model_copy(update={"canaries": tuple(rows)})
    of_labels = report_labels.results(item.cases, item.said, data.labels)
    return common.model_copy(
        update={
            "classes": of_labels.classes,
            "labels": of_labels.labels,
            "confusion": of_labels.confusion,
            "reliability": report_numbers.reliability(item.cases, item.candidate, data.labels),
            "baseline_reliability": report_numbers.reliability(item.cases, item.baseline or (), data.labels),
            "incumbent_reliability": report_numbers.reliability(item.cases, item.incumbent or (), data.labels),
            "worst": worst(item.cases, item.said, data.labels, shown),
        }
    )


def _unscored(answers: Iterable[Answer]) -> tuple[Unscored, ...]:
    reasons = Counter(answer.error for answer in answers if answer.error is not None)
    most = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Unscored(reason=reason, rows=rows) for reason, rows in most[:MAX_REASONS])


def _leaked(item: SuiteData) -> tuple[Leaked, ...]:
    places = (item.scored.leaked or ())[:MAX_LEAKED]
    if not places:
        return ()
    texts = {case.place: cut(case.text) for case in item.cases}
    return tuple(Leaked(place=place, input=texts.get(place), prompt=item.shown.get(place)) for place in places)
