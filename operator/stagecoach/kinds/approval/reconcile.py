"""What becomes of an Approval. Pure: it tells what its Evaluation makes of it, and does nothing by itself.

A decision on a release of a ModelDeployment is accepted here, and counts from then on: on_deployments.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.approval import Approval, Decision, SubjectKind
from stagecoach.api.evaluation import Evaluation
from stagecoach.api.evaluation_status import EvaluationVerdict
from stagecoach.kinds.approval import guard, on_deployments
from stagecoach.kinds.approval.neighbours import references, subject_key, wakes
from stagecoach.kinds.conditions import Fact, dated, in_progress, ready, stalled
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.evaluation.neighbours import decided
from stagecoach.kinds.evaluation.observe import approvals_of
from stagecoach.kinds.evaluation.reviewing import question
from stagecoach.kinds.invalid import unreadable
from stagecoach.kinds.plan import Object, Plan
from stagecoach.kinds.view import View
from stagecoach.policies import reviews
from stagecoach.policies.reviews import Standing

# What a decision can be held up by, and what to do; with the fields of _words.
WORDS = {
    Standing.OTHER_RELEASE: "spec.release: the Evaluation is about {release}, and this about another. Create another"
    " Approval for that one, after a look at its rows.",
    Standing.NOT_A_REVIEWER: "spec.reviewer: {reviewer} is none of the gate's reviewers{group}: {reviewers}. Let one of"
    " them decide, or add the reviewer to the gate, whose candidates are judged anew then.",
    Standing.NOT_AWAITING: "It was created before there was anything to look at, so it never counts. Create another"
    " Approval once the Evaluation awaits review.",
    Standing.UNGUARDED: f"{guard.UNGUARDED} From when on they count is in status.review.unguarded of the Evaluation.",
    Standing.EXPIRED: "It no longer counts: it expires by {expires}. Create another Approval.",
    Standing.UNKNOWN_RUBRIC: "spec.scores: the gate's review has {rubric}, and nothing else. Create another Approval.",
    Standing.SCORES_MISSING: "spec.scores: the gate's review needs a score for each of {rubric}. Create another"
    " Approval.",
    Standing.TWICE_BY_ONE: "{reviewer} has approved already, and counts once. Let somebody else decide.",
}


@dataclass(frozen=True)
class Observed:
    """An Approval and all that is said of it."""

    approval: Approval
    evaluation: Evaluation | None
    others: Sequence[Approval]  # decisions about the same, this one included


def reconcile(view: View, raw: Object, now: datetime, _settings: Settings) -> Plan:
    """Observe and decide."""
    try:
        approval = Approval.model_validate(raw)
    except ValidationError as error:
        return unreadable(raw, error, now)
    if approval.metadata.deletion_timestamp:
        return Plan()
    if approval.spec.subject.kind is SubjectKind.MODEL_DEPLOYMENT:
        return on_deployments.decide(on_deployments.observe(view, raw, approval), now)
    try:
        evaluation = view.read(subject_key(raw), Evaluation.model_validate)
    except ValidationError:
        evaluation = None  # its own status says what is wrong with it
    found = view.get(subject_key(raw))
    others = approvals_of(view, found)[0] if found else ()
    return decide(Observed(approval, evaluation, others), now)


def decide(observed: Observed, now: datetime) -> Plan:
    """Return what to say of an Approval."""
    approval = observed.approval
    generation = approval.metadata.generation
    conditions = dated(_facts(observed, now), approval.status.conditions, generation, now)
    told = approval.status.model_copy(update={"observed_generation": generation, "conditions": conditions})
    return Plan(status=told.document())


def _facts(observed: Observed, now: datetime) -> tuple[Fact, ...]:
    approval, evaluation = observed.approval, observed.evaluation
    name, uid = approval.spec.subject.name, approval.metadata.uid
    if evaluation is None:
        return stalled(
            "NoSuchEvaluation",
            f"spec.subject.name: there is no Evaluation {name!r}. {_of_nothing(approval)} kubectl get eval lists them.",
        )
    status = evaluation.status
    told = status.review
    over = f" The verdict is {status.verdict}." if status.verdict else ""
    if told and any(each.uid == uid for each in told.approvals):
        return ready("Counted", f"It counts.{over}")
    if told and told.rejected and told.rejected.uid == uid:
        return ready("Rejected", f"It is why the verdict is {status.verdict}.")
    asked = question(evaluation)
    standing = None if asked is None else reviews.weigh(observed.others, asked, now).standings.get(uid)
    if status.verdict is not None and standing not in (Standing.OTHER_RELEASE, Standing.NOT_A_REVIEWER):
        words = f"It counts for nothing, and changes nothing:{over.lower()} Delete it, if nobody needs it."
        if approval.spec.decision is Decision.REJECT:
            words = (
                f"It changes nothing here:{over.lower()} Delete it, if it should not count once this is judged anew."
            )
        # What more than were needed approve leaves nothing to do; that somebody rejects what has passed does.
        too_late = approval.spec.decision is Decision.REJECT and status.verdict is EvaluationVerdict.PASSED
        return stalled("AlreadyDecided", words) if too_late else ready("AlreadyDecided", words)
    if asked is None:
        return stalled("NotAwaiting", f"Evaluation {name!r} asks nobody: its gate has no review. Delete this Approval.")
    if told is None and standing is Standing.REJECTED:
        return in_progress(
            "Weighing", f"Nothing to do: Evaluation {name!r} is rejected by it once it has met its criteria."
        )
    if standing in (Standing.COUNTED, Standing.REJECTED):
        return in_progress("Weighing", "The Evaluation takes it into account next; nothing to do.")
    return _fault(observed, standing or Standing.NOT_AWAITING)


def _of_nothing(approval: Approval) -> str:
    if approval.spec.decision is Decision.REJECT:
        words = "Should its gate make it, or another of this release, it is rejected"
        return f"{words}; delete this Approval if it should not be."
    return "An approval from before it awaits review never counts: create another Approval then."


def _fault(observed: Observed, standing: Standing) -> tuple[Fact, ...]:
    approval, evaluation = observed.approval, observed.evaluation
    review = evaluation.spec.review if evaluation else None
    reviewers = review.reviewers if review else ()
    group = approval.spec.group
    words = WORDS[standing].format(
        release=evaluation.spec.release.digest if evaluation else "",
        reviewer=approval.spec.reviewer,
        group=f", nor is group {group}" if group else ", and spec.group names no group of theirs",
        reviewers=", ".join(f"user {each.user}" if each.user else f"group {each.group}" for each in reviewers),
        rubric=", ".join(each.name for each in (review.rubric if review else None) or ()) or "no rubric",
        expires=f"spec.expires, or by review.validFor ({review.valid_for if review else ''}) of the gate",
    )
    return stalled(standing.value, words)


def rests(view: View, raw: Object) -> bool:
    """Whether nothing will ever be said of it again: its Evaluation is decided, and that is told."""
    key, status = subject_key(raw), raw.get("status", {})
    if key.kind != "Evaluation" or status.get("observedGeneration") != raw["metadata"]["generation"]:
        return False
    evaluation = view.get(key)
    said = {each["type"]: each["reason"] for each in status.get("conditions", ())}
    over = ("AlreadyDecided", "Counted", "Rejected")
    return evaluation is not None and decided(evaluation) and said.get("Ready") in over


CONTROLLER = Controller(
    kind="Approval", plural="approvals", references=references, wakes=wakes, reconcile=reconcile, rests=rests
)
