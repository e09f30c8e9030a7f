"""The termination message: a Report that fits, by shortening what is longest, never by cutting the JSON."""

from collections.abc import Iterator

from stagecoach.contract.reports import MAX_BYTES, Finding, Outcome, Problem, Report, Resolution

MAX_LABELS = 100
SHORT_FINDING = 90


def message(report: Report) -> str:
    """Return the report's text, at most MAX_BYTES of UTF-8."""
    for shorter in _shorter(report):
        if len((text := shorter.line()).encode()) <= MAX_BYTES:
            return text
    raise AssertionError("the last form is a constant that fits")


def _shorter(report: Report) -> Iterator[Report]:
    yield report
    if report.resolution:
        for resolution in _shorter_resolutions(report.resolution):
            report = report.model_copy(update={"resolution": resolution})
            yield report
    if report.problem:
        for problem in (_shorter_problem(report.problem), _reason_alone(report.problem)):
            yield report.model_copy(update={"problem": problem})
    problem = Problem.of(
        "ReportTooLarge",
        f"the result does not fit into the {MAX_BYTES} bytes of a termination message.",
        remedy="Use fewer data sets and candidates, or shorter names.",
    )
    yield Report(outcome=Outcome.FAILED, problem=problem)


def _shorter_resolutions(resolution: Resolution) -> Iterator[Resolution]:
    """Yield ever shorter forms: fewer labels first, then shorter findings, then fewer of them."""
    count = min(len(resolution.labels.first), MAX_LABELS) if resolution.labels else 0
    while count:
        yield (resolution := _with_labels(resolution, count))
        count = count * 3 // 4
    yield (resolution := _with_labels(resolution, 0))
    brief = tuple(_brief(finding) for finding in resolution.findings)
    yield (resolution := resolution.model_copy(update={"findings": brief}))
    codes = tuple(Finding(code=finding.code, message="See the Job's log.") for finding in resolution.findings)
    yield resolution.model_copy(update={"findings": codes})


def _with_labels(resolution: Resolution, count: int) -> Resolution:
    if resolution.labels is None:
        return resolution
    labels = resolution.labels.model_copy(update={"first": resolution.labels.first[:count]})
    return resolution.model_copy(update={"labels": labels})


def _brief(finding: Finding) -> Finding:
    text = finding.message
    return finding if len(text) <= SHORT_FINDING else Finding(code=finding.code, message=text[:SHORT_FINDING] + "…")


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
