"""NoUngatedTraffic and IncumbentStays, where people promote, override and revoke at any time."""

import copy
import itertools
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.test_modeldeployment_properties import NAMES, QA, SLA, Deployments

STEPS = [{"weight": 10, "hold": "Manual", "minRequests": 5}, {"weight": 50, "hold": "1m"}]
STRANGER = "ed@example.com"


class DecidedDeployments(Deployments):
    """A ModelDeployment whose candidates wait for people, and what these decide."""

    spec: ClassVar[builders.Object] = {
        "rollout": {"canary": {"steps": STEPS}},
        "approvers": [{"user": QA}],
    }

    def __init__(self) -> None:
        super().__init__()
        self.checked = 0

    @rule(
        decision=st.sampled_from(["Promote", "Promote", "Override", "Override", "Revoke"]),
        run=st.sampled_from(NAMES),
        reviewer=st.sampled_from([QA, QA, QA, STRANGER]),
        heard=st.booleans(),
    )
    def somebody_decides(self, decision: str, run: str, reviewer: str, heard: bool) -> None:
        judged = [each for each in self.stage.evaluations if each["spec"].get("run") == run]
        if judged:
            self.decide(decision, judged[-1]["spec"]["release"]["digest"], reviewer)
        if heard:
            self.stage.weigh()

    @rule(decision=st.sampled_from(["Promote", "Revoke"]), place=st.sampled_from(["serving", "candidate", "rejected"]))
    def somebody_decides_on_what_is_told(self, decision: str, place: str) -> None:
        told = self.stage.told_status.get(place) or ()
        for each in told if place == "rejected" else [told] if told else ():
            self.decide(decision, each["release"], QA)
        self.stage.weigh()

    @rule()
    def the_operator_looks_at_decisions(self) -> None:
        self.stage.weigh()

    @rule(data=st.data())
    def a_decision_is_taken_back(self, data: st.DataObject) -> None:
        if names := sorted(key.name for key in self.stage.objects if key.kind == "Approval"):
            self.stage.remove("Approval", data.draw(st.sampled_from(names)))

    @rule(who=st.sampled_from([[], [{"user": QA}]]))
    def who_may_decide_changes(self, who: list[builders.Object]) -> None:
        deployment = copy.deepcopy(self.stage.deployment)
        deployment["spec"]["approvers"] = who
        deployment["metadata"]["generation"] += 1
        self.stage.put(deployment)

    @rule(hours=st.sampled_from([1, 23, 25]))
    def hours_pass(self, hours: int) -> None:
        self.stage.wait(3600 * hours)

    # What must hold.

    @invariant()
    def nothing_is_admitted_that_is_revoked(self) -> None:
        """Of what has become a candidate since the last look nobody has revoked the release."""
        versions = [each.get("status", {}) for each in self.stage.versions]
        for before, after in itertools.pairwise(versions[self.checked :]):
            new, old = after.get("candidate"), before.get("candidate")
            if new is not None and (old is None or new["release"] != old["release"]):
                assert new["release"] not in self.revoked()
        self.checked = len(versions) - 1

    @invariant()
    def what_was_overridden_says_so(self) -> None:
        for each in self.stage.versions:
            status = each.get("status", {})
            if "override" in status.get("serving", {}):
                gated = next(item for item in status["conditions"] if item["type"] == "Gated")
                assert (gated["status"], gated["reason"]) in (("False", "Overridden"), ("True", "Passed")), gated

    @invariant()
    def no_weight_outlasts_its_override(self) -> None:
        for each in self.stage.versions:
            status = each.get("status", {})
            candidate = status.get("candidate", {})
            moves = candidate.get("release") == status.get("serving", {}).get("release")
            if "override" in candidate and "weightUntil" in candidate and not moves:
                assert candidate["weightUntil"] <= candidate["override"]["until"]

    @invariant()
    def each_promote_lets_one_thing_go_on(self) -> None:
        used = {
            (each["uid"], each["at"])
            for version in self.stage.versions
            for each in version.get("status", {}).get("promotions", ())
        }
        assert len({uid for uid, _ in used}) == len(used)
        assert all(self.counts(uid, "Promote") for uid, _ in used)

    @invariant()
    def every_decision_speaks(self) -> None:
        """EveryFailureSpeaks: what does not count says why, and what to do."""
        for each in self.decisions():
            for told in each.get("status", {}).get("conditions", ()):
                assert told["status"] == "True" or speaks(told["reason"], told["message"]), told

    def teardown(self) -> None:
        """NothingStuck: whoever may decides, and nobody any more on what is to be served last."""
        deployment = copy.deepcopy(self.stage.deployment)
        deployment["spec"]["approvers"] = [{"user": QA}]
        self.stage.put(deployment)
        super().teardown()
        assert self.stage.told_status["serving"]["release"] not in self.revoked()

    # What people have decided.

    def people_help(self) -> None:
        super().people_help()
        candidate = self.stage.told_status.get("candidate", {})
        if "heldSince" in candidate:
            self.decide("Promote", candidate["release"], QA)
            self.stage.weigh()

    def decide(self, decision: str, release: str, reviewer: str) -> None:
        made = self.stage.say(decision, release, reviewer=reviewer)
        self.made[made["metadata"]["uid"]] = made

    def decisions(self) -> list[builders.Object]:
        return [each for key, each in self.stage.objects.items() if key.kind == "Approval"]

    def revoked(self) -> set[str]:
        accepted = [each for each in self.decisions() if each.get("status", {}).get("accepted")]
        return {each["spec"]["release"] for each in accepted if each["spec"]["decision"] == "Revoke"}


class DecidedDeploymentsWithAnSla(DecidedDeployments):
    """The same, where a load test comes first."""

    spec: ClassVar[builders.Object] = DecidedDeployments.spec | {"sla": SLA}


TestDecidedDeployments = DecidedDeployments.TestCase
TestDecidedDeployments.settings = settings(max_examples=60, stateful_step_count=40, derandomize=True, deadline=None)
TestDecidedDeploymentsWithAnSla = DecidedDeploymentsWithAnSla.TestCase
TestDecidedDeploymentsWithAnSla.settings = settings(
    max_examples=30, stateful_step_count=40, derandomize=True, deadline=None
)
