"""Steps in which a candidate waits for a person: since when, for whom, and what has let it go on."""

from collections.abc import Sequence
from datetime import datetime

from stagecoach.api.approval import Approval
from stagecoach.api.deployment_status import MAX_PROMOTIONS, Candidate, Promotion, Rejected
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.policies.decisions import since_held, since_rejected
from stagecoach.policies.reviews import SKEW, in_words

# So long a step is begun before a Promote counts for it: what others have decided meanwhile was of the one before.
SETTLES = 2 * SKEW


def promotion(scene: Scene, candidate: Candidate) -> Approval | None:
    """Return the Promote by which a candidate goes on from the step in which it waits for one."""
    if candidate.held_since is None:
        return None
    spent = scene.deployment.status.promotions
    return scene.observed.decisions.promotion(candidate.release, since_held(moment(candidate.held_since)), spent)


def held(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate that waits for nothing but a person, since now or before; or not yet: see `settles`."""
    if candidate.held_since is not None or scene.now < settles(candidate):
        return candidate
    return candidate.model_copy(update={"held_since": timestamp(scene.now)})


def settles(candidate: Candidate) -> datetime:
    """Return when a candidate has been for long enough where it is that a Promote can only be about that."""
    return moment(candidate.weight_since or candidate.step_since or candidate.since) + SETTLES


def waits(scene: Scene, candidate: Candidate, message: str) -> Complaint:
    """Return for whom a candidate waits, with the command that lets it go on."""
    metadata, approvers = scene.deployment.metadata, scene.deployment.spec.approvers
    whom = in_words(approvers) if approvers else "nobody, for spec.approvers is empty: add who may"
    command = f"kubectl stagecoach promote mdep/{metadata.name} --release {candidate.release} -n {metadata.namespace}"
    # What shows messages may cut them: the command is first.
    return Complaint(
        "AwaitsPromotion", f"To promote it: {command}; or create an Approval. It waits for {whom}. {message}"
    )


def undoes(scene: Scene, rejected: Rejected) -> Approval | None:
    """Return the Promote by which a release that was rejected is tried again."""
    spent = scene.deployment.status.promotions
    return scene.observed.decisions.promotion(rejected.release, since_rejected(moment(rejected.at)), spent)


def spent(scene: Scene, before: Sequence[Promotion], release: str) -> list[Promotion]:
    """Return the promotions with all of a release: what several people say at once is said once.

    Of as many as fit, the oldest goes.
    """
    for promote in scene.observed.decisions.promoted(release, before):
        before = [_entry(promote, scene.now), *before]
    return list(before[:MAX_PROMOTIONS])


def _entry(promote: Approval, now: datetime) -> Promotion:
    return Promotion(
        approval=promote.metadata.name,
        uid=promote.metadata.uid,
        created=promote.metadata.creation_timestamp,
        reviewer=promote.spec.reviewer,
        release=promote.spec.release,
        at=timestamp(now),
    )
