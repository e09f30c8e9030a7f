"""The operator's promises about people's decisions, on a real API server: the tests play the kubelet, and the people."""

import time

import pytest

from stagecoach.kinds.evaluation.reviewing import SETTLED
from stagecoach.policies.reviews import SKEW
from tests import builders
from tests.integration.conftest import StartOperator
from tests.integration.runtime.test_leadership import DURATION
from tests.integration.support import policy
from tests.integration.support.eventually import eventually
from tests.integration.support.jury import ROWS, Jury
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.logs import FakeLogs
from tests.kube import Kube
from tests.unit.kinds import gates

LEAD = {"reviewer": "lead@example.com", "group": "ml-leads"}


def test_people_see_the_rows_and_let_it_pass(jury: Jury) -> None:
    """VerdictIsFinal: only the approvals that count bring Passed."""
    name = jury.asked(approvals=2)
    status = jury.kube.get("Evaluation", name)["status"]
    assert status["review"]["rows"] == [row.document() for row in ROWS.rows]
    assert "verdict" not in status
    told = jury.awaits("EvalGate", "good", "AwaitingReview")["status"]
    assert told["reviewing"] == [{"run": "first", "evaluation": name}]

    jury.decide(name, "other", release=builders.digest("b"))
    jury.said("other", "OtherRelease")
    jury.decide(name, "editor", reviewer="editor@example.com")
    jury.said("editor", "NotAReviewer")
    jury.decide(name, "elsewhere", reviewer="editor@example.com", group="others")
    jury.said("elsewhere", "NotAReviewer")
    jury.decide(name, "no", reviewer="editor@example.com", decision="Reject", reason="No.")
    jury.said("no", "NotAReviewer")
    jury.decide(name, "old", expires="2026-01-01T00:00:00Z")
    jury.said("old", "Expired")
    jury.decide(name, "scored", scores=[{"name": "fluency", "score": 5}])
    jury.said("scored", "UnknownRubric")
    jury.decide(name, "fine")
    jury.said("fine", "Counted")
    time.sleep(1 - time.time() % 1)
    jury.decide(name, "again", group="ml-leads")
    jury.said("again", "TwiceByOne")
    assert jury.kube.get("Evaluation", name)["status"]["phase"] == "AwaitingReview"

    jury.decide(name, "lead", **LEAD)
    decided = jury.awaits("Evaluation", name, "Decided")["status"]
    assert decided["verdict"] == "Passed"
    assert [each["reviewer"] for each in decided["review"]["approvals"]] == ["qa@example.com", "lead@example.com"]
    words = "Approved by qa@example.com and lead@example.com (as a member of ml-leads)."
    assert decided["message"].endswith(words)
    jury.said("lead", "Counted")
    jury.said("again", "AlreadyDecided")
    told = jury.awaits("EvalGate", "good", "Idle")["status"]
    assert (told["verdicts"]["passed"], told["latest"]["evaluation"]) == (1, name)
    events = [each for each in jury.kube.select("Event") if each["involvedObject"]["name"] == name]
    assert {each["reason"] for each in events} == {"AwaitingReview", "Passed"}
    assert any(words in each["message"] for each in events)

    jury.decide(name, "late", **LEAD, decision="Reject", reason="Too late.")
    jury.said("late", "AlreadyDecided")
    for each in ("fine", "lead"):
        jury.kube.delete("Approval", each)
    eventually(lambda: jury.kube.find("Approval", "lead") is None, 60, "they are gone")
    time.sleep(1)
    assert jury.kube.get("Evaluation", name)["status"] == decided


def test_one_reject_fails(jury: Jury) -> None:
    name = jury.asked(approvals=2)
    jury.decide(name, "fine")
    jury.said("fine", "Counted")
    jury.decide(name, "no", **LEAD, decision="Reject", reason="Row 3 is rude.")
    decided = jury.awaits("Evaluation", name, "Decided")["status"]
    assert (decided["verdict"], decided["review"]["rejected"]["reviewer"]) == ("Failed", "lead@example.com")
    assert "Rejected by lead@example.com (as a member of ml-leads): Row 3 is rude. " in decided["message"]
    jury.said("no", "Rejected")


def test_scores_are_results(jury: Jury) -> None:
    name = jury.asked(rubric=[{"name": "fluency"}], minScore=4)
    jury.decide(name, "bare")
    jury.said("bare", "ScoresMissing")
    jury.decide(name, **LEAD, scores=[{"name": "fluency", "score": 3}])
    decided = jury.awaits("Evaluation", name, "Decided")["status"]
    assert (decided["verdict"], jury.reason("Evaluation", name)[0]) == ("Failed", "ScoreTooLow")
    human = {"criterion": "human_fluency", "outcome": "Failed", "value": 3, "threshold": 4, "scored": 1}
    assert decided["results"][-1].items() >= human.items()


def test_what_is_taken_back_or_expires_before_the_others_come_does_not_count(jury: Jury) -> None:
    name = jury.asked(approvals=2, validFor="3s")
    jury.decide(name)
    jury.said("fine", "Counted")
    jury.said("fine", "Expired")
    assert jury.kube.get("Evaluation", name)["status"]["review"]["approvals"] == []
    jury.decide(name, "again")
    jury.said("again", "Counted")
    jury.kube.delete("Approval", "again")
    jury.decide(name, "lead", **LEAD)
    jury.said("lead", "Counted")
    time.sleep(0.5)
    assert jury.kube.get("Evaluation", name)["status"]["phase"] == "AwaitingReview"


@pytest.mark.long
def test_without_the_rows_another_pod_tells_them(jury: Jury) -> None:
    jury.kube.create(builders.gate(namespace=jury.kube.namespace, **gates.reviewed_spec()))
    jury.make_candidate()
    jury.measured(log=None)
    name = jury.measured(2, "\n".join(builders.canary_rows(11).lines()))
    jury.measured(3, adopted=True)
    told = jury.awaits("Evaluation", name, "AwaitingReview", 40)["status"]
    assert (told["interruptions"], told["failures"], told["report"]["adopted"]) == (2, 0, True)
    assert told["review"]["rows"] == [row.document() for row in ROWS.rows]


@pytest.mark.long
def test_the_operator_may_be_killed_whatever_people_do_meanwhile(
    kube: Kube, kubelet: FakeKubelet, logs: FakeLogs, start_operator: StartOperator
) -> None:
    """VerdictIsFinal: what people decide while nobody looks counts as if somebody had."""
    operator = start_operator(*DURATION).wait_ready().wait_leading()
    jury = Jury(kube, kubelet, logs)
    jury.make_project_with_canary()
    kube.create(builders.gate(namespace=kube.namespace, **gates.reviewed_spec(approvals=2)))
    jury.make_candidate()
    name = jury.evaluation_of("first")
    jury.pod_that_judges(name)
    jury.decide(name, "early", **LEAD)
    jury.said("early", "NotAwaiting")
    time.sleep(1 + SKEW.total_seconds())
    operator.kill()
    jury.measured()
    operator = start_operator(*DURATION).wait_ready().wait_leading(30)
    jury.awaits("Evaluation", name, "AwaitingReview")
    operator.kill()
    jury.decide(name, "fine")
    jury.decide(name, "lead", **LEAD)
    start_operator(*DURATION).wait_ready().wait_leading(30)
    decided = jury.awaits("Evaluation", name, "Decided", 30)["status"]
    assert decided["verdict"] == "Passed"
    assert {each["name"] for each in decided["review"]["approvals"]} == {"fine", "lead"}
    jury.said("early", "AlreadyDecided")
    assert len(kube.select("Job", "stagecoach.dev/kind=Evaluation")) == 1


@pytest.mark.long
def test_nobody_is_asked_where_anybody_could_decide_in_any_name(jury: Jury) -> None:
    """As after an installation that did not come to the policy: what was created by then never counts."""
    namespace = jury.kube.namespace
    label = {"metadata": {"labels": {policy.OFF: ""}}}
    jury.kube.patch("Namespace", namespace, label)
    jury.kube.create(builders.gate(namespace=namespace, **gates.reviewed_spec()))
    jury.make_candidate()
    name = jury.measured()
    eventually(lambda: jury.reason("Evaluation", name)[0] == "PolicyMissing", 60, "nobody is asked")
    jury.decide(name, "early", **LEAD)
    jury.said("early", "NotAwaiting")
    jury.kube.patch("Namespace", namespace, {"metadata": {"labels": {policy.OFF: None}}})
    jury.awaits("Evaluation", name, "AwaitingReview", 60)
    jury.said("early", "NotAwaiting")
    assert jury.kube.select("Approval")[0]["metadata"]["name"] == "early", "what was tried is nowhere"
    time.sleep(SETTLED.total_seconds())
    jury.decide(name)
    assert jury.awaits("Evaluation", name, "Decided")["status"]["verdict"] == "Passed"


@pytest.mark.long
def test_nothing_passes_by_what_was_approved_while_the_policy_was_gone(jury: Jury) -> None:
    name = jury.asked()
    jury.kube.patch("Namespace", jury.kube.namespace, {"metadata": {"labels": {policy.OFF: ""}}})
    time.sleep(31)  # what the operator knows of it is this old at most
    jury.decide(name)

    def told() -> bool:
        return "does not hold" in jury.reason("Evaluation", name)[1]

    eventually(told, 60, "it says what is missing")
    jury.said("fine", "PolicyMissing")
    assert jury.kube.get("Evaluation", name)["status"]["phase"] == "AwaitingReview"
    jury.kube.patch("Namespace", jury.kube.namespace, {"metadata": {"labels": {policy.OFF: None}}})
    eventually(lambda: jury.reason("Evaluation", name)[0] == "AwaitingReview", 60, "it goes on by itself")
    jury.said("fine", "PolicyMissing")
    time.sleep(SETTLED.total_seconds())
    jury.decide(name, "anew")
    decided = jury.awaits("Evaluation", name, "Decided")["status"]
    assert [each["name"] for each in decided["review"]["approvals"]] == ["anew"]


def test_who_deletes_the_evaluation_undoes_no_reject(jury: Jury) -> None:
    """The gate makes it again of the same key, and what is in the storage is adopted within seconds."""
    name = jury.asked()
    jury.decide(name, "no", decision="Reject", reason="Row 3 is rude.")
    jury.awaits("Evaluation", name, "Decided")
    before = jury.kube.get("Evaluation", name)["metadata"]["uid"]
    jury.kube.delete("Evaluation", name)
    eventually(
        lambda: (jury.kube.find("Evaluation", name) or {"metadata": {"uid": before}})["metadata"]["uid"] != before, 60
    )
    jury.measured(adopted=True)
    decided = jury.awaits("Evaluation", name, "Decided", 30)["status"]
    assert (decided["verdict"], decided["review"]["rejected"]["name"]) == ("Failed", "no")
