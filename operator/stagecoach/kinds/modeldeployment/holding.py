"""Steps in which a candidate waits for a person: since when, for whom, and what has let it go on."""

from collections.abc import Sequence
from datetime import datetime

from stagecoach.api.approval import Approval
from stagecoach.api.deployment_status import MAX_PROMOTIONS, Candidate, Promotion, Rejected
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.scene import Scene

NAMED = 3


def promotion(scene: Scene, candidate: Candidate) -> Approval | None:
    """Return the Promote by which a candidate goes on from the step in which it waits for one."""
    if candidate.held_since is None:
        return None
    spent = scene.deployment.status.promotions
    return scene.observed.decisions.promotion(candidate.release, moment(candidate.held_since), spent)


def held(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate that waits for nothing but a person, since now or before."""
    if candidate.held_since is not None:
        return candidate
    return candidate.model_copy(update={"held_since": timestamp(scene.now)})


def waits(scene: Scene, candidate: Candidate, message: str) -> Complaint:
    """Return for whom a candidate waits, with the command that lets it go on."""
    metadata, approvers = scene.deployment.metadata, scene.deployment.spec.approvers
    names = [each.user or f"a member of {each.group}" for each in approvers]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    whom = f"{' or '.join(names[:NAMED])}{more}" if names else "nobody, for spec.approvers is empty: add who may"
    command = f"kubectl stagecoach promote mdep/{metadata.name} --release {candidate.release} -n {metadata.namespace}"
    return Complaint("AwaitsPromotion", f"{message} It waits for {whom}: {command}; or create an Approval.")


def undoes(scene: Scene, rejected: Rejected) -> Approval | None:
    """Return the Promote by which a release that was rejected is tried again."""
    spent = scene.deployment.status.promotions
    return scene.observed.decisions.promotion(rejected.release, moment(rejected.at), spent)


def spent(before: Sequence[Promotion], promote: Approval, now: datetime) -> list[Promotion]:
    """Return the promotions with one more; of as many as fit, the oldest goes."""
    entry = Promotion(
        approval=promote.metadata.name,
        uid=promote.metadata.uid,
        created=promote.metadata.creation_timestamp,
        reviewer=promote.spec.reviewer,
        release=promote.spec.release,
        at=timestamp(now),
    )
    return [entry, *before][:MAX_PROMOTIONS]
