"""What a long soak has to have reached before its verdict says anything."""

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.audit import Write
from tests.soak.enough import FEWEST_REQUESTS, FEWEST_RUNS, FEWEST_SWITCHES, FEWEST_VERDICTS, too_little
from tests.soak.faults import API_SERVER_AWAY, OPERATORS_AWAY
from tests.soak.ground import REAL, SIMULATED
from tests.soak.switches import REFUSED, WAYS
from tests.unit import test_soak_serving
from tests.unit.test_soak_verdict import GOOD, Object, hit, lease, pod

MADE = frozenset((namespace, f"run-{number}") for namespace, few in FEWEST_RUNS.items() for number in range(few))
JUDGED = [
    {"metadata": {"namespace": namespace}, "status": {"attempt": {"number": number + 1}}}
    for namespace, few in FEWEST_VERDICTS.items()
    for number in range(few)
]
TURNS = [lease(1, "a"), lease(5, "b"), lease(6, "b"), lease(20, "a"), lease(40, "b")]
FROZEN = hit("freeze_beyond_lease", "b", 10, 30)
AWAY = [hit(OPERATORS_AWAY, "a", 2, 8), hit(OPERATORS_AWAY, "b", 2, 8), hit(API_SERVER_AWAY, "control plane", 50, 59)]
ENDED = ((REAL, 5), (SIMULATED, 5), (REAL, 55))


ANSWERS = [test_soak_serving.ANSWERS[number % 20] for number in range(FEWEST_REQUESTS)]
BACK_AND_FORTH = [test_soak_serving.SERVED, test_soak_serving.SWITCHED] * FEWEST_SWITCHES
SWITCHES = BACK_AND_FORTH[: FEWEST_SWITCHES + 1]
WANTED = dict.fromkeys(WAYS, 1)


def ended_in(namespace: str, at: int) -> Object:
    made = pod()
    made["metadata"]["namespace"] = namespace
    made["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = f"2026-01-02T03:04:{at:02}Z"
    return made


def ended_but(one: tuple[str, int]) -> list[Object]:
    return [ended_in(*each) for each in ENDED if each != one]


ENOUGH = replace(
    GOOD,
    writes=[*TURNS, *SWITCHES],
    made=MADE,
    hits=[FROZEN, *AWAY],
    pods=[ended_in(*each) for each in ENDED],
    evaluations=JUDGED,
    deployments=[test_soak_serving.LAST],
    answers=ANSWERS,
    wanted=WANTED,
)


def given_back(at: int, user: str) -> Write:
    return replace(lease(at, user), response={"spec": {"holderIdentity": ""}})


def test_nothing_is_missed_where_there_was_enough() -> None:
    assert list(too_little(ENOUGH)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"made": frozenset(sorted(MADE)[1:])}, "only 19 runs in soak-real, not 20"),
        ({"made": frozenset(sorted(MADE)[:-1])}, "only 99 runs in soak-simulated, not 100"),
        ({"evaluations": JUDGED[1:]}, "only 3 Evaluations in soak-real, not 4"),
        ({"evaluations": JUDGED[:-1]}, "only 29 Evaluations in soak-simulated, not 30"),
        (
            {"evaluations": [each | {"status": {"attempt": {"number": 1}}} for each in JUDGED]},
            "no Evaluation was interrupted",
        ),
        ({"writes": TURNS[:-1]}, "the leader changed only 2 times"),
        ({"writes": []}, "the leader changed only 0 times"),
        # One that takes its own Lease again, or gives it back, changes nothing.
        ({"writes": [*TURNS[:-1], lease(39, "a"), given_back(40, "b")]}, "the leader changed only 2 times"),
        ({"answers": ANSWERS[1:]}, "only 999 requests, not 1000"),
        ({"answers": [ANSWERS[0]] * 1000}, "only 1 releases answered, not 2"),
        ({"writes": [*TURNS, *SWITCHES[1:]]}, "only 5 times something else was served, not 6"),
        ({"wanted": {way: 1 for way in WAYS if way != REFUSED}}, "nobody wanted what has failed"),
        ({"hits": []}, "no leader was frozen"),
        ({"hits": [hit("freeze_beyond_lease", "a", 10, 30)]}, "no leader was frozen"),  # it did not lead
        ({"hits": [hit("freeze_beyond_lease", "b", 10, 19)]}, "no leader was frozen"),  # it woke before
        ({"hits": [hit("freeze_beyond_lease", "b", 21, 30)]}, "no leader was frozen"),  # another led already
        ({"hits": [hit("kill_operator", "b", 10, 30)]}, "no leader was frozen"),
        ({"pods": ended_but((REAL, 5))}, "operators_away: no pod in soak-real ended meanwhile"),
        ({"pods": ended_but((SIMULATED, 5))}, "operators_away: no pod in soak-simulated ended meanwhile"),
        ({"pods": ended_but((REAL, 55))}, "api_server_away: no pod in soak-real ended meanwhile"),
    ],
)
def test_what_there_was_too_little_of_is_said(changes: dict[str, Any], words: str) -> None:
    assert any(words in said for said in too_little(replace(ENOUGH, **changes)))
