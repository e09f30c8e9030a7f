"""approve and reject on a real API server, by people with a reviewer's rights alone; the tests play the operator."""

import json
import time

import pytest

from tests.integration.plugin.conftest import Person, PersonOf, ended, grant
from tests.integration.plugin.objects import counted, judge_approval, put
from tests.integration.support.eventually import eventually
from tests.kube import Kube
from tests.unit.plugin import samples

SCORES = ("--score", "fluency=5", "--score", "accuracy=4")
NAME = samples.NAME


def approvals(kube: Kube) -> list[samples.Object]:
    return kube.select("Approval")


def the_approval(kube: Kube) -> samples.Object:
    [made] = eventually(lambda: approvals(kube), 60, "an Approval")
    return made


def test_an_approval_that_counts_and_the_verdict(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting(approvals=1))
    process = person().start("approve", NAME, *SCORES, "--reason", "all fine", "--yes")
    made = the_approval(kube)
    assert made["spec"] == {
        "subject": {"kind": "Evaluation", "name": NAME},
        "release": samples.RELEASE,
        "decision": "Approve",
        "reviewer": "qa@example.com",
        "scores": [{"name": "fluency", "score": 5}, {"name": "accuracy", "score": 4}],
        "reason": "all fine",
    }
    review = {"asked": samples.CREATED, "rows": samples.ROWS, "approvals": [counted(made)]}
    judge_approval(kube, made["metadata"]["name"], "Counted", "It counts.", review=review)
    time.sleep(1)  # the verdict follows after the approval was seen to count
    passed = {
        "phase": "Decided",
        "verdict": "Passed",
        "message": "qa@example.com approved.",
        "completionTime": samples.AT,
    }
    kube.patch("Evaluation", NAME, {"status": passed}, "status")
    answer = ended(process)
    assert answer.code == 0, answer
    assert f"Approval {made['metadata']['name']}: Counted. It counts." in answer.out
    assert f"Evaluation {NAME}: Passed. qa@example.com approved." in answer.out
    for words in (
        "AwaitingReview",
        "≥ 0.8",
        "0.8811 … 0.9424",
        "card_arrival",
        "Approve release f5aadf0949ff of run support-desk-lora as qa@example.com, with fluency 5 and accuracy 4,"
        ' because "all fine".',
    ):
        assert words in answer.words
    assert "\x1b" not in answer.out


def test_one_of_two_as_a_member_of_a_group(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting(rubric=None, minScore=None))
    process = person("lead@example.com", ["platform", "ml-leads"]).start("approve", f"eval/{NAME}", "--yes")
    made = the_approval(kube)
    assert made["spec"]["group"] == "ml-leads"
    review = {"asked": samples.CREATED, "rows": samples.ROWS, "approvals": [counted(made)]}
    judge_approval(kube, made["metadata"]["name"], "Counted", "It counts.", review=review)
    answer = ended(process)
    assert answer.code == 0, answer
    assert "as lead@example.com, as a member of ml-leads." in answer.words
    assert "1 of 2 approvals; the verdict follows when all are there." in answer.words
    again = person("lead@example.com", ["ml-leads"]).run("approve", NAME, "--yes")
    assert again.code == 0
    assert "You have approved already" in again.words
    assert len(approvals(kube)) == 1


def test_an_approval_that_does_not_count_is_said_and_can_be_made_again(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())
    process = person().start("approve", NAME, *SCORES, "--yes")
    first = the_approval(kube)["metadata"]["name"]
    judge_approval(kube, first, "Expired", "It has expired. Create another.")
    answer = ended(process)
    assert answer.code == 1
    assert answer.err == f"Error: Approval {first} does not count: Expired. It has expired. Create another.\n"
    answer = person().run("approve", NAME, *SCORES, "--yes", "--wait", "0")
    assert answer.code == 1
    assert "the operator has not decided yet whether it counts" in answer.words
    assert len(approvals(kube)) == 2
    # Not looked at yet: the same command follows what it made, and makes nothing twice.
    assert person().run("approve", NAME, *SCORES, "--yes", "--wait", "0").code == 1
    assert len(approvals(kube)) == 2


def test_a_rejection(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())
    process = person().start("reject", NAME, "--reason", "Row 3 is rude.", "--yes")
    made = the_approval(kube)
    assert (made["spec"]["decision"], made["spec"]["reason"]) == ("Reject", "Row 3 is rude.")
    failed = {
        "phase": "Decided",
        "verdict": "Failed",
        "message": "Rejected by qa@example.com: Row 3 is rude.",
        "completionTime": samples.AT,
    }
    judge_approval(kube, made["metadata"]["name"], "Counted", "It counts.", **failed)
    answer = ended(process)
    assert answer.code == 0, answer
    assert "Failed. Rejected by qa@example.com: Row 3 is rude." in answer.words


def test_in_a_terminal_somebody_is_shown_all_and_asked(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())
    answer = person().type("approve", NAME, "--wait", "0", "--score", "fluency=5", keys="9\n4\ny\n", columns=80)
    made = the_approval(kube)
    assert made["spec"]["scores"] == [{"name": "fluency", "score": 5}, {"name": "accuracy", "score": 4}]
    assert answer.code == 1  # nobody plays the operator
    for words in (
        "row canary, row 1",
        "Score of accuracy, from 1 (worst) to 5 (best)",
        "Approve release f5aadf0949ff",
        "[y/N]",
    ):
        assert words in answer.words
    assert "\x1b[" in answer.out, "a terminal has colours"


def test_whoever_says_no_decides_nothing(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())
    answer = person(NO_COLOR="1").type("reject", NAME, "--reason", "rude", keys="n\n")
    assert answer.code == 1
    assert "Nothing was decided: you said no." in answer.words
    assert "\x1b[3" not in answer.out, "NO_COLOR"
    assert approvals(kube) == []


def test_what_was_made_anew_while_somebody_read_is_not_decided_on(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())

    def made_anew() -> None:
        kube.delete("Evaluation", NAME)
        put(kube, samples.awaiting())

    answer = person().type("approve", NAME, *SCORES, keys="y\n", meanwhile=made_anew)
    assert answer.code == 1
    assert f"Nothing was decided: Evaluation {NAME} is another than the one that you were shown" in answer.words
    assert approvals(kube) == []


REFUSALS = [
    ("no terminal", "qa@example.com", ["approve", NAME, *SCORES], "This is no terminal, so nobody can be asked"),
    ("scores are missing", "qa@example.com", ["approve", NAME, "--yes"], "add --score fluency=<1 to 5> --score accuracy=<1 to 5>"),
    ("an unknown rubric", "qa@example.com", ["approve", NAME, *SCORES, "--score", "tone=1", "--yes"], "has no rubric tone: give scores of fluency or accuracy"),
    ("an odd score", "qa@example.com", ["approve", NAME, "--score", "fluency=9", "--yes"], "write --score <rubric>=<1 to 5>"),
    ("no reviewer", "editor@example.com", ["approve", NAME, *SCORES, "--yes"], "You are no reviewer of Evaluation"),
    ("no reviewer rejects", "editor@example.com", ["reject", NAME, "--reason", "no", "--yes"], "You are no reviewer of Evaluation"),
    ("no reason", "qa@example.com", ["reject", NAME, "--reason", " ", "--yes"], "A rejection needs a reason"),
    ("another name", "qa@example.com", ["approve", NAME[:-1] + "0", "--yes"], f"Did you mean {NAME}?"),
    ("another kind", "qa@example.com", ["approve", "egate/support-desk", "--yes"], "is no Evaluation"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("user", "arguments", "words"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_what_is_not_decided_on(kube: Kube, person: PersonOf, user: str, arguments: list[str], words: str) -> None:
    put(kube, samples.awaiting())
    answer = person(user).run(*arguments)
    assert (answer.code, answer.out) == (1, "")
    assert words in answer.words
    assert "Traceback" not in answer.err
    assert approvals(kube) == []


STATES = [
    (samples.decided("Passed", "Passed", "Good."), "is decided already: Passed"),
    (
        samples.evaluation(spec={"review": samples.REVIEW}, phase="Running"),
        "does not await a review yet: it is Running",
    ),
    (samples.evaluation(), "Nobody is asked about Evaluation"),
]


@pytest.mark.parametrize(("evaluation", "words"), STATES)
def test_what_does_not_await_a_review(kube: Kube, person: PersonOf, evaluation: samples.Object, words: str) -> None:
    put(kube, evaluation)
    answer = person().run("approve", NAME, *SCORES, "--yes")
    assert (answer.code, answer.out) == (1, "")
    assert words in answer.words


def test_who_may_read_and_not_create(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())
    somebody = person(rights=False)
    reading = {"apiGroups": ["stagecoach.dev"], "resources": ["evaluations"], "verbs": ["get"]}
    grant(kube, "qa@example.com", [reading])
    answer = somebody.run("approve", NAME, *SCORES, "--yes")
    assert answer.code == 1
    assert f"You lack the right to create approvals.stagecoach.dev in namespace {kube.namespace}" in answer.words


def test_what_the_api_server_refuses_is_said(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())
    long = "x" * 3000
    answer = person().run("reject", NAME, "--reason", long, "--yes")
    assert answer.code == 1
    assert "The API server refuses it" in answer.words
    assert "spec.reason" in answer.words


def test_an_account_of_its_own(kube: Kube, person: PersonOf) -> None:
    """A real token, of a service account, and its groups."""
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "approver"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = kube.request("POST", kube.path("ServiceAccount", "approver", "token"), request)["status"]["token"]
    user = f"system:serviceaccount:{kube.namespace}:approver"
    somebody: Person = person(user)
    document = json.loads(somebody.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    somebody.kubeconfig.write_text(json.dumps(document))
    put(kube, samples.awaiting(reviewers=[{"group": f"system:serviceaccounts:{kube.namespace}"}], approvals=1))
    answer = somebody.run("approve", NAME, *SCORES, "--yes", "--wait", "0")
    made = the_approval(kube)
    assert (made["spec"]["reviewer"], made["spec"]["group"]) == (user, f"system:serviceaccounts:{kube.namespace}")
    assert made["metadata"]["name"].startswith("approver-ecfa139ab8f1-")
    assert answer.code == 1
