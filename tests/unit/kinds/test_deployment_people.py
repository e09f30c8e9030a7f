"""What people decide on releases of a ModelDeployment, and what becomes of these decisions."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stagecoach.contract.gateway_routes import Routes
from stagecoach.contract.loading import State
from stagecoach.contract.times import timestamp
from stagecoach.kinds.modeldeployment.reconcile import CONTROLLER
from stagecoach.kinds.plan import Key, Object
from stagecoach.runtime.problems import Problem, overlay
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployments import Stage, serving
from tests.unit.kinds.gates import succeeded

QA = "qa@example.com"
APPROVERS = [{"user": QA}, {"group": "ml-leads"}]
OTHERS = [{"user": "ed@example.com"}]
HELD = {"canary": {"steps": [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "Manual", "minRequests": 5}]}}


def release(stage: Stage, run: str) -> str:
    """Return the release of a run, as its Evaluation names it."""
    stage.look()
    return str(next(each["spec"]["release"]["digest"] for each in stage.evaluations if each["spec"]["run"] == run))


def beside(verdict: str = "Passed", **spec: Any) -> Stage:
    """Return a stage where a second run was judged while the first is served."""
    stage = serving(**{"approvers": APPROVERS, **spec})
    stage.put(succeeded("second", 2))
    stage.judge(verdict)
    return stage


def held(rollout: Object = HELD) -> Stage:
    """Return a stage where the second run waits for somebody to promote it."""
    stage = beside(rollout=rollout)
    until_held(stage)
    return stage


def until_held(stage: Stage) -> None:
    for _ in range(40):
        stage.go_on(16)
        stage.ask()
        if stage.told_status.get("candidate", {}).get("heldSince"):
            return
    raise AssertionError(stage.told_status)


def until_second(stage: Stage) -> None:
    for _ in range(40):
        if stage.serves("second"):
            return
        stage.go_on(16)
        stage.ask()
    raise AssertionError(stage.told_status)


def fails(stage: Stage) -> None:
    """Let a candidate fail until it is rejected."""
    for _ in range(10):
        stage.go_on(16)
        stage.ask(1000, failing=True)
        if stage.told_status.get("rejected"):
            return
    raise AssertionError(stage.told_status)


def newest(stage: Stage) -> Routes:
    """Return what gateways were told last."""
    return max(stage.told, key=lambda routes: routes.revision)


# Steps that wait for somebody.


def test_a_step_by_hand_waits_for_whoever_may_promote() -> None:
    stage = held()
    candidate = stage.told_status["candidate"]
    for _ in range(100):
        stage.go_on(16)
        stage.ask()
    assert stage.told_status["candidate"]["step"] == 1
    assert stage.told_status["candidate"]["heldSince"] == candidate["heldSince"]
    told = newest(stage).candidate
    assert told is not None
    assert told.share(stage.now) == 50, "its share was renewed"
    message = stage.said("Reconciling")["message"]
    command = f"kubectl stagecoach promote mdep/answers --release {candidate['release']} -n team"
    assert command in message
    assert "qa@example.com or a member of ml-leads" in message
    assert stage.decided("Promote", candidate["release"])["reason"] == "Weighing"
    until_second(stage)
    stage.weigh()
    assert "heldSince" not in stage.told_status["serving"]
    [used] = stage.told_status["promotions"]
    assert (used["reviewer"], used["release"]) == (QA, candidate["release"])
    assert stage.word(used["approval"])["reason"] == "Counted"


def test_errors_end_a_rollout_that_waits_for_somebody() -> None:
    stage = held()
    fails(stage)
    assert stage.told_status["serving"]["run"] == "first"


REFUSED = [
    ("a stranger", {"reviewer": "ed@example.com"}, "NotAnApprover"),
    ("a stranger in a group that is not named", {"reviewer": "ed@example.com", "group": "editors"}, "NotAnApprover"),
    ("about another release", {"release": "sha256:" + "e" * 64}, "NotAwaiting"),
    ("about another deployment", {"subject": {"kind": "ModelDeployment", "name": "other"}}, "NoSuchDeployment"),
]


@pytest.mark.parametrize(("changes", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_does_not_fit_promotes_nothing(changes: Object, reason: str) -> None:
    stage = held()
    said = stage.decided("Promote", **{"release": stage.told_status["candidate"]["release"], **changes})
    assert said["reason"] == reason
    assert speaks(reason, said["message"])
    for _ in range(10):
        stage.go_on(16)
        stage.weigh()
    assert stage.told_status["candidate"]["step"] == 1


def test_a_member_of_a_group_promotes() -> None:
    stage = held()
    stage.decided("Promote", stage.told_status["candidate"]["release"], reviewer="lead@example.com", group="ml-leads")
    until_second(stage)


def test_a_promote_of_before_promotes_nothing() -> None:
    stage = beside(rollout=HELD)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    early = stage.decided("Promote", release(stage, "second"), name="early")
    assert early["reason"] == "NotAwaiting"
    until_held(stage)
    for _ in range(10):
        stage.go_on(16)
        stage.weigh()
    assert stage.told_status["candidate"]["step"] == 1
    assert stage.word("early")["reason"] == "NotAwaiting"


def test_one_promote_is_for_one_step() -> None:
    steps = [{"weight": 10, "hold": "Manual"}, {"weight": 50, "hold": "Manual"}]
    stage = held({"canary": {"steps": steps}})
    stage.decided("Promote", stage.told_status["candidate"]["release"])
    stage.until(lambda: stage.told_status["candidate"]["step"] == 1, 1)
    until_held(stage)
    for _ in range(10):
        stage.go_on(16)
    assert stage.told_status["candidate"]["step"] == 1
    stage.decided("Promote", stage.told_status["candidate"]["release"])
    until_second(stage)
    assert len(stage.told_status["promotions"]) == 2


def test_what_two_people_say_at_once_is_said_once() -> None:
    steps = [{"weight": 10, "hold": "Manual"}, {"weight": 50, "hold": "Manual"}]
    stage = held({"canary": {"steps": steps}})
    second = stage.told_status["candidate"]["release"]
    stage.say("Promote", second, name="one")
    stage.say("Promote", second, name="other", reviewer="lead@example.com", group="ml-leads")
    stage.weigh()
    stage.until(lambda: stage.told_status["candidate"]["step"] == 1, 1)
    stage.wait(3)
    stage.say("Promote", second, name="late")
    for _ in range(10):
        stage.weigh()
        stage.go_on(4)
    assert stage.told_status["candidate"]["step"] == 1
    assert [stage.word(name)["reason"] for name in ("one", "other", "late")] == ["Counted", "Counted", "NotAwaiting"]


def test_a_step_that_has_just_begun_asks_nobody_yet() -> None:
    stage = beside(rollout={"canary": {"steps": [{"weight": 10, "hold": "Manual"}]}})
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"), 1)
    stage.serve()
    assert "heldSince" not in stage.told_status["candidate"]
    assert "kubectl" not in stage.said("Reconciling")["message"]
    stage.until(lambda: stage.told_status["candidate"].get("heldSince"), 1, 12)


def test_nothing_is_promoted_where_anybody_could_write_any_name() -> None:
    stage = held()
    stage.say("Promote", stage.told_status["candidate"]["release"], name="forged")
    stage.cache.set_guarded("team", False)
    stage.weigh()
    assert stage.word("forged")["reason"] == "PolicyMissing"
    assert speaks("PolicyMissing", stage.word("forged")["message"])
    for _ in range(10):
        stage.go_on(16)
    assert stage.told_status["candidate"]["step"] == 1


FORGED = {"Promote": "forged-promote", "Override": "forged-override"}


def unread(stage: Stage) -> None:
    stage.change("ModelDeployment", "answers", later=True)


def unread_by_then(stage: Stage) -> None:
    unread(stage)
    stage.weigh()


def told_by_an_earlier_version(stage: Stage) -> None:
    """Leave what that one said: it wrote nothing else down."""
    for name in FORGED.values():
        forged = builders.copied(stage.get("Approval", name))
        del forged["status"]["unguarded"]
        stage.put(forged)


def nothing(_stage: Stage) -> None:
    """Let nothing happen."""


# What happens before and after a decision is looked at while the policy is missing.
MEANWHILE = {
    "nothing else": (nothing, nothing),
    "somebody else may decide": (lambda stage: stage.change("ModelDeployment", "answers", approvers=OTHERS), nothing),
    "nobody may decide": (lambda stage: stage.change("ModelDeployment", "answers", approvers=[]), nothing),
    "the deployment cannot be read": (unread, nothing),
    "the deployment cannot be read afterwards": (nothing, unread_by_then),
    "an earlier version tells it": (nothing, told_by_an_earlier_version),
}


@pytest.mark.parametrize("passes", [1, 3600])
@pytest.mark.parametrize(("before", "after"), MEANWHILE.values(), ids=MEANWHILE)
def test_what_could_be_in_any_name_lets_nothing_in_once_the_policy_is_back(
    passes: int, before: Callable[[Stage], None], after: Callable[[Stage], None]
) -> None:
    """NoUngatedTraffic: whatever else there was to say of it."""
    stage = beside("Failed")
    second, good = release(stage, "second"), stage.deployment
    stage.cache.set_guarded("team", False)
    before(stage)
    for decision in FORGED:
        stage.say(decision, second, name=FORGED[decision])
    stage.weigh()
    for name in FORGED.values():
        assert stage.word(name)["reason"] == "PolicyMissing"
        assert speaks("PolicyMissing", stage.word(name)["message"])
    after(stage)
    stage.put(good)
    stage.wait(passes)
    stage.cache.set_guarded("team", True)
    stage.weigh()
    assert {stage.word(name)["reason"] for name in FORGED.values()} == {"PolicyMissing"}
    stage.go_on()
    assert "candidate" not in stage.told_status
    assert stage.decided("Promote", second)["reason"] == "NotAwaiting"
    assert stage.decided("Override", second)["reason"] == "Overridden"


def test_what_could_be_in_any_name_is_told_before_there_is_a_deployment() -> None:
    stage = serving(approvers=APPROVERS)
    first = stage.told_status["serving"]["release"]
    stage.remove("ModelDeployment", "answers")
    stage.cache.set_guarded("team", False)
    assert [stage.decided(each, first)["reason"] for each in FORGED] == ["PolicyMissing", "PolicyMissing"]
    assert stage.decided("Revoke", first)["reason"] == "NoSuchDeployment"


# Releases that were rejected.


def test_a_promote_has_a_rejected_release_tried_again_once() -> None:
    stage = held()
    fails(stage)
    second = stage.told_status["rejected"][0]["release"]
    stage.go_on(16)
    assert "was tried, and rejected" in stage.said("CandidateAdmitted")["message"]
    assert stage.phase == "Degraded"
    stage.decided("Promote", second, name="again")
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    assert "rejected" not in stage.told_status or not stage.told_status["rejected"]
    stage.weigh()
    assert stage.word("again")["reason"] == "Counted"
    fails(stage)
    for _ in range(10):
        stage.go_on(16)
        stage.weigh()
    assert stage.told_status["serving"]["run"] == "first"
    assert "candidate" not in stage.told_status


@pytest.mark.parametrize("accepted", [True, False])
def test_a_promote_of_before_it_failed_does_not_have_it_tried_again(accepted: bool) -> None:
    stage = held()
    stage.ask(1000, failing=True)
    stage.wait(11)
    stage.serve()  # gateways are asked
    stage.say("Promote", stage.told_status["candidate"]["release"], name="late")
    if accepted:
        stage.weigh()
    stage.wait(4)
    stage.serve()
    assert stage.told_status["rejected"]
    stage.weigh()
    said = stage.word("late")
    assert said["reason"] == "NotAwaiting"
    assert speaks("NotAwaiting", said["message"])
    for _ in range(10):
        stage.go_on(16)
    assert "candidate" not in stage.told_status


def test_a_promote_that_the_operator_clock_is_behind_of_counts_once() -> None:
    stage = held()
    fails(stage)
    stage.wait(600)
    made = stage.say("Promote", stage.told_status["rejected"][0]["release"], name="again")
    stage.wait(-600)
    assert made["metadata"]["creationTimestamp"] > timestamp(stage.now)
    stage.weigh()
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    fails(stage)
    for _ in range(10):
        stage.go_on(16)
    assert "candidate" not in stage.told_status


# Releases that were revoked.


def test_what_is_revoked_leaves_at_once_and_what_was_served_before_comes_back() -> None:
    stage = beside()
    until_second(stage)
    second = stage.told_status["serving"]["release"]
    assert stage.decided("Revoke", second)["reason"] == "Weighing"
    stage.serve()
    assert "serving" not in stage.told_status
    assert stage.phase == "Unavailable"
    stage.serve()
    stage.serve()
    assert newest(stage).stable is None, "gateways are told before anything else comes"
    stage.until(lambda: stage.serves("first"))
    assert stage.said("Gated")["status"] == "True"
    assert "revoked" not in stage.told_status
    for _ in range(20):
        stage.go_on(16)
    assert stage.serves("first")
    assert [each["run"] for each in stage.told_status["history"]] == ["first", "second", "first"]


def test_while_something_else_starts_nobody_has_anything_to_do() -> None:
    stage = beside()
    until_second(stage)
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.silent = set(stage.loaders)
    for _ in range(5):
        stage.go_on()
        assert stage.said()["reason"] == "Revoked"
        assert speaks("Revoked", stage.said()["message"]), stage.said()


def test_without_anything_else_it_says_who_has_revoked_and_what_to_do() -> None:
    stage = serving(approvers=APPROVERS)
    first = stage.told_status["serving"]["release"]
    stage.decided("Revoke", first, name="leaks")
    for _ in range(5):
        stage.go_on()
    ready = stage.said()
    assert (stage.phase, ready["reason"], stage.said("Stalled")["reason"]) == ("Unavailable", "Revoked", "Revoked")
    assert "by qa@example.com (Approval leaks): I have seen it." in ready["message"]
    assert speaks("Revoked", ready["message"])
    assert stage.told_status["revoked"]["release"] == first
    stage.remove("Approval", "leaks")
    stage.until(lambda: stage.serves("first"))


@pytest.mark.parametrize("model", [{"run": "second"}, {"latest": {"selector": {"matchLabels": {"track": "new"}}}}])
def test_what_comes_back_need_not_be_what_the_spec_names(model: Object) -> None:
    stage = beside()
    until_second(stage)
    stage.change("ModelDeployment", "answers", model=model)
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.until(lambda: stage.told_status.get("serving", {}).get("run") == "first")
    for _ in range(5):
        stage.go_on()
    assert stage.told_status["serving"]["run"] == "first"


def test_a_revoke_promotes_nothing() -> None:
    stage = held()
    second = stage.told_status["candidate"]["release"]
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    until_held(stage)
    for _ in range(10):
        stage.go_on(16)
    assert "serving" not in stage.told_status
    assert stage.said()["reason"] == "Revoked"
    assert "was revoked by qa@example.com" in stage.said()["message"]
    assert f"promote mdep/answers --release {second}" in stage.said()["message"]
    stage.decided("Promote", second)
    until_second(stage)


def test_what_waits_after_a_revoke_is_not_rejected_by_the_clock() -> None:
    stage = held()
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    until_held(stage)
    stage.wait(86_400)
    for pod in stage.pods(stage.told_status["candidate"]["engine"]):
        stage.lose(pod["metadata"]["name"])
    for _ in range(5):
        stage.go_on(16)
    assert stage.told_status["candidate"]["heldSince"]
    assert not stage.told_status.get("rejected")


def test_while_something_comes_back_it_says_who_has_revoked() -> None:
    stage = beside()
    until_second(stage)
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.serve()
    stage.serve()
    assert stage.told_status["candidate"]["run"] == "first"
    for kind in ("Ready", "Reconciling"):
        assert stage.said(kind)["reason"] == "Revoked"
        assert "was revoked by qa@example.com" in stage.said(kind)["message"]


def test_a_revoke_is_told_once_something_else_is_served() -> None:
    stage = serving(approvers=APPROVERS)
    first = stage.told_status["serving"]["release"]
    assert stage.decided("Revoke", first, name="leaks")["reason"] == "Weighing"
    stage.serve()
    stage.weigh()
    assert stage.word("leaks")["reason"] == "Revoked"
    assert "no such release" not in stage.word("leaks")["message"]


def test_a_revoke_holds_where_nothing_new_could_be_served() -> None:
    stage = serving(approvers=APPROVERS)
    stage.decided("Revoke", stage.told_status["serving"]["release"], name="leaks")
    whole = stage.settings
    stage.settings = replace(whole, engine_cpu_image="")
    for _ in range(4):
        stage.serve()
        stage.wait(2)
    assert "serving" not in stage.told_status
    assert stage.phase == "Unavailable"
    assert stage.said()["reason"] == "Revoked"
    assert "was installed without engineCpu.image" in stage.said()["message"]
    assert all(routes.stable is None for routes in stage.routes())
    stage.settings = whole
    stage.remove("Approval", "leaks")
    stage.until(lambda: stage.serves("first"))


def test_a_revoke_of_what_nobody_knows_says_so() -> None:
    stage = serving(approvers=APPROVERS)
    assert "tells of no such release" in stage.decided("Revoke", "sha256:" + "e" * 64)["message"]


def test_what_its_gate_passes_no_more_does_not_come_back() -> None:
    stage = beside()
    until_second(stage)
    stage.change("EvalGate", "good", minScored=0.5)
    stage.judge("Failed")
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    for _ in range(10):
        stage.go_on()
    assert "serving" not in stage.told_status
    assert stage.said()["reason"] == "Revoked"


def test_a_candidate_that_is_revoked_goes() -> None:
    stage = held()
    stage.decided("Revoke", stage.told_status["candidate"]["release"])
    for _ in range(20):
        stage.go_on(16)
    assert stage.serves("first")
    assert newest(stage).candidate is None
    assert "was revoked by qa@example.com" in stage.said("CandidateAdmitted")["message"]


def test_a_release_is_revoked_by_whichever_run_it_was_made() -> None:
    stage = serving(approvers=APPROVERS)
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.put(succeeded("twin", 1) | {"metadata": succeeded("twin", 1)["metadata"] | {"uid": "uid-twin"}})
    stage.judge()
    for _ in range(10):
        stage.go_on()
    assert "serving" not in stage.told_status


def test_a_revoke_holds_when_its_author_may_decide_no_more() -> None:
    stage = serving(approvers=APPROVERS)
    stage.decided("Revoke", stage.told_status["serving"]["release"], name="leaks")
    stage.change("ModelDeployment", "answers", approvers=[{"user": "new@example.com"}])
    for _ in range(5):
        stage.weigh()
        stage.go_on()
    assert "serving" not in stage.told_status
    assert stage.word("leaks")["reason"] == "Revoked"


def test_nobody_decides_where_nobody_is_named() -> None:
    stage = serving()
    said = stage.decided("Revoke", stage.told_status["serving"]["release"])
    assert said["reason"] == "NoApprovers"
    assert speaks("NoApprovers", said["message"])
    stage.go_on()
    assert stage.serves("first")


# Releases that are let in whatever gates say.


def test_an_override_lets_a_release_be_served_and_says_so() -> None:
    stage = beside("Failed")
    second = release(stage, "second")
    assert stage.decided("Override", second, name="now")["reason"] == "Overridden"
    stage.until(lambda: stage.told_status["serving"]["run"] == "second")
    stage.go_on()
    gated = stage.said("Gated")
    assert (gated["status"], gated["reason"]) == ("False", "Overridden")
    assert "by qa@example.com (Approval now): I have seen it. It ends at" in gated["message"]
    assert stage.phase == "Degraded"
    assert stage.said()["status"] == "True"
    assert stage.told_status["history"][0]["override"]["reviewer"] == QA
    stage.wait(25 * 3600)
    for _ in range(5):
        stage.weigh()
        stage.go_on()
    assert stage.told_status["serving"]["run"] == "second", "what is served stays"
    assert "The Override ended at" in stage.said("Gated")["message"]
    assert stage.word("now")["reason"] == "RanOut"


def test_what_was_overridden_and_passes_later_has_passed() -> None:
    stage = beside("Failed")
    stage.decided("Override", release(stage, "second"))
    stage.until(lambda: stage.told_status["serving"]["run"] == "second")
    stage.change("EvalGate", "good", minScored=0.5)
    stage.judge()
    for _ in range(3):
        stage.go_on()
    assert stage.serves("second")
    assert stage.said("Gated")["status"] == "True"
    assert "override" not in stage.told_status["serving"]
    assert stage.told_status["serving"]["gates"]
    assert stage.told_status["history"][0]["override"]


def test_an_override_that_ends_in_a_rollout_ends_it() -> None:
    stage = beside("Failed", rollout=HELD)
    stage.decided("Override", release(stage, "second"), expires=timestamp(stage.now + timedelta(minutes=30)))
    until_held(stage)
    stage.wait(1800)
    for _ in range(5):
        stage.go_on()
    assert stage.told_status["serving"]["run"] == "first"
    assert "candidate" not in stage.told_status
    assert ("Dropped", True) in [(reason, "has ended" in words) for reason, words in stage.events]


def test_an_override_counts_for_a_day_whatever_it_says() -> None:
    stage = beside("Failed", rollout=HELD)
    stage.decided("Override", release(stage, "second"), expires="2999-01-01T00:00:00Z")
    until_held(stage)
    stage.wait(86_400)
    stage.go_on()
    assert "candidate" not in stage.told_status


def test_an_override_that_is_taken_back_ends_what_it_has_begun() -> None:
    stage = beside("Failed", rollout=HELD)
    stage.decided("Override", release(stage, "second"), name="now")
    until_held(stage)
    stage.remove("Approval", "now")
    stage.go_on()
    assert "candidate" not in stage.told_status


def test_a_weight_ends_with_the_override() -> None:
    stage = beside("Failed", rollout=HELD)
    until = timestamp(stage.now + timedelta(minutes=12))
    stage.decided("Override", release(stage, "second"), expires=until)
    until_held(stage)
    while timestamp(stage.now) < until and "candidate" in stage.told_status:
        assert stage.told_status["candidate"]["weightUntil"] <= until
        stage.go_on(16)


def test_a_candidate_that_its_gates_pass_needs_no_override_any_more() -> None:
    stage = beside("Failed", rollout=HELD)
    stage.decided("Override", release(stage, "second"))
    until_held(stage)
    stage.change("EvalGate", "good", minScored=0.5)
    stage.judge()
    stage.go_on()
    assert "override" not in stage.told_status["candidate"]
    assert [each["gate"] for each in stage.told_status["candidate"]["gates"]] == ["good"]
    stage.wait(25 * 3600)
    for _ in range(5):
        stage.go_on()
    assert stage.told_status["candidate"]["run"] == "second"


def test_a_candidate_that_its_gates_fail_goes_on_by_an_override_and_says_so() -> None:
    stage = held()
    stage.change("EvalGate", "good", minScored=0.5)
    stage.judge("Failed")
    stage.decided("Override", stage.told_status["candidate"]["release"], name="now")
    stage.go_on()
    assert stage.told_status["candidate"]["override"]["approval"] == "now"
    assert not stage.told_status["candidate"].get("gates")
    assert "Overridden" in [reason for reason, _ in stage.events]
    stage.decided("Promote", stage.told_status["candidate"]["release"])
    stage.until(lambda: stage.told_status["serving"]["run"] == "second", 16)
    assert stage.told_status["history"][0]["override"]["approval"] == "now"


@pytest.mark.parametrize("model", [{"latest": {}}, {"release": None}])
def test_an_older_run_is_let_in_too(model: Object) -> None:
    stage = serving(approvers=APPROVERS)
    stage.put(succeeded("second", 2))
    second = release(stage, "second")
    for number in range(12):
        stage.put(succeeded(f"later-{number}", 10 + number))
    stage.judge("Failed")
    if "release" in model:
        stage.change("ModelDeployment", "answers", model={"release": second})
        for each in [each for each in stage.evaluations if each["spec"]["run"] == "second"]:
            stage.remove("Evaluation", each["metadata"]["name"])
    stage.say("Override", second)
    stage.weigh()
    for _ in range(30):
        stage.go_on()
    assert stage.told_status["serving"]["run"] == "second"


def test_an_override_is_not_for_another_deployment_of_the_name() -> None:
    stage = beside("Failed")
    stage.decided("Override", release(stage, "second"))
    another = stage.deployment
    another["metadata"] |= {"creationTimestamp": timestamp(stage.now + timedelta(minutes=1))}
    stage.wait(60)
    stage.put(another)
    for _ in range(5):
        stage.go_on()
    assert stage.serves("first")


def test_an_override_that_was_over_before_is_refused() -> None:
    stage = beside("Failed")
    said = stage.decided("Override", release(stage, "second"), expires=timestamp(stage.now))
    assert said["reason"] == "Expired"
    assert speaks("Expired", said["message"])
    for _ in range(5):
        stage.go_on()
    assert stage.serves("first")


def test_an_override_skips_nothing_but_gates() -> None:
    """A release that was overridden is loaded, and rejected when its files are others than its digest says."""
    stage = beside("Failed")
    stage.decided("Override", release(stage, "second"))
    while not stage.told_status.get("candidate"):
        stage.go_on(loads=False)
    stage.until(lambda: any(len(each.models) > 2 for each in stage.loaders.values()), loads=False)
    stage.turn(State.FAILED)
    stage.until(lambda: stage.told_status.get("rejected"), loads=False)
    stage.go_on()
    assert stage.told_status["serving"]["run"] == "first"


def test_a_revoke_is_stronger_than_an_override() -> None:
    stage = beside("Failed")
    second = release(stage, "second")
    stage.decided("Override", second)
    stage.decided("Revoke", second)
    for _ in range(5):
        stage.go_on()
    assert stage.serves("first")


def test_what_was_overridden_moves_to_another_engine() -> None:
    stage = beside("Failed")
    stage.decided("Override", release(stage, "second"))
    stage.until(lambda: stage.told_status["serving"]["run"] == "second")
    before = stage.told_status["serving"]["engine"]
    stage.wait(25 * 3600)
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    stage.until(lambda: stage.told_status["serving"]["engine"] != before)
    assert stage.told_status["serving"]["override"]["reviewer"] == QA


# What the decisions wait for.


def test_a_decision_that_cannot_be_read_keeps_its_release_out() -> None:
    stage = beside()
    made = stage.say("Revoke", release(stage, "second"), name="later")
    made["spec"]["decision"] = "Banish"
    stage.put(made)
    for _ in range(5):
        stage.go_on()
    assert stage.serves("first")
    assert "Approval later about it cannot be read" in stage.said("CandidateAdmitted")["message"]


@pytest.mark.parametrize("decision", ["Promote", "Override"])
def test_what_lets_in_and_cannot_be_read_keeps_nothing_out(decision: str) -> None:
    stage = beside()
    made = stage.say(decision, release(stage, "second"), name="later")
    made["spec"]["weight"] = 3
    stage.put(made)
    until_second(stage)


def test_what_is_deleted_and_cannot_be_read_keeps_nothing_out() -> None:
    stage = beside()
    made = stage.say("Revoke", release(stage, "second"), name="later")
    made["spec"]["decision"] = "Banish"
    made["metadata"]["deletionTimestamp"] = timestamp(stage.now)
    stage.put(made)
    until_second(stage)


def made_anew(stage: Stage, **spec: Any) -> None:
    """Let there be another deployment of the name, and the operator look at decisions."""
    made = builders.copied(stage.versions[0])
    made["metadata"]["uid"] = f"uid-{stage.version}"
    made["spec"] |= spec
    stage.put(made)
    stage.weigh()


def unread_anew(stage: Stage) -> None:
    made_anew(stage, later=True)


def gone(stage: Stage) -> None:
    stage.remove("ModelDeployment", "answers")
    stage.weigh()


def told_by_the_runtime(reason: str) -> Callable[[Stage], None]:
    """Return how what cannot be done is told: over what Ready said."""

    def told(stage: Stage) -> None:
        old = stage.get("Approval", "old")
        problem = Problem(reason, "create approvals: not allowed (HTTP 403). Grant it.")
        stage.put(old | {"status": overlay(old, old.get("status", {}), problem, stage.now)})

    return told


def refused_by_an_earlier_version(stage: Stage) -> None:
    """Leave what that one said: it wrote nothing else down."""
    old = builders.copied(stage.get("Approval", "old"))
    del old["status"]["refused"]
    stage.put(old)


def unproven(stage: Stage) -> None:
    stage.proof = None


def strange_and_unproven(stage: Stage) -> None:
    made_anew(stage, approvers=OTHERS)
    unproven(stage)


# How it stands with the deployment when somebody decides.
REFUSALS = [
    ("NotAnApprover", lambda stage: made_anew(stage, approvers=OTHERS)),
    ("NotAnApprover", strange_and_unproven),
    ("NoApprovers", lambda stage: made_anew(stage, approvers=[])),
    ("NoSuchDeployment", gone),
]
FORBIDDEN = told_by_the_runtime("Forbidden")
# What happens until somebody is named who may decide.
OVERWRITTEN: dict[str, list[Callable[[Stage], None]]] = {
    "nothing else": [],
    "unread": [unread_anew],
    "gone, unread": [unread_anew, gone, unread_anew],
    "forbidden": [FORBIDDEN],
    "forbidden, unread": [FORBIDDEN, unread_anew],
    "a fault, unread": [told_by_the_runtime("InternalError"), unread_anew],
    "an earlier version": [refused_by_an_earlier_version],
    "an earlier version, unread": [refused_by_an_earlier_version, unread_anew],
    "an earlier version, forbidden": [refused_by_an_earlier_version, Stage.weigh, FORBIDDEN],
}


@pytest.mark.parametrize("meanwhile", OVERWRITTEN.values(), ids=OVERWRITTEN)
@pytest.mark.parametrize(("reason", "before"), REFUSALS)
def test_a_decision_that_was_refused_lapses(
    reason: str, before: Callable[[Stage], None], meanwhile: list[Callable[[Stage], None]]
) -> None:
    """Whatever Ready says since, and though nobody could tell in whose name it was."""
    stage = Stage(approvers=APPROVERS)
    before(stage)
    assert stage.decided("Promote", builders.digest("e"), name="old")["reason"] == reason
    for happens in meanwhile:
        happens(stage)
    stage.wait(601)
    stage.proof = True
    stage.cache._guarded.clear()  # the policy has to be asked for anew
    for _ in range(2):
        made_anew(stage)
        said = stage.word("old")
        assert said["reason"] == "Lapsed"
        assert speaks("Lapsed", said["message"])
    told = stage.get("Approval", "old")["status"]
    assert "accepted" not in told
    assert "refused" in told


def unguarded(stage: Stage) -> None:
    stage.cache.set_guarded("team", False)


# What may come before a decision can be accepted, and has nothing to do with who decides.
DELAYS: dict[str, list[Callable[[Stage], None]]] = {
    "the operator is away": [],
    "the API server fails": [unproven, Stage.weigh],
    "the operator lacks a right": [unproven, Stage.weigh, FORBIDDEN],
    "a fault of the operator": [told_by_the_runtime("InternalError")],
    "the policy is missing": [unguarded, Stage.weigh],
    "the deployment cannot be read": [unread_by_then],
}


@pytest.mark.parametrize("delay", DELAYS.values(), ids=DELAYS)
def test_a_decision_that_nobody_has_refused_does_not_lapse(delay: list[Callable[[Stage], None]]) -> None:
    stage = serving(approvers=APPROVERS)
    good = stage.deployment
    stage.say("Revoke", stage.told_status["serving"]["release"], name="old")
    for happens in delay:
        happens(stage)
    stage.wait(3600)
    stage.put(good)
    stage.proof = True
    stage.cache._guarded.clear()  # the policy has to be asked for anew
    stage.weigh()
    assert "refused" not in stage.get("Approval", "old")["status"]
    stage.go_on()
    assert "serving" not in stage.told_status


@pytest.mark.parametrize("decision", ["Promote", "Override", "Revoke"])
def test_a_decision_that_nobody_can_prove_says_so(decision: str) -> None:
    """EveryFailureSpeaks: such as while a webhook fails."""
    stage = serving(approvers=APPROVERS)
    stage.proof = None
    said = stage.decided(decision, stage.told_status["serving"]["release"], name="waits")
    assert said["reason"] == "Weighing"
    assert speaks("Weighing", said["message"])
    assert "operator's log" in said["message"]
    told = stage.get("Approval", "waits")["status"]
    assert told["observedGeneration"] == 1
    assert "accepted" not in told
    stage.proof = True
    stage.weigh()
    assert "accepted" in stage.get("Approval", "waits")["status"]


def test_what_is_said_of_a_missing_policy_stands_until_it_is_back() -> None:
    stage = serving(approvers=APPROVERS)
    stage.proof = False
    assert stage.decided("Revoke", stage.told_status["serving"]["release"], name="leaks")["reason"] == "PolicyMissing"
    stage.proof = None
    stage.cache._guarded.clear()
    stage.weigh()
    assert stage.word("leaks")["reason"] == "PolicyMissing"


def test_a_decision_says_what_its_deployment_has_to_do_with_it() -> None:
    stage = serving(approvers=APPROVERS)
    stage.decided("Revoke", "sha256:" + "e" * 64, name="leaks")
    good = stage.deployment
    stage.change("ModelDeployment", "answers", later=True)
    stage.weigh()
    assert stage.word("leaks")["reason"] == "DeploymentUnread"
    assert "delete this" not in stage.word("leaks")["message"]
    stage.put(good)
    stage.remove("ModelDeployment", "answers")
    stage.weigh()
    said = stage.word("leaks")
    assert said["reason"] == "NoSuchDeployment"
    assert "keeps its release out of another of that name" in said["message"]
    assert speaks(said["reason"], said["message"])


def test_decisions_hear_of_what_they_wait_for() -> None:
    stage = held()
    stage.say("Promote", stage.told_status["candidate"]["release"], name="fine")
    key = Key("Approval", "team", "fine")
    before, after = stage.versions[0], stage.deployment
    assert key in CONTROLLER.wakes(Key("ModelDeployment", "team", "answers"), stage.cache, before, after)
    assert key not in CONTROLLER.wakes(Key("ModelDeployment", "team", "answers"), stage.cache, after, after)
