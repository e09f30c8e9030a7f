"""What somebody has revoked: it leaves at once, and what was served before comes back, if its gates still pass it."""

from dataclasses import replace

from stagecoach.api.deployment_status import Decided, Revoked
from stagecoach.contract.digests import short
from stagecoach.contract.times import timestamp
from stagecoach.kinds.modeldeployment.deciding import decided, who
from stagecoach.kinds.modeldeployment.engines import STARTING
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.switching import Course
from stagecoach.policies.instead import instead


def taken_out(scene: Scene) -> Course | None:
    """Return that nothing is served, if what is served was revoked; a candidate begins anew, alone or beside another.

    None: nobody has revoked it.
    """
    status = scene.deployment.status
    serving = status.serving
    revoke = scene.observed.decisions.revoke(serving.release) if serving else None
    if serving is None or revoke is None:
        return None
    given = decided(revoke)
    revoked = Revoked(**given, release=serving.release, run=serving.run, base=serving.base, at=timestamp(scene.now))
    course = replace(Course.of(status), serving=None, candidate=None, revoked=revoked)
    words = f"{serving.title} (release {serving.short}) is served no more: it was revoked {who(Decided(**given))}"
    return course.told("Revoked", words, warning=True)


def complaint(by: Revoked, rest: Complaint) -> Complaint:
    """Return why nothing is served, and what to do. `rest`: why nothing else takes over."""
    told = meanwhile(by, rest)
    advice = f"Delete Approval {by.approval} to have it served again; or {instead(by.run)}."
    return Complaint(told.reason, f"{told.message} {advice}")


def meanwhile(by: Revoked, rest: Complaint) -> Complaint:
    """Return why nothing is served, while something is about to be. `rest`: what that waits for."""
    message = f"{by.title} (release {short(by.release)}) was revoked {who(by)} Nothing is served: {rest.message}"
    passes = rest.reason == STARTING.reason and not message.endswith("othing to do.")
    return Complaint("Revoked", f"{message} Nothing to do." if passes else message)
