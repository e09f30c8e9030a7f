"""What an Evaluation does that people have to look at, case by case."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.approval.reconcile import CONTROLLER as APPROVALS
from stagecoach.kinds.approval.reconcile import rests as approval_rests
from stagecoach.kinds.evaluation.neighbours import elder, wakes
from stagecoach.kinds.evaluation.rest import rests
from stagecoach.kinds.plan import Key, Object, key_of
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds import gates
from tests.unit.kinds.gates import Hall, approval, canary_report, project_with_canary, reviewed_spec, reviewed_world
from tests.unit.kinds.test_evaluation import document_of, end, start
from tests.unit.kinds.world import SETTINGS, World

RUBRIC = {"rubric": [{"name": "fluency"}, {"name": "facts"}], "minScore": 4}
LEAD = {"reviewer": "lead@example.com", "group": "ml-leads"}


def asked(**review: Any) -> World:
    """Bring an Evaluation to where people are asked."""
    here = reviewed_world(**review)
    start(here)
    end(here, canary_report())
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    return here


def told(here: World, name: str = "fine") -> Object:
    """Return what an Approval says of itself."""
    made = here.approvals[name]
    plan = APPROVALS.reconcile(here, copy.deepcopy(made), here.now, SETTINGS)
    if plan.status is not None:
        here.approvals[name] = made = made | {"status": plan.status}
    conditions = made["status"]["conditions"]
    ready: Object = next(each for each in conditions if each["type"] == "Ready")
    assert ready["status"] == "True" or speaks(ready["reason"], ready["message"]), ready
    return ready


def test_people_are_asked_with_the_rows_and_how_to_answer() -> None:
    here = asked()
    status = here.status
    assert "verdict" not in status
    assert "completionTime" not in status
    assert status["review"]["rows"] == [each.document() for each in builders.canary_rows().rows]
    assert status["review"]["asked"] == "2026-01-02T03:04:05Z"
    assert status["report"]["digest"] == builders.digest("c")
    assert status["attempt"]["outcome"] == "Succeeded"
    ready = here.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "AwaitingReview")
    assert "awaits approval of qa@example.com or a member of ml-leads" in ready["message"]
    name = here.stored["metadata"]["name"]
    assert f"kubectl stagecoach approve {name} -n team" in ready["message"]
    assert here.condition("Reconciling")["status"] == "True"
    assert not here.condition("Stalled")
    assert document_of(here).inputs.review is not None


@pytest.mark.parametrize(("verdict", "reason"), [("Failed", "CriterionFailed"), ("Inconclusive", "MoreRowsNeeded")])
def test_of_what_is_not_good_enough_nobody_is_asked(verdict: str, reason: str) -> None:
    here = reviewed_world()
    start(here)
    end(here, builders.evaluation_report(verdict))
    assert (here.status["verdict"], here.condition("Ready")["reason"]) == (verdict, reason)
    assert "review" not in here.status


def test_a_report_that_does_not_say_which_rows_is_not_believed() -> None:
    here = reviewed_world()
    start(here)
    end(here, builders.evaluation_report())
    assert here.status["verdict"] == "Error"
    assert "does not say which rows people have to look at" in here.status["message"]


OTHERS = builders.canary_rows(11)


@pytest.mark.parametrize("logged", [CanaryRows(rows=()), OTHERS], ids=["none", "others"])
def test_without_the_rows_another_pod_tells_them(logged: CanaryRows) -> None:
    here = reviewed_world()
    here.logged = logged
    start(here)
    end(here, canary_report())
    here.reconcile()
    assert here.status["attempt"]["outcome"] == "PodLost"
    assert "rows to review are not in the log" in here.status["attempt"]["message"]
    assert (here.status["interruptions"], here.status.get("failures", 0)) == (1, 0)
    here.wait(60)
    here.logged = builders.canary_rows()
    start(here)
    end(here, canary_report(adopted=True))
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert here.status["report"]["adopted"]


def test_rows_that_never_come_are_an_error() -> None:
    here = reviewed_world()
    here.logged = OTHERS
    for _ in range(11):
        start(here)
        end(here, canary_report())
        here.reconcile()
        here.wait(400)
    ready = here.condition("Ready")
    assert (here.status["verdict"], ready["reason"]) == ("Error", "RowsLost")
    assert "containerLogMaxSize" in ready["message"]
    assert "priority class" not in ready["message"]


@pytest.mark.parametrize("node_is_off", [timedelta(0), timedelta(hours=-1)])
def test_a_log_that_cannot_be_read_yet_burns_nothing(node_is_off: timedelta) -> None:
    """The operator was away, a node's clock is behind, or the kubelet does not answer: the pod and its log are there."""
    here = reviewed_world()
    here.node_is_off = node_is_off
    start(here)
    here.end_pods(canary_report())
    for _ in range(3):
        plan = here.reconcile(writes=0)
        assert plan.read is not None
        here.wait(3600)
    here.reconcile()
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"


def test_of_a_pod_that_goes_before_its_log_was_read_another_tells_the_rows() -> None:
    here = reviewed_world()
    start(here)
    here.end_pods(canary_report())
    assert here.reconcile(writes=0).read is not None
    here.lose_pods()
    here.wait(601)
    here.reconcile()
    assert here.status["attempt"]["outcome"] == "PodLost"
    assert here.condition("Ready")["reason"] == "Retrying"


def test_an_approval_passes() -> None:
    here = asked()
    approval(here)
    here.reconcile()
    assert here.status["verdict"] == "Passed"
    assert here.status["message"] == "f1_macro is 0.9, and has to be at least 0.8. Approved by qa@example.com."
    assert here.condition("Ready")["status"] == "True"
    [counted] = here.status["review"]["approvals"]
    assert counted == {
        "name": "fine",
        "uid": here.approvals["fine"]["metadata"]["uid"],
        "reviewer": "qa@example.com",
        "at": "2026-01-02T03:04:05Z",
    }
    assert rests(here, here.stored)
    assert told(here)["reason"] == "Counted"
    assert approval_rests(here, here.approvals["fine"])


def test_the_event_says_who() -> None:
    here = asked()
    approval(here, **LEAD)
    plan = here.reconcile()
    [event] = plan.events
    assert event.reason == "Passed"
    assert not event.warning
    assert "Approved by lead@example.com (as a member of ml-leads)." in event.message
    assert here.status["review"]["approvals"][0]["as"] == "ml-leads"


def test_several_have_to() -> None:
    here = asked(approvals=2)
    approval(here)
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert "So far: qa@example.com." in here.condition("Ready")["message"]
    assert told(here)["reason"] == "Counted"
    here.wait(1)
    approval(here, "again", group="ml-leads")
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert told(here, "again")["reason"] == "TwiceByOne"
    approval(here, "lead", **LEAD)
    here.reconcile()
    assert here.status["verdict"] == "Passed"
    assert told(here, "again")["reason"] == "AlreadyDecided"


def test_one_reject_fails() -> None:
    here = asked(approvals=2)
    approval(here)
    approval(here, "no", **LEAD, decision="Reject", reason="Row 3 is rude.")
    plan = here.reconcile()
    assert here.status["verdict"] == "Failed"
    ready = here.condition("Ready")
    assert (ready["reason"], ready["status"]) == ("Rejected", "False")
    assert "Rejected by lead@example.com (as a member of ml-leads): Row 3 is rude. " in ready["message"]
    assert here.status["review"]["rejected"]["reason"] == "Row 3 is rude."
    assert [(event.reason, event.warning) for event in plan.events] == [("Rejected", True)]
    assert told(here, "no")["reason"] == "Rejected"
    assert told(here)["reason"] == "Counted"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"release": builders.digest("b")}, "OtherRelease"),
        ({"reviewer": "editor@example.com"}, "NotAReviewer"),
        ({"reviewer": "editor@example.com", "group": "others"}, "NotAReviewer"),
        ({"scores": [{"name": "fluency", "score": 5}]}, "UnknownRubric"),
        ({"expires": "2026-01-01T00:00:00Z"}, "Expired"),
        ({"reviewer": "editor@example.com", "decision": "Reject", "reason": "no"}, "NotAReviewer"),
    ],
)
def test_what_does_not_count_says_why(changes: dict[str, Any], reason: str) -> None:
    here = asked()
    approval(here, **changes)
    writes = here.status_writes
    here.reconcile()
    assert here.status_writes == writes
    assert told(here)["reason"] == reason


def test_scores_decide() -> None:
    here = asked(**RUBRIC)
    approval(here, "none")
    here.reconcile()
    assert told(here, "none")["reason"] == "ScoresMissing"
    approval(here, **LEAD, scores=[{"name": "fluency", "score": 5}, {"name": "facts", "score": 3}])
    here.reconcile()
    assert here.status["verdict"] == "Failed"
    assert here.condition("Ready")["reason"] == "ScoreTooLow"
    assert "human_facts: the mean of the reviewers' scores is 3, below 4." in here.status["message"]
    by_name = {each["criterion"]: each for each in here.status["results"]}
    assert by_name["human_fluency"] == {
        "criterion": "human_fluency",
        "outcome": "Passed",
        "value": 5,
        "threshold": 4,
        "scored": 1,
    }
    assert by_name["human_facts"]["outcome"] == "Failed"
    assert by_name["good"]["outcome"] == "Passed"


def test_an_approval_from_before_never_counts() -> None:
    here = reviewed_world()
    approval(here)
    assert told(here)["reason"] == "NotAwaiting"
    here.wait(6)
    start(here)
    end(here, canary_report())
    here.reconcile()
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert told(here)["reason"] == "NotAwaiting"


def test_who_deletes_the_evaluation_undoes_no_reject() -> None:
    """The gate makes it again, of the same key, and its verdict is adopted; only who may delete Approvals lets it pass."""
    here = reviewed_world()
    made = approval(here, "no", decision="Reject", reason="Row 3 is rude.")
    assert told(here, "no")["reason"] == "Weighing"
    here.wait(60)
    here.stored["metadata"] |= {"uid": "uid-again", "creationTimestamp": here.now.isoformat()}
    here.history = [copy.deepcopy(here.stored)]
    start(here)
    end(here, canary_report(adopted=True))
    here.reconcile()
    approval(here, **LEAD)
    here.reconcile()
    assert here.status["verdict"] == "Failed"
    assert here.status["review"]["rejected"]["uid"] == made["metadata"]["uid"]
    name = here.stored["metadata"]["name"]
    assert f"kubectl delete appr/no eval/{name} -n team" in here.condition("Ready")["message"]
    assert told(here, "no")["reason"] == "Rejected"


def beside_another(here: World) -> World:
    """Return the Evaluation of the same release beside another that is served, which people are asked about."""
    other = gates.reviewed_world()
    other.stored["metadata"] |= {"name": "good-ffffffffffff", "uid": "uid-beside"}
    other.history = [copy.deepcopy(other.stored)]
    other.twins, other.approvals = (here,), here.approvals
    start(other)
    end(other, canary_report())
    other.reconcile()
    assert other.status["phase"] == "AwaitingReview"
    return other


@pytest.mark.parametrize("gone", [False, True])
def test_a_reject_counts_beside_whatever_is_served_by_then(gone: bool) -> None:
    here = asked()
    made = approval(here, "no", decision="Reject", reason="Row 3 is rude.")
    here.reconcile()
    assert here.status["verdict"] == "Failed"
    other = beside_another(here)
    approval(other, "fine", **LEAD)
    if gone:
        other.twins = ()
    else:
        assert key_of(other.stored) in APPROVALS.wakes(key_of(made), other, None, made)
    other.reconcile()
    assert other.status["verdict"] == "Failed"
    words = f"Rejected by qa@example.com, in Evaluation {here.stored['metadata']['name']}: Row 3 is rude."
    assert words in other.condition("Ready")["message"]
    assert "kubectl delete appr/no eval/good-ffffffffffff -n team" in other.condition("Ready")["message"]


@pytest.mark.parametrize("change", [lambda spec: spec.update(gate="other"), lambda spec: other_rows(spec)])
def test_a_reject_of_other_rows_or_in_another_gate_does_not_count(change: Any) -> None:
    here = asked()
    approval(here, "no", decision="Reject", reason="Row 3 is rude.")
    other = beside_another(here)
    change(other.stored["spec"])
    other.history = [copy.deepcopy(other.stored)]
    approval(other, "fine", **LEAD)
    other.reconcile()
    assert other.status["verdict"] == "Passed"


def other_rows(spec: Object) -> None:
    [canary] = [each for each in spec["suites"] if each["name"] == spec["review"]["suite"]]
    canary["digest"] = builders.digest("e")


def test_approvals_of_an_evaluation_that_was_deleted_do_not_count_for_the_next() -> None:
    """Whatever the operator's clock says of when people were asked."""
    here = reviewed_world()
    here.wait(60)
    approval(here)
    here.wait(1)
    here.stored["metadata"] |= {"uid": "uid-again", "creationTimestamp": here.now.isoformat()}
    here.history = [copy.deepcopy(here.stored)]
    here.operator_is_off = timedelta(seconds=-30)
    start(here)
    end(here, canary_report(adopted=True))
    here.reconcile()
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert told(here)["reason"] == "NotAwaiting"


def test_an_approval_that_comes_at_once_counts_though_the_operators_clock_is_ahead() -> None:
    here = reviewed_world()
    here.operator_is_off = timedelta(seconds=5)
    start(here)
    end(here, canary_report())
    here.reconcile()
    approval(here)
    here.reconcile()
    assert here.status["verdict"] == "Passed"


def test_a_reject_of_nothing_waits_for_it() -> None:
    here = asked()
    nothing = {"kind": "Evaluation", "name": "good-ffffffffffff"}
    approval(here, subject=nothing, decision="Reject", reason="Row 3 is rude.")
    ready = told(here)
    assert ready["reason"] == "NoSuchEvaluation"
    assert "it is rejected" in ready["message"]


def test_what_is_taken_back_before_the_verdict_does_not_count() -> None:
    here = asked(approvals=2)
    approval(here)
    here.reconcile()
    here.approvals.clear()
    here.reconcile()
    assert here.status["review"]["approvals"] == []
    approval(here, "lead", **LEAD)
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"


def test_what_is_taken_back_after_it_changes_nothing() -> None:
    here = asked()
    approval(here)
    here.reconcile()
    before = here.status
    here.approvals.clear()
    approval(here, "no", decision="Reject", reason="Too late.")
    here.reconcile()
    assert here.status == before
    assert told(here, "no")["reason"] == "AlreadyDecided"


def test_an_approval_that_waits_too_long_for_others_no_longer_counts() -> None:
    here = asked(approvals=2, validFor="1h")
    approval(here)
    plan = here.reconcile()
    assert plan.requeue_after == 3600
    here.wait(3600)
    here.reconcile()
    assert here.status["review"]["approvals"] == []
    assert told(here)["reason"] == "Expired"
    approval(here, "lead", **LEAD)
    approval(here, "again")
    here.reconcile()
    assert here.status["verdict"] == "Passed"


def test_an_approval_of_another_of_the_same_name_is_not_said_to_count() -> None:
    here = asked()
    approval(here)
    here.reconcile()
    here.wait(10)
    made = approval(here)
    made["metadata"]["uid"] = "uid-later"
    assert told(here)["reason"] == "AlreadyDecided"


def test_a_decision_that_cannot_be_read_lets_nothing_pass() -> None:
    here = asked()
    approval(here)
    approval(here, "later", reviewer="lead@example.com", veto=True)
    here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert "Approval later cannot be read" in here.condition("Ready")["message"]
    assert told(here, "later")["reason"] == "InvalidSpec"
    del here.approvals["later"]
    here.reconcile()
    assert here.status["verdict"] == "Passed"


def test_without_the_policy_nobody_is_asked() -> None:
    """Who may create Approvals could write any name into them: what was created by then never counts."""
    here = reviewed_world()
    here.policy = False
    start(here)
    end(here, canary_report())
    for _ in range(3):
        approval(here, **LEAD)
        here.reconcile()
        ready = here.condition("Ready")
        assert (here.status["phase"], ready["reason"]) == ("Pending", "PolicyMissing")
        assert speaks(ready["reason"], ready["message"])
        here.wait(30)
        here.proved = None
    approval(here, "last", **LEAD)
    here.show_problem()
    here.policy = True
    here.operator_is_off = timedelta(seconds=-11)
    for _ in range(3):
        here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    assert {told(here, name)["reason"] for name in here.approvals} == {"NotAwaiting"}
    here.wait(25)
    approval(here)
    here.reconcile()
    assert here.status["verdict"] == "Passed"


@pytest.mark.parametrize("needed", [1, 2])
def test_what_is_approved_while_the_policy_is_missing_never_counts(needed: int) -> None:
    """Nor is it shown to count before as many approve as have to."""
    here = asked(approvals=needed)
    approval(here, "good")
    if needed == 2:
        here.reconcile()
        assert told(here, "good")["reason"] == "Counted"
    here.policy, here.proved = False, None
    approval(here, "forged", **LEAD)
    assert here.reconcile().prove
    plan = here.reconcile()
    ready = here.condition("Ready")
    assert (here.status["phase"], ready["reason"]) == ("AwaitingReview", "PolicyMissing")
    assert speaks(ready["reason"], ready["message"])
    assert plan.requeue_after == 30
    assert here.status["review"]["approvals"] == []
    assert {told(here, name)["reason"] for name in ("good", "forged")} == {"PolicyMissing"}
    here.show_problem()
    here.wait(3600)
    here.policy, here.proved = True, None
    here.operator_is_off = timedelta(seconds=-11)
    for _ in range(3):
        here.reconcile()
    assert here.status["phase"] == "AwaitingReview"
    ready = here.condition("Ready")
    assert ready["reason"] == "AwaitingReview"
    assert "created from 2026-01-02T04:04:19Z on" in ready["message"]
    approval(here, "soon", **LEAD)
    here.reconcile()
    assert {told(here, name)["reason"] for name in here.approvals} == {"PolicyMissing"}
    here.wait(25)
    approval(here)
    approval(here, "lead", **LEAD)
    here.reconcile()
    assert here.status["verdict"] == "Passed"
    assert {each["name"] for each in here.status["review"]["approvals"]} <= {"fine", "lead"}


def test_without_the_policy_a_reject_fails_all_the_same() -> None:
    """It may be in any name: that lets nothing pass. No approval is said to have counted by then."""
    here = asked(approvals=2)
    here.policy, here.proved = False, None
    approval(here, "forged")
    approval(here, "no", **LEAD, decision="Reject", reason="Row 3 is rude.")
    here.reconcile()
    assert here.status["verdict"] == "Failed"
    assert here.status["review"]["approvals"] == []


def test_one_that_cannot_be_read_and_is_about_another_release_stops_nothing() -> None:
    here = asked()
    approval(here, "later", release=builders.digest("b"), veto=True)
    approval(here)
    here.reconcile()
    assert here.status["verdict"] == "Passed"


def test_a_reject_that_comes_after_passed_needs_somebody() -> None:
    here = asked()
    approval(here)
    here.reconcile()
    approval(here, "surplus", **LEAD)
    approval(here, "late", **LEAD, decision="Reject", reason="Row 3 is rude.")
    assert told(here, "surplus")["status"] == "True"
    assert told(here, "late")["status"] == "False"
    for name, stalled in (("surplus", False), ("late", True)):
        conditions = here.approvals[name]["status"]["conditions"]
        assert ("Stalled" in {each["type"] for each in conditions}) is stalled
        assert conditions[0]["reason"] == "AlreadyDecided"


def test_an_approval_of_nothing() -> None:
    here = asked()
    made = approval(here, subject={"kind": "Evaluation", "name": "good-ffffffffffff"})
    assert told(here)["reason"] == "NoSuchEvaluation"
    assert not approval_rests(here, made)


def test_an_approval_where_nobody_is_asked() -> None:
    here = gates.world()
    approval(here)
    assert told(here)["reason"] == "NotAwaiting"
    assert "asks nobody" in told(here)["message"]
    start(here)
    end(here, builders.evaluation_report())
    assert here.status["verdict"] == "Passed"
    assert told(here)["reason"] == "AlreadyDecided"


def test_who_is_woken() -> None:
    here = asked()
    made = approval(here)
    mine = key_of(here.stored)
    assert list(APPROVALS.wakes(key_of(made), here, None, made)) == [mine]
    assert list(APPROVALS.wakes(key_of(made), here, made, None)) == [mine]
    assert list(APPROVALS.wakes(key_of(made), here, made, made | {"status": {"conditions": []}})) == []
    before = here.stored
    here.reconcile()
    gate = Key("EvalGate", "team", "good")
    woken = set(wakes(mine, here, before, here.stored))
    assert {gate, key_of(made)} <= woken


def test_others_of_the_same_release_do_not_wait_for_people() -> None:
    here = asked()
    younger = gates.world(gates.reviewed(approvals=2), project_with_canary())
    younger.stored["metadata"] |= {"uid": "zzz", "creationTimestamp": "2026-01-02T03:04:06Z"}
    younger.twins = (here,)
    assert elder(younger, younger.stored) is None


def reviewing(*names: str) -> Hall:
    """Return a gate whose Evaluations of these runs await review."""
    runs = [gates.succeeded(name, number) for number, name in enumerate(names, 1)]
    hall = Hall(*runs, project_with_canary(), **reviewed_spec())
    for _ in names:
        hall.look()
        for made in hall.evaluations:
            if "status" not in made:
                told = {"phase": "AwaitingReview", "review": {"asked": builders.CREATED, "rows": [], "approvals": []}}
                hall.put(made | {"status": told})
    hall.look()
    return hall


def test_what_awaits_review_holds_up_no_other_candidate() -> None:
    hall = reviewing("first", "second")
    assert len(hall.evaluations) == 2
    assert hall.status["phase"] == "AwaitingReview"
    assert hall.status["judging"] == []
    assert {each["run"] for each in hall.status["reviewing"]} == {"first", "second"}
    ready = hall.condition()
    assert (ready["status"], ready["reason"]) == ("True", "AwaitingReview")
    assert "and 1 more await review: its message says who decides" in ready["message"]


def test_another_review_is_another_evaluation() -> None:
    hall = reviewing("first")
    hall.change("EvalGate", "good", review=gates.REVIEW | {"reviewers": [{"user": "b@example.com"}]})
    hall.look()
    assert len(hall.evaluations) == 2
    hall.change("EvalGate", "good", review=gates.REVIEW | {"reviewers": gates.REVIEW["reviewers"][::-1]})
    hall.look()
    assert len(hall.evaluations) == 2, "the order of the names decides nothing"


def test_what_an_earlier_text_of_the_gate_asked_keeps_nobody_waiting() -> None:
    """An administrator removes somebody who has left: only the Evaluation with the new reviewers is named then."""
    hall = reviewing("first")
    [old] = hall.evaluations
    hall.change("EvalGate", "good", review=gates.REVIEW | {"reviewers": [{"user": "b@example.com"}]})
    hall.look()
    [new] = [each for each in hall.evaluations if each["metadata"]["name"] != old["metadata"]["name"]]
    hall.put(new | {"status": old["status"]})
    hall.look()
    assert [each["evaluation"] for each in hall.status["reviewing"]] == [new["metadata"]["name"]]
    words = hall.condition()["message"]
    assert words.startswith(f"Evaluation {new['metadata']['name']} awaits review")
    assert f"kubectl delete eval {old['metadata']['name']} -n team" in words
    hall.decide(new["metadata"]["name"])
    hall.look()
    assert hall.status["phase"] == "Idle"
    assert hall.status["reviewing"] == []
    assert hall.condition()["reason"] == "Judged"
    assert f"kubectl delete eval {old['metadata']['name']} -n team" in hall.condition()["message"]
    hall.remove("Evaluation", old["metadata"]["name"])
    hall.look()
    assert "kubectl" not in hall.condition()["message"]
