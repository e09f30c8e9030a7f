"""A candidate is tested before its first request, and each way in which that ends."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from stagecoach.contract.loading import State
from stagecoach.contract.reports import Outcome, Problem, Report
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds import spares
from tests.unit.kinds.deployments import Stage, serving
from tests.unit.kinds.gates import succeeded
from tests.unit.kinds.spares import NUMBERS, SLOW, Numbers

LOAD = {"requestsPerSecond": 10, "promptTokens": 60, "outputTokens": 8, "duration": "30s"}
SLA = {"p50": "300ms", "p99": "1500ms", "firstToken": "200ms", "load": LOAD}
CANARY = {"canary": {"steps": [{"weight": 10, "hold": "1m", "minRequests": 20}]}}
BROKEN = Report(outcome=Outcome.FAILED, problem=Problem.of("BenchFailed", "it ended.", remedy="See the pod's log."))


def judged(reach: Numbers | None = NUMBERS, **spec: Any) -> Stage:
    stage = Stage(**({"sla": SLA} | spec))
    stage.reach = reach
    stage.judge()
    return stage


def in_test() -> Stage:
    """Return a stage on which the test of the first run goes on."""
    stage = judged(None)
    stage.until(lambda: stage.of_kind("Job"))
    stage.go_on()
    return stage


def with_second(stage: Stage) -> None:
    stage.put(succeeded("second", 2))
    stage.judge()


def until_test(stage: Stage, number: int, seconds: float) -> None:
    """Go on until so many tests have begun."""
    stage.until(lambda: len(stage.tests) == number, seconds)


def loses(stage: Stage, engine: str) -> None:
    """Let no pod of an engine answer any more."""
    stage.silent |= {pod["metadata"]["uid"] for pod in stage.pods(engine)}
    stage.until(lambda: stage.said("Loaded")["status"] == "False")


def condition(stage: Stage) -> tuple[str, str]:
    said = stage.said("SLAMet")
    assert said.get("status") == "True" or speaks(said["reason"], said["message"]), said
    return said["status"], said["reason"]


def rejected(stage: Stage) -> builders.Object:
    [entry] = stage.told_status["rejected"]
    assert speaks(entry["reason"], entry["message"]), entry
    return dict(entry)


def test_the_first_release_is_tested_on_a_pod_of_its_own_before_its_engine_is_made() -> None:
    stage = judged(None)
    stage.serve()
    stage.serve()
    assert "loadTest" not in stage.told_status["candidate"] or not stage.of_kind("Job"), "intent first"
    stage.until(lambda: stage.of_kind("Job"))
    for _ in range(3):
        stage.go_on()
    candidate = stage.told_status["candidate"]
    [job] = stage.of_kind("Job")
    assert candidate["loadTest"]["job"] == job["metadata"]["name"]
    assert candidate["loadTest"]["start"]
    assert not stage.of_kind("Deployment") or candidate["engine"] not in {
        each["metadata"]["name"] for each in stage.of_kind("Deployment")
    }
    assert condition(stage) == ("Unknown", "LoadTest")
    assert stage.said("Reconciling")["reason"] == "LoadTest"
    [told] = stage.tests
    assert (told.requests, told.requests_per_second, told.prompt_tokens, told.output_tokens) == (300, 10, 60, 8)
    assert [f"sha256:{told.model}"] == list(told.wanted.adapters)


def test_what_meets_it_is_served_and_says_its_numbers() -> None:
    stage = judged()
    stage.until(lambda: stage.serves("first"))
    assert condition(stage) == ("True", "Met")
    [numbers] = stage.told_status["sla"]
    assert numbers == numbers | {"met": True, "p50": "120ms", "p99": "480ms", "firstToken": "90ms", "requests": 300}
    assert (numbers["errorRate"], numbers["requestsPerSecond"]) == (0, 10)
    assert (numbers["release"], numbers["engine"]) == (
        stage.told_status["serving"]["release"],
        stage.told_status["serving"]["engine"],
    )
    assert "SLAMet" in [reason for reason, _ in stage.events]
    assert stage.serve().requeue_after == 15


@pytest.mark.parametrize(
    ("reach", "words"),
    [
        (SLOW, "p99 was 2400ms, and spec.sla.p99 is 1500ms"),
        (Numbers(failed=3), "3 of 300 requests failed"),
        (Numbers(slower=1.5), "6.67 requests per second were reached"),
        (Numbers(p50=450, p99=480), "p50 was 450ms"),
        (Numbers(first_token=250), "firstToken was 250ms"),
    ],
)
def test_what_does_not_meet_it_is_rejected_with_the_numbers(reach: Numbers, words: str) -> None:
    stage = judged(reach)
    stage.until(lambda: stage.told_status.get("rejected"))
    stage.go_on()
    entry = rejected(stage)
    assert entry["reason"] == "SLANotMet"
    assert words in entry["message"]
    assert condition(stage) == ("False", "SLANotMet")
    assert [each["met"] for each in stage.told_status["sla"]] == [False]
    assert stage.said("Stalled")["reason"] == "Rejected"
    assert stage.phase == "Pending"
    for _ in range(5):
        stage.go_on()
    assert len(stage.tests) == 1, "nothing twice"


def test_the_incumbent_serves_on_while_a_candidate_is_tested_and_after_it_failed() -> None:
    stage = serving(sla=SLA, rollout=CANARY)
    stage.reach = None
    with_second(stage)
    stage.until(lambda: len(stage.tests) == 2)
    for _ in range(5):
        stage.go_on()
        assert stage.said()["status"] == "True"
    assert stage.phase == "Progressing"
    assert "weight" not in stage.told_status["candidate"]
    stage.reach = SLOW
    stage.until(lambda: stage.told_status.get("rejected"))
    stage.go_on()
    assert stage.told_status["serving"]["run"] == "first"
    assert condition(stage) == ("True", "Met"), "what serves has met it"
    assert (stage.phase, stage.said("Stalled")["reason"]) == ("Degraded", "Rejected")
    assert "p99 was 2400ms" in stage.said("CandidateAdmitted")["message"]
    assert {target.release for routes in stage.told for target in routes.targets} == {
        stage.told_status["serving"]["release"]
    }


def test_a_candidate_has_its_first_request_after_the_test() -> None:
    stage = serving(sla=SLA, rollout=CANARY)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    assert [each["met"] for each in stage.told_status["sla"]] == [True, True]
    assert "loadTest" not in stage.told_status["candidate"]


def test_without_an_sla_nothing_is_tested() -> None:
    stage = serving()
    assert (stage.tests, stage.told_status.get("sla", []), stage.said("SLAMet")) == ([], [], {})


def test_what_serves_is_not_tested_when_an_sla_comes_or_changes() -> None:
    stage = serving()
    stage.change("ModelDeployment", "answers", sla=SLA)
    stage.go_on()
    assert condition(stage) == ("Unknown", "NotTested")
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    assert condition(stage) == ("True", "Met")
    stage.change("ModelDeployment", "answers", sla=SLA | {"p99": "400ms"})
    stage.go_on()
    assert condition(stage) == ("Unknown", "SLAChanged")
    assert "p99 480ms" in stage.said("SLAMet")["message"]
    assert len(stage.tests) == 1
    assert stage.phase == "Available"


def test_a_change_of_the_sla_tests_a_candidate_anew_and_takes_its_requests_away() -> None:
    stage = serving(sla=SLA, rollout=CANARY)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    stage.change("ModelDeployment", "answers", sla=SLA | {"p99": "1400ms"})
    stage.serve()
    assert [reason for reason, _ in stage.events[-2:]] == ["Dropped", "Admitted"]
    assert "weight" not in stage.told_status["candidate"]
    stage.reach = None
    stage.until(lambda: len(stage.tests) == 3)
    assert "weight" not in stage.told_status["candidate"]
    stage.change("ModelDeployment", "answers", sla=SLA | {"p99": "1300ms"})
    stage.until(lambda: len(stage.tests) == 4)
    stage.go_on()
    assert len(stage.of_kind("Job")) == 3, "the Job of what nobody asks any more is gone, those that ended stay"
    stage.reach = NUMBERS
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))


def test_what_was_met_is_not_tested_again() -> None:
    stage = serving(sla=SLA, rollout=CANARY)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    stage.change("ModelDeployment", "answers", model={"run": "first"})
    stage.until(lambda: stage.serves("first"))
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    assert len(stage.tests) == 2


def test_another_engine_is_tested_before_requests_move() -> None:
    stage = serving(sla=SLA)
    before = stage.told_status["serving"]["engine"]
    stage.reach = SLOW
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    stage.until(lambda: stage.told_status.get("rejected"))
    assert stage.told_status["serving"]["engine"] == before
    assert len(stage.tests) == 2


@pytest.mark.parametrize("lost", ["before the change", "during the test"])
def test_what_serves_moves_untested_from_an_engine_that_does_not_answer(lost: str) -> None:
    stage = serving(sla=SLA)
    before, stage.reach = stage.told_status["serving"]["engine"], None
    if lost == "before the change":
        loses(stage, before)
        stage.wait(60)
        stage.go_on()
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    if lost == "during the test":
        stage.until(lambda: len(stage.tests) == 2)
        loses(stage, before)
    stage.until(lambda: stage.serves("first"))
    assert stage.told_status["serving"]["engine"] != before
    assert len(stage.tests) == (1 if lost == "before the change" else 2)
    assert all(job.get("status", {}).get("conditions") for job in stage.of_kind("Job")), "none goes on for nobody"
    assert condition(stage) == ("Unknown", "NotTested")


def scaled_to_nothing_and_back(**spec: Any) -> Stage:
    """Return a stage on which pods are wanted again, of another engine by now."""
    stage = serving(sla=SLA, **spec)
    stage.change("ModelDeployment", "answers", replicas=0)
    stage.until(lambda: not stage.loaders, 30)
    stage.wait(7200)
    stage.reach = SLOW
    stage.change("ModelDeployment", "answers", replicas=1, engine={"maxConcurrent": 8} | spec.get("engine", {}))
    return stage


def as_a_version_before_told_it(stage: Stage) -> None:
    deployment = builders.copied(stage.deployment)
    [loaded] = [each for each in deployment["status"]["conditions"] if each["type"] == "Loaded"]
    loaded["status"] = "False"
    stage.put(deployment)


@pytest.mark.parametrize("upgraded", [False, True])
def test_what_serves_moves_to_no_other_engine_untested_when_pods_are_wanted_again(upgraded: bool) -> None:
    stage = scaled_to_nothing_and_back()
    before = stage.told_status["serving"]["engine"]
    assert stage.said("Loaded")["status"] == "Unknown"
    if upgraded:
        as_a_version_before_told_it(stage)
    stage.until(lambda: stage.told_status.get("rejected"), 30, loads=False)
    assert rejected(stage)["reason"] == "SLANotMet"
    assert (stage.told_status["serving"]["engine"], len(stage.tests)) == (before, 2)
    assert stage.said("Loaded")["reason"] == "ColdStart"
    stage.until(lambda: stage.said("Loaded")["status"] == "True")


def test_what_does_not_start_from_no_pods_is_left_untested_after_the_start_deadline() -> None:
    stage = scaled_to_nothing_and_back(engine={"startDeadline": "10m"})
    before, began, stage.reach = stage.told_status["serving"]["engine"], stage.now, None
    while stage.told_status["serving"]["engine"] == before:
        for loader in stage.loaders.values():
            if loader.serve.at_once == 8:
                loader.turn(State.ANSWERS)
        stage.go_on(15, loads=False)
    assert timedelta(minutes=10) <= stage.now - began < timedelta(minutes=12)
    assert len(stage.tests) == 2


def test_a_blip_of_what_serves_ends_no_test() -> None:
    stage = serving(sla=SLA)
    stage.reach = None
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    until_test(stage, 2, 2)
    loses(stage, stage.told_status["serving"]["engine"])
    for _ in range(5):
        stage.go_on()
    stage.silent.clear()
    stage.until(lambda: stage.said("Loaded")["status"] == "True")
    assert len(stage.tests) == 2
    stage.reach = NUMBERS
    stage.until(lambda: stage.serves("first"))
    assert condition(stage) == ("True", "Met")


def test_a_rescue_that_is_not_needed_any_more_forgets_no_failure() -> None:
    stage = serving(sla=SLA)
    stage.reach = None
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    until_test(stage, 2, 2)
    spares.end(stage, BROKEN)
    stage.serve()
    until_test(stage, 3, 6)
    loses(stage, stage.told_status["serving"]["engine"])
    stage.until(lambda: stage.told_status["candidate"]["loadTest"].get("end"), loads=False)
    stage.go_on(loads=False)
    assert all(job.get("status", {}).get("conditions") for job in stage.of_kind("Job")), "none goes on for nobody"
    stage.silent.clear()
    stage.until(lambda: len(stage.tests) == 4, 6, loads=False)
    assert stage.told_status["candidate"]["loadTest"]["failures"] == 1


def test_what_a_new_process_has_not_asked_is_not_lost() -> None:
    stage = serving(sla=SLA)
    loses(stage, stage.told_status["serving"]["engine"])
    stage.wait(60)
    stage.go_on()
    stage.silent.clear()
    stage.forget()
    stage.reach = None
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    stage.until(lambda: len(stage.tests) == 2)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return a stage on which two runs of an encoder were served, one after the other, before anybody had an SLA."""

    def changed(project: builders.Object) -> builders.Object:
        project["spec"]["problem"]["architecture"] = "Encoder"
        for each in project["status"]["candidates"]:
            each["architecture"] = "BertForMaskedLM"
        return project

    monkeypatch.setattr(builders, "ready_project", lambda ready=builders.ready_project: changed(ready()))
    stage = serving(succeeded(method={"type": "Full"}), **PEOPLE)
    stage.put(succeeded("second", 2, method={"type": "Full"}))
    stage.judge()
    stage.until(lambda: stage.serves("second"))
    stage.change("ModelDeployment", "answers", sla=SLA)
    stage.go_on()
    return stage


def test_an_encoder_that_serves_goes_on_and_stays_on_its_engine_until_that_is_lost(encoder: Stage) -> None:
    assert encoder.serves("second")
    before = encoder.told_status["serving"]["engine"]
    encoder.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    for _ in range(3):
        encoder.go_on()
    told = encoder.said("Stalled")
    assert (told["reason"], encoder.phase) == ("TaskUnsuited", "Degraded")
    assert "stays on its engine" in told["message"]
    assert "Remove spec.sla" in told["message"]
    assert (encoder.told_status["serving"]["engine"], encoder.tests) == (before, [])
    loses(encoder, before)
    encoder.until(lambda: encoder.serves("second"))
    assert encoder.told_status["serving"]["engine"] != before
    assert encoder.tests == []


def test_what_an_encoder_was_before_comes_back_after_a_revoke(encoder: Stage) -> None:
    encoder.decided("Revoke", encoder.told_status["serving"]["release"])
    encoder.until(lambda: encoder.told_status.get("serving", {}).get("run") == "first")
    encoder.until(lambda: encoder.said()["status"] == "True")
    assert encoder.tests == []


def test_a_new_release_of_an_encoder_is_not_admitted_with_an_sla(encoder: Stage) -> None:
    encoder.put(succeeded("third", 3, method={"type": "Full"}))
    encoder.judge()
    for _ in range(3):
        encoder.go_on()
    assert encoder.told_status["serving"]["run"] == "second"
    assert encoder.tests == []
    assert "Remove spec.sla" in encoder.said("CandidateAdmitted")["message"]


def test_another_release_is_tested_though_nothing_answers() -> None:
    stage = serving(sla=SLA)
    stage.reach = None
    loses(stage, stage.told_status["serving"]["engine"])
    with_second(stage)
    stage.until(lambda: len(stage.tests) == 2)
    for _ in range(5):
        stage.go_on()
    assert stage.told_status["serving"]["run"] == "first"


def test_what_was_rejected_is_tested_again_when_the_sla_changes() -> None:
    stage = judged(SLOW)
    stage.until(lambda: stage.told_status.get("rejected"))
    stage.change("ModelDeployment", "answers", sla=SLA | {"p99": "3s"})
    stage.until(lambda: stage.serves("first"))
    assert len(stage.tests) == 2


def test_what_was_rejected_is_served_untested_when_nobody_asks_any_more() -> None:
    stage = judged(SLOW)
    stage.until(lambda: stage.told_status.get("rejected"))
    written = copy.deepcopy(stage.deployment)
    del written["spec"]["sla"]
    stage.put(written)
    stage.until(lambda: stage.serves("first"))
    assert stage.said("SLAMet") == {}
    stage.change("ModelDeployment", "answers", sla=SLA)
    stage.go_on()
    assert condition(stage) == ("False", "SLANotMet")
    assert stage.phase == "Available"


def test_a_test_that_fails_is_repeated_and_not_for_ever() -> None:
    stage = in_test()
    for number in (1, 2, 3):
        until_test(stage, number, 6)
        spares.end(stage, BROKEN)
        stage.serve()
        if number < 3:
            assert condition(stage) == ("Unknown", "LoadTestRepeated")
    entry = rejected(stage)
    assert entry["reason"] == "SLANotMeasured"
    assert "BenchFailed" in entry["message"]
    assert len({job["metadata"]["name"] for job in stage.of_kind("Job")}) == 3
    assert stage.told_status["loadTests"] == 3


@pytest.mark.parametrize(
    ("report", "state", "words"),
    [
        (Report(outcome=Outcome.BAD_INPUT, problem=Problem.of("WrongDigest", "Other files.")), {}, "WrongDigest"),
        (Report(outcome=Outcome.DONE), {}, "told no numbers"),
        (None, {"exitCode": 137, "reason": "OOMKilled"}, "lower spec.sla.load.duration"),
        (Report(outcome=Outcome.OUT_OF_MEMORY, problem=Problem.of("BenchKilled", "It was killed.")), {}, "lower spec."),
        (Report(outcome=Outcome.UNKNOWN), {}, "not of the operator's version"),
    ],
)
def test_what_would_fail_again_is_not_repeated(report: Report | None, state: dict[str, Any], words: str) -> None:
    stage = in_test()
    spares.end(stage, report, **state)
    stage.serve()
    entry = rejected(stage)
    assert entry["reason"] == "SLANotMeasured"
    assert words in entry["message"]
    assert condition(stage) == ("False", "SLANotMeasured")


def test_an_engine_that_is_killed_for_its_memory_is_told_apart_from_what_asks_it() -> None:
    stage = in_test()
    killed = {"exitCode": 137, "reason": "OOMKilled"}
    lost = Report(outcome=Outcome.BAD_INPUT, problem=Problem.of("EngineNotReady", "It did not answer.", remedy="Wait."))
    spares.end(stage, lost, engine=killed)
    stage.serve()
    assert "Raise spec.engine.resources.memory" in rejected(stage)["message"]
    assert "spec.sla.load" not in rejected(stage)["message"]


def test_requests_that_fail_as_the_engine_is_killed_say_so() -> None:
    stage = in_test()
    short = Report(outcome=Outcome.DONE, load_test=Numbers(failed=9).report(stage.tests[0]))
    spares.end(stage, short, engine={"exitCode": 137, "reason": "OOMKilled"})
    stage.serve()
    assert "killed at its memory limit. Raise spec.engine.resources.memory" in rejected(stage)["message"]


@pytest.mark.parametrize(("kind", "phase"), [("Job", "Progressing"), ("Secret", "Degraded")])
def test_a_job_that_the_cluster_refuses_is_said_of_the_candidate_and_has_as_long_as_an_engine(
    kind: str, phase: str
) -> None:
    """So is what its pod needs: without that the Job is not made."""
    stage = serving(sla=SLA)
    stage.refuses = lambda obj: obj["kind"] == kind
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("refused"))
    stage.go_on()
    assert stage.said()["status"] == "True"
    assert (stage.phase, stage.said("CandidateAdmitted")["status"]) == (phase, "True")
    stage.until(lambda: stage.told_status["rejected"], 120)
    assert "exceeded quota" in rejected(stage)["message"]


def test_what_the_cluster_refuses_of_others_is_not_charged_to_what_is_tested() -> None:
    stage = serving(sla=SLA)
    stage.reach = None
    with_second(stage)
    stage.refuses = lambda obj: obj["kind"] in ("Job", "Service")
    stage._gone(("Service", "answers"))
    stage.until(lambda: stage.told_status.get("candidate", {}).get("refused"))
    stage.refuses = lambda obj: obj["kind"] == "Service"
    stage.until(lambda: len(stage.tests) == 2)
    stage.go_on()
    assert "refused" not in stage.told_status["candidate"]
    assert stage.said("Stalled")["reason"] == "Refused"


def test_no_job_is_made_for_a_candidate_that_is_given_up_at_that_moment() -> None:
    stage = serving(sla=SLA)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("loadTest"))
    if len(stage.of_kind("Job")) == 1:
        stage.change("ModelDeployment", "answers", model={"run": "first"})
        plan = stage.serve()
        assert [each["kind"] for each in plan.create if each["kind"] == "Job"] == []
    assert len(stage.of_kind("Job")) == 1


# People's decisions.

PEOPLE: Any = {"approvers": [{"user": "qa@example.com"}]}
HELD = {"canary": {"steps": [{"weight": 10, "hold": "Manual"}]}}


@pytest.mark.parametrize("during", [False, True])
def test_a_revoke_forgets_no_number_and_no_name_of_a_job_is_used_again(during: bool) -> None:
    stage = serving(sla=SLA, **PEOPLE)
    first = stage.told_status["serving"]["release"]
    if during:
        stage.reach = None
        with_second(stage)
        stage.until(lambda: len(stage.tests) == 2)
    before = copy.deepcopy(stage.told_status)
    stage.decided("Revoke", first)
    stage.serve()
    assert "serving" not in stage.told_status
    assert (stage.told_status["sla"], stage.told_status["loadTests"]) == (before["sla"], before["loadTests"])
    stage.reach = NUMBERS
    if not during:
        with_second(stage)
    stage.until(lambda: stage.serves("second"))
    jobs = [each.identity for each in stage.tests]
    assert len(set(jobs)) == len(jobs)
    assert stage.told_status["loadTests"] == len(jobs)


def test_what_stands_in_after_a_revoke_is_served_untested_for_nobody_answers_until_then() -> None:
    stage = serving(**PEOPLE)
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    stage.change("ModelDeployment", "answers", sla=SLA)
    stage.reach = None
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.until(lambda: stage.told_status.get("serving", {}).get("run") == "first")
    assert stage.tests == []
    assert condition(stage) == ("Unknown", "NotTested")


def test_a_promote_has_what_missed_the_sla_tested_again() -> None:
    stage = judged(SLOW, **PEOPLE)
    stage.until(lambda: stage.told_status.get("rejected"))
    assert "a Promote" in rejected(stage)["message"]
    stage.reach = None
    stage.wait(1)
    stage.decided("Promote", rejected(stage)["release"])
    until_test(stage, 2, 2)
    stage.go_on()
    assert condition(stage) == ("Unknown", "LoadTest"), "what was rejected before is no news"
    stage.reach = NUMBERS
    stage.until(lambda: stage.serves("first"))


def test_an_override_that_ends_during_a_test_takes_its_job_along() -> None:
    stage = serving(sla=SLA, **PEOPLE)
    stage.reach = None
    stage.put(succeeded("second", 2))
    stage.judge("Failed")
    second = next(each["spec"]["release"]["digest"] for each in stage.evaluations if each["spec"]["run"] == "second")
    stage.decided("Override", second)
    stage.until(lambda: len(stage.tests) == 2)
    stage.wait(25 * 3600)
    stage.weigh()
    stage.go_on()
    stage.go_on()
    assert stage.serves("first")
    assert all(job.get("status", {}).get("conditions") for job in stage.of_kind("Job"))


@pytest.mark.parametrize("sla", [SLA | {"p99": "1400ms"}, None])
def test_a_candidate_that_is_held_is_tested_by_another_sla_and_held_on_without(sla: builders.Object | None) -> None:
    stage = serving(sla=SLA, rollout=HELD, **PEOPLE)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("heldSince"))
    if sla is None:
        written = copy.deepcopy(stage.deployment)
        del written["spec"]["sla"]
        stage.put(written)
        stage.go_on()
        assert stage.told_status["candidate"]["heldSince"]
    else:
        stage.change("ModelDeployment", "answers", sla=sla)
        stage.serve()
        assert "weight" not in stage.told_status["candidate"]
        stage.until(lambda: stage.told_status.get("candidate", {}).get("heldSince"))
        assert len(stage.tests) == 3
    stage.wait(1)
    stage.decided("Promote", stage.told_status["candidate"]["release"])
    stage.until(lambda: stage.serves("second"))


def test_the_numbers_of_another_test_are_not_believed() -> None:
    stage = in_test()
    wrong = NUMBERS.report(stage.tests[0]).model_copy(update={"identity": builders.digest("f")})
    spares.end(stage, Report(outcome=Outcome.DONE, load_test=wrong))
    stage.serve()
    assert "another test" in rejected(stage)["message"]


def test_a_job_that_is_deleted_is_made_again_under_another_name() -> None:
    stage = in_test()
    [job] = stage.of_kind("Job")
    stage._gone(("Job", job["metadata"]["name"]))
    stage.control()
    stage.reach = NUMBERS
    stage.until(lambda: stage.serves("first"), 12)
    assert [each["metadata"]["name"] for each in stage.of_kind("Job")] != [job["metadata"]["name"]]


def test_a_pod_that_does_not_start_has_as_long_as_an_engine() -> None:
    stage = judged(None)
    while not stage.of_kind("Job"):
        stage.serve()
    [job] = stage.of_kind("Job")
    for _ in range(3):
        stage.wait(700)
        stage.serve()
    entry = rejected(stage)
    assert entry["reason"] == "SLANotMeasured"
    assert "did not start in 30m" in entry["message"]
    stage.serve()
    assert stage.of_kind("Job") == [], f"{job['metadata']['name']} goes on for nobody"


def test_a_load_that_the_engine_cannot_take_is_not_begun() -> None:
    stage = judged(sla=SLA | {"load": LOAD | {"promptTokens": 5000}})
    stage.until(lambda: stage.told_status.get("rejected"))
    entry = rejected(stage)
    assert entry["reason"] == "SLANotMet"
    assert "5000 promptTokens" in entry["message"]
    assert stage.tests == []


def test_a_candidate_that_is_dropped_takes_its_test_along() -> None:
    stage = serving(sla=SLA)
    stage.reach = None
    with_second(stage)
    stage.until(lambda: len(stage.tests) == 2)
    stage.change("ModelDeployment", "answers", model={"run": "first"})
    stage.go_on()
    stage.go_on()
    assert stage.serves("first")
    names = {job["metadata"]["name"]: job.get("status", {}).get("conditions") for job in stage.of_kind("Job")}
    assert all(names.values()), "what has ended may stay, for its log"


def test_a_stale_operator_deletes_no_job_of_a_later_test() -> None:
    stage = in_test()
    spares.end(stage, BROKEN)
    stage.until(lambda: len(stage.tests) == 2, 6)
    before = len(stage.versions)
    for age in range(1, before):
        stage.serve(age)
    assert "answers" in stage.of_kind("Job")[-1]["metadata"]["name"]
    assert stage.told_status["candidate"]["loadTest"]["job"] in {
        job["metadata"]["name"] for job in stage.of_kind("Job")
    }


def test_a_job_that_a_person_copied_is_left_alone() -> None:
    stage = serving(sla=SLA)
    [job] = stage.of_kind("Job")
    copied = copy.deepcopy(job)
    copied["metadata"]["name"] = "mine"
    copied.pop("status")
    stage._store(copied)
    stage.go_on()
    assert "mine" in {each["metadata"]["name"] for each in stage.of_kind("Job")}


def test_what_is_remembered_is_bounded_and_keeps_what_serves() -> None:
    stage = serving(sla=SLA)
    stage.reach = SLOW
    for number in range(2, 15):
        stage.put(succeeded(f"run{number}", number))
        stage.judge()
        until_test(stage, number, 1)
        stage.until(lambda: "candidate" not in stage.told_status, 1)
    told = stage.told_status["sla"]
    assert len(told) == 10
    assert told[-1]["run"] == "first"
    assert told[0]["run"] == "run14"
    assert condition(stage) == ("True", "Met")


def test_an_adapter_that_cannot_be_loaded_is_rejected_by_the_loader_s_words() -> None:
    stage = serving(sla=SLA)
    stage.reach = None
    with_second(stage)
    stage.until(lambda: len(stage.tests) == 2, loads=False)
    stage.turn(State.FAILED)
    stage.serve()
    stage.until(lambda: stage.told_status.get("rejected"), loads=False)
    assert rejected(stage)["reason"] == "WrongDigest"
