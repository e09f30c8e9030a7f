"""Which run a deployment means, and what is said of those that it does not serve."""

from tests.unit.kinds.deployment_cases import CANARY, judged, told, with_second
from tests.unit.kinds.deployments import Stage, project, serving
from tests.unit.kinds.gates import succeeded


def test_an_older_run_is_served_when_it_is_named() -> None:
    stage = serving()
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    for _ in range(5):
        stage.go_on()
    assert stage.serves("second"), "what is older replaces nothing"
    stage.change("ModelDeployment", "answers", model={"run": "first"})
    stage.until(lambda: stage.serves("first"))
    release = stage.told_status["history"][1]["release"]
    stage.change("ModelDeployment", "answers", model={"release": release})
    stage.until(lambda: stage.serves("second"))


def test_a_run_that_is_named_and_does_not_pass_needs_somebody() -> None:
    stage = serving(model={"run": "first"})
    stage.put(succeeded("second", 2))
    stage.judge("Failed")
    stage.change("ModelDeployment", "answers", model={"run": "second"})
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Degraded", "Serving", "True")
    assert (stage.said("Stalled")["reason"], stage.said("CandidateAdmitted")["reason"]) == ("GateFailed", "GateFailed")
    assert stage.told_status["serving"]["run"] == "first"


def test_a_newer_run_that_does_not_pass_is_no_trouble_to_who_wants_the_newest_that_does() -> None:
    stage = serving()
    stage.put(succeeded("second", 2))
    stage.judge("Failed")
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Available", "Serving", "True")
    assert "Run second has not passed gate good" in stage.said("CandidateAdmitted")["message"]


def test_a_candidate_that_has_not_passed_a_gate_that_is_named_later_is_dropped() -> None:
    """NoUngatedTraffic."""
    stage = serving(rollout=CANARY)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate"), loads=False)
    stage.change("ModelDeployment", "answers", gates=[{"name": "good"}, {"name": "better"}])
    stage.go_on()
    assert "candidate" not in stage.told_status
    for _ in range(10):
        stage.go_on()
    assert stage.told_status["serving"]["run"] == "first"
    assert stage.said("CandidateAdmitted")["reason"] == "GateMissing"


def test_a_candidate_whose_document_cannot_be_made_is_admitted_anew() -> None:
    stage = judged()
    stage.serve(writes=1)
    before = stage.told_status["candidate"]
    moved = project()
    moved["spec"]["candidates"][0]["model"]["uri"] = "pvc://models/moved"
    stage.put(moved)
    stage.serve()
    stage.serve()
    after = stage.told_status["candidate"]
    assert (after["release"], after["admitted"]) == (before["release"], after["admitted"])
    assert after["admitted"] != before["admitted"]
    stage.until(lambda: stage.serves("first"))


def test_a_run_that_has_the_name_of_the_one_that_is_served_hides_no_newer_ones() -> None:
    stage = serving()
    stage.put(succeeded("first", 5))
    stage.judge("Failed")
    stage.put(succeeded("second", 2))
    stage.judge()
    stage.serve()
    assert stage.said("Gated")["reason"] == "RunMissing"
    assert stage.told_status["candidate"]["run"] == "second"
    stage.until(lambda: stage.serves("second"))


def test_of_many_runs_that_did_not_pass_one_that_did_is_found_and_none_hides_it() -> None:
    going_on = [succeeded(f"going-{number}", 20 + number) for number in range(3)]
    for each in going_on:
        each["status"] = {"phase": "Running"}
    failed = [succeeded(f"failed-{number}", 2 + number) for number in range(12)]
    stage = Stage(succeeded(), *failed, *going_on)
    stage.change("EvalGate", "good", newest=20, maxConcurrent=8)
    for _ in range(4):
        stage.look()
        for each in stage.evaluations:
            if "verdict" not in each.get("status", {}):
                stage.decide(each["metadata"]["name"], "Passed" if each["spec"]["run"] == "first" else "Failed")
    stage.until(lambda: stage.serves("first"))
    assert "Run failed-11 has not passed" in stage.said("CandidateAdmitted")["message"]
