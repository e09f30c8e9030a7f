"""What an Evaluation does, case by case."""

import copy
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stagecoach.api.evaluation import EvaluationSpec
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from stagecoach.contract.times import timestamp
from stagecoach.contract.verdicts import EvaluationReport
from stagecoach.kinds.evaluation import document
from stagecoach.kinds.evaluation.reconcile import CONTROLLER, advice
from stagecoach.kinds.evaluation.rest import rests
from stagecoach.policies import verdicts
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.gates import Hall, evaluation, succeeded, world
from tests.unit.kinds.world import SETTINGS, World

SERVICE_FAILED = {"outcome": "ServiceFailed", "problem": {"reason": "StorageAway", "message": "No route."}}


def start(here: World) -> World:
    """Bring an Evaluation to where its pod runs."""
    here.reconcile()
    here.reconcile()
    here.start_pods()
    here.run_pods()
    here.reconcile()
    return here


def end(here: World, report: builders.Object | None, code: int = 0, reason: str = "Completed") -> None:
    here.end_pods(report, code, reason)
    here.reconcile()


def decided(report: builders.Object | None, code: int = 0, reason: str = "Completed", **gate: Any) -> World:
    here = world(evaluation(**gate))
    start(here)
    end(here, report, code, reason)
    return here


def document_of(here: World) -> EvaluateJob:
    [job] = here.job_objects.values()
    environment = {each["name"]: each["value"] for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    return EvaluateJob.model_validate_json(environment[ENVIRONMENT_VARIABLE])


@pytest.mark.parametrize(
    ("verdict", "reason", "ready"),
    [
        ("Passed", "Passed", "True"),
        ("Failed", "CriterionFailed", "False"),
        ("Inconclusive", "MoreRowsNeeded", "False"),
        ("Error", "NotMeasured", "False"),
    ],
)
def test_the_evaluators_verdict_is_the_evaluations(verdict: str, reason: str, ready: str) -> None:
    here = decided(builders.evaluation_report(verdict))
    assert (here.status["phase"], here.status["verdict"]) == ("Decided", verdict)
    told = here.condition("Ready")
    assert (told["reason"], told["status"]) == (reason, ready)
    assert here.condition("Complete")["status"] == str(verdict != "Error")
    assert here.condition("Stalled").get("status") == (None if verdict == "Passed" else "True")
    assert here.status["message"] == told["message"]
    assert here.status["results"][0]["criterion"] == "good"
    key = here.stored["spec"]["key"].removeprefix("sha256:")
    assert here.status["report"] == {"uri": f"pvc://store/desk/evaluations/{key}", "digest": builders.digest("c")}
    assert verdict == "Passed" or speaks(reason, told["message"])
    assert here.status_writes == 3, "the attempt, its start, the verdict"
    assert rests(here, here.stored)
    writes = here.status_writes
    here.wait(100_000)
    here.reconcile()
    assert here.status_writes == writes


def test_the_job_is_told_what_the_spec_says_and_asks_for_what_the_gate_gives() -> None:
    resources = {"cpu": "4", "memory": "16Gi", "gpus": 1, "gpuResource": "amd.com/gpu"}
    here = world(evaluation(resources=resources, maxDuration="1h", cleanUpAfter="1h"))
    start(here)
    [job] = here.job_objects.values()
    told = document_of(here)
    assert told.inputs.digest == here.stored["spec"]["key"]
    assert (told.threads, told.gate, told.run, told.image) == (4, "good", "first", builders.EVALUATOR_IMAGE)
    assert [item.name for item in told.datasets] == ["test"]
    assert [item.name for item in told.trained_on] == ["train", "valid"]
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == builders.EVALUATOR_IMAGE
    assert container["resources"]["limits"] == {"memory": "16Gi", "amd.com/gpu": "1"}
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert pod["activeDeadlineSeconds"] == 3600
    assert job["metadata"]["ownerReferences"][0]["kind"] == "Evaluation"
    mounts = {item["mountPath"]: item for item in container["volumeMounts"]}
    assert set(mounts) == {
        "/stagecoach/scratch",
        "/stagecoach/storage",
        "/stagecoach/configmap/desk",
        "/stagecoach/pvc/lake",
        "/stagecoach/pvc/models",
    }
    assert len(job["metadata"]["name"]) <= 63


SUITE = {"rows": 150, "scored": 150}


def result(**changes: Any) -> builders.Object:
    made: builders.Object = builders.evaluation_report()["evaluation"]["results"][0] | changes
    return made


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"results": []}, "'good'"),
        ({"results": [result(criterion="other")]}, "'good'"),
        ({"results": [result(), result()]}, "'good'"),
        ({"results": [result(), result(criterion="more")]}, "'more'"),
        ({"results": [result(value=float("nan"))]}, "has a value that is no number"),
        ({"results": [result(low=float("inf"))]}, "has a low that is no number"),
        ({"results": [result(scored=0)]}, "nothing was measured"),
        ({"results": [{"criterion": "good", "outcome": "Passed", "scored": 9}]}, "nothing was measured"),
        ({"results": [result(outcome="Failed")]}, "is Failed"),
        ({"results": [result(outcome="Inconclusive")]}, "is Inconclusive"),
        ({"results": [result(outcome="Error")]}, "is Error"),
        ({"results": [result(advisory=True)]}, "says advisory: true"),
        ({"leaked": 3}, "3 are in the training data"),
        ({"leaked": None}, "nobody knows"),
        ({"rows": 0}, "has 150 of 0 rows scored"),
        ({"results": [result(threshold=0.7)]}, "by the threshold 0.7, and that of the criterion is 0.8"),
        ({"results": [result(value=0.79)]}, "its value is 0.79, below 0.8"),
        ({"results": [result(scored=148)]}, "has 148 of 150 rows scored, when 148.5 are the least"),
        ({"results": [result(scored=151)]}, "has 151 of 150 rows scored"),
        ({"suites": [SUITE, SUITE]}, "it tells of 2 suites and 150 rows"),
        ({"suites": [SUITE], "rows": 151}, "it tells of 1 suites and 151 rows"),
        ({"suites": [SUITE | {"scored": 148}]}, "148 of 150 rows of suite 'held-out' are scored"),
        ({"suites": [SUITE | {"scored": 151}]}, "151 of 150 rows of suite 'held-out' are scored"),
    ],
)
def test_a_report_that_does_not_fit_what_was_asked_is_never_passed(changes: builders.Object, words: str) -> None:
    here = decided(builders.evaluation_report(**changes))
    told = here.condition("Ready")
    assert (here.status["verdict"], told["reason"]) == ("Error", "ReportInconsistent")
    assert words in told["message"]
    assert speaks(told["reason"], told["message"])
    assert "results" not in here.status or here.status["results"] == []


@pytest.mark.parametrize(
    ("label", "scored", "reason"),
    [(None, 9, "ReportInconsistent"), ("billing", 9, "Passed"), ("billing", 151, "ReportInconsistent")],
)
def test_of_a_criterion_of_a_label_the_rows_of_the_label_are_scored(
    label: str | None, scored: int, reason: str
) -> None:
    criterion = {"name": "good", "suite": "held-out", "metric": "recall", "min": 0.8}
    here = decided(
        builders.evaluation_report(results=[result(scored=scored)]),
        criteria=[criterion | ({} if label is None else {"label": label})],
    )
    assert here.condition("Ready")["reason"] == reason


def test_a_share_is_not_missed_by_rounding() -> None:
    """0.55 * 100 is 55.00000000000001."""
    here = decided(builders.evaluation_report(rows=100, results=[result(scored=55)]), minScored=0.55)
    assert here.status["verdict"] == "Passed"


INTERVAL = {"min": 0.8, "confidence": 0.9}
DROP = {"against": "Baseline", "allowedDrop": {"absolute": 0.03}}
GAIN = {"against": "Baseline", "minGain": {"absolute": 0.05}}


@pytest.mark.parametrize(
    ("bound", "told", "words"),
    [
        (INTERVAL, {"low": 0.8, "high": 0.95}, None),
        (INTERVAL, {"low": 0.79995, "high": 0.95}, None),
        (INTERVAL, {"low": 0.7998, "high": 0.95}, "the lower end of its interval is 0.7998, below 0.8"),
        (INTERVAL, {}, "nothing was measured"),
        (DROP, {"low": -0.03, "high": 0.01, "threshold": -0.03, "value": 0.5}, None),
        (DROP, {"low": -0.04, "high": 0.01, "threshold": -0.03}, "the lower end of its interval is -0.04, below -0.03"),
        (DROP, {"low": -0.03, "high": 0.01, "threshold": 0.03}, "by the threshold 0.03, and that of the criterion"),
        (GAIN, {"low": 0.05, "high": 0.09, "threshold": 0.05, "value": 0.5}, None),
        (GAIN, {"low": -0.01, "high": 0.09, "threshold": -0.05}, "by the threshold -0.05"),
        (GAIN, {"low": 0.04, "high": 0.09, "threshold": 0.05}, "below 0.05"),
        ({"min": 0.8}, {"threshold": 0.80004, "value": 0.79996}, None),
    ],
)
def test_passed_has_to_follow_from_its_numbers(bound: Any, told: Any, words: str | None) -> None:
    criterion = {"name": "good", "suite": "held-out", "metric": "f1_macro"} | bound
    here = decided(builders.evaluation_report(results=[result(**told)]), criteria=[criterion])
    assert here.status["verdict"] == ("Error" if words else "Passed"), here.status["message"]
    assert (words or "") in here.condition("Ready")["message"]


def test_of_several_suites_only_all_rows_are_known() -> None:
    project = builders.ready_project()
    hall = Hall(succeeded())
    hall.look()
    [made] = hall.evaluations
    made["spec"]["suites"].append(made["spec"]["suites"][0] | {"name": "more"})
    made["spec"]["key"] = document.inputs(EvaluationSpec.model_validate(made["spec"]), parsed(project)).digest
    here = world(made)
    start(here)
    end(here, builders.evaluation_report(rows=9000))
    assert here.status["verdict"] == "Passed"


def parsed(project: builders.Object) -> TransformerProject:
    return TransformerProject.model_validate(project)


def test_nothing_to_look_through_is_not_known_training_data() -> None:
    made = evaluation()
    made["spec"]["trainedOn"] = []
    asked = document.asked(EvaluationSpec.model_validate(made["spec"]))
    report = EvaluationReport.model_validate(builders.evaluation_report()["evaluation"])
    assert "nobody knows what it was trained on" in (verdicts.inconsistency(report, asked) or "")
    known = document.asked(EvaluationSpec.model_validate(evaluation()["spec"]))
    assert verdicts.inconsistency(report, known) is None


@pytest.mark.parametrize(
    ("suites", "scored", "words"),
    [
        ([(100, 100), (50, 50)], 100, None),
        ([(100, 55), (50, 50)], 55, None),  # 0.55 of 100 is more than 55, in floating point
        ([(100, 54), (50, 50)], 54, "has 54 of 100 rows scored, when 55 are the least"),
        ([(100, 100), (50, 1)], 100, "1 of 50 rows of suite 'hard' are scored"),
        ([(100, 100), (0, 0)], 100, "0 of 0 rows of suite 'hard' are scored"),
        ([], 1, None),  # of an evaluator of before, which says only together how many rows there are
    ],
)
def test_of_several_suites_each_has_to_be_scored(suites: list[tuple[int, int]], scored: int, words: str | None) -> None:
    given = document.asked(EvaluationSpec.model_validate(evaluation()["spec"]))
    asked = replace(given, suites=["held-out", "hard"], min_scored=0.55)
    rows = sum(rows for rows, _ in suites) or 150
    told = [{"rows": rows, "scored": scored} for rows, scored in suites]
    report = builders.evaluation_report(suites=told, rows=rows, results=[result(scored=scored)])["evaluation"]
    why = verdicts.inconsistency(EvaluationReport.model_validate(report), asked)
    assert (words in (why or "")) if words else why is None


def test_an_advisory_criterion_decides_nothing() -> None:
    criteria = [
        {"name": "good", "suite": "held-out", "metric": "f1_macro", "min": 0.8},
        {"name": "auc", "suite": "held-out", "metric": "auc_roc", "min": 0.9, "advisory": True},
    ]
    results = [result(), result(criterion="auc", outcome="Failed", advisory=True)]
    here = decided(builders.evaluation_report(results=results), criteria=criteria)
    assert here.status["verdict"] == "Passed"


@pytest.mark.parametrize(
    ("verdict", "changes", "reason"),
    [("Failed", {"leaked": 2}, "RowsLeaked"), ("Error", {"leaked": None}, "TrainingDataUnknown")],
)
def test_why_is_told_where_it_is_the_training_data(verdict: str, changes: builders.Object, reason: str) -> None:
    here = decided(builders.evaluation_report(verdict, **changes))
    assert here.condition("Ready")["reason"] == reason
    assert speaks(reason, here.condition("Ready")["message"])


@pytest.mark.parametrize(
    ("report", "code", "end_reason", "reason", "words"),
    [
        (None, 137, "OOMKilled", "OutOfMemory", "raise spec.resources.memory (8Gi) of EvalGate 'good'"),
        ({"outcome": "Done"}, 0, "Completed", "VerdictMissing", "evaluator image"),
        ({"outcome": "Splendid"}, 0, "Completed", "ReportUnknown", "evaluator image"),
        (
            {"outcome": "BadInput", "problem": {"reason": "ReleaseMismatch", "message": "It is another."}},
            64,
            "Error",
            "ReleaseMismatch",
            "It is another.",
        ),
    ],
)
def test_what_would_be_the_same_again_is_an_error_with_the_way_out(
    report: builders.Object | None, code: int, end_reason: str, reason: str, words: str
) -> None:
    here = decided(report, code, end_reason)
    told = here.condition("Ready")
    assert (here.status["verdict"], told["reason"]) == ("Error", reason)
    assert words in told["message"]
    name = here.stored["metadata"]["name"]
    assert f"kubectl delete eval {name} -n team" in told["message"]
    assert len(here.creations) == 1


def test_advice_says_what_to_do() -> None:
    for outcome, words in advice(EvaluationSpec.model_validate(evaluation()["spec"])).items():
        assert speaks(outcome, words)


def test_the_attempt_after_an_outage_follows_when_the_message_says() -> None:
    here = world()
    start(here)
    problem = {"reason": "ServerFailed", "message": "It is busy."}
    end(here, {"outcome": "ServiceFailed", "problem": problem}, 69, "Error")
    due = timestamp(here.now + timedelta(minutes=3))
    assert here.condition("Ready")["message"].endswith(f"Attempt 2 follows at {due}.")
    assert here.reconcile().requeue_after == 180


def test_what_may_pass_is_tried_again_and_at_last_an_error() -> None:
    here = world()
    for _ in range(3):
        start(here)
        end(here, SERVICE_FAILED, 69, "Error")
        here.wait(400)
    assert (here.status["verdict"], here.status["failures"]) == ("Error", 3)
    assert here.condition("Ready")["reason"] == "StorageAway"
    assert "All 2 retries are used up" in here.condition("Ready")["message"]
    assert len(here.creations) == 3


def test_a_missing_report_is_never_a_verdict() -> None:
    here = world()
    start(here)
    end(here, None)
    assert "verdict" not in here.status
    here.wait(400)
    start(here)
    end(here, builders.evaluation_report())
    assert here.status["verdict"] == "Passed"
    assert here.status["attempt"]["number"] == 2


def test_interruptions_do_not_count_but_have_an_end() -> None:
    here = world()
    for _ in range(11):
        assert "verdict" not in here.status
        start(here)
        here.lose_pods()
        here.wait(90)
        here.reconcile()
        here.wait(400)
    assert here.status["failures"] == 0
    assert (here.status["verdict"], here.condition("Ready")["reason"]) == ("Error", "NoProgress")


def test_time_is_counted_over_all_attempts() -> None:
    here = world(evaluation(maxDuration="10m"))
    start(here)
    here.wait(400)
    end(here, SERVICE_FAILED, 69, "Error")
    assert here.status["seconds"] == 400
    here.wait(400)
    start(here)
    job = here.job_objects[here.status["attempt"]["job"]]
    assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 200
    here.wait(400)
    here.reconcile()
    assert (here.status["verdict"], here.condition("Ready")["reason"]) == ("Error", "DeadlineExceeded")
    here.reconcile()
    assert not here.live_pods()


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available."}], "Unschedulable")],
)
def test_who_waits_for_room_is_told_how_to_ask_for_less(conditions: Any, reason: str) -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    here.start_pods()
    for pod in here.pod_objects.values():
        pod["status"] |= {"conditions": conditions}
    here.reconcile()
    told = here.condition("Ready")
    assert told["reason"] == reason
    name = here.stored["metadata"]["name"]
    assert f"After a change of the gate's resources: kubectl delete eval {name} -n team" in told["message"]


def test_a_project_that_is_gone_is_waited_for() -> None:
    here = world()
    here.reconcile()
    project, here.project = here.project, None
    here.reconcile()
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Pending", "ProjectMissing")
    assert not here.creations
    here.project = project
    start(here)
    assert here.status["phase"] == "Running"


def without_prompt(project: builders.Object) -> None:
    project["spec"]["prompts"] = [{"name": "route", "version": 2, "template": "{text}"}]


@pytest.mark.parametrize(
    "change",
    [
        lambda project: project["spec"]["data"]["sets"].pop(),
        lambda project: project["spec"]["data"]["sets"][2].update(columns={"text": "other"}),
        lambda project: project["spec"]["data"]["sets"][0].update(columns={"text": "other"}),
        lambda project: project["spec"]["candidates"][0].update(name="another"),
        lambda project: project["spec"]["tokenization"].update(maxLength=64),
        without_prompt,
    ],
)
def test_a_project_that_changed_before_the_job_was_made_is_an_error(change: Any) -> None:
    criteria = [{"name": "good", "suite": "held-out", "metric": "f1_macro", "against": "Baseline"}]
    here = world(evaluation(criteria=[criteria[0] | {"allowedDrop": {"absolute": 0.03}}]))
    here.reconcile()
    here.project = copy.deepcopy(here.project)
    change(here.project)
    here.reconcile()
    told = here.condition("Ready")
    assert (here.status["verdict"], told["reason"]) == ("Error", "ProjectChanged")
    assert speaks(told["reason"], told["message"])
    assert not here.creations


def test_a_prompt_that_came_into_force_meanwhile_changes_nothing() -> None:
    here = world()
    here.reconcile()
    here.project = copy.deepcopy(here.project)
    assert here.project
    here.project["spec"]["prompts"].append({"name": "route", "version": 2, "template": "{text}"})
    here.project["spec"]["inference"]["prompt"]["version"] = 2
    start(here)
    assert document_of(here).inputs.digest == here.stored["spec"]["key"]


def test_of_the_same_release_one_asks_and_the_other_uses_its_answers() -> None:
    first, second = world(), world(evaluation(minScored=0.5))
    second.stored["metadata"] |= {"uid": "zzz", "creationTimestamp": "2026-01-02T03:04:06Z"}
    second.history = [copy.deepcopy(second.stored)]
    second.twins = (first,)
    first.twins = (second,)
    second.reconcile()
    told = second.condition("Ready")
    assert (told["reason"], second.status["phase"]) == ("SameRelease", "Pending")
    assert first.stored["metadata"]["name"] in told["message"]
    assert speaks(told["reason"], told["message"])
    start(first)
    end(first, builders.evaluation_report())
    woken = CONTROLLER.wakes(None, second, {**first.stored, "status": {}}, first.stored)  # type: ignore[arg-type]
    assert second.stored["metadata"]["name"] in {key.name for key in woken}
    second.twins = (first,)
    second.reconcile()
    assert second.status["attempt"]["number"] == 1


def test_an_image_that_the_operator_no_longer_has_is_that_of_all_attempts() -> None:
    here = world()
    here.reconcile()
    upgraded = replace(SETTINGS, evaluator_image=f"registry.example.com/evaluator@{builders.digest('e')}")
    plan = CONTROLLER.reconcile(here, here.stored, here.now, upgraded)
    [job] = plan.create
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == builders.EVALUATOR_IMAGE


def test_a_verdict_of_32_criteria_is_bounded() -> None:
    criteria = [
        {"name": f"c{number}-{'x' * 44}", "suite": "held-out", "metric": "f1_macro", "min": 0.8} for number in range(32)
    ]
    results = [result(criterion=item["name"], message="x" * 300, low=0.1, high=0.9) for item in criteria]
    here = decided(builders.evaluation_report(results=results, message="y" * 700), criteria=criteria)
    assert here.status["verdict"] == "Passed"
    size = len(json.dumps(here.status))
    print(f"\nlargest status of an Evaluation: {size} bytes, spec {len(json.dumps(here.stored['spec']))}")
    assert size < 30_000
