"""How a candidate takes over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.api.common import duration
from stagecoach.api.modeldeployment import Canary
from stagecoach.policies.rollout import (
    WEIGHT_HOLDS,
    Abort,
    Advance,
    Await,
    Decision,
    Finish,
    Hold,
    Progress,
    decide,
    renewed,
)
from tests.remedies import speaks

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
STEPS = [{"weight": 5, "hold": "5m"}, {"weight": 20, "hold": "1h", "minRequests": 200}, {"weight": 50, "hold": "90s"}]


def canary(steps: list[dict[str, Any]] = STEPS, **abort: Any) -> Canary:
    return Canary.model_validate({"steps": steps, "abortOn": abort})


def progress(
    step: int = 0,
    minutes: float = 0,
    requests: int = 0,
    errors: int = 0,
    weight: int | None = None,
    left: float = 8,
    unanswered: int = 0,
) -> Progress:
    """Return where a candidate is that began its step so many minutes ago."""
    weight = (5, 20, 50, 50)[step] if weight is None else weight
    since, until = NOW - timedelta(minutes=minutes), NOW + timedelta(minutes=left)
    return Progress(step, weight, since, until, requests, errors, unanswered=unanswered)


@pytest.mark.parametrize(
    ("candidate", "decision"),
    [
        (None, Advance(0, 5)),
        (progress(0, 5), Advance(1, 20)),  # nobody asked, and the step asks for nobody
        (progress(0, 5, 1000), Advance(1, 20)),
        (progress(0, 5, 1000, 50), Advance(1, 20)),  # 5 %, and no more
        (progress(1, 60, 200), Advance(2, 50)),
        (progress(0, 5, 1, unanswered=10_000), Advance(1, 20)),  # clients can have as much refused as they like
        (progress(0, 5, 0, unanswered=1), Hold),
        (progress(2, 1.5), Finish()),
        # The spec has another step of this number by now, or none.
        (progress(0, 1, weight=10), Advance(0, 5)),
        (progress(3, 1), Hold),
        (progress(3, 2), Finish()),
        # Gateways took the weight away meanwhile.
        (progress(0, 5, 1000, left=0), Advance(0, 5)),
        (progress(2, 90, left=-60), Advance(2, 50)),
        # Too many errors, whatever else is to be waited for.
        (progress(0, 1, 20, 2), Abort),
        (progress(1, 60, 100, 6), Abort),
        (progress(2, 90, 20, 20, left=-60), Abort),
        (progress(3, 1, 1000, 51), Abort),
    ],
)
def test_what_comes_next(candidate: Progress | None, decision: Decision | type[Decision]) -> None:
    found = decide(canary(), candidate, NOW)
    assert isinstance(found, decision) if isinstance(decision, type) else found == decision


def test_without_steps_it_has_all_at_once() -> None:
    assert decide(None, None, NOW) == Finish()
    assert decide(None, progress(0, 1, 20, 20), NOW) == Finish()


@pytest.mark.parametrize(
    ("candidate", "abort", "reason", "minutes", "words"),
    [
        (progress(0, 1), {}, "StepHolds", 4, "In step 1 of 3 the candidate has 5 of 100 requests until 2026-01-02T12:04:00Z: so far 0, 0 failed"),
        (progress(0, 1, 19, 19), {}, "StepHolds", 4, "so far 19, 19 (100.00%) failed by our fault"),
        (progress(1, 1, 17), {}, "StepHolds", 59, "until 2026-01-02T12:59:00Z and until it has had 200: so far 17"),
        (progress(1, 1, 200), {}, "StepHolds", 59, "until 2026-01-02T12:59:00Z: so far 200"),
        (progress(1, 60), {}, "RequestsMissing", None, "has 20 of 100 requests until it has had 200: so far 0, 0 failed by our fault. Nothing to do while clients ask"),
        (progress(1, 600, 199), {}, "RequestsMissing", None, "so far 199, 0 (0.00%)"),
        # It refuses everything, as far as anybody can tell: nor does a step that asks for nobody take it on.
        (progress(0, 1, unanswered=30), {}, "StepHolds", 4, "and until it has had 1: so far 0, 0 failed by our fault; besides, 30 that its engine refused (engine_refused), or whose clients left"),
        (progress(0, 600, unanswered=30), {}, "RequestsMissing", None, "until it has had 1: so far 0, 0 failed by our fault; besides, 30 that its engine refused (engine_refused), or whose clients left. See its engine's log"),
        (progress(1, 600, 199, unanswered=1), {}, "RequestsMissing", None, "so far 199, 0 (0.00%) failed by our fault; besides, 1 that its engine refused (engine_refused), or whose clients left. Nothing to do while"),
        # Too few to reject it by, and too bad to go on.
        (progress(0, 5, 19, 19), {}, "ErrorsUnclear", None, "of 19 so far 19 failed: more than 5.00%, of too few requests"),
        (progress(2, 90, 3, 1), {"errorRate": 0.3, "minRequests": 4}, "ErrorsUnclear", None, "when it has had 4"),
    ],
)  # fmt: skip
def test_why_it_stays(
    candidate: Progress, abort: dict[str, Any], reason: str, minutes: float | None, words: str
) -> None:
    found = decide(canary(**abort), candidate, NOW)
    assert isinstance(found, Hold)
    assert (found.reason, found.until) == (reason, None if minutes is None else NOW + timedelta(minutes=minutes))
    assert words in found.message
    assert speaks(found.reason, found.message)


BY_HAND = [{"weight": 5, "hold": "Manual", "minRequests": 50}, {"weight": 20, "hold": "Manual"}]


@pytest.mark.parametrize(
    ("candidate", "promoted", "decision"),
    [
        (progress(0, 0, 50), False, Await),
        (progress(0, 9000, 50), False, Await),
        (progress(0, 0, 49), True, Hold),  # nor does a person make them
        (progress(0, 0, 50), True, Advance(1, 20)),
        (progress(1, 0), True, Finish()),
        (progress(1, 0, 5, 5), True, Hold),
        (progress(0, 0, 50, 50), True, Abort),
        (progress(1, 0, unanswered=5), True, Hold),
        (progress(0, 0, 50, left=0), True, Advance(0, 5)),
    ],
)
def test_a_step_by_hand(candidate: Progress, promoted: bool, decision: Decision | type[Decision]) -> None:
    found = decide(canary(BY_HAND), replace(candidate, promoted=promoted), NOW)
    assert isinstance(found, decision) if isinstance(decision, type) else found == decision


def test_why_it_goes() -> None:
    found = decide(canary(errorRate=0.025), progress(1, 3, 120, 9), NOW)
    assert isinstance(found, Abort)
    assert found.reason == "TooManyErrors"
    assert (
        "In step 2 of 3 the candidate has 20 of 100 requests. Of the 120 that it had to answer 9 (7.50%)"
        in found.message
    )
    assert "rollout.canary.abortOn.errorRate is 2.50%" in found.message
    assert speaks(found.reason, found.message)


@pytest.mark.parametrize("percent", range(100))
def test_a_rate_is_reached_and_not_exceeded(percent: int) -> None:
    """Whatever the last digits of a floating-point number are."""
    steps = canary(errorRate=percent / 100, minRequests=100)
    assert not isinstance(decide(steps, progress(0, 1, 100, percent), NOW), Abort)
    assert isinstance(decide(steps, progress(0, 1, 100, percent + 1), NOW), Abort)


STEP = st.builds(
    lambda weight, hold, least: {"weight": weight, "hold": hold, "minRequests": least},
    st.integers(1, 99),
    st.sampled_from(["1s", "5m", "24h", "Manual"]),
    st.sampled_from([0, 1, 50]),
)


@given(
    st.lists(STEP, min_size=1, max_size=4),
    st.integers(0, 4),
    st.integers(-200_000, 200_000),
    st.integers(-60, 600),
    st.integers(0, 100),
    st.integers(0, 100),
    st.sampled_from([0.0, 0.05, 0.5]),
    st.sampled_from([1, 20]),
    st.booleans(),
)
def test_it_gets_no_more_than_it_has_earned(
    steps: list[dict[str, Any]],
    step: int,
    age: int,
    left: int,
    requests: int,
    errors: int,
    rate: float,
    least: int,
    promoted: bool,
) -> None:
    index = min(step, len(steps) - 1)
    errors = min(errors, requests)
    weight, hold = steps[index]["weight"], steps[index]["hold"]
    since, until = NOW - timedelta(seconds=age), NOW + timedelta(seconds=left)
    candidate = Progress(step, weight, since, until, requests, errors, promoted)
    found = decide(canary(steps, errorRate=rate, minRequests=least), candidate, NOW)
    bad = requests > 0 and errors / requests > rate
    assert isinstance(found, Abort) == (bad and requests >= least)
    again = isinstance(found, Advance) and found.step == index
    if isinstance(found, Finish) or (isinstance(found, Advance) and not again):
        assert not bad
        assert requests >= steps[index]["minRequests"]
        by_time = hold != "Manual" and timedelta(seconds=age) >= duration(hold)
        assert by_time or (hold == "Manual" and promoted), "a clock that goes back takes nobody on"
        assert left > 0
    if isinstance(found, Advance):
        assert found.step in (index, index + 1)
        assert found.weight == steps[found.step]["weight"]
        assert again == (left <= 0)
    if isinstance(found, Finish):
        assert index == len(steps) - 1
    if isinstance(found, Hold):
        assert speaks(found.reason, found.message)
        assert found.until is None or found.until > NOW


@pytest.mark.parametrize(
    ("left", "after"), [(10, 10), (7, 7), (5, 5), (4.9, 10), (0, 10), (-60, 10), (10.1, 10), (1000, 10)]
)
def test_a_weight_is_renewed_when_half_of_its_time_is_over(left: float, after: float) -> None:
    assert renewed(NOW + timedelta(minutes=left), NOW) == NOW + timedelta(minutes=after)
    assert timedelta(minutes=10) == WEIGHT_HOLDS
