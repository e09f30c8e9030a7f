"""What people make of an Evaluation that has met its criteria. Pure: only they can let it pass."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from stagecoach.api.approval import Approval
from stagecoach.api.evaluation import Evaluation
from stagecoach.api.evaluation_status import CountedApproval, Rejection, Result, ReviewStatus, Unguarded
from stagecoach.api.review import HUMAN, Review
from stagecoach.contract.digests import short
from stagecoach.contract.times import timestamp
from stagecoach.contract.verdicts import Outcome
from stagecoach.kinds.approval import guard
from stagecoach.kinds.conditions import shortened
from stagecoach.kinds.evaluation import attempts, status
from stagecoach.kinds.evaluation.observe import Observed
from stagecoach.kinds.plan import Event, Plan
from stagecoach.policies import reviews
from stagecoach.policies.instead import instead
from stagecoach.policies.reviews import Question, Weighed

PATIENCE = 30.0  # in seconds, for a policy that does not hold
# After a policy was missing; more than SKEW and twice what the operator's clock may be behind: see runtime/clock.py.
SETTLED = timedelta(seconds=25)
ANEW = "Who has approved by then has to create another Approval."
TOO_LOW = "Correct the gate if it asks for too much, or {instead}: either is judged anew."
REJECTED = (
    "To have the same looked at again, delete the Reject, and then the Evaluation: kubectl delete appr/{approval}"
    " eval/{name} -n {namespace}. To have another release, {instead}."
)


def question(evaluation: Evaluation) -> Question | None:
    """Return what people are asked, or will be; None: nothing."""
    review, told = evaluation.spec.review, evaluation.status.review
    if review is None:
        return None
    asked = datetime.fromisoformat(told.asked) if told else None
    made = datetime.fromisoformat(evaluation.metadata.creation_timestamp)
    return Question(review, evaluation.spec.release.digest, made, asked, told.unguarded if told else None)


def decide(observed: Observed, asked: Question, told: ReviewStatus, now: datetime) -> Plan:
    """Return what to do now: decide by what was approved or rejected, or go on waiting."""
    evaluation, review = observed.evaluation, asked.review
    weighed = reviews.weigh(observed.approvals, asked, now)
    known = {each.uid for each in told.approvals}
    counted = [each for each in weighed.counted if observed.guarded or each.metadata.uid in known]
    told = told.model_copy(update={"approvals": [_counted(each, review) for each in counted]})
    if weighed.rejection is not None:
        return _rejected(observed, weighed.rejection, review, told, now)
    missing = told.unguarded if told.unguarded and told.unguarded.until is None else None
    if observed.guarded is None and (observed.approvals or missing):
        return Plan(delete=attempts.left_over(observed), prove=True)
    if observed.guarded is False:
        # Written down, so that what is approved until it is back does not count then.
        told = told.model_copy(update={"approvals": [], "unguarded": missing or Unguarded(since=timestamp(now))})
        words = f"{asks(evaluation, review)} {guard.MISSING} {ANEW}"
        waits = status.unguarded(evaluation, words, now, review=told)
        return Plan(status=waits, delete=attempts.left_over(observed), requeue_after=PATIENCE)
    if missing is not None:
        ended = missing.model_copy(update={"until": timestamp(now + SETTLED)})
        told = told.model_copy(update={"unguarded": ended})
    if weighed.enough(review) and not observed.unread:
        return _approved(observed, weighed, review, told, now)
    waits = status.awaiting(evaluation, _waits(observed, weighed, review, told), now, review=told)
    left = (weighed.until - now).total_seconds() if weighed.until else None
    return Plan(status=waits, delete=attempts.left_over(observed), requeue_after=left)


def asks(evaluation: Evaluation, review: Review) -> str:
    """Return who is asked, and how to answer."""
    name, namespace = evaluation.metadata.name, evaluation.metadata.namespace
    people = "approval" if review.approvals == 1 else f"{review.approvals} approvals"
    whom = reviews.in_words(review.reviewers)
    return (
        f"It has met its criteria, and awaits {people} of {whom}, who see the rows in status.review.rows:"
        f" kubectl stagecoach approve {name} -n {namespace}, or reject; or create an Approval."
    )


def _waits(observed: Observed, weighed: Weighed, review: Review, told: ReviewStatus) -> str:
    words = asks(observed.evaluation, review)
    if weighed.counted:
        names = ", ".join(each.spec.reviewer for each in weighed.counted)
        words += f" So far: {names}."
    if observed.unread:
        words += (
            f" Approval {observed.unread[0]} cannot be read by this version of the operator, so nothing passes: upgrade"
            " the operator, or delete it."
        )
    if told.unguarded is not None:
        words += (
            f" Approvals count that are created from {told.unguarded.until} on: the policy by which everybody decides"
            f" in their own name alone was missing. {ANEW}"
        )
    return words


def _rejected(observed: Observed, by: Approval, review: Review, told: ReviewStatus, now: datetime) -> Plan:
    evaluation = observed.evaluation
    reason = by.spec.reason or ""
    rejection = Rejection(
        name=by.metadata.name,
        uid=by.metadata.uid,
        reviewer=by.spec.reviewer,
        as_=reviews.acts_as(by, review.reviewers),
        at=by.metadata.creation_timestamp,
        reason=reason,
    )
    again = REJECTED.format(
        approval=by.metadata.name,
        name=evaluation.metadata.name,
        namespace=evaluation.metadata.namespace,
        instead=instead(evaluation.spec.run),
    )
    other = by.spec.subject.name
    where = "" if other == evaluation.metadata.name else f", in Evaluation {other}"
    words = f"Rejected by {_who(by, review)}{where}: {shortened(reason, 1000)}"
    message = f"{words.rstrip('. ')}. {again}"
    changes = {"review": told.model_copy(update={"rejected": rejection})}
    decided = status.reviewed(evaluation, "Rejected", message, now, passed=False, **changes)
    return _decided(observed, decided, Event("Rejected", _of_release(evaluation, words), warning=True))


def _approved(observed: Observed, weighed: Weighed, review: Review, told: ReviewStatus, now: datetime) -> Plan:
    evaluation = observed.evaluation
    results = [_result(name, mean, weighed.counted, review) for name, mean in _means(weighed, review)]
    who = " and ".join(_who(each, review) for each in weighed.counted)
    changes = {"review": told, "results": [*evaluation.status.results, *results]}
    low = [each for each in results if each.outcome != Outcome.PASSED]
    if low:
        words = f"{low[0].criterion}: {low[0].message} It was approved by {who}."
        message = f"{words} {TOO_LOW.format(instead=instead(evaluation.spec.run))}"
        decided = status.reviewed(evaluation, "ScoreTooLow", message, now, passed=False, **changes)
        return _decided(observed, decided, Event("ScoreTooLow", _of_release(evaluation, words), warning=True))
    words = f"Approved by {who}."
    message = f"{evaluation.status.message or ''} {words}".strip()
    decided = status.reviewed(evaluation, "Passed", message, now, passed=True, **changes)
    return _decided(observed, decided, Event("Passed", _of_release(evaluation, message)))


def _decided(observed: Observed, told: dict[str, object], event: Event) -> Plan:
    return Plan(status=told, events=(event,), delete=attempts.left_over(observed))


def _of_release(evaluation: Evaluation, words: str) -> str:
    return f"Release {short(evaluation.spec.release.digest)} of {evaluation.spec.named}: {words}"


def _means(weighed: Weighed, review: Review) -> Sequence[tuple[str, float]]:
    return list(reviews.means(weighed.counted, review).items())


def _result(name: str, mean: float, counted: Sequence[Approval], review: Review) -> Result:
    well = reviews.reaches(mean, review)
    words = f"the mean of the reviewers' scores is {mean:.4g}, below {review.min_score:.4g}."
    return Result(
        criterion=f"{HUMAN}{name}",
        outcome=Outcome.PASSED if well else Outcome.FAILED,
        value=mean,
        threshold=review.min_score,
        scored=len(counted),
        message=None if well else words,
    )


def _counted(approval: Approval, review: Review) -> CountedApproval:
    return CountedApproval(
        name=approval.metadata.name,
        uid=approval.metadata.uid,
        reviewer=approval.spec.reviewer,
        as_=reviews.acts_as(approval, review.reviewers),
        at=approval.metadata.creation_timestamp,
        scores=approval.spec.scores,
    )


def _who(approval: Approval, review: Review) -> str:
    group = reviews.acts_as(approval, review.reviewers)
    return f"{approval.spec.reviewer} (as a member of {group})" if group else approval.spec.reviewer
