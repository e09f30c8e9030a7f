"""Whether a load test has reached what spec.sla asks: only numbers of the whole load that can be true are believed."""

from collections.abc import Iterator
from math import ceil, isfinite

from stagecoach.api.sla import Sla, milliseconds
from stagecoach.contract.load_tests import LoadTestReport

# A client that is late, or an engine that does not keep up, and not how requests happen to come.
LEAST_OF_RATE = 0.9
# A tokenizer may make another number of tokens of a text than were drawn for it, and has some of its own at its ends.
LEAST_OF_PROMPTS, OWN_TOKENS = 0.9, 2


def doubt(sla: Sla, report: LoadTestReport, identity: str) -> str | None:
    """Return why a report says nothing about what was asked, None when it does."""
    if report.identity != identity:
        return "it is that of another test"
    if min(report.completed, report.failed) < 0 or requests(report) != sla.load.requests:
        return f"it tells of {requests(report)} requests, and {sla.load.requests} were to be sent"
    if report.completed == 0:
        return f"all {requests(report)} requests failed{_first(report)}"
    if report.output_tokens != (wanted := report.completed * sla.load.output_tokens):
        return f"its answers have {report.output_tokens} tokens, and were to have {wanted}"
    wanted = report.completed * sla.load.prompt_tokens
    if report.input_tokens < LEAST_OF_PROMPTS * (wanted - OWN_TOKENS * report.completed):
        return f"its prompts have {report.input_tokens} tokens, and were to have {wanted}"
    numbers = {
        "seconds": report.seconds,
        "p50": report.p50,
        "p99": report.p99,
        "firstToken": report.first_token,
    }
    if odd := [name for name, value in numbers.items() if not isfinite(value) or value <= 0]:
        return f"its {odd[0]} is {numbers[odd[0]]:g}, which cannot be"
    if max(report.p50, report.first_token) > report.p99 or report.p99 >= 1000 * report.seconds:
        return "its numbers contradict each other"
    return None


def shortfalls(sla: Sla, report: LoadTestReport) -> Iterator[str]:
    """Yield what was not reached, of a report that is believed."""
    limits = (("p50", sla.p50, report.p50), ("p99", sla.p99, report.p99))
    for name, limit, value in (*limits, ("firstToken", sla.first_token, report.first_token)):
        if limit is not None and value > milliseconds(limit):
            yield f"{name} was {shown(value)}, and spec.sla.{name} is {limit}"
    if error_rate(report) > sla.error_rate:
        share = f"{report.failed} of {requests(report)} requests failed ({error_rate(report):g}{_first(report)})"
        yield f"{share}, and spec.sla.errorRate is {sla.error_rate:g}"
    if rate(report) < LEAST_OF_RATE * sla.load.requests_per_second:
        wanted = f"spec.sla.load.requestsPerSecond is {sla.load.requests_per_second:g}"
        yield f"{rate(report):.3g} requests per second were reached, and {wanted}"


def requests(report: LoadTestReport) -> int:
    """Return how many requests ended, well or not."""
    return report.completed + report.failed


def error_rate(report: LoadTestReport) -> float:
    """Return the share of requests that failed."""
    return report.failed / requests(report)


def rate(report: LoadTestReport) -> float:
    """Return how many requests ended per second: after the last one was sent, its answer took as long as half do.

    Not as long as p99: of an engine that falls ever further behind, that is all the time by which it was late.
    """
    return requests(report) / (report.seconds - report.p50 / 1000)


def shown(value: float) -> str:
    """Return milliseconds as spec.sla has them: what is above a limit is never shown as the limit."""
    return f"{ceil(value)}ms"


def _first(report: LoadTestReport) -> str:
    return f", the first with {report.error!r}" if report.error else ""
