"""The termination message: a Report that fits, by shortening what is longest, never by cutting the JSON."""

from collections.abc import Iterator

from stagecoach.contract.reports import MAX_BYTES, Finding, Outcome, Problem, Report, Resolution

MAX_LABELS = 100
SHORT_FINDING = 90


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
    if report.problem:
        for problem in (_shorter_problem(report.problem), _reason_alone(report.problem)):
            yield report.model_copy(update={"problem": problem}).line()
    problem = Problem.of(
        "ReportTooLarge",
        f"the result does not fit into the {MAX_BYTES} bytes of a termination message.",
        remedy="Use fewer data sets and candidates, or shorter names.",
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


def _with_codes(resolution: Resolution) -> Resolution:
    codes = tuple(Finding(code=finding.code, message="See the Job's log.") for finding in resolution.findings)
    return resolution.model_copy(update={"findings": codes})


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
