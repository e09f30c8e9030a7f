"""The termination message: a Report that fits, by shortening what is longest, never by cutting the JSON."""

from collections.abc import Iterator

from stagecoach.contract.reports import MAX_BYTES, Finding, Outcome, Problem, Report, Resolution
from stagecoach.contract.verdicts import CriterionResult, EvaluationReport

MAX_LABELS = 100
SHORT_FINDING = 90
# Of numbers where there is no room for all of them: none of them is decided by again.
DECIMALS = 4
DECISIVE = ("value", "threshold", "low")
BESIDE = ("reference", "high", "mcnemar", "needed")


def message(report: Report) -> str:
    """Return the report's text, at most MAX_BYTES of UTF-8."""
    return next(text for text in _shorter(report) if len(text.encode()) <= MAX_BYTES)


def _shorter(report: Report) -> Iterator[str]:
    """Yield ever shorter forms. Those that people can read come first; the last one is a constant that fits."""
    yield report.line()
    if report.resolution:
        for shorter in _shorter_resolutions(report.resolution):
            report = report.model_copy(update={"resolution": shorter})
            yield report.line()
        yield report.packed
        yield report.model_copy(update={"resolution": _with_codes(shorter)}).packed
    if report.evaluation:
        yield report.packed
        for evaluation in _shorter_evaluations(report.evaluation):
            yield report.model_copy(update={"evaluation": evaluation}).packed
    if report.problem:
        for problem in (_shorter_problem(report.problem), _reason_alone(report.problem)):
            yield report.model_copy(update={"problem": problem}).line()
    problem = Problem.of(
        "ReportTooLarge",
        f"the result does not fit into the {MAX_BYTES} bytes of a termination message.",
        remedy=f"Use {'fewer criteria' if report.evaluation else 'fewer data sets and candidates'}, or shorter names.",
    )
    # The same would not fit again.
    yield Report(outcome=Outcome.BAD_INPUT, problem=problem).line()


def _shorter_resolutions(resolution: Resolution) -> Iterator[Resolution]:
    """Yield ever shorter forms: fewer labels first, then shorter findings."""
    count = min(len(resolution.labels.first), MAX_LABELS) if resolution.labels else 0
    while count:
        yield (resolution := _with_labels(resolution, count))
        count = count * 3 // 4
    yield (resolution := _with_labels(resolution, 0))
    yield resolution.model_copy(update={"findings": tuple(_brief(finding) for finding in resolution.findings)})


def _shorter_evaluations(evaluation: EvaluationReport) -> Iterator[EvaluationReport]:
    """Yield ever shorter forms, each with all results: shorter words, rounded numbers, at last those that decided."""
    for length in (100, 40, 0):
        results = tuple(_brief_result(result, length) for result in evaluation.results)
        yield evaluation.model_copy(update={"results": results})
    # What was not measured has no value: the operator believes no result that passed without one.
    bare = tuple(result.model_copy(update=dict.fromkeys(BESIDE)) for result in results)
    yield evaluation.model_copy(update={"results": bare, "message": _cut(evaluation.message, SHORT_FINDING)})


def _brief_result(result: CriterionResult, length: int) -> CriterionResult:
    numbers = {name: getattr(result, name) for name in (*DECISIVE, *BESIDE)}
    rounded = {name: round(number, DECIMALS) for name, number in numbers.items() if number is not None}
    words = _cut(result.message, length) if result.message and length else None
    return result.model_copy(update={**rounded, "message": words})


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _with_codes(resolution: Resolution) -> Resolution:
    codes = tuple(Finding(code=finding.code, message="See the Job's log.") for finding in resolution.findings)
    return resolution.model_copy(update={"findings": codes})


def _with_labels(resolution: Resolution, count: int) -> Resolution:
    if resolution.labels is None:
        return resolution
    labels = resolution.labels.model_copy(update={"first": resolution.labels.first[:count]})
    return resolution.model_copy(update={"labels": labels})


def _brief(finding: Finding) -> Finding:
    return Finding(code=finding.code, message=_cut(finding.message, SHORT_FINDING))


def _reason_alone(problem: Problem) -> Problem:
    return Problem(reason=problem.reason, message="See the pod's log.")


def _shorter_problem(problem: Problem) -> Problem:
    return Problem(
        reason=problem.reason,
        field=problem.field[:100],
        value=problem.value[:100],
        message=problem.message[:300],
        remedy=problem.remedy[:200],
    )
