"""What decisions of people are worth."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.api.approval import Approval
from stagecoach.api.evaluation_status import Unguarded
from stagecoach.api.review import Review
from stagecoach.contract.times import timestamp
from stagecoach.policies.reviews import Question, Standing, Weighed, means, reaches, weigh
from tests import builders

ASKED = datetime(2026, 1, 2, 12, 0, 0, 700_000, tzinfo=UTC)
NOW = ASKED + timedelta(hours=1)
MADE = (ASKED - timedelta(minutes=2)).replace(microsecond=0)
LEADS = {"group": "ml-leads"}
RUBRIC = {"rubric": [{"name": "fluency"}, {"name": "facts"}], "minScore": 4}
SCORES = [{"name": "fluency", "score": 5}, {"name": "facts", "score": 3}]


def review(**changes: Any) -> Review:
    told = {"suite": "canary", "reviewers": [{"user": "qa@example.com"}, {"user": "b@example.com"}, LEADS]} | changes
    return Review.model_validate(told)


def question(**changes: Any) -> Question:
    return Question(review(**changes), builders.digest("a"), MADE, ASKED)


def approval(name: str = "fine", after: float = 60, deleted: bool = False, **changes: Any) -> Approval:
    stored = builders.stored(builders.approval(name, **changes), uid=f"uid-{name}")
    stored["metadata"]["creationTimestamp"] = timestamp(ASKED + timedelta(seconds=after))
    if deleted:
        stored["metadata"]["deletionTimestamp"] = timestamp(NOW)
    return Approval.model_validate(stored)


def reject(name: str = "no", **changes: Any) -> Approval:
    return approval(name, **{"decision": "Reject", "reason": "It is rude."} | changes)


@pytest.mark.parametrize(
    ("given", "asked", "standing"),
    [
        (approval(), {}, "Counted"),
        (approval(release=builders.digest("b")), {}, "OtherRelease"),
        (reject(release=builders.digest("b")), {}, "OtherRelease"),
        (approval(reviewer="stranger@example.com"), {}, "NotAReviewer"),
        (approval(reviewer="QA@example.com"), {}, "NotAReviewer"),
        (approval(reviewer="ml-leads"), {}, "NotAReviewer"),
        (reject(reviewer="stranger@example.com"), {}, "NotAReviewer"),
        (approval(reviewer="c@example.com", group="ml-leads"), {}, "Counted"),
        (approval(reviewer="c@example.com", group="qa@example.com"), {}, "NotAReviewer"),
        (approval(reviewer="c@example.com", group="others"), {}, "NotAReviewer"),
        (approval(group="others"), {}, "Counted"),  # named as a user
        (approval(after=-6), {}, "NotAwaiting"),
        (approval(after=-5.7), {}, "Counted"),  # the operator's clock may be so much ahead of the API server's
        (reject(), {}, "Rejected"),
        (reject(after=-6), {}, "Rejected"),  # of this release: it holds for every Evaluation of this name
        (approval(), {"validFor": "58m"}, "Expired"),
        (reject(), {"validFor": "58m"}, "Rejected"),
        (approval(), {"validFor": "1h"}, "Counted"),
        (approval(expires=timestamp(NOW + timedelta(seconds=1))), {}, "Counted"),
        (approval(expires=timestamp(NOW - timedelta(seconds=1))), {}, "Expired"),
        (approval(expires="2026-01-02T14:30:00+01:00"), {}, "Counted"),
        (approval(expires="2026-01-02T13:30:00.999999999+01:00"), {}, "Expired"),
        (approval(expires="who knows"), {}, "Expired"),
        (approval(scores=SCORES), RUBRIC, "Counted"),
        (approval(scores=SCORES), {}, "UnknownRubric"),
        (approval(scores=[*SCORES, {"name": "more", "score": 1}]), RUBRIC, "UnknownRubric"),
        (approval(scores=SCORES[:1]), RUBRIC, "ScoresMissing"),
        (approval(), RUBRIC, "ScoresMissing"),
        (reject(), RUBRIC, "Rejected"),
    ],
)
def test_one_alone(given: Approval, asked: dict[str, Any], standing: str) -> None:
    weighed = weigh([given], question(**asked), NOW)
    assert weighed.standings == {given.metadata.uid: standing}
    assert [each.metadata.uid for each in weighed.counted] == [given.metadata.uid] * (standing == "Counted")
    assert (weighed.rejection is given) is (standing == "Rejected")


@pytest.mark.parametrize(("after", "standing"), [(-1, "NotAwaiting"), (0, "Counted")])
def test_what_was_approved_before_the_evaluation_was_made_was_another(after: float, standing: str) -> None:
    """Whatever the operator's clock says of when people were asked."""
    asked = Question(review(), builders.digest("a"), MADE, asked=MADE + timedelta(seconds=after - 20))
    given = [approval(after=-120 + after)]
    assert weigh(given, asked, NOW).standings == {"uid-fine": standing}


@pytest.mark.parametrize(
    ("until", "given", "standing"),
    [
        (None, approval(), "PolicyMissing"),
        (60, approval(after=59), "PolicyMissing"),
        (60, approval(after=60), "Counted"),
        (60, approval(after=-6), "NotAwaiting"),
        (None, reject(), "Rejected"),
    ],
)
def test_what_could_be_in_any_name_does_not_count(until: float | None, given: Approval, standing: str) -> None:
    ended = None if until is None else timestamp(ASKED + timedelta(seconds=until))
    asked = replace(question(), unguarded=Unguarded(since=timestamp(ASKED), until=ended))
    assert weigh([given], asked, NOW).standings == {given.metadata.uid: standing}


def test_before_anybody_is_asked_a_reject_counts_and_an_approval_does_not() -> None:
    asked = Question(review(), builders.digest("a"), MADE, asked=None)
    weighed = weigh([approval(), reject()], asked, NOW)
    assert weighed.standings == {"uid-fine": "NotAwaiting", "uid-no": "Rejected"}
    strangers = [reject(reviewer="stranger@example.com"), reject("other", release=builders.digest("b"))]
    assert weigh(strangers, asked, NOW).rejection is None


def test_one_person_counts_once_whatever_the_group() -> None:
    both = [approval("one"), approval("two", after=120, group="ml-leads")]
    weighed = weigh(both, question(approvals=2), NOW)
    assert weighed.standings == {"uid-one": "Counted", "uid-two": "TwiceByOne"}
    assert not weighed.enough(review(approvals=2))


def test_a_person_may_renew_what_expired() -> None:
    both = [approval("one"), approval("two", after=600)]
    weighed = weigh(both, question(validFor="55m"), NOW)
    assert weighed.standings == {"uid-one": "Expired", "uid-two": "Counted"}


def test_the_first_that_many_count() -> None:
    asked = question(approvals=2, **RUBRIC)
    low = [{**each, "score": 1} for each in SCORES]
    three = [
        approval("late", after=90, reviewer="c@example.com", group="ml-leads", scores=low),
        approval("one", after=30, scores=SCORES),
        approval("two", after=60, reviewer="b@example.com", scores=[{**each, "score": 4} for each in SCORES]),
    ]
    weighed = weigh(three, asked, NOW)
    assert [each.metadata.name for each in weighed.counted] == ["one", "two"]
    found = means(weighed.counted, asked.review)
    assert found == {"fluency": 4.5, "facts": 3.5}
    assert [reaches(mean, asked.review) for mean in found.values()] == [True, False]
    assert weighed.enough(asked.review)


def test_one_reject_outweighs_all() -> None:
    weighed = weigh([approval(), reject(after=3600, reviewer="b@example.com")], question(), NOW)
    assert weighed.rejection is not None
    assert not weighed.enough(review())


def test_what_is_being_deleted_is_taken_back() -> None:
    weighed = weigh([approval(deleted=True), reject(deleted=True)], question(), NOW)
    assert not weighed.standings
    assert not weighed.enough(review())
    assert weighed.rejection is None


def test_when_to_look_again() -> None:
    assert weigh([approval()], question(validFor="2h", approvals=2), NOW).until == approval_time(60) + timedelta(
        hours=2
    )
    early = approval(expires="2026-01-02T13:10:00Z")
    assert weigh([early], question(approvals=2), NOW).until == datetime(2026, 1, 2, 13, 10, tzinfo=UTC)
    assert weigh([], question(), NOW).until is None


def approval_time(after: float) -> datetime:
    return (ASKED + timedelta(seconds=after)).replace(microsecond=0)


DECISIONS = st.builds(
    lambda number, reviewer, group, release, after, reject, expires: approval(
        f"a{number}",
        after=after,
        reviewer=f"{reviewer}@example.com",
        release=builders.digest(release),
        **({"group": group} if group else {}),
        **({"decision": "Reject", "reason": "no"} if reject else {"expires": expires} if expires else {}),
    ),
    st.integers(0, 10**9),
    st.sampled_from(["qa", "b", "c", "stranger"]),
    st.sampled_from(["", "", "ml-leads", "others"]),
    st.sampled_from("aaab"),
    st.sampled_from([-60, 0, 60, 600, 3000]),
    st.sampled_from([False] * 5 + [True]),
    st.sampled_from(["", "", "2026-01-02T12:30:00Z", "2026-02-01T00:00:00Z"]),
)


@given(st.lists(DECISIONS, max_size=8, unique_by=lambda each: each.metadata.uid), st.integers(1, 3), st.randoms())
def test_nothing_passes_by_fewer_people_than_have_to_approve(given: list[Approval], needed: int, random: Any) -> None:
    """VerdictIsFinal: and Passed is what that many named people approved of that very release, none rejecting."""
    asked = question(approvals=needed, validFor="50m")
    weighed = weigh(given, asked, NOW)
    assert_worth(weighed, given, needed)
    shuffled = list(given)
    random.shuffle(shuffled)
    assert weigh(shuffled, asked, NOW) == weighed, "the order in which they are seen counts for nothing"
    fewer = weigh([each for each in given if each not in weighed.counted[:1]], asked, NOW)
    assert weighed.rejection == fewer.rejection


def assert_worth(weighed: Weighed, given: list[Approval], needed: int) -> None:
    people = {each.spec.reviewer for each in weighed.counted}
    assert len(people) == len(weighed.counted) <= needed
    for each in weighed.counted:
        assert each.spec.release == builders.digest("a")
        assert each.spec.reviewer in ("qa@example.com", "b@example.com") or each.spec.group == "ml-leads"
        assert each.spec.decision.value == "Approve"
        made = datetime.fromisoformat(each.metadata.creation_timestamp)
        assert ASKED - timedelta(seconds=6) < made <= NOW < made + timedelta(minutes=50)
    rejected = any(weighed.standings[each.metadata.uid] is Standing.REJECTED for each in given)
    assert rejected == (weighed.rejection is not None)
    assert weighed.enough(review(approvals=needed)) == (not rejected and len(people) == needed)
