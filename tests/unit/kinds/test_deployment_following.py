"""A deployment that wants what another one serves: which release that is, since when, and who hears of it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stagecoach.contract.times import timestamp
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import CANARY, FOLLOW, leader, leads, told
from tests.unit.kinds.deployments import Stage
from tests.unit.kinds.gates import succeeded
from tests.unit.kinds.test_wakes import Memory


def following(**spec: Any) -> Stage:
    """Return a stage that serves what the other one does, of three runs of which the newest is meant by nobody."""
    runs = [succeeded("first"), succeeded("second", 2), succeeded("third", 3)]
    stage = Stage(*runs, model=FOLLOW, **spec)
    leads(stage, "second", 25)
    stage.judge()
    stage.until(lambda: stage.serves("second"))
    return stage


def rests(stage: Stage) -> None:
    for _ in range(5):
        stage.go_on()


def admitted(stage: Stage) -> tuple[str, str]:
    said = stage.said("CandidateAdmitted")
    assert said["status"] == "True" or speaks(said["reason"], said["message"]), said
    return said["reason"], said["message"]


def test_what_has_soaked_there_is_served_here_and_not_before() -> None:
    """IncumbentStays, NoUngatedTraffic."""
    stage = following()
    leads(stage, "third")
    until = timestamp(stage.now + timedelta(hours=24))
    rests(stage)
    reason, message = admitted(stage)
    assert reason == "Soaking"
    assert (
        f"serves run third (release {stage.get('ModelDeployment', 'staging')['status']['serving']['short']})" in message
    )
    assert f"and is followed once it has for 24h, at {until}. Nothing to do." in message
    assert told(stage) == ("Available", "Serving", "True")
    stage.wait(86000)
    rests(stage)
    assert stage.serves("second")
    assert admitted(stage)[0] == "Soaking"
    stage.wait(600)
    stage.until(lambda: stage.serves("third"))
    assert admitted(stage)[0] == "Admitted"


def test_while_nothing_is_served_it_looks_again_when_the_soak_is_over() -> None:
    stage = Stage(succeeded("first"), model=FOLLOW)
    leads(stage, "first", 23)
    plan = stage.serve()
    assert admitted(stage)[0] == "Soaking"
    assert plan.requeue_after is not None
    assert 3590 <= plan.requeue_after <= 3600
    assert stage.said("Reconciling")["reason"] == "Soaking"
    stage.wait(plan.requeue_after)
    stage.until(lambda: stage.serves("first"))


def test_it_goes_back_with_the_other_one_once_that_has_soaked_anew() -> None:
    stage = following()
    leads(stage, "first", 1)
    rests(stage)
    assert stage.serves("second")
    assert admitted(stage)[0] == "Soaking"
    leads(stage, "first", 24)
    stage.until(lambda: stage.serves("first"))


def test_what_has_not_passed_here_is_not_served_and_it_is_told() -> None:
    """NoUngatedTraffic: however long it was served there."""
    stage = following()
    stage.put(succeeded("fourth", 4))
    leads(stage, "fourth", 48, verdict="Failed")
    stage.until(lambda: stage.said("Stalled"))
    assert (admitted(stage)[0], stage.said("Stalled")["reason"], stage.phase) == (*["GateFailed"] * 2, "Degraded")
    assert stage.told_status["serving"]["run"] == "second"


def test_a_candidate_goes_when_the_other_one_serves_something_else() -> None:
    stage = following(rollout=CANARY)
    leads(stage, "third", 25)
    stage.judge()
    stage.until(lambda: stage.told_status.get("candidate", {}).get("run") == "third", loads=False)
    leads(stage, "first", 1)
    stage.go_on()
    assert "candidate" not in stage.told_status
    assert "serves run first" in dict(stage.events)["Dropped"]
    leads(stage, "third", 25)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("run") == "third", loads=False)
    leads(stage, "first", 25)
    stage.go_on()
    assert "ModelDeployment staging, which spec.model follows, serves another" in dict(stage.events)["Dropped"]
    assert stage.told_status["serving"]["run"] == "second"


def goes(stage: Stage) -> None:
    stage.remove("ModelDeployment", "staging")


def is_being_deleted(stage: Stage) -> None:
    gone = leader()
    gone["metadata"]["deletionTimestamp"] = timestamp(stage.now)
    stage.put(gone)


def serves_nothing(stage: Stage) -> None:
    stage.put(leader())


def is_of_another_project(stage: Stage) -> None:
    stage.put(leader(project="other"))


def follows_back(stage: Stage) -> None:
    stage.put(leader(model={"follow": {"deployment": "answers", "soak": "1h"}}))


def follows_in_a_ring(stage: Stage) -> None:
    stage.put(leader(model={"follow": {"deployment": "before", "soak": "1h"}}))
    stage.put(leader("before", model={"follow": {"deployment": "answers", "soak": "1h"}}))


def loses_its_run(stage: Stage) -> None:
    leads(stage, "third", 25)
    stage.remove("FineTuneRun", "third")


@pytest.mark.parametrize(
    ("change", "reason", "words", "phase"),
    [
        (goes, "FollowedMissing", "ModelDeployment 'staging' is not in namespace 'team'", "Available"),
        (is_being_deleted, "FollowedMissing", "ModelDeployment 'staging' is being deleted", "Available"),
        (serves_nothing, "FollowedServesNothing", "ModelDeployment 'staging' serves nothing", "Available"),
        (is_of_another_project, "FollowedUnsuited", "is of project 'other', and this one of 'desk'", "Degraded"),
        (follows_back, "FollowedUnsuited", "'staging' comes to follow this one in turn", "Degraded"),
        (follows_in_a_ring, "FollowedUnsuited", "'staging' comes to follow this one in turn", "Degraded"),
        (loses_its_run, "RunUnknown", "of run third, which is gone", "Available"),
    ],
)
def test_what_is_served_stays_whatever_becomes_of_the_other_one(
    change: Callable[[Stage], None], reason: str, words: str, phase: str
) -> None:
    """IncumbentStays, EveryFailureSpeaks."""
    stage = following()
    change(stage)
    rests(stage)
    found, message = admitted(stage)
    assert (found, stage.phase) == (reason, phase)
    assert words in message
    assert message.endswith("Run second goes on serving.")
    assert stage.told_status["serving"]["run"] == "second"


def test_whoever_follows_a_ring_is_in_none() -> None:
    stage = following()
    leads(stage, "third", 25)
    ring = stage.get("ModelDeployment", "staging")
    ring["spec"]["model"] = {"follow": {"deployment": "before", "soak": "1h"}}
    stage.put(ring)
    stage.put(leader("before", model={"follow": {"deployment": "staging", "soak": "1h"}}))
    stage.judge()
    stage.until(lambda: stage.serves("third"))


def test_what_another_one_serves_is_judged_before_it_is_wanted_however_old_it_is() -> None:
    stage = Stage(succeeded("first"), *(succeeded(f"run-{number}", number) for number in range(2, 9)), model=FOLLOW)
    stage.change("EvalGate", "good", newest=1, maxConcurrent=8)
    leads(stage, "run-8")
    before = stage.get("FineTuneRun", "first")["metadata"]["creationTimestamp"]
    stage.put(leader() | {"status": {"serving": {"run": "first", "runCreated": before}}})
    stage.look()
    assert [each["spec"]["run"] for each in stage.evaluations] == ["run-8", "first"]


def test_who_follows_is_woken_by_what_it_reads_and_its_gates_with_it() -> None:
    serving = {"run": "a", "runCreated": builders.CREATED, "release": builders.digest("a"), "since": builders.CREATED}
    staging = leader("staging", gates=[{"name": "quick"}])
    served = staging | {"status": {"serving": serving}}
    prod = leader("prod", model=FOLLOW)
    last = leader("last", model={"follow": {"deployment": "prod", "soak": "1h"}}, gates=[{"name": "slow"}])
    memory = Memory(prod, last, leader("other"))
    assert memory.see(staging) == {"quick", "prod", "good"}
    assert memory.see(served) == {"quick", "prod", "good"}
    told: builders.Object = served | {"status": served["status"] | {"phase": "Available", "candidate": {"run": "a"}}}
    assert memory.see(told) == {"quick"}, "what is about to be served there is nothing to those that follow"
    ring = told | {"spec": told["spec"] | {"model": {"follow": {"deployment": "last", "soak": "1h"}}}}
    assert memory.see(ring) == {"quick", "prod", "good", "last", "slow"}
    assert memory.see(told) == {"quick", "prod", "good", "last", "slow"}
    assert memory.lose(told) == {"quick", "prod", "good"}
