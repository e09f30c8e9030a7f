"""Who may decide on a release, and what the Approval says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stagecoach_plugin import releasing
from stagecoach_plugin.approving import Person
from stagecoach_plugin.evaluations import Reviewer
from stagecoach_plugin.problems import Problem
from stagecoach_plugin.releasing import OVERRIDE, PROMOTE, REVOKE, Ruling
from tests.unit.plugin import samples

QA = Person("qa@example.com", ("system:authenticated",))
LEAD = Person("lead@example.com", ("ml-leads",))
NOW = datetime(2026, 11, 1, 12, 0, 30, tzinfo=UTC)
APPROVERS = [{"user": "qa@example.com"}, {"group": "ml-leads"}]
OTHER = samples.digest("b")


def deployment(**status: Any) -> samples.Object:
    made = samples.deployment(**status)
    made["spec"]["approvers"] = APPROVERS
    return made


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (samples.RELEASE, samples.RELEASE),
        (samples.RELEASE.removeprefix("sha256:"), samples.RELEASE),
        (samples.RELEASE[7:19], samples.RELEASE),
        (OTHER, OTHER),
        (OTHER[7:30], OTHER),
    ],
)
def test_a_release_by_its_digits(given: str, found: str) -> None:
    judged = [samples.evaluation(spec={"release": {"digest": OTHER}})]
    assert releasing.release_of(given, deployment(), judged) == found


@pytest.mark.parametrize(
    ("given", "words"),
    [("f5aadf", "give its 64 hex digits"), ("latest", "is no release"), ("0" * 12, "no releases begin so")],
)
def test_what_is_no_release_is_refused(given: str, words: str) -> None:
    with pytest.raises(Problem, match=words):
        releasing.release_of(given, deployment(), [])


@pytest.mark.parametrize(
    ("person", "role"), [(QA, Reviewer(user="qa@example.com")), (LEAD, Reviewer(group="ml-leads"))]
)
def test_in_ones_own_name_or_as_a_member(person: Person, role: Reviewer) -> None:
    assert releasing.as_approver(deployment(), person) == role


def test_a_stranger_is_told_whom_it_takes() -> None:
    with pytest.raises(Problem) as raised:
        releasing.as_approver(deployment(), Person("ed@example.com"))
    assert "it takes the decision of qa@example.com or a member of ml-leads" in str(raised.value)
    assert "knows you as ed@example.com, in no group. Ask one of them" in str(raised.value)


def test_where_nobody_may_it_is_said() -> None:
    with pytest.raises(Problem, match="add approvers to its spec"):
        releasing.as_approver(samples.deployment(), QA)


CANDIDATE = {"release": OTHER, "short": OTHER[7:19], "run": "second"}


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        ({}, False),
        ({"candidate": CANDIDATE}, False),
        ({"candidate": CANDIDATE | {"heldSince": samples.AT}}, True),
        ({"candidate": CANDIDATE | {"release": samples.RELEASE, "heldSince": samples.AT}}, False),
        ({"rejected": [{"release": OTHER, "run": "second", "reason": "TooManyErrors", "message": "Oh."}]}, True),
    ],
)
def test_only_what_waits_is_promoted(status: samples.Object, waits: bool) -> None:
    if waits:
        releasing.something_waits(deployment(**status), OTHER, "kubectl stagecoach why mdep/x")
        return
    with pytest.raises(Problem, match="neither held in a step, nor rejected"):
        releasing.something_waits(deployment(**status), OTHER, "kubectl stagecoach why mdep/x")


def test_what_has_changed_while_it_asked_is_looked_at_again() -> None:
    releasing.unchanged(deployment(endpoint="here"), deployment(endpoint="there"), "why")
    with pytest.raises(Problem, match="Nothing was decided"):
        releasing.unchanged(deployment(candidate=CANDIDATE), deployment(candidate=CANDIDATE | {"step": 1}), "why")


def test_an_approval_says_all_that_was_asked() -> None:
    ruling = Ruling(OVERRIDE, samples.RELEASE, "Incident 4711", 2)
    made = releasing.approval(ruling, deployment(), LEAD, Reviewer(group="ml-leads"), NOW, 1)
    assert made["spec"] == {
        "subject": {"kind": "ModelDeployment", "name": "support-desk"},
        "release": samples.RELEASE,
        "decision": "Override",
        "reviewer": "lead@example.com",
        "group": "ml-leads",
        "reason": "Incident 4711",
        "expires": "2026-11-01T14:00:30Z",
    }
    told = releasing.told(ruling, deployment(), LEAD, Reviewer(group="ml-leads"), NOW)
    assert told == (
        "Override release f5aadf0949ff of ModelDeployment support-desk as lead@example.com, as a member of ml-leads,"
        ' until 2026-11-01T14:00:30Z and whatever its gates say, because "Incident 4711"'
    )


def test_an_override_that_may_be_too_short_says_so() -> None:
    def told(hours: int) -> str:
        slow = deployment()
        slow["spec"]["engine"] = {"startDeadline": "2h30m"}
        ruling = Ruling(OVERRIDE, samples.RELEASE, "Incident 4711", hours)
        return releasing.told(ruling, slow, QA, Reviewer(user="qa@example.com"), NOW)

    assert "its engine may take 2h30m, by engine.startDeadline" in told(2)
    assert "startDeadline" not in told(3)


def test_only_what_is_known_is_revoked() -> None:
    judged = [{"spec": {"release": {"digest": "sha256:" + "a" * 64}}}]
    releasing.known("sha256:" + "a" * 64, deployment(), judged)
    releasing.known(CANDIDATE["release"], deployment(candidate=CANDIDATE), [])
    with pytest.raises(Problem, match="see that all its digits are as you mean them"):
        releasing.known("sha256:" + "d" * 64, deployment(candidate=CANDIDATE), judged)


def test_the_same_said_twice_has_the_same_name() -> None:
    def name(decision: str, number: int = 1) -> str:
        ruling = Ruling(decision, samples.RELEASE)
        made = releasing.approval(ruling, deployment(), QA, Reviewer(user="qa@example.com"), NOW, number)
        return str(made["metadata"]["name"])

    assert name(PROMOTE) == name(PROMOTE)
    assert len({name(PROMOTE), name(PROMOTE, 2), name(REVOKE)}) == 3


@pytest.mark.parametrize(
    ("changes", "later", "follows"),
    [
        ({}, 0, True),
        ({}, 600, True),
        ({}, 601, False),  # it is to last longer
        ({}, -3600, True),  # what stands lasts longer
        ({}, 7200, False),  # it is over
        ({"release": OTHER}, 0, False),
        ({"reviewer": "lead@example.com"}, 0, False),
        ({"reason": "Another"}, 0, False),
        ({"decision": "Revoke"}, 0, False),
    ],
)
def test_an_override_that_is_repeated_is_followed(changes: samples.Object, later: int, follows: bool) -> None:
    def said(now: datetime) -> samples.Object:
        ruling = Ruling(OVERRIDE, samples.RELEASE, "Incident", 2)
        return releasing.approval(ruling, deployment(), QA, Reviewer(user="qa@example.com"), now, 1)

    now = NOW + timedelta(seconds=later)
    there = said(NOW)
    there["spec"] |= changes
    assert releasing.repeated(said(now), [samples.approval(), there], now) == (there if follows else None)
    gone = there | {"metadata": there["metadata"] | {"deletionTimestamp": samples.AT}}
    refused = there | {"status": {"conditions": samples.conditions("NotAnApprover", "Not you.", "stalled")}}
    assert releasing.repeated(said(now), [gone, refused], now) is None


@pytest.mark.parametrize(
    ("approval", "stands"),
    [
        (samples.approval(), True),
        (samples.approval("Revoked", "It is out.", "ready"), True),
        (samples.approval("Counted", "It went on.", "ready"), False),
        (samples.approval("NotAnApprover", "Not you.", "stalled"), False),
    ],
)
def test_what_is_followed_and_what_is_said_anew(approval: samples.Object, stands: bool) -> None:
    assert releasing.stands(approval) is stands
