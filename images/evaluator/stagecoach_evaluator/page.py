"""The report for people: one HTML file that needs nothing else, and runs no program."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stagecoach.contract.digests import hex_of, short
from stagecoach.contract.evaluation_report import Estimate, EvaluationDocument, Measured, SuiteReport
from stagecoach.contract.evaluations import Criterion, SuiteType
from stagecoach.contract.verdicts import CriterionResult, Verdict
from stagecoach_evaluator import plots, words

FOLDER = Path(__file__).parent / "templates"
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
    # No program, no request: the page may hold nothing but itself, whatever text a row brings.
    allowed = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = _environment().get_template("report.html").render(
        document=document,
        judged=[_judged(result, document) for result in document.results],
        style=Markup(style),  # noqa: S704
        policy=f"default-src 'none'; style-src 'sha256-{allowed}'; img-src data:; base-uri 'none'; form-action 'none'",
        open_rows=OPEN_ROWS,
        open_classes=OPEN_CLASSES,
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
        finalize=lambda value: words.visible(value) if type(value) is str else value,
    )
    made.globals.update(plots=plots, words=words, metrics=_metrics, criteria_of=_criteria_of, Verdict=Verdict)
    made.globals.update(SuiteType=SuiteType)
    names = ("figure", "signed", "percent", "span", "duration", "when", "rows", "level", "bound", "breakable")
    made.filters.update({name: getattr(words, name) for name in names} | {"hex": hex_of, "short": short})
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
    title = f"{criterion.name}: {what} {words.figure(decides, criterion.metric)}"
    if between := words.span(estimate, criterion.metric):
        title += f", interval {between}"
    rising = criterion.max is None
    title += f"; passes at {words.bound(result.threshold)} or {'more' if rising else 'less'}"
    return plots.against(
        estimate, result.threshold, rising=rising, outcome=result.outcome.lower(), title=words.visible(title)
    )


def _metrics(suite: SuiteReport) -> list[Drawn]:
    """Return the suite's metrics, those counted alike on one scale."""
    scales = words.shape(suite.metrics)
    return [_drawn(item, scales.get(words.hundreds(item) > 1, (0.0, 1.0))) for item in suite.metrics]


def _drawn(item: Measured, scale: tuple[float, float]) -> Drawn:
    said = [
        f"{who} {words.figure(estimate.value, item.metric)} {words.span(estimate, item.metric)}".strip()
        for who, estimate in (("candidate", item.candidate), ("base", item.baseline))
        if estimate
    ]
    domain = (scale[0] * words.hundreds(item), scale[1] * words.hundreds(item))
    title = words.visible(f"{item.metric} {item.label or ''}: {', '.join(said) or 'not measured'}")
    return Drawn(item, domain, plots.pair(item.candidate, item.baseline, domain, title, words.hundreds(item) / 10))


def _criteria_of(suite: SuiteReport, document: EvaluationDocument) -> int:
    return sum(criterion.suite == suite.name for criterion in document.inputs.criteria)
