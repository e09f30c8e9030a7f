"""What decisions of people are worth: which count, and when they are enough.

A decision that does not fit counts for nothing, and one Reject that fits outweighs every Approve.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from stagecoach.api.approval import Approval, Decision, expiry
from stagecoach.api.common import duration
from stagecoach.api.evaluation_status import Unguarded
from stagecoach.api.review import Review, Reviewer

# Means of whole numbers are not exact.
ROUNDED = 1e-9
# Of reviewers, so many are named in a message.
NAMED = 3
# By how much the operator's clock may be ahead of the API server's, which dates decisions: without it, those that come
# at once would never count.
SKEW = timedelta(seconds=5)


class Standing(StrEnum):
    """What a decision is worth now."""

    COUNTED = "Counted"
    REJECTED = "Rejected"
    OTHER_RELEASE = "OtherRelease"
    NOT_A_REVIEWER = "NotAReviewer"
    NOT_AWAITING = "NotAwaiting"  # it was made before there was anything to look at
    UNGUARDED = "PolicyMissing"  # it was made when it could be in any name
    EXPIRED = "Expired"
    UNKNOWN_RUBRIC = "UnknownRubric"
    SCORES_MISSING = "ScoresMissing"
    TWICE_BY_ONE = "TwiceByOne"


@dataclass(frozen=True)
class Question:
    """What people are asked."""

    review: Review
    release: str
    made: datetime  # the Evaluation, by the API server's clock: what was decided before was about another
    asked: datetime | None  # by the operator's; None: not yet
    unguarded: Unguarded | None = None  # when an approval could be in any name

    def could_be_seen(self, at: datetime) -> bool:
        """Whether there was something to look at by then. Kubernetes tells whole seconds."""
        return self.asked is not None and at >= max(self.made, self.asked.replace(microsecond=0) - SKEW)

    def in_own_name(self, at: datetime) -> bool:
        """Whether what was approved then is in the name of who approved, as far as anybody knows."""
        if self.unguarded is None:
            return True
        return self.unguarded.until is not None and at >= datetime.fromisoformat(self.unguarded.until)


@dataclass(frozen=True)
class Weighed:
    """All decisions together."""

    standings: Mapping[str, Standing]  # by uid
    counted: Sequence[Approval]  # in the order in which they came, and no more than are asked for
    rejection: Approval | None
    until: datetime | None  # when the first of those that count no longer does

    def enough(self, review: Review) -> bool:
        """Whether as many people approve as have to."""
        return self.rejection is None and len(self.counted) >= review.approvals


def weigh(approvals: Iterable[Approval], question: Question, now: datetime) -> Weighed:
    """Return what these decisions come to. One that is being deleted is taken back."""
    given = sorted((each for each in approvals if not each.metadata.deletion_timestamp), key=_order)
    standings: dict[str, Standing] = {}
    counted: list[Approval] = []
    rejections: list[Approval] = []
    for each in given:
        standing = _alone(each, question, now)
        if standing is Standing.COUNTED and any(other.spec.reviewer == each.spec.reviewer for other in counted):
            standing = Standing.TWICE_BY_ONE
        if standing is Standing.COUNTED:
            counted.append(each)
        if standing is Standing.REJECTED:
            rejections.append(each)
        standings[each.metadata.uid] = standing
    counted = counted[: question.review.approvals]
    ends = [_ends(each, question.review) for each in counted]
    return Weighed(standings, counted, next(iter(rejections), None), min(ends, default=None))


def acts_as(approval: Approval, reviewers: Iterable[Reviewer]) -> str | None:
    """Return the group as a member of which somebody decides; None: in their own name."""
    group = approval.spec.group
    return group if group is not None and any(each.group == group for each in reviewers) else None


def is_among(approval: Approval, reviewers: Sequence[Reviewer]) -> bool:
    """Whether who decides is one of these, or decides as a member of a group of them."""
    named = any(each.user == approval.spec.reviewer for each in reviewers)
    return named or acts_as(approval, reviewers) is not None


def in_words(reviewers: Sequence[Reviewer]) -> str:
    """Return the first of them by name, and how many more there are."""
    names = [each.user or f"a member of {each.group}" for each in reviewers]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{' or '.join(names[:NAMED])}{more}"


def means(counted: Sequence[Approval], review: Review) -> Mapping[str, float]:
    """Return the mean score of each of the rubric."""
    scores = [{item.name: item.score for item in each.spec.scores or ()} for each in counted]
    return {item.name: sum(each[item.name] for each in scores) / len(scores) for item in review.rubric or ()}


def reaches(mean: float, review: Review) -> bool:
    """Whether a mean is what it has to be."""
    return review.min_score is not None and mean >= review.min_score - ROUNDED


def created(approval: Approval) -> datetime:
    """Return when somebody decided, by the clock of the API server."""
    return datetime.fromisoformat(approval.metadata.creation_timestamp)


def _alone(approval: Approval, question: Question, now: datetime) -> Standing:
    """Return what a decision is worth, whatever others say."""
    spec, review = approval.spec, question.review
    if spec.release != question.release:
        return Standing.OTHER_RELEASE
    if not is_among(approval, review.reviewers):
        return Standing.NOT_A_REVIEWER
    if spec.decision is Decision.REJECT:
        return Standing.REJECTED  # whenever it was made: who deletes the Evaluation, to have it made again, undoes none
    if not question.could_be_seen(created(approval)):
        return Standing.NOT_AWAITING
    if not question.in_own_name(created(approval)):
        return Standing.UNGUARDED
    if _ends(approval, review) <= now:
        return Standing.EXPIRED
    wanted, given = ({item.name for item in items or ()} for items in (review.rubric, spec.scores))
    if given - wanted:
        return Standing.UNKNOWN_RUBRIC
    return Standing.SCORES_MISSING if wanted - given else Standing.COUNTED


def _ends(approval: Approval, review: Review) -> datetime:
    by_gate = created(approval) + duration(review.valid_for)
    by_itself = expiry(approval.spec)
    return by_gate if by_itself is None else min(by_gate, by_itself)


def _order(approval: Approval) -> tuple[datetime, str]:
    return created(approval), approval.metadata.uid
