"""Decisions of people in any order, taken back, seen late, and a crash between any two writes: what they bring holds."""

import copy
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.approval.reconcile import CONTROLLER as APPROVALS
from stagecoach.kinds.approval.reconcile import rests as approval_rests
from stagecoach.kinds.evaluation.rest import rests
from stagecoach.kinds.plan import Plan
from stagecoach.policies.reviews import SKEW
from stagecoach.runtime.clock import TOLERANCE
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.gates import approval, canary_report, project_with_canary, reviewed, world
from tests.unit.kinds.world import SETTINGS, lasting

AHEAD = int(SKEW.total_seconds())
assert AHEAD == TOLERANCE
NEEDED = 2
VALID_FOR = timedelta(hours=1)
RUBRIC = {"rubric": [{"name": "fluency"}], "minScore": 3}
EVALUATION = reviewed(approvals=NEEDED, validFor="1h", **RUBRIC)
RELEASE = EVALUATION["spec"]["release"]["digest"]
NAMED = ("qa@example.com",)
GROUP = "ml-leads"
REPORTS = st.sampled_from(
    [
        *[(canary_report(), 0, "Completed")] * 4,
        (builders.evaluation_report(), 0, "Completed"),
        (builders.evaluation_report("Failed"), 0, "Completed"),
        (canary_report(leaked=1), 0, "Completed"),
        ({"outcome": "ServiceFailed", "problem": {"reason": "DiskFull", "message": "No space."}}, 69, "Error"),
        (None, 137, "OOMKilled"),
        ({"outcome": "Terminated"}, 70, "Error"),
    ]
)
LOGS = st.sampled_from(
    [*[builders.canary_rows()] * 4, CanaryRows(rows=()), builders.canary_rows(11), builders.canary_rows(9)]
)
DECISIONS = st.tuples(
    st.sampled_from(["qa@example.com", "lead@example.com"]),
    st.sampled_from([GROUP] * 3 + [None, "others"]),
    st.sampled_from([RELEASE] * 6 + [builders.digest("b")]),
    st.sampled_from(["Approve"] * 8 + ["Reject"]),
    st.sampled_from([5, 5, 5, 3, 1, 1, None]),
    st.sampled_from([None, None, None, 20]),
)


class Reviews(RuleBasedStateMachine):
    """An Evaluation that people have to look at, and everything that they can do."""

    def __init__(self) -> None:
        super().__init__()
        self.world = world(EVALUATION, project_with_canary())
        self.made: list[builders.Object] = []  # every decision that ever was
        self.gone: set[str] = set()  # uids of those that were taken back
        self.number = 0
        self.missing: datetime | None = None  # when it was last told that the policy is missing

    # What the operator does.

    def look(self, age: int, writes: int, lag: int) -> None:
        """Look at the Evaluation; of decisions the newest may not have come yet, and those that went may still be seen."""
        here, now = self.world, self.world.approvals
        seen = {each["metadata"]["name"]: each for each in self.made[: len(self.made) - lag]}
        here.approvals = {name: each for name, each in seen.items() if lag or each["metadata"]["uid"] not in self.gone}
        before, proved = here.status, here.proved
        here.reconcile(age, writes)
        here.approvals = now
        told = proved is False and age == 0 and writes and "review" in before and "verdict" not in here.status
        self.missing = here.now if told else self.missing
        asks = "review" in here.status and "review" not in before
        passes = asks or ("review" in before and "verdict" not in before and here.status.get("verdict") == "Passed")
        assert here.proved or not passes, "nobody is asked, and nothing passes, but where the policy was seen to hold"

    @rule(age=st.integers(0, 3), writes=st.integers(0, 4), lag=st.integers(0, 2))
    def the_operator_looks_and_may_crash(self, age: int, writes: int, lag: int) -> None:
        self.look(age, writes, lag)

    @rule()
    def the_operator_goes_on(self) -> None:
        for _ in range(3):
            self.look(0, 99, 0)

    @rule(data=st.data())
    @precondition(lambda self: self.world.approvals)
    def the_operator_looks_at_an_approval(self, data: st.DataObject) -> None:
        self.tell(data.draw(st.sampled_from(sorted(self.world.approvals))))

    def tell(self, name: str) -> None:
        made = self.world.approvals[name]
        plan = APPROVALS.reconcile(self.world, copy.deepcopy(made), self.world.now, SETTINGS)
        if approval_rests(self.world, made):
            assert plan in (Plan(), Plan(status=made["status"])), "what rests has nothing to be done"
        assert not plan.create
        assert not plan.delete
        self.world.approvals[name] = made | {"status": plan.status}
        said = {each["type"]: each for each in plan.status["conditions"]} if plan.status else {}
        ready = said["Ready"]
        assert ready["status"] == "True" or speaks(ready["reason"], ready["message"]), ready
        assert ("Reconciling" in said) + ("Stalled" in said) == (ready["status"] != "True")
        told = self.world.status.get("review", {})
        counts = [each["uid"] for each in told.get("approvals", ())]
        assert (ready["reason"] == "Counted") == (made["metadata"]["uid"] in counts)

    # What pods and people do.

    @rule(end=REPORTS, log=LOGS)
    def a_pod_works(self, end: tuple[builders.Object | None, int, str], log: CanaryRows) -> None:
        here = self.world
        here.start_pods()
        here.run_pods()
        here.logged = log
        here.end_pods(*end)

    @rule()
    @precondition(lambda self: "review" not in self.world.status)
    def all_is_measured(self) -> None:
        """Bring it to where people are asked, unless something stands in the way."""
        here = self.world
        here.logged = builders.canary_rows()
        for _ in range(3):
            self.look(0, 99, 0)
            here.start_pods()
            here.run_pods()
            here.end_pods(canary_report())
            here.wait(20)
        self.look(0, 99, 0)

    @rule()
    def a_node_goes(self) -> None:
        self.world.lose_pods()

    @initialize(early=st.lists(DECISIONS, max_size=2), begun=st.sampled_from([True, True, False]))
    def it_may_have_been_measured(self, early: list[Any], begun: bool) -> None:
        """Mostly people are asked at once: what they do is what this is about."""
        for each in early:
            self.decide(*each)
        self.world.wait(AHEAD)
        if begun:
            self.all_is_measured()

    @rule(decisions=st.lists(DECISIONS, min_size=1, max_size=4), looks=st.booleans())
    def people_decide(self, decisions: list[Any], looks: bool) -> None:
        for each in decisions:
            self.decide(*each)
            self.world.wait(1)
        if looks:
            self.look(0, 99, 0)

    def decide(
        self, person: str, group: str | None, release: str, decision: str, score: int | None, expires: int | None
    ) -> None:
        self.number += 1
        changes: dict[str, Any] = {"reviewer": person, "release": release, "decision": decision}
        changes |= {"group": group} if group else {}
        changes |= {"scores": [{"name": "fluency", "score": score}]} if score else {}
        if decision == "Reject":
            changes["reason"] = "It is rude."
        elif expires:
            changes["expires"] = (self.world.now + timedelta(seconds=expires)).isoformat()
        made = approval(self.world, f"a{self.number}", **changes)
        made["metadata"]["uid"] = f"uid-a{self.number}"
        self.made.append(made)

    @rule(data=st.data())
    @precondition(lambda self: self.world.approvals)
    def somebody_takes_a_decision_back(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.approvals)))
        self.gone.add(self.world.approvals.pop(name)["metadata"]["uid"])

    @rule()
    @precondition(lambda self: self.world.status)
    def a_problem_is_shown(self) -> None:
        self.world.show_problem()

    @rule(holds=st.sampled_from([True, True, False]))
    def the_policy_goes_or_comes(self, holds: bool) -> None:
        self.world.policy = holds
        self.world.proved = None

    @rule(decisions=st.lists(DECISIONS, min_size=2, max_size=4))
    @precondition(lambda self: self.world.status.get("phase") == "AwaitingReview")
    def people_decide_while_the_policy_is_away(self, decisions: list[Any]) -> None:
        self.the_policy_goes_or_comes(holds=False)
        self.people_decide(decisions, looks=True)
        self.look(0, 99, 0)
        self.the_policy_goes_or_comes(holds=True)

    @rule(seconds=st.integers(-AHEAD, AHEAD))
    def the_operators_clock_is_off(self, seconds: int) -> None:
        """By no more than it lets itself be: see runtime/clock.py."""
        self.world.operator_is_off = timedelta(seconds=seconds)

    @rule(seconds=st.sampled_from([1, 1, 30, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)

    # What holds.

    @invariant()
    def watches_bring_what_happened(self) -> None:
        self.world.note()

    @invariant()
    def every_failure_speaks(self) -> None:
        """EveryFailureSpeaks: why, and what to do about it."""
        self.world.check_every_failure_speaks()
        goes_on = ("Pending", "Running", "AwaitingReview")
        self.world.check_what_others_read(goes_on=goes_on, needs_somebody="Decided")

    @invariant()
    def the_verdict_is_final(self) -> None:
        """VerdictIsFinal: what was decided once is what every later status says, whatever people do then."""
        decided = [version["status"] for version in self.world.history if "verdict" in version.get("status", {})]
        assert all(lasting(status) == lasting(decided[0]) for status in decided)

    @invariant()
    def what_people_looked_at_stays(self) -> None:
        """VerdictIsFinal: they are asked once, about rows and a report that do not change."""
        asked = [each["status"] for each in self.world.history if "review" in each.get("status", {})]
        assert all(
            (each["review"]["asked"], each["review"]["rows"], each["report"])
            == (asked[0]["review"]["asked"], asked[0]["review"]["rows"], asked[0]["report"])
            for each in asked
        )
        assert all(each["review"]["rows"] == [row.document() for row in builders.canary_rows().rows] for each in asked)

    @invariant()
    def passed_is_what_that_many_reviewers_approved(self) -> None:
        """VerdictIsFinal: and it is that of different people who were asked, about this release, after they were."""
        status = self.world.status
        if status.get("verdict") != "Passed":
            return
        review = status["review"]
        assert "rejected" not in review
        counted = review["approvals"]
        assert len({each["reviewer"] for each in counted}) == len(counted) == NEEDED
        by_uid = {each["metadata"]["uid"]: each for each in self.made}
        over = datetime.fromisoformat(status["completionTime"])
        for each in counted:
            spec, at = by_uid[each["uid"]]["spec"], by_uid[each["uid"]]["metadata"]["creationTimestamp"]
            assert (spec["decision"], spec["release"]) == ("Approve", RELEASE)
            assert spec["reviewer"] in NAMED or spec["group"] == GROUP
            assert self.world.stored["metadata"]["creationTimestamp"] <= at
            assert self.missing is None or self.missing < datetime.fromisoformat(at), "it could be in any name"
            assert datetime.fromisoformat(review["asked"]) - timedelta(seconds=AHEAD) <= datetime.fromisoformat(at)
            assert over < datetime.fromisoformat(at) + VALID_FOR
            assert "expires" not in spec or over < datetime.fromisoformat(spec["expires"])
        scores = [each["scores"][0]["score"] for each in counted]
        assert sum(scores) / len(scores) >= RUBRIC["minScore"]

    @invariant()
    def failed_by_people_is_what_a_reviewer_said(self) -> None:
        """VerdictIsFinal: nobody else lets it fail, either."""
        rejected = self.world.status.get("review", {}).get("rejected")
        if rejected:
            [made] = [each for each in self.made if each["metadata"]["uid"] == rejected["uid"]]
            assert (made["spec"]["decision"], made["spec"]["release"]) == ("Reject", RELEASE)
            assert made["spec"]["reviewer"] in NAMED or made["spec"]["group"] == GROUP

    def teardown(self) -> None:
        """NothingStuck: when the accidents stop, people are asked, and two who approve let it pass; then all rests."""
        here = self.world
        here.logged = builders.canary_rows()
        here.policy, here.proved = True, None
        for name in list(here.approvals):
            self.gone.add(here.approvals.pop(name)["metadata"]["uid"])
        for _ in range(30):
            self.look(0, 99, 0)
            here.start_pods()
            here.run_pods()
            self.look(0, 99, 0)
            here.end_pods(canary_report())
            self.look(0, 99, 0)
            here.wait(400)
        if here.status["phase"] == "AwaitingReview":
            for person in ("qa@example.com", "lead@example.com"):
                self.decide(person, GROUP, RELEASE, "Approve", 5, None)
            self.look(0, 99, 0)
            self.look(0, 99, 0)
            assert here.status["verdict"] == "Passed"
        assert here.status["phase"] == "Decided"
        assert not here.live_pods()
        self.look(0, 99, 0)
        assert rests(here, here.stored)
        for name in here.approvals:
            self.tell(name)
            assert approval_rests(here, here.approvals[name])


TestReviews = Reviews.TestCase
TestReviews.settings = settings(max_examples=100, stateful_step_count=20, derandomize=True)
