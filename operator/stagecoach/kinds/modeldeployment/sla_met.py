"""Whether what is served has met spec.sla, by its last load test. It decides nothing: what is served goes on."""

from stagecoach.api.deployment_status import Served
from stagecoach.kinds.conditions import Fact
from stagecoach.kinds.modeldeployment import holding, load_testing, rejections
from stagecoach.kinds.modeldeployment.load_testing import NOT_MEASURED, NOT_MET
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.modeldeployment.switching import Course

MET = "SLAMet"
GOES_ON = "It goes on serving. Nothing to do: the next candidate is tested."


def facts(scene: Scene, course: Course) -> tuple[Fact, ...]:
    """Return what is said of it, if anybody asks; while nothing is served yet, of what is about to be, or was."""
    if scene.deployment.spec.sla is None:
        return ()
    if course.serving is not None:
        return (_of_serving(scene, course, course.serving),)
    if course.candidate is not None:
        return _of_candidate(scene, course, course.candidate)
    now = rejections.identity(scene.deployment)
    newest = next((each for each in course.rejected if each.spec == now), None)
    if newest is None or newest.reason not in (NOT_MET, NOT_MEASURED) or holding.undoes(scene, newest):
        return ()
    return (Fact(MET, False, newest.reason, newest.message),)


def _of_serving(scene: Scene, course: Course, serving: Served) -> Fact:
    measured, run = load_testing.found(course.measured, serving), f"{serving.title} (release {serving.short})"
    if measured is None:
        return Fact(MET, None, "NotTested", f"{run} was let in without a load test. {GOES_ON}")
    numbers = load_testing.told(measured)
    if not load_testing.is_by_now(scene, measured):
        return Fact(MET, None, "SLAChanged", f"{run} was tested by another spec.sla than now: {numbers}. {GOES_ON}")
    if not measured.met:
        message = f"{run} has not met spec.sla, and was let in without having to: {numbers}. {GOES_ON}"
        return Fact(MET, False, NOT_MET, message)
    return Fact(MET, True, "Met", f"{run}: {numbers}.")


def _of_candidate(scene: Scene, course: Course, candidate: Served) -> tuple[Fact, ...]:
    measured = load_testing.found(course.measured, candidate)
    if measured is not None and measured.met and load_testing.is_by_now(scene, measured):
        return (
            Fact(MET, True, "Met", f"{candidate.title} (release {candidate.short}): {load_testing.told(measured)}."),
        )
    return (Fact(MET, None, course.waits.reason, course.waits.message),) if course.waits else ()
