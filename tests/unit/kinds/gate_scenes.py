"""Every state that gates and Evaluations come to, as scenes.py has those of runs and projects."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from stagecoach.kinds.approval.reconcile import CONTROLLER as APPROVALS
from stagecoach.kinds.evalgate.reconcile import CONTROLLER as GATES
from stagecoach.kinds.finetunerun.reconcile import CONTROLLER as RUN_CONTROLLER
from tests import builders
from tests.unit.kinds import gates
from tests.unit.kinds import test_evaluation as evaluations
from tests.unit.kinds import test_finetunerun as runs
from tests.unit.kinds.scenes import LATER, NO_NODE, Scene, made, rewritten, unread, waits, without_a_pod
from tests.unit.kinds.world import World


def judging(**pod_status: Any) -> World:
    return made(gates.world(), **pod_status)


def judged(report: builders.Object | None, code: int = 0, reason: str = "Completed", times: int = 1) -> World:
    """Let so many attempts of an Evaluation end alike."""
    here = gates.world()
    for _ in range(times):
        evaluations.start(here)
        here.end_pods(report, code, reason)
        here.reconcile()
        here.wait(400)
    return here


def of_the_same_release() -> World:
    younger = gates.world(gates.evaluation(minScored=0.5))
    younger.stored["metadata"] |= {"uid": "zzz", "creationTimestamp": "2026-01-02T03:04:06Z"}
    younger.history = [copy.deepcopy(younger.stored)]
    younger.twins = (gates.world(),)
    younger.reconcile()
    return younger


def without_project(change: Callable[[builders.Object], Any] | None = None) -> World:
    here = gates.world()
    here.reconcile()
    here.project = builders.ready_project() if change else None
    if here.project and change:
        change(here.project)
    here.reconcile()
    return here


def gate(*candidates: str, project: builders.Object | None = None, **spec: Any) -> World:
    here = World(GATES, builders.stored(builders.gate(**spec)), project or builders.ready_project())
    here.twins = tuple(World(RUN_CONTROLLER, gates.succeeded(name), here.project) for name in candidates)
    here.reconcile()
    return here


def gate_that_has_judged() -> World:
    here = gate("first")
    [evaluation] = [twin for twin in here.twins if twin.stored["kind"] == "Evaluation"]
    told = {"phase": "Decided", "verdict": "Failed", "completionTime": builders.CREATED}
    evaluation.stored = evaluation.stored | {"status": told}
    here.reconcile()
    return here


def gate_with_other_data() -> World:
    project = builders.ready_project()
    project["status"]["datasets"][0]["digest"] = builders.digest("e")
    return gate("first", project=project)


def gate_without_project() -> World:
    here = World(GATES, builders.stored(builders.gate()))
    here.reconcile()
    return here


def not_ready() -> builders.Object:
    project = builders.ready_project()
    project["status"]["conditions"][0]["status"] = "False"
    return project


def asked(**review: Any) -> World:
    """Bring an Evaluation to where people are asked."""
    here = gates.reviewed_world(**review)
    evaluations.start(here)
    evaluations.end(here, gates.canary_report())
    here.reconcile()
    return here


def answered(review: dict[str, Any] | None = None, **decision: Any) -> World:
    """Let somebody decide about it."""
    here = asked(**review or {})
    gates.approval(here, **decision)
    here.reconcile()
    return here


def approval(
    name: str = "fine", *, about: World | None = None, looks: bool = True, then: bool = True, **decision: Any
) -> World:
    """Return a decision, told after (`then`) its Evaluation was looked at, if it is at all."""
    evaluation = about or asked()
    made = gates.approval(evaluation, name, **decision)
    here = World(APPROVALS, made, evaluation.project)
    here.now = evaluation.now
    here.twins = (evaluation,)
    here.approvals = {each: other for each, other in evaluation.approvals.items() if each != name}
    if looks and not then:
        here.reconcile()
    if looks:
        evaluation.reconcile()
    here.reconcile()
    return here


def without_policy() -> World:
    here = gates.reviewed_world()
    here.policy = False
    evaluations.start(here)
    evaluations.end(here, gates.canary_report())
    here.reconcile()
    return here


def asked_before_the_policy_went() -> World:
    here = asked()
    here.policy, here.proved = False, None
    gates.approval(here)
    here.reconcile()
    here.reconcile()
    return here


def approval_of_nothing() -> World:
    return approval(looks=False, subject={"kind": "Evaluation", "name": "good-ffffffffffff"})


def late_approval() -> World:
    return approval("late", about=answered())


def twice_by_one() -> World:
    evaluation = answered({"approvals": 2})
    evaluation.wait(1)
    return approval("again", about=evaluation)


def of_a_later_form(here: World) -> World:
    """Let a later version of the operator have said something that this one cannot read."""
    odd = here.status["conditions"][0] | {"type": "Weighed", "status": "Partly"}
    return rewritten(here, conditions=[*here.status["conditions"], odd])


def gate_that_awaits_review() -> World:
    here = gate("first", project=gates.project_with_canary(), **gates.reviewed_spec())
    [evaluation] = [twin for twin in here.twins if twin.stored["kind"] == "Evaluation"]
    told = {"phase": "AwaitingReview", "review": {"asked": builders.CREATED, "rows": [], "approvals": []}}
    evaluation.stored = evaluation.stored | {"status": told}
    here.reconcile()
    return here


RUBRIC = {"rubric": [{"name": "fluency"}], "minScore": 4}
BAD = [{"name": "fluency", "score": 1}]
GOOD = builders.gate()["spec"]["criteria"][0]
EVALUATIONS: Mapping[str, Scene] = {
    "Starting": judging,
    "SameRelease": of_the_same_release,
    "ProjectMissing": without_project,
    "ProjectChanged": lambda: without_project(lambda project: project["spec"]["data"]["sets"].pop()),
    "Unschedulable": lambda: judging(**NO_NODE),
    "PodMissing": lambda: without_a_pod(gates.world()),
    "ImagePullFailed": lambda: judging(**waits("ImagePullBackOff")),
    "BadImage": lambda: judging(**waits("InvalidImageName")),
    "Running": lambda: evaluations.start(gates.world()),
    "Retrying a service": lambda: judged(runs.SERVICE_FAILED, 69, "Error"),
    "StorageAway for the last time": lambda: judged(runs.SERVICE_FAILED, 69, "Error", times=3),
    "OutOfMemory": lambda: judged(None, 137, "OOMKilled"),
    "VerdictMissing": lambda: judged({"outcome": "Done"}),
    "ReportUnknown": lambda: judged(LATER),
    "ReportInconsistent": lambda: judged(builders.evaluation_report(results=[])),
    "Passed": lambda: judged(builders.evaluation_report()),
    "PolicyMissing": without_policy,
    "PolicyMissing after people were asked": asked_before_the_policy_went,
    "AwaitingReview": asked,
    "Passed by people": answered,
    "Rejected": lambda: answered(decision="Reject", reason="Row 3 is rude."),
    "ScoreTooLow": lambda: answered(RUBRIC, scores=BAD),
    "CriterionFailed": lambda: judged(builders.evaluation_report("Failed")),
    "RowsLeaked": lambda: judged(builders.evaluation_report("Failed", leaked=1)),
    "MoreRowsNeeded": lambda: judged(builders.evaluation_report("Inconclusive")),
    "NotMeasured": lambda: judged(builders.evaluation_report("Error")),
    "TrainingDataUnknown": lambda: judged(builders.evaluation_report("Error", leaked=None)),
    "InvalidSpec": lambda: unread(gates.world(), later=True),
    "StatusUnknown": lambda: rewritten(evaluations.start(gates.world()), attempt="in another form"),
}
OF_GATES: Mapping[str, Scene] = {
    "NoCandidates": gate,
    "Judging": lambda: gate("first"),
    "Judged": gate_that_has_judged,
    "AwaitingReview": gate_that_awaits_review,
    "NoneJudged": gate_with_other_data,
    "ProjectMissing": gate_without_project,
    "ProjectNotReady": lambda: gate("first", project=not_ready()),
    "UnknownDataset": lambda: gate("first", suites=[{"name": "held-out", "dataset": "none", "type": "HeldOut"}]),
    "WrongSplit": lambda: gate("first", suites=[{"name": "held-out", "dataset": "valid", "type": "HeldOut"}]),
    "UnknownMetric": lambda: gate("first", criteria=[GOOD | {"metric": "bleu"}]),
    "LabelUnsuited": lambda: gate("first", criteria=[GOOD | {"label": "billing"}]),
    "UnknownLabel": lambda: gate("first", criteria=[GOOD | {"metric": "recall", "label": "lost"}]),
    "BoundImpossible": lambda: gate("first", criteria=[GOOD | {"min": 80.0}]),
    "BoundIdle": lambda: gate("first", criteria=[GOOD | {"min": 0.0}]),
    "InvalidSpec": lambda: unread(gate("first"), later=True),
    "StatusUnknown": lambda: rewritten(gate("first"), judging="in another form"),
}
OF_APPROVALS: Mapping[str, Scene] = {
    "Weighing": lambda: approval(looks=False),
    "Counted": approval,
    "Counted at last": lambda: approval(then=False),
    "Rejected": lambda: approval(decision="Reject", reason="Row 3 is rude."),
    "NoSuchEvaluation": approval_of_nothing,
    "NotAwaiting": lambda: approval(about=gates.reviewed_world()),
    "NotAwaiting where nobody is asked": lambda: approval(about=gates.world()),
    "PolicyMissing of an Approve": lambda: approval("again", about=asked_before_the_policy_went()),
    "OtherRelease": lambda: approval(release=builders.digest("b")),
    "NotAReviewer": lambda: approval(reviewer="editor@example.com"),
    "Expired": lambda: approval(expires="2026-01-01T00:00:00Z"),
    "UnknownRubric": lambda: approval(scores=BAD),
    "ScoresMissing": lambda: approval(about=asked(**RUBRIC)),
    "TwiceByOne": twice_by_one,
    "AlreadyDecided": late_approval,
    "AlreadyDecided of a Reject": lambda: approval(
        "late", about=answered(), decision="Reject", reason="Row 3 is rude."
    ),
    "InvalidSpec": lambda: unread(approval(), later=True),
    "StatusUnknown": lambda: of_a_later_form(approval()),
}
