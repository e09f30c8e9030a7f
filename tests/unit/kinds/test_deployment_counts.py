"""What a candidate has come to, from what gateways have counted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.api.deployment_status import MAX_GATEWAYS, Candidate
from stagecoach.contract.gateway_counts import SECONDS, Durations, GatewayCounts, ReleaseCounts
from stagecoach.contract.gateway_errors import ERRORS
from stagecoach.kinds.modeldeployment.counts import FRESH, OURS, counted, read
from stagecoach.kinds.modeldeployment.rolling import stepped
from stagecoach.kinds.view import Answer
from tests import builders
from tests.unit.kinds.gateways import NOW, UID, admitted, in_step, served

B = admitted("b")
STARTED = datetime(2026, 1, 2, 9, 0, 0, 123456, tzinfo=UTC)
LATE = datetime(2026, 1, 2, 11, 58, tzinfo=UTC)  # after the step began
NONE = Durations(bins=(0,) * (len(SECONDS) + 1), total=0)
# Of every error, whether it speaks against the release.
BLAMED = {
    "bad_http": False,
    "invalid_json": False,
    "invalid_request": False,
    "text_too_long": False,
    "engine_refused": False,  # a client can have as many as it likes: it is counted apart
    "missing_key": False,
    "invalid_key": False,
    "unknown_path": False,
    "model_not_found": False,
    "unknown_request": False,
    "method_not_allowed": False,
    "request_timeout": False,
    "body_too_large": False,
    "unsupported_media_type": False,
    "rate_limited": False,
    "headers_too_large": False,
    "internal_error": True,
    "engine_error": True,
    "engine_unavailable": True,
    "contract_violation": True,
    "nothing_served": False,
    "too_many_connections": False,
    "engine_timeout": True,
    "too_many_hops": False,
}


@pytest.mark.parametrize("code", ERRORS)
def test_which_errors_speak_against_a_release(code: str) -> None:
    assert (code in OURS) is BLAMED[code]
    assert ERRORS[code].status >= 500 or code not in OURS
    found = counted(candidate(), {"g": said(10, errors={code: 3}, started=LATE)}, ["g"], 7)
    assert found.errors == (3 if BLAMED[code] else 0)
    assert found.requests == (10 if BLAMED[code] else 7), "what is the client's fault says nothing of the release"
    assert found.unanswered == (3 if code == "engine_refused" else 0)


def test_what_clients_did_not_wait_for_is_none_of_its_requests() -> None:
    """Else one that is too slow for all of them would have all the requests that a step asks for, and no error."""
    found = read_all(candidate(), {"g": said(500, abandoned=20)}, {"g": said(600, 1, abandoned=118)})
    assert (found.requests, found.errors, found.unanswered) == (2, 1, 98)


def test_what_its_engine_refused_is_counted_as_the_rest_is() -> None:
    first, later = said(500, {"engine_refused": 40}), said(520, {"engine_refused": 59, "engine_error": 1})
    found = read_all(candidate(), {"g": first}, *[{"g": later}] * 3)
    assert (found.requests, found.errors, found.unanswered) == (1, 1, 19)
    again = read_all(found, {"g": said(7, {"engine_refused": 7}, started=LATE)})
    assert (again.requests, again.unanswered) == (1, 26)
    assert stepped(again, 1, 50, NOW).unanswered == 0


def test_numbers_that_a_version_before_remembered_are_compared_with_none_of_now() -> None:
    """Else its requests would not be counted as long as its errors are."""
    seen = {"gateway": "g", "started": "2026-01-02T09:00:00.123456Z", "requests": 700, "errors": 1}
    start = candidate(seen=[seen])
    found = read_all(start, {"g": said(710, {"invalid_request": 300, "engine_error": 2})})
    assert (found.requests, found.errors) == (0, 0)
    found = Candidate.model_validate(found.document())
    again = read_all(found, {"g": said(720, {"invalid_request": 300, "engine_error": 3})})
    assert (again.requests, again.errors) == (10, 1)


def candidate(**changes: Any) -> Candidate:
    return Candidate.model_validate(in_step(B, **changes))


def said(
    requests: int,
    errors: dict[str, int] | int = 0,
    *,
    started: datetime = STARTED,
    revision: int = 7,
    deployment: str = UID,
    release: str = B.release,
    abandoned: int = 0,
) -> GatewayCounts:
    codes = {"engine_error": errors} if isinstance(errors, int) else errors
    times = {"latency": NONE, "first_token": NONE}
    numbers = {"abandoned": 0, "fallbacks": 0, "prompt_tokens": 0, "completion_tokens": 0, "feedback": 0}
    other = ReleaseCounts(release=builders.digest("9"), requests=1000, errors={"engine_error": 900}, **times, **numbers)
    one = ReleaseCounts(release=release, requests=requests, errors=codes, **times, **numbers | {"abandoned": abandoned})
    return GatewayCounts(deployment=deployment, revision=revision, started=started, releases=(other, one))


def read_all(start: Candidate, *answers: dict[str, GatewayCounts], pods: tuple[str, ...] = ("g", "h")) -> Candidate:
    for answer in answers:
        start = counted(start, answer, pods, 7)
    return start


@pytest.mark.parametrize(
    ("answers", "requests", "errors", "seen"),
    [
        # What a gateway had counted before it was first seen in this step counts for nothing: it may be of long ago.
        ([{"g": said(500, 80)}], 0, 0, [500]),
        ([{"g": said(500, 80)}, {"g": said(507, 81)}], 7, 1, [507]),
        # A gateway that began after the step has counted for it alone.
        ([{"g": said(5, 1, started=LATE)}], 5, 1, [5]),
        ([{"g": said(5, 1, started=LATE), "h": said(500)}, {"h": said(503, 2)}], 8, 3, [5, 503]),
        # The same answer, again and again.
        ([{"g": said(500)}, *[{"g": said(520, 4)}] * 3], 20, 4, [520]),
        # It began again: all that it counts since then is new.
        ([{"g": said(500)}, {"g": said(520, 4)}, {"g": said(3, 1, started=LATE)}], 23, 5, [3]),
        ([{"g": said(500)}, {"g": said(3, started=STARTED - timedelta(hours=1))}], 3, 0, [3]),
        # Of before, and heard late.
        ([{"g": said(500)}, {"g": said(520, 4)}, {"g": said(510, 2)}, {"g": said(521, 4)}], 21, 4, [521]),
        # It knows the release not any more, or not yet.
        ([{"g": said(500)}, {"g": said(5, release=builders.digest("8"))}, {"g": said(501)}], 1, 0, [501]),
        # By other routes: later, when it has those in force.
        ([{"g": said(500)}, {"g": said(510, revision=6)}, {"g": said(530)}], 30, 0, [530]),
        ([{"g": said(500, revision=6)}, {"g": said(530)}], 0, 0, [530]),
        ([{"g": said(500)}, {"g": said(510, revision=8)}], 0, 0, [500]),
        ([{"g": said(5, started=LATE, revision=6)}], 0, 0, []),
        ([{"g": said(5, started=LATE, revision=6)}, {"g": said(6, started=LATE)}], 6, 0, [6]),
        # A pod that is gone, and whose answer is still known.
        ([{"other": said(5, started=LATE)}], 0, 0, []),
    ],
)
def test_what_is_added(answers: list[dict[str, GatewayCounts]], requests: int, errors: int, seen: list[int]) -> None:
    found = read_all(candidate(), *answers)
    assert (found.requests, found.errors, [each.requests for each in found.seen]) == (requests, errors, seen)
    again = read_all(found, answers[-1])
    assert again == found


def test_before_it_has_requests_what_gateways_counted_is_remembered() -> None:
    """So that none of the first ones are lost, and none of an earlier time count."""
    waiting = Candidate.model_validate(served(B))
    found = read_all(waiting, {"g": said(500, 80)}, {"g": said(501, 80), "h": said(9, started=LATE)})
    assert (found.requests, found.errors, [each.requests for each in found.seen]) == (0, 0, [501, 9])
    begun = found.model_copy(update={"step": 0, "weight": 5, "step_since": "2026-01-02T11:59:00Z"})
    found = read_all(begun, {"g": said(503, 81), "h": said(9, started=LATE)})
    assert (found.requests, found.errors) == (2, 1)


def test_what_it_answered_while_it_was_served_is_none_of_what_it_answers_as_a_candidate() -> None:
    """It was counted by the routes of then, and some of it after they were last asked: errors would be a small share."""
    waiting = read_all(Candidate.model_validate(served(B)), {"g": said(500, revision=6)})
    assert waiting.seen == []
    begun = waiting.model_copy(update={"step": 0, "weight": 5, "step_since": "2026-01-02T11:59:00Z"})
    found = read_all(begun, {"g": said(513, 5)}, {"g": said(523, 15)})
    assert (found.requests, found.errors) == (10, 10)


@pytest.mark.parametrize("step", [1, 0], ids=["next", "again"])
def test_what_ends_of_the_step_before_counts_for_that_alone(step: int) -> None:
    """Until a gateway has the routes of a step, all that it counts is of the one before, and of another weight."""
    first = read_all(candidate(), {"g": said(500, 80)}, {"g": said(520, 90)})
    assert (first.requests, first.errors) == (20, 10)
    second = stepped(first, step, 50, NOW)
    tail = counted(second, {"g": said(560, 130, revision=7)}, ["g"], 8)
    assert (tail.requests, tail.errors, tail.seen) == (0, 0, [])
    begun = counted(tail, {"g": said(570, 140, revision=8)}, ["g"], 8)
    found = counted(begun, {"g": said(575, 141, revision=8)}, ["g"], 8)
    assert (found.requests, found.errors) == (5, 1)


def test_what_a_gateway_counted_that_is_gone_stays() -> None:
    found = read_all(candidate(), {"g": said(500), "h": said(100)}, {"g": said(510), "h": said(101)})
    gone = counted(found, {}, ["h"], 7)
    assert gone == found
    assert gone.requests == 11
    back = read_all(gone, {"g": said(512)})
    assert back.requests == 13


def test_as_many_gateways_as_there_is_room_for() -> None:
    names = [f"g{number:02}" for number in range(MAX_GATEWAYS + 3)]
    known = counted(candidate(), {names[-1]: said(0)}, names, 7)
    found = counted(known, dict.fromkeys(names, said(2, started=LATE)), names, 7)
    again = counted(found, dict.fromkeys(names, said(2, started=LATE)), names, 7)
    assert len(found.seen) == MAX_GATEWAYS
    assert names[-1] in {each.gateway for each in found.seen}
    assert again == found
    assert found.requests == 2 * MAX_GATEWAYS
    assert Candidate.model_validate(found.document()) == found
    rest = [*names[:-3], "new"]  # and two of them are gone
    replaced = counted(found, {"new": said(3, started=LATE)}, rest, 7)
    assert len(replaced.seen) == MAX_GATEWAYS
    assert "new" in {each.gateway for each in replaced.seen}
    assert replaced.requests == found.requests + 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "ask", "ask", "restart", "go", "change routes"]),
            st.sampled_from("gh"),
            st.integers(0, 9),
        ),
        max_size=20,
    ),
)
def test_no_request_is_counted_twice(events: list[tuple[str, str, int]]) -> None:
    """Whatever gateways do: what is counted is at most what was, and all of it while none of them ends."""
    truth, lost = 0, False
    here = {name: [0, STARTED] for name in "gh"}
    found = read_all(candidate(), {name: said(0) for name in "gh"})
    for number, (event, name, requests) in enumerate(events):
        here[name][0] += requests  # type: ignore[operator]
        truth += requests
        if event == "restart":
            here[name] = [0, NOW + timedelta(seconds=number)]
            lost = True
        pods = [each for each in "gh" if (event, name) != ("go", each)]
        lost = lost or event == "go"
        revision = 6 if event == "change routes" else 7
        answers = {pod: said(here[pod][0], started=here[pod][1], revision=revision) for pod in pods}  # type: ignore[arg-type]
        found = counted(counted(found, answers, pods, 7), answers, pods, 7)
        assert found.requests <= truth
    if not lost:
        last = {pod: said(here[pod][0], started=here[pod][1]) for pod in "gh"}  # type: ignore[arg-type]
        assert counted(found, last, "gh", 7).requests == truth


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (None, False),
        (Answer(200, said(1).line().encode(), NOW, b""), True),
        (Answer(200, said(1).line().encode(), NOW - FRESH, b""), True),
        (Answer(200, said(1).line().encode(), NOW - FRESH - timedelta(seconds=1), b""), False),
        (Answer(200, said(1, deployment="other").line().encode(), NOW, b""), False),
        (Answer(200, b'{"later": 1}', NOW, b""), False),
        (Answer(0, said(1).line().encode(), NOW, b""), False),
        (Answer(401, b"{}", NOW, b""), False),
    ],
)
def test_what_an_answer_tells(answer: Answer | None, known: bool) -> None:
    found = read(answer, UID, NOW)
    assert (found == said(1)) is known
    assert (found is None) is not known
