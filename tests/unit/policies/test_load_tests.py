"""Whether a load test has met an SLA: each limit, and each way in which numbers are none."""

import math
from typing import Any

import pytest

from stagecoach.api.sla import Sla, milliseconds
from stagecoach.contract.load_tests import LoadTestReport
from stagecoach.policies import load_tests

IDENTITY = "sha256:" + "a" * 64
LOAD = {"requestsPerSecond": 20, "promptTokens": 60, "outputTokens": 16, "duration": "60s"}
SLA = Sla.model_validate({"p50": "300ms", "p99": "2s", "firstToken": "200ms", "errorRate": 0.001, "load": LOAD})
GOOD = LoadTestReport(
    identity=IDENTITY,
    completed=1199,
    failed=1,
    input_tokens=1199 * 60,
    output_tokens=1199 * 16,
    seconds=62.5,
    p50=300,
    p99=2000,
    first_token=200,
    error="Bad Gateway",
)


def report(**changes: Any) -> LoadTestReport:
    return GOOD.model_copy(update=changes)


def test_what_is_just_reached_is_met() -> None:
    assert load_tests.doubt(SLA, GOOD, IDENTITY) is None
    assert list(load_tests.shortfalls(SLA, GOOD)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"p50": 300.1}, "p50 was 301ms, and spec.sla.p50 is 300ms"),
        ({"p99": 2000.5}, "p99 was 2001ms, and spec.sla.p99 is 2s"),
        ({"first_token": 201}, "firstToken was 201ms, and spec.sla.firstToken is 200ms"),
        (
            {"completed": 1198, "failed": 2, "input_tokens": 1198 * 60, "output_tokens": 1198 * 16},
            "2 of 1200 requests failed (0.00166667, the first with 'Bad Gateway'), and spec.sla.errorRate is 0.001",
        ),
        (
            {"seconds": 72.0},
            "16.7 requests per second were reached, and spec.sla.load.requestsPerSecond is 20",
        ),
    ],
)
def test_what_is_not_reached_is_told_with_the_numbers(changes: dict[str, Any], words: str) -> None:
    assert load_tests.doubt(SLA, report(**changes), IDENTITY) is None
    assert list(load_tests.shortfalls(SLA, report(**changes))) == [words]


def test_what_nobody_asks_for_is_not_held_against_it() -> None:
    sla = Sla.model_validate({"firstToken": "200ms", "load": LOAD})
    assert list(load_tests.shortfalls(sla, report(p50=9000, p99=9000, seconds=70))) == []


def test_an_engine_that_falls_ever_further_behind_has_not_reached_the_load() -> None:
    """Half as many are answered as come: answers begin soon, but are whole ever later."""
    sla = Sla.model_validate({"firstToken": "200ms", "load": LOAD})
    late = report(p50=30_000.0, p99=59_500.0, seconds=120.0)
    assert load_tests.doubt(sla, late, IDENTITY) is None
    wanted = "spec.sla.load.requestsPerSecond is 20"
    assert list(load_tests.shortfalls(sla, late)) == [f"13.3 requests per second were reached, and {wanted}"]


def test_shares_are_told_with_the_digits_that_decide() -> None:
    sla = SLA.model_copy(update={"error_rate": 0.0008})
    [words] = load_tests.shortfalls(sla, GOOD)
    assert "1 of 1200 requests failed (0.000833333, " in words
    assert words.endswith("spec.sla.errorRate is 0.0008")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"identity": "sha256:" + "b" * 64}, "another test"),
        ({"completed": 1198}, "tells of 1199 requests, and 1200 were to be sent"),
        ({"completed": 1201, "failed": -1}, "tells of 1200 requests"),
        ({"completed": 0, "failed": 1200, "p50": 0.0, "p99": 0.0, "first_token": 0.0}, "all 1200 requests failed, the"),
        ({"output_tokens": 1199 * 16 - 1}, "its answers have 19183 tokens, and were to have 19184"),
        ({"input_tokens": 1199 * 52}, "its prompts have 62348 tokens, and were to have 71940"),
        ({"p50": math.nan}, "its p50 is nan"),
        ({"p99": math.inf}, "its p99 is inf"),
        ({"first_token": 0.0}, "its firstToken is 0"),
        ({"seconds": -1.0}, "its seconds is -1"),
        ({"p50": 2500.0}, "contradict"),
        ({"first_token": 2500.0}, "contradict"),
        ({"seconds": 2.0}, "contradict"),
    ],
)
def test_numbers_that_cannot_be_are_not_believed(changes: dict[str, Any], words: str) -> None:
    doubt = load_tests.doubt(SLA, report(**changes), IDENTITY)
    assert doubt is not None
    assert words in doubt


@pytest.mark.parametrize(("text", "length"), [("300ms", 300), ("2s", 2000), ("999s", 999_000)])
def test_latencies_are_read(text: str, length: int) -> None:
    assert milliseconds(text) == length
