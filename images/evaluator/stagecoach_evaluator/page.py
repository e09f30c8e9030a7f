"""The report for people: one HTML file that needs nothing else, and runs no program."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stagecoach.contract.digests import short
from stagecoach.contract.evaluation_report import Estimate, EvaluationDocument, Measured, SuiteReport
from stagecoach.contract.evaluations import Criterion
from stagecoach.contract.verdicts import CriterionResult
from stagecoach_evaluator import phrases, plots

FOLDER = Path(__file__).parent / "templates"
# No program, no request: the page may hold nothing but itself, whatever text a row brings.
POLICY = "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
# Rows that stand open; the others are one click away.
OPEN_ROWS = 20
OPEN_CLASSES = 24


@dataclass(frozen=True)
class Judged:
    """A criterion and what came of it."""

    criterion: Criterion
    result: CriterionResult
    difference: float | None
    picture: Markup | None


@dataclass(frozen=True)
class Drawn:
    """A metric and its picture."""

    measured: Measured
    scale: tuple[float, float]
    picture: Markup


def html(document: EvaluationDocument) -> bytes:
    """Return the page."""
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    allowed = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = (
        _environment()
        .get_template("report.html")
        .render(
            document=document,
            judged=[_judged(result, document) for result in document.results],
            style=Markup(style),  # noqa: S704
            policy=POLICY.format(style=allowed),
            open_rows=OPEN_ROWS,
            open_classes=OPEN_CLASSES,
        )
    )
    return text.encode()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Whatever is printed comes by here: a value that is no text, and no markup of ours, is shown as it is.
        finalize=lambda value: phrases.visible(value) if type(value) is str else value,
    )
    made.globals.update(plots=plots, phrases=phrases, metrics=_metrics)
    names = ("figure", "signed", "percent", "span", "duration", "when", "rows", "level", "bound", "breakable")
    made.filters.update({name: getattr(phrases, name) for name in names} | {"short": short})
    return made


def _judged(result: CriterionResult, document: EvaluationDocument) -> Judged:
    criterion = next(item for item in document.inputs.criteria if item.name == result.criterion)
    difference = None
    if criterion.against is not None and result.value is not None and result.reference is not None:
        difference = result.value - result.reference
    return Judged(criterion, result, difference, _picture(criterion, result, difference))


def _picture(criterion: Criterion, result: CriterionResult, difference: float | None) -> Markup | None:
    decides = result.value if criterion.against is None else difference
    if decides is None or result.threshold is None:
        return None
    estimate = Estimate(value=decides, low=result.low, high=result.high)
    what = "value" if criterion.against is None else "difference"
    title = f"{criterion.name}: {what} {phrases.figure(decides, criterion.metric)}"
    if between := phrases.span(estimate, criterion.metric):
        title += f", interval {between}"
    title += f"; passes at {phrases.bound(result.threshold)} or more"
    return plots.against(estimate, result.threshold, outcome=result.outcome.lower(), title=phrases.visible(title))


def _metrics(suite: SuiteReport) -> list[Drawn]:
    """Return the suite's metrics, those counted alike on one scale."""
    scales = phrases.shape(suite.metrics)
    return [_drawn(item, scales.get(phrases.hundreds(item) > 1, (0.0, 1.0))) for item in suite.metrics]


def _drawn(item: Measured, scale: tuple[float, float]) -> Drawn:
    said = [
        f"{who} {phrases.figure(estimate.value, item.metric)} {phrases.span(estimate, item.metric)}".strip()
        for who, estimate in (("candidate", item.candidate), ("base", item.baseline), ("incumbent", item.incumbent))
        if estimate
    ]
    domain = (scale[0] * phrases.hundreds(item), scale[1] * phrases.hundreds(item))
    title = phrases.visible(f"{item.metric} {item.label or ''}: {', '.join(said) or 'not measured'}")
    other = item.incumbent or item.baseline
    return Drawn(item, domain, plots.pair(item.candidate, other, domain, title, phrases.hundreds(item) / 10))
