"""Who may decide, as whom, and what the Approval says."""

import re

import pytest

from stagecoach_plugin import approving
from stagecoach_plugin.approving import APPROVE, REJECT, Person, Said, approval, as_reviewer, parse_scores
from stagecoach_plugin.evaluations import Reviewer
from stagecoach_plugin.problems import Problem
from tests.unit.plugin import samples

WHY = "kubectl stagecoach why evaluation/x"
QA = Person("qa@example.com", ("system:authenticated",))
LEAD = Person("lead@example.com", ("platform", "ml-leads", "system:authenticated"))


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        (samples.decided("Passed", "Passed", "Good."), "is decided already: Passed. A verdict never changes"),
        (samples.decided("Error", "NotMeasured", "Odd."), "is decided already: Error"),
        (samples.evaluation(phase="Running"), "Nobody is asked about Evaluation"),
        (
            samples.evaluation(spec={"review": samples.REVIEW}, phase="Running"),
            "does not await a review yet: it is Running",
        ),
        (samples.evaluation(spec={"review": samples.REVIEW}), "it is New"),
    ],
)
def test_only_what_awaits_a_review_is_decided_on(evaluation: samples.Object, words: str) -> None:
    with pytest.raises(Problem) as raised:
        approving.open_for_review(evaluation, WHY)
    assert words in str(raised.value)
    assert "`kubectl stagecoach" in str(raised.value)


def test_what_awaits_a_review_is() -> None:
    approving.open_for_review(samples.awaiting(), WHY)


@pytest.mark.parametrize(
    ("person", "role"),
    [
        (QA, Reviewer(user="qa@example.com")),
        (LEAD, Reviewer(group="ml-leads")),
        (Person("qa@example.com", ("ml-leads",)), Reviewer(user="qa@example.com")),
    ],
)
def test_in_ones_own_name_or_as_a_member(person: Person, role: Reviewer) -> None:
    assert as_reviewer(samples.awaiting(), person) == role


@pytest.mark.parametrize(
    ("person", "known"),
    [
        (
            Person("editor@example.com", ("editors", "all", "system:authenticated")),
            "editor@example.com, in editors and all.",
        ),
        (Person("editor@example.com"), "editor@example.com, in no group."),
        (Person("ml-leads"), "as ml-leads, in no group"),  # a user who is called as the group
        (Person("x", ("qa@example.com",)), "as x, in qa@example.com"),
    ],
)
def test_nobody_else(person: Person, known: str) -> None:
    with pytest.raises(Problem) as raised:
        as_reviewer(samples.awaiting(), person)
    assert known in str(raised.value)
    assert "it takes the decision of qa@example.com or a member of ml-leads" in str(raised.value)
    assert "spec.review.reviewers of EvalGate support-desk" in str(raised.value)


def test_scores() -> None:
    assert parse_scores(["fluency=5", "accuracy=1"]) == {"fluency": 5, "accuracy": 1}
    assert parse_scores([]) == {}


@pytest.mark.parametrize(
    "text", ["fluency", "fluency=6", "fluency=0", "fluency=4.5", "=5", "fluency=", "fluency= 5", "fluency=５"]
)
def test_odd_scores(text: str) -> None:
    with pytest.raises(Problem, match="write --score <rubric>=<1 to 5>"):
        parse_scores([text])


def test_a_score_twice() -> None:
    with pytest.raises(Problem, match="gives fluency twice"):
        parse_scores(["fluency=5", "fluency=4"])


def test_scores_are_those_of_the_gate() -> None:
    evaluation = samples.awaiting()
    approving.unknown_scores(evaluation, {"fluency": 5})
    assert approving.missing_scores(evaluation, {"fluency": 5}) == ["accuracy"]
    with pytest.raises(Problem, match="has no rubric tone: give scores of fluency or accuracy"):
        approving.unknown_scores(evaluation, {"fluency": 5, "tone": 1})
    plain = samples.awaiting(rubric=None)
    assert approving.missing_scores(plain, {}) == []
    with pytest.raises(Problem, match="asks for no scores"):
        approving.unknown_scores(plain, {"fluency": 5})


def test_who_has_approved_already() -> None:
    evaluation = samples.awaiting(samples.NAME, samples.FIRST)
    assert approving.earlier(evaluation, QA) == samples.FIRST
    assert approving.earlier(evaluation, LEAD) is None


def test_an_approval_in_ones_own_name() -> None:
    made = approval(samples.awaiting(), QA, Reviewer(user=QA.user), Said(APPROVE, {"fluency": 5, "accuracy": 4}))
    assert made["spec"] == {
        "subject": {"kind": "Evaluation", "name": samples.NAME},
        "release": samples.RELEASE,
        "decision": "Approve",
        "reviewer": "qa@example.com",
        "scores": [{"name": "fluency", "score": 5}, {"name": "accuracy", "score": 4}],
    }


def test_a_rejection_as_a_member() -> None:
    made = approval(samples.awaiting(), LEAD, Reviewer(group="ml-leads"), Said(REJECT, {}, "Row 3 is rude."))
    assert made["spec"]["group"] == "ml-leads"
    assert (made["spec"]["decision"], made["spec"]["reason"]) == ("Reject", "Row 3 is rude.")
    assert "scores" not in made["spec"]


def name(user: str, said: Said = Said(APPROVE), number: int = 1, evaluation: str = samples.NAME) -> str:  # noqa: B008
    made = approval(samples.awaiting(evaluation), Person(user), Reviewer(user=user), said, number)
    return str(made["metadata"]["name"])


def test_the_same_said_twice_has_one_name() -> None:
    assert name("qa@example.com") == name("qa@example.com")
    different = [
        name("qa@example.com"),
        name("qa@example.org"),
        name("qa@example.com", Said(REJECT, {}, "no")),
        name("qa@example.com", Said(REJECT, {}, "No")),
        name("qa@example.com", Said(APPROVE, {"fluency": 5})),
        name("qa@example.com", number=2),
        name("qa@example.com", evaluation="support-desk-0123456789ab"),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    ("user", "begins"),
    [
        ("qa@example.com", "qa-ecfa139ab8f1-"),
        ("Jane.Doe@example.com", "jane-doe-ecfa139ab8f1-"),
        ("system:serviceaccount:team:approver", "approver-ecfa139ab8f1-"),
        ("https://issuer.example.com#Ana_1", "issuer-example-com-ana-1-ecfa139ab8f1-"),
        ("日本", "reviewer-ecfa139ab8f1-"),
        ("x" * 200, "x" * 43 + "-ecfa139ab8f1-"),
        ("a" * 42 + "-b", "a" * 42 + "-ecfa139ab8f1-"),
    ],
)
def test_a_name_says_who_and_what_about(user: str, begins: str) -> None:
    made = name(user)
    assert made.startswith(begins)
    assert len(made) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", made)


@pytest.mark.parametrize(
    ("there", "stands"),
    [
        (samples.approval(), True),
        (samples.approval("Counted", "It counts."), True),
        (samples.approval("Weighing", "It is looked at.", "waits"), True),
        (samples.approval("Expired", "It has expired.", "stalled"), False),
    ],
)
def test_what_was_said_before_stands_unless_it_was_refused(there: samples.Object, stands: bool) -> None:
    assert approving.stands(there, samples.awaiting()) is stands


def test_what_was_said_before_there_was_anything_to_see_does_not_stand() -> None:
    evaluation = samples.awaiting()
    evaluation["status"]["review"]["asked"] = "2026-03-01T10:00:00.9Z"
    assert approving.stands(samples.approval(), evaluation)
    evaluation["status"]["review"]["asked"] = "2026-03-01T10:00:01Z"
    assert not approving.stands(samples.approval(), evaluation)
