"""Every state that a ModelDeployment comes to, as scenes.py has those of runs and projects."""

import copy
from collections.abc import Mapping
from typing import Any

from stagecoach.contract.loading import State
from stagecoach.kinds.approval.reconcile import CONTROLLER as APPROVALS
from stagecoach.kinds.modeldeployment.reconcile import CONTROLLER
from stagecoach.kinds.plan import Object
from tests import builders
from tests.unit.kinds import spares
from tests.unit.kinds.deployment_cases import FOLLOW, leader, leads
from tests.unit.kinds.deployments import Stage, project, serving
from tests.unit.kinds.gates import succeeded
from tests.unit.kinds.scenes import Scene, rewritten, unread
from tests.unit.kinds.spares import SLOW
from tests.unit.kinds.world import SETTINGS, World

APPROVERS = [{"user": "qa@example.com"}]
BY_HAND = {"canary": {"steps": [{"weight": 10, "hold": "Manual", "minRequests": 5}]}}
# What is said of a gateway whose Secret with clients is not there.
MISSING = {
    "phase": "Pending",
    "containerStatuses": [
        {"name": "gateway", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'no "clients"'}}}
    ],
}
NO_CLAIM = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "message": 'persistentvolumeclaim "kept" not found. not found.'}
    ],
}
CANARY = {"canary": {"steps": [{"weight": 10, "hold": "1m", "minRequests": 5}, {"weight": 50, "hold": "1m"}]}}

SLA = {
    "p99": "1500ms",
    "load": {"requestsPerSecond": 10, "promptTokens": 60, "outputTokens": 8, "duration": "30s"},
}


def told(stage: Stage) -> World:
    """Return a deployment with all that was ever said of it."""
    here = World(CONTROLLER, copy.deepcopy(stage.deployment), project())
    here.history = copy.deepcopy(stage.versions)
    return here


def looked_at(stage: Stage) -> World:
    stage.serve()
    return told(stage)


def changed(stage: Stage, **spec: Any) -> Stage:
    stage.change("ModelDeployment", "answers", **spec)
    return stage


def judged(verdict: str = "Passed", stage: Stage | None = None) -> Stage:
    stage = stage or Stage()
    stage.judge(verdict)
    return stage


def without(kind: str, name: str) -> World:
    stage = Stage()
    stage.remove(kind, name)
    return looked_at(stage)


def without_project() -> World:
    stage = judged()
    stage.remove("TransformerProject", "desk")
    return looked_at(stage)


def project_not_ready() -> World:
    stage, made = judged(), project()
    made["status"]["conditions"][0]["status"] = "False"
    stage.put(made)
    return looked_at(stage)


def not_installed() -> World:
    stage = judged()
    stage.settings = SETTINGS
    return looked_at(stage)


def without_candidates() -> World:
    going_on = succeeded()
    going_on["status"] = {"phase": "Running"}
    return looked_at(Stage(going_on))


def beside_a_leader(other: Object) -> World:
    stage = Stage(model=FOLLOW)
    stage.put(other)
    return looked_at(stage)


def soaking() -> World:
    stage = Stage(model=FOLLOW)
    leads(stage, "first", 23)
    return looked_at(stage)


def following() -> World:
    """Let the one that is followed go on to something else, when what it served before is served here."""
    stage = Stage(model=FOLLOW)
    leads(stage, "first", 24)
    stage.until(lambda: stage.serves("first"))
    stage.put(succeeded("second", 2))
    leads(stage, "second")
    for _ in range(5):
        stage.go_on()
    assert stage.said("CandidateAdmitted")["reason"] == "Soaking"
    return told(stage)


def starting() -> World:
    stage = judged()
    for _ in range(3):
        stage.go_on(loads=False)
    return told(stage)


def starting_again() -> World:
    """Let no pods be wanted, and then one."""
    stage = changed(serving(), replicas=0)
    stage.until(lambda: not stage.loaders)
    changed(stage, replicas=1)
    for _ in range(3):
        stage.go_on(loads=False)
    assert stage.said("Loaded")["reason"] == "ColdStart"
    return told(stage)


def with_next(**spec: Any) -> Stage:
    """Let a second run pass while the first is served."""
    stage = serving(**spec)
    stage.put(succeeded("second", 2))
    stage.judge()
    return stage


def taking_over() -> Stage:
    stage = with_next(rollout=CANARY)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    return stage


def in_test(stage: Stage) -> Stage:
    """Let a load test go on."""
    stage.reach = None
    before = len(stage.tests)
    stage.until(lambda: len(stage.tests) > before)
    stage.go_on()
    return stage


def tested() -> World:
    """Let it go through its test, and all steps; and let its SLA change."""
    stage = with_next(rollout=CANARY, sla=SLA)
    for _ in range(20):
        stage.wait(31)
        stage.go_on()
        stage.ask()
    stage.until(lambda: stage.serves("second"))
    stage.change("ModelDeployment", "answers", sla=SLA | {"p99": "2s"})
    stage.go_on()
    return told(stage)


def rescued() -> World:
    """Let it leave an engine that does not answer."""
    stage = serving(sla=SLA)
    stage.silent = set(stage.loaders)
    stage.until(lambda: stage.said("Loaded")["status"] == "False")
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    stage.until(lambda: stage.serves("first"))
    return told(stage)


def not_met(stage: Stage) -> World:
    stage.reach = SLOW
    stage.until(lambda: stage.told_status.get("rejected"))
    stage.go_on()
    return told(stage)


def repeated() -> World:
    stage = in_test(judged(stage=Stage(sla=SLA)))
    spares.end(stage, exitCode=70)
    return looked_at(stage)


def taken_over() -> World:
    """Let it go through all steps."""
    stage = taking_over()
    for _ in range(20):
        stage.wait(31)
        stage.go_on()
        stage.ask()
    stage.until(lambda: stage.serves("second"))
    return told(stage)


def aborted() -> World:
    stage = taking_over()
    for _ in range(3):
        stage.ask(1000, failing=True)
        stage.go_on(16)
    stage.until(lambda: stage.told_status["rejected"])
    stage.go_on()
    return told(stage)


def on_another_engine() -> World:
    stage = changed(serving(), engine={"maxConcurrent": 8})
    before = stage.told_status["serving"]["engine"]
    stage.until(lambda: stage.serves("first") and stage.told_status["serving"]["engine"] != before)
    stage.until(lambda: not stage.told_status["retiring"], 130)
    return told(stage)


def rejected_before_anything_is_served() -> World:
    stage = judged()
    while not stage.loaders:
        stage.go_on(loads=False)
    stage.turn(State.FAILED)
    stage.until(lambda: stage.told_status["rejected"], loads=False)
    return looked_at(stage)


def gate_says_otherwise() -> World:
    stage = serving()
    stage.change("EvalGate", "good", minScored=0.5)
    stage.judge("Failed")
    stage.go_on()
    stage.go_on()
    return told(stage)


def waiting_for_somebody() -> Stage:
    stage = with_next(rollout=BY_HAND, approvers=APPROVERS)
    for _ in range(20):
        stage.go_on(16)
        stage.ask()
    assert stage.told_status["candidate"]["heldSince"]
    return stage


def promoted() -> World:
    stage = waiting_for_somebody()
    stage.decided("Promote", stage.told_status["candidate"]["release"])
    stage.until(lambda: stage.serves("second"))
    return told(stage)


def revoked() -> Stage:
    stage = serving(approvers=APPROVERS)
    stage.decided("Revoke", stage.told_status["serving"]["release"], name="leaks")
    stage.until(lambda: "serving" not in stage.told_status)
    stage.go_on()
    return stage


def served_again() -> World:
    stage = revoked()
    stage.remove("Approval", "leaks")
    stage.until(lambda: stage.serves("first"))
    return told(stage)


def replaced_by_what_was_served_before() -> World:
    stage = with_next(approvers=APPROVERS)
    stage.until(lambda: stage.serves("second"))
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.until(lambda: stage.serves("first"))
    return told(stage)


def overridden() -> World:
    stage = judged("Failed", Stage(approvers=APPROVERS))
    [failed] = stage.evaluations
    stage.decided("Override", failed["spec"]["release"]["digest"])
    stage.until(lambda: stage.told_status.get("serving"))
    stage.go_on()
    stage.change("EvalGate", "good", minScored=0.5)
    stage.judge()
    for _ in range(3):
        stage.go_on()
    assert stage.serves("first")
    return told(stage)


def decision(stage: Stage, made: Object) -> World:
    """Return a decision of somebody with what the operator says of it."""
    stage.weigh()
    here = World(APPROVALS, copy.deepcopy(stage.get("Approval", made["metadata"]["name"])), project())
    here.history = [copy.deepcopy(made), copy.deepcopy(here.stored)]
    return here


def of_the_candidate(**changes: Any) -> World:
    stage = waiting_for_somebody()
    return decision(stage, stage.say("Promote", **{"release": stage.told_status["candidate"]["release"], **changes}))


def of_what_went_on() -> World:
    stage = waiting_for_somebody()
    made = stage.say("Promote", stage.told_status["candidate"]["release"])
    stage.weigh()
    stage.until(lambda: stage.serves("second"))
    return decision(stage, made)


def of_what_serves(word: str, *, wait: int = 0, guarded: bool = True, **spec: Any) -> World:
    stage = serving(**spec)
    made = stage.say(word, stage.told_status["serving"]["release"])
    if not guarded:
        stage.cache.set_guarded("team", False)
        return decision(stage, made)
    if wait >= 0:
        stage.weigh()
    stage.wait(abs(wait))
    return decision(stage, made)


def of_what_nobody_can_prove() -> World:
    stage = serving(approvers=APPROVERS)
    stage.proof = None
    return decision(stage, stage.say("Revoke", stage.told_status["serving"]["release"]))


def of_what_was_revoked() -> World:
    stage = serving(approvers=APPROVERS)
    made = stage.say("Revoke", stage.told_status["serving"]["release"])
    stage.weigh()
    stage.serve()
    return decision(stage, made)


def of_what_changes(reviewer: str = "qa@example.com", **spec: Any) -> World:
    """Return a Revoke that is looked at again when its deployment has become another."""
    stage = serving(approvers=APPROVERS)
    made = stage.say("Revoke", stage.told_status["serving"]["release"], reviewer=reviewer)
    stage.weigh()
    stage.wait(601)
    return decision(changed(stage, **spec), made)


def refused() -> World:
    """Let the cluster take nothing of what is needed first."""
    stage = judged()
    stage.refuses = lambda obj: obj["kind"] == "Deployment"
    for _ in range(5):
        stage.go_on()
    return told(stage)


def beside_what_is_refused() -> World:
    """Let there be no room for the engine of what is about to take over, until its time is over."""
    stage = serving(engine={"startDeadline": "1m"})
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage.put(whole)
    stage.judge()
    stage.refuses = lambda obj: "-e-" in obj["metadata"]["name"]
    stage.until(lambda: stage.told_status["rejected"], 15)
    stage.go_on()
    return told(stage)


def without_clients() -> World:
    """Let there be no Secret of the name that access gives."""
    stage = serving()
    stage.stuck = {"answers-gateway": MISSING}
    changed(stage, access={"apiKeys": {"name": "clients"}})
    stage.until(lambda: stage.said("Stalled"), 15)
    return told(stage)


def samples() -> World:
    """Let requests be kept, and then elsewhere, where there is no claim."""
    kept = {"claim": {"name": "kept"}, "rate": 0.05, "redact": [{"type": "email"}]}
    stage = serving(sampling=kept)
    stage.until(lambda: stage.told_status.get("samples"))
    stage.stuck = {"answers-gateway": NO_CLAIM}
    changed(stage, sampling=kept | {"claim": {"name": "other"}})
    stage.until(lambda: stage.said("Stalled"), 15)
    return told(stage)


def without_clients_beside_a_candidate() -> World:
    """Let there be no Secret of that name while another release is about to take over."""
    stage = taking_over()
    stage.stuck = {"answers-gateway": MISSING}
    changed(stage, access={"apiKeys": {"name": "clients"}})
    stage.until(lambda: stage.said("Stalled"), 15)
    assert "candidate" in stage.told_status
    return told(stage)


def following_what_waits(*waiting: int | None, most: int = 2) -> World:
    """Let so many requests wait for each pod, look by look."""
    stage = serving(autoscaling={"max": most, "waitingRequests": 4})
    for number in waiting:
        for loader in stage.loaders.values():
            loader.waiting = number
        stage.go_on(10)
        stage.go_on(0)
    return told(stage)


def beside_a_pod_that_does_not_start() -> World:
    """Let more wait, and the pod that is made for them end at once."""
    stage = serving(autoscaling={"max": 2, "waitingRequests": 4})
    for loader in stage.loaders.values():
        loader.waiting = 50
    stage.until(lambda: stage.told_status["autoscaling"]["wanted"] == 2, 10)
    stage.serve()
    stage.control()
    stage.stuck = {stage.told_status["serving"]["engine"]: {}}
    uid = list(stage.loaders)[1]
    del stage.loaders[uid]
    ended = {"name": "engine", "lastState": {"terminated": {"exitCode": 1}}}
    pod = next(each for each in stage.of_kind("Pod") if each["metadata"]["uid"] == uid)
    stage._store(pod | {"status": pod["status"] | {"containerStatuses": [ended]}})
    stage.go_on(10)
    assert stage.said("Autoscaled")["reason"] == "PodsStarting"
    stage.until(lambda: stage.said("Autoscaled")["reason"] == "PodsFail", 10)
    return told(stage)


def gone() -> World:
    """Let somebody delete what says what is served."""
    stage = serving()
    stage.remove("FineTuneRun", "first")
    stage.remove("TransformerProject", "desk")
    stage._gone(("ConfigMap", stage.told_status["serving"]["admitted"]))
    return looked_at(stage)


def base_and_then_run() -> World:
    """A base itself is served; a run is in its steps and takes over; and the base comes back for what is revoked."""
    stage = Stage(model={"candidate": "small"}, approvers=APPROVERS, rollout=CANARY)
    for _ in range(2):  # the gate judges one after the other
        stage.judge()
    stage.until(lambda: stage.told_status.get("serving", {}).get("base") == "small")
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    for _ in range(40):
        if stage.serves("first"):
            break
        stage.go_on(31)
        stage.ask()
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.until(
        lambda: stage.told_status.get("serving", {}).get("base") == "small" and stage.said()["status"] == "True"
    )
    return told(stage)


OF_DEPLOYMENTS: Mapping[str, Scene] = {
    "ServingNotInstalled": not_installed,
    "ProjectMissing": without_project,
    "ProjectNotReady": project_not_ready,
    "NoCandidates": without_candidates,
    "RunUnknown": lambda: looked_at(Stage(model={"run": "nobody"})),
    "CandidateUnknown": lambda: looked_at(Stage(model={"candidate": "nobody"})),
    "GateMissing": lambda: without("EvalGate", "good"),
    "Judging": lambda: looked_at(Stage()),
    "GateFailed": lambda: looked_at(judged("Failed")),
    "Rejected": rejected_before_anything_is_served,
    "FollowedMissing": lambda: looked_at(Stage(model=FOLLOW)),
    "FollowedUnsuited": lambda: beside_a_leader(leader(project="other")),
    "FollowedServesNothing": lambda: beside_a_leader(leader()),
    "Soaking": soaking,
    "Serving what another one has served for long enough": following,
    "Starting": starting,
    "LoadTest": lambda: told(in_test(judged(stage=Stage(sla=SLA)))),
    "LoadTestRepeated": repeated,
    "Rejected by its load test": lambda: not_met(judged(stage=Stage(sla=SLA))),
    "Serving beside a load test": lambda: told(in_test(with_next(sla=SLA))),
    "Serving what was served before a load test": lambda: not_met(with_next(sla=SLA)),
    "Serving what has met another SLA": tested,
    "Serving what has left an engine that did not answer": rescued,
    "Serving": lambda: told(serving()),
    "Serving a base itself, and then a run": base_and_then_run,
    "Serving beside a candidate": lambda: told(taking_over()),
    "Serving what was the candidate": taken_over,
    "Serving what was served before": aborted,
    "Serving on another engine": on_another_engine,
    "Serving whatever its gate says now": gate_says_otherwise,
    "Serving beside a candidate that waits for somebody": lambda: told(waiting_for_somebody()),
    "Serving what somebody has promoted": promoted,
    "Serving what somebody has let in, and has passed since": overridden,
    "Revoked": lambda: told(revoked()),
    "Serving what was revoked for a while": served_again,
    "Serving in place of what was revoked": replaced_by_what_was_served_before,
    "Serving beside what the cluster refuses": beside_what_is_refused,
    "Serving while newer gateways do not start": without_clients,
    "Serving while samples lie where they did": samples,
    "Serving beside a candidate while newer gateways do not start": without_clients_beside_a_candidate,
    "Serving with as many pods as what waits takes": lambda: following_what_waits(0, 5, 5, 5, 0, 0),
    "Serving while more wait than pods may be": lambda: following_what_waits(5, 5, most=1),
    "Serving while a pod does not start that more requests take": beside_a_pod_that_does_not_start,
    "Serving while nobody says what waits": lambda: following_what_waits(0, None, None),
    "Refused": refused,
    "ScaledToZero": lambda: looked_at(changed(serving(), replicas=0)),
    "Starting from no pods": starting_again,
    "AdmittedMissing": gone,
    "InvalidSpec": lambda: unread(told(serving()), later=True),
    "StatusUnknown": lambda: rewritten(told(serving()), candidate="in another form"),
}
DAY = 86_400
OF_DECISIONS: Mapping[str, Scene] = {
    "Weighing on a release": of_the_candidate,
    "Counted on a release": of_what_went_on,
    "NotAwaiting on a release": lambda: of_the_candidate(release=builders.digest("e")),
    "NotAnApprover": lambda: of_the_candidate(reviewer="ed@example.com"),
    "NoSuchDeployment": lambda: of_the_candidate(subject={"kind": "ModelDeployment", "name": "other"}),
    "NoApprovers": lambda: of_what_serves("Revoke"),
    "PolicyMissing": lambda: of_what_serves("Revoke", guarded=False, approvers=APPROVERS),
    "PolicyMissing of an Override": lambda: of_what_serves("Override", guarded=False, approvers=APPROVERS),
    "Weighing what nobody can prove": of_what_nobody_can_prove,
    "Weighing what is still served": lambda: of_what_serves("Revoke", approvers=APPROVERS),
    "Revoked": of_what_was_revoked,
    "DeploymentUnread": lambda: of_what_changes(later=True),
    "Lapsed": lambda: of_what_changes("ed@example.com", approvers=[{"user": "ed@example.com"}]),
    "Overridden": lambda: of_what_serves("Override", approvers=APPROVERS),
    "RanOut": lambda: of_what_serves("Override", wait=DAY, approvers=APPROVERS),
    "Expired on a release": lambda: of_what_serves("Override", wait=-DAY, approvers=APPROVERS),
}
