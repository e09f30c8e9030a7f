"""How many pods are wanted: a table of what waits, and what may never come out of any sequence of it."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from stagecoach.api.deployment_status import AutoscalingStatus
from stagecoach.api.modeldeployment import Autoscaling, ModelDeployment
from stagecoach.contract.times import timestamp
from stagecoach.policies import scaling
from stagecoach.policies.scaling import DOWN_AFTER, UP_AFTER, Decision, Look, Unknown
from tests import builders
from tests.remedies import speaks

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
AT_ONCE = 32
ASKED = Autoscaling(min=1, max=6, waiting_requests=4)
UNKNOWN = Unknown("pod a says nothing. Nothing to do: it is asked again.")
FAILS = "Container engine of pod b ended with exit code 1. See the log: kubectl logs b -n team -c engine --previous."


def ago(seconds: float) -> str:
    return timestamp(NOW - timedelta(seconds=seconds))


def look(
    waiting: int = 0, running: int = 0, pods: int = 2, old: float = 0, *, silent: int = 0, fails: str = ""
) -> Look:
    why = UNKNOWN if silent else None
    return Look(pods, waiting, running, NOW - timedelta(seconds=old), why, silent, fails)


def decide(
    found: Look | Unknown, *, wanted: int = 2, asked: Autoscaling = ASKED, switching: bool = False, **before: Any
) -> Decision:
    status = AutoscalingStatus(wanted=wanted, at=ago(9000), **before)
    return scaling.decide(asked, AT_ONCE, status, found, NOW, switching=switching)


CASES = [
    ("all is well", look(8, 64), {}, 2, "Enough"),
    ("more wait, for the first time", look(9), {}, 2, "MoreWait"),
    ("and the same look once more", look(9, old=1), {"more_since": ago(3)}, 2, "MoreWait"),
    ("they still do", look(9), {"more_since": ago(10)}, 3, "Scaled"),
    ("as many as they take", look(15), {"more_since": ago(10)}, 4, "Scaled"),
    ("and no more than twice as many", look(500), {"more_since": ago(10)}, 4, "Scaled"),
    ("nor than may be", look(500, pods=5), {"wanted": 5, "more_since": ago(10)}, 6, "Scaled"),
    ("there may be no more", look(500, pods=6), {"wanted": 6, "more_since": ago(10)}, 6, "AtMost"),
    ("those that start come first", look(500), {"wanted": 3, "more_since": ago(10)}, 3, "PodsStarting"),
    ("one does not start", look(500, fails=FAILS), {"wanted": 3, "more_since": ago(10)}, 3, "PodsFail"),
    ("one does not start, and nobody needs it", look(8, fails=FAILS), {"wanted": 3}, 3, "Enough"),
    (
        "one says nothing, and more wait for the others",
        look(9, silent=1),
        {"wanted": 3, "more_since": ago(10)},
        4,
        "Scaled",
    ),
    ("nobody asks the others", look(silent=1), {"wanted": 3, "fewer_since": ago(300)}, 3, "LoadUnknown"),
    ("more wait while another release takes over", look(9), {"switching": True, "more_since": ago(10)}, 3, "Scaled"),
    ("the clock went back", look(9), {"more_since": ago(-100)}, 2, "MoreWait"),
    ("one fewer would do, for the first time", look(), {}, 2, "FewerDo"),
    ("for four minutes", look(), {"fewer_since": ago(299)}, 2, "FewerDo"),
    ("for five", look(), {"fewer_since": ago(300)}, 1, "Scaled"),
    ("not while another release takes over", look(), {"switching": True, "fewer_since": ago(300)}, 2, "Enough"),
    ("nor while something waits", look(1), {"fewer_since": ago(300)}, 2, "Enough"),
    ("nor while the others would be half full", look(0, 17), {"fewer_since": ago(300)}, 2, "Enough"),
    ("the others are", look(0, 16), {"fewer_since": ago(300)}, 1, "Scaled"),
    ("what does not start is given up", look(0, 16), {"wanted": 3, "fewer_since": ago(300)}, 2, "Scaled"),
    ("there may be no fewer", look(pods=1), {"wanted": 1, "fewer_since": ago(300)}, 1, "Enough"),
    ("nobody knows", UNKNOWN, {"more_since": ago(300), "fewer_since": ago(300)}, 2, "LoadUnknown"),
    ("fewer may be than there are", UNKNOWN, {"wanted": 9}, 6, "Scaled"),
    ("more have to be", UNKNOWN, {"wanted": 1, "asked": ASKED.model_copy(update={"min": 3})}, 3, "Scaled"),
]


@pytest.mark.parametrize(
    ("found", "before", "wanted", "reason"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_what_waits_decides(found: Look | Unknown, before: dict[str, Any], wanted: int, reason: str) -> None:
    decision = decide(found, **before)
    assert (decision.status.wanted, decision.reason) == (wanted, reason)
    assert bool(decision.moved) == (reason == "Scaled")
    assert (decision.status.at == timestamp(NOW)) == (reason == "Scaled")
    assert (decision.status.more_since is not None) == (reason == "MoreWait")
    assert (decision.status.fewer_since is not None) == (reason == "FewerDo")
    assert str(wanted) in decision.message or reason in ("MoreWait", "FewerDo")
    assert decision.follows == (reason not in ("AtMost", "LoadUnknown", "PodsFail"))
    assert decision.follows or speaks(reason, decision.message)


@pytest.mark.parametrize(
    ("spec", "before", "wanted", "number"),
    [
        ({"replicas": 3}, None, None, 3),
        ({"replicas": 0}, 5, None, 0),
        ({"autoscaling": {"min": 2, "max": 4, "waitingRequests": 1}}, None, None, 2),
        ({"autoscaling": {"min": 2, "max": 4, "waitingRequests": 1}}, 3, None, 3),
        ({"autoscaling": {"min": 2, "max": 4, "waitingRequests": 1}}, 9, None, 4),
        ({"autoscaling": {"max": 9, "waitingRequests": 1}}, 3, 7, 7),
        ({"autoscaling": {"max": 4, "waitingRequests": 1}}, 3, 7, 4),
    ],
)
def test_an_engine_begins_with_what_is_there_and_keeps_within_bounds(
    spec: Any, before: int | None, wanted: int | None, number: int
) -> None:
    status = {"autoscaling": {"wanted": wanted, "at": builders.CREATED}} if wanted else {}
    made = builders.stored(builders.deployment(**spec)) | {"status": status}
    assert scaling.pods(ModelDeployment.model_validate(made), before) == number


def is_crowded(found: Look | Unknown) -> bool:
    return isinstance(found, Look) and found.waiting > ASKED.waiting_requests * found.pods


class Crowds(RuleBasedStateMachine):
    """Requests come and go, pods start late, looks fail, the operator is away, and people change the bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.asked = ASKED
        self.status = AutoscalingStatus(wanted=1, at=timestamp(NOW))
        self.pods, self.silent, self.waiting, self.running = 1, 0, 0, 0
        self.looked: list[tuple[datetime, Look | Unknown]] = []
        self.moves: list[tuple[datetime, int, int]] = []  # when, from, to

    @initialize(least=st.integers(1, 3), most=st.integers(3, 8))
    def it_begins(self, least: int, most: int) -> None:
        self.asked = Autoscaling(min=least, max=most, waiting_requests=4)

    @rule(waiting=st.sampled_from([0, 0, 1, 5, 40, 1000]), running=st.integers(0, 256))
    def clients_come_and_go(self, waiting: int, running: int) -> None:
        self.waiting, self.running = waiting, running

    @rule(there=st.integers(0, 8))
    def pods_start_or_end(self, there: int) -> None:
        self.pods = min(there, self.status.wanted)

    @rule(seconds=st.sampled_from([1, 4, 10, 10, 10, 60, 3600]), looks=st.integers(1, 40), switching=st.booleans())
    def the_operator_looks(self, seconds: int, looks: int, switching: bool) -> None:
        for _ in range(looks):
            self.now += timedelta(seconds=seconds)
            self.decides(self.look() if self.pods else UNKNOWN, switching)

    @rule(old=st.sampled_from([0, 10, 29]))
    def it_looks_at_what_was_said_before(self, old: int) -> None:
        if self.pods:
            self.decides(self.look(old), False)

    @rule(silent=st.integers(0, 2))
    def pods_fall_silent(self, silent: int) -> None:
        self.silent = silent

    def look(self, old: int = 0) -> Look:
        silent = min(self.silent, self.pods - 1)
        at, why = self.now - timedelta(seconds=old), UNKNOWN if silent else None
        return Look(self.pods - silent, self.waiting, self.running, at, why, silent)

    @rule()
    def nobody_says_anything(self) -> None:
        self.decides(UNKNOWN, False)

    @rule(least=st.integers(1, 3), most=st.integers(3, 8))
    def bounds_change(self, least: int, most: int) -> None:
        self.asked = Autoscaling(min=least, max=most, waiting_requests=4)

    def decides(self, found: Look | Unknown, switching: bool) -> None:
        before = self.status
        decision = scaling.decide(self.asked, AT_ONCE, before, found, self.now, switching=switching)
        self.status = decision.status
        assert self.asked.min <= self.status.wanted <= self.asked.max
        self.looked.append((self.now, found))
        if before.wanted == decision.status.wanted:
            return
        assert decision.moved
        if not self.asked.min <= before.wanted <= self.asked.max:
            return  # the bounds have changed
        assert isinstance(found, Look), "what is not known moves nothing"
        if decision.status.wanted > before.wanted:
            crowded = itertools.takewhile(lambda each: is_crowded(each[1]), reversed(self.looked))
            assert min(at for at, _ in crowded) <= found.at - UP_AFTER, (
                "one look is not enough, nor a broken run of them"
            )
            assert decision.status.wanted <= 2 * before.wanted
        else:
            assert decision.status.wanted == before.wanted - 1, "one at a time"
            assert not switching
            window = [seen for at, seen in self.looked if self.now - at < DOWN_AFTER]
            assert all(isinstance(seen, Look) and seen.waiting == 0 and not seen.silent for seen in window)
            assert all(self.now - at >= DOWN_AFTER for at, _, _ in self.moves), "it does not flap"
        self.moves.append((self.now, before.wanted, decision.status.wanted))


TestCrowds = Crowds.TestCase
TestCrowds.settings = settings(max_examples=60, stateful_step_count=30, derandomize=True, deadline=None)
