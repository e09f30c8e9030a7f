"""What an EvalGate does, case by case."""

import copy
import json
from typing import Any

import pytest

from stagecoach.api.evaluation import MAX_TRAINED_ON, Evaluation
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.benchmarks import LM_EVAL
from stagecoach.contract.inputs import RunInputs, TaskDocuments
from stagecoach.contract.releases import Asked, Engine, Precision, Release
from stagecoach.kinds.evaluation import document, neighbours
from stagecoach.kinds.finetunerun.inputs import train_job
from stagecoach.kinds.plan import key_of
from stagecoach.policies import retention
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.gates import Hall, project_with_canary, reviewed_spec, succeeded

AGAINST = {"name": "worth", "suite": "held-out", "metric": "f1_macro", "against": "Baseline"}


def names(hall: Hall) -> list[str]:
    return [item["spec"]["run"] for item in hall.evaluations]


def test_a_candidate_that_has_succeeded_is_judged_with_one_status_write() -> None:
    hall = Hall(succeeded())
    hall.look()
    [made] = hall.evaluations
    assert (hall.status["phase"], hall.condition()["reason"]) == ("Judging", "Judging")
    assert hall.status["judging"] == [{"run": "first", "evaluation": made["metadata"]["name"]}]
    assert "ownerReferences" not in made["metadata"], "who deletes gate or run deletes no evidence"
    hall.look()
    assert hall.writes == 1
    hall.decide(made["metadata"]["name"])
    hall.look()
    assert (hall.status["phase"], hall.condition()["reason"], hall.condition()["status"]) == ("Idle", "Judged", "True")
    assert hall.status["verdicts"] == {"passed": 1, "failed": 0, "inconclusive": 0, "error": 0}
    assert {"run": "first", "verdict": "Passed"}.items() <= hall.status["latest"].items()
    assert hall.writes == 2
    hall.look()
    assert hall.writes == 2


def test_the_evaluation_says_by_digest_what_is_judged() -> None:
    run = succeeded()
    hall = Hall(run, criteria=[AGAINST | {"minGain": {"absolute": 0.05}, "outcome": "fewer misrouted tickets"}])
    hall.look()
    evaluation = Evaluation.model_validate(hall.evaluations[0])
    spec, inputs = evaluation.spec, run["status"]["inputs"]
    release = Release(asked=inputs["asked"], artifact=run["status"]["artifact"]["digest"], engine=Engine())
    assert spec.release.digest == release.digest
    assert spec.run_inputs == inputs["digest"]
    assert [item.digest for item in spec.trained_on or ()] == [builders.digest("1"), builders.digest("2")]
    assert [item.digest for item in spec.suites] == [builders.digest("3")]
    assert spec.criteria[0].outcome is None, "what it is for is for people who read the gate"
    job = document.job(evaluation, project(hall), 2)
    assert evaluation.metadata.name == f"good-{spec.key.removeprefix('sha256:')[:12]}"
    assert (job.inputs.digest, job.release.digest) == (spec.key, spec.release.digest)
    assert job.baseline is not None
    baseline = Release(asked=job.baseline.digest, artifact=None, engine=Engine())
    assert spec.baseline is not None
    assert baseline.digest == spec.baseline.digest == job.inputs.baseline
    assert job.baseline.prompt.template == "Which queue? {text}"
    assert job.baseline.digest == inputs["asked"], "the prompt in force is that of the training"
    assert job.run_inputs == inputs["digest"]


def project(hall: Hall) -> Any:
    return TransformerProject.model_validate(hall.get("TransformerProject", "desk"))


def test_how_a_run_is_asked_is_what_it_was_trained_with() -> None:
    run = succeeded()
    job = json.loads(trained(run))
    inputs = RunInputs.model_validate(job["inputs"])
    assert run["status"]["inputs"]["asked"] == Asked.of(inputs).digest
    assert run["status"]["inputs"]["digest"] == inputs.digest


def trained(run: builders.Object) -> str:
    parsed = FineTuneRun.model_validate(run)
    found = TransformerProject.model_validate(builders.ready_project())
    assert parsed.status.inputs
    return train_job(parsed, found, parsed.status.inputs, 1).line()


def without_asked(run: builders.Object) -> builders.Object:
    del run["status"]["inputs"]["asked"]
    return run


def test_a_run_of_an_older_operator_is_judged_if_the_project_still_tells_how_it_is_asked() -> None:
    new, old = succeeded(), without_asked(succeeded())
    one, other = Hall(new), Hall(old)
    one.look()
    other.look()
    assert one.evaluations[0]["spec"] == other.evaluations[0]["spec"]
    other = Hall(old)
    other.change("TransformerProject", "desk", tokenization={"maxLength": 64, "overflow": "Truncate"})
    ready(other)
    other.look()
    assert other.evaluations == []
    [told] = other.status["unjudged"]
    assert (told["run"], told["reason"]) == ("first", "AskedUnknown")
    assert speaks(told["reason"], told["message"])


def ready(hall: Hall) -> None:
    """Let the operator have looked at a changed project."""
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    for item in found["status"]["conditions"]:
        item["observedGeneration"] = found["metadata"]["generation"]
    hall.put(found)


def test_an_experiment_never_reaches_a_gate() -> None:
    hall = Hall(succeeded(purpose="Experiment"))
    hall.look()
    assert hall.evaluations == []
    assert hall.condition()["reason"] == "NoCandidates"
    assert hall.condition()["status"] == "True"


def test_the_newest_are_judged_first_and_so_many_at_a_time() -> None:
    hall = Hall(*(succeeded(f"run-{number}", number) for number in range(1, 6)), newest=3)
    hall.look()
    assert names(hall) == ["run-5"]
    assert hall.status["waiting"] == [{"run": "run-4"}, {"run": "run-3"}]
    hall.decide(hall.evaluations[0]["metadata"]["name"], "Failed")
    hall.look()
    assert names(hall) == ["run-5", "run-4"]
    hall.change("EvalGate", "good", maxConcurrent=4)
    hall.look()
    assert names(hall) == ["run-5", "run-4", "run-3"]
    for item in hall.evaluations[1:]:
        hall.decide(item["metadata"]["name"])
    hall.look()
    assert hall.status["verdicts"] == {"passed": 2, "failed": 1, "inconclusive": 0, "error": 0}
    assert len(hall.evaluations) == 3, "the others are not among the newest"


def imported(name: str, number: int, *said: str, **changes: Any) -> builders.Object:
    """Return an import of what `first` has trained; it says that it was trained on these data sets, if any."""
    run = succeeded(name, number, **changes)
    run["spec"]["method"] = {"type": "Import", "uri": "pvc://models/it", "digest": builders.digest("a")}
    del run["spec"]["data"], run["spec"]["hyperparameters"]
    run["status"]["artifact"] = succeeded()["status"]["artifact"]
    run["status"]["inputs"] |= {"train": [], "validation": []}
    if said:
        run["status"]["inputs"]["trainedOn"] = [data(each) for each in said]
    return run


def data(name: str, **more: str) -> builders.Object:
    return {"name": name, "digest": builders.digest({"train": "1", "valid": "2"}[name])} | more


def judged(hall: Hall) -> tuple[str, list[str] | None]:
    """Return which run is judged, and what it was trained on."""
    hall.look()
    [made] = hall.evaluations
    said = made["spec"].get("trainedOn")
    return made["spec"]["run"], said and [item["name"] for item in said]


@pytest.mark.parametrize(
    ("runs", "newest", "expected"),
    [
        ([imported("a", 2)], 10, ("a", None)),
        ([imported("a", 2, "train")], 10, ("a", ["train"])),
        ([succeeded(), imported("a", 2)], 10, ("first", ["train", "valid"])),
        ([succeeded(), imported("a", 2)], 1, ("first", ["train", "valid"])),
        ([imported("a", 2, "train"), imported("b", 3, "valid")], 10, ("b", ["train", "valid"])),
        ([imported("a", 2, "train"), imported("b", 3, "valid")], 1, ("b", ["train", "valid"])),
        ([imported("a", 2), imported("b", 3, "valid")], 1, ("b", None)),
        ([imported("a", 2, "train"), imported("b", 3)], 10, ("b", None)),
        ([succeeded(purpose="Experiment"), imported("a", 2, "valid")], 10, ("a", ["train", "valid"])),
        ([succeeded(purpose="Experiment"), imported("a", 2)], 10, ("a", None)),
        ([imported("x", 1, "train", purpose="Experiment"), imported("a", 2, "valid")], 10, ("a", ["train", "valid"])),
    ],
)
def test_the_same_release_is_judged_once_and_all_that_is_said_of_it_counts(
    runs: list[builders.Object], newest: int, expected: tuple[str, list[str] | None]
) -> None:
    hall = Hall(*runs, newest=newest)
    assert judged(hall) == expected
    assert hall.status.get("waiting", []) == hall.status.get("unjudged", []) == []


def test_a_better_word_changes_nothing_for_what_has_leaked() -> None:
    hall = Hall(imported("a", 2, "train"))
    assert judged(hall) == ("a", ["train"])
    first = hall.evaluations[0]["metadata"]["name"]
    hall.decide(first, "Failed")
    hall.remove("FineTuneRun", "a")
    hall.put(imported("b", 3, "valid"))
    hall.look()
    [again] = [item for item in hall.evaluations if item["metadata"]["name"] != first]
    assert [item["name"] for item in again["spec"]["trainedOn"]] == ["train", "valid"]


def test_a_word_that_a_later_version_wrote_says_nothing() -> None:
    later = imported("later", 1, "train")
    later["spec"]["purpose"] = "Later"
    hall = Hall(later, imported("a", 2, "train"), newest=1)
    assert judged(hall) == ("a", None)


def test_two_contents_of_a_data_set_are_not_looked_through() -> None:
    other = imported("b", 3, "train")
    other["status"]["inputs"]["trainedOn"][0] |= {"digest": builders.digest("e"), "revision": "abc"}
    hall = Hall(imported("a", 2, "train"), other)
    hall.look()
    assert hall.evaluations == []
    for told in hall.status["unjudged"]:
        assert told["reason"] == "TrainingDataDiffer"
        assert "data set 'train'" in told["message"]
        assert speaks(told["reason"], told["message"])


def test_more_data_sets_than_are_looked_through_stop_no_other_candidate() -> None:
    many = []
    for number in range(MAX_TRAINED_ON + 1):
        run = imported(f"a{number}", number + 2, "train")
        run["status"]["inputs"]["trainedOn"][0]["name"] = f"set-{number}"
        many.append(run)
    other = imported("b", 40, "train")
    other["status"]["artifact"]["digest"] = builders.digest("e")
    hall = Hall(*many, other)
    hall.look()
    assert [each["spec"]["run"] for each in hall.evaluations] == ["b"]
    for told in hall.status["unjudged"]:
        assert told["reason"] == "TrainingDataTooMany"
        assert "name 13 data sets together (set-0, set-1, set-10, ...)" in told["message"]
        assert speaks(told["reason"], told["message"])


def test_who_trained_it_and_asks_it_otherwise_does_not_know_for_the_import() -> None:
    trained = succeeded()
    trained["status"]["inputs"]["asked"] = builders.digest("e")
    hall = Hall(trained, imported("a", 2), newest=1)
    assert judged(hall) == ("a", None)


def test_a_data_set_of_a_hub_is_read_at_the_commit_that_was_trained_on() -> None:
    run = succeeded()
    run["status"]["inputs"]["train"] = [data("train", revision="abc")]
    hall = Hall(run)
    hall.put(with_digest(hall, "train", "e"))
    assert judged(hall) == ("first", ["train", "valid"])
    [train, _] = hall.evaluations[0]["spec"]["trainedOn"]
    assert train == data("train", revision="abc"), "what the hub has by now is another content"


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["data"]["sets"].pop(0),
        lambda spec: spec["candidates"][0].update(name="another"),
    ],
)
def test_what_its_job_would_not_find_is_told_before_there_is_an_evaluation(change: Any) -> None:
    hall = Hall(succeeded())
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    change(found["spec"])
    hall.put(found)
    hall.look()
    assert hall.evaluations == []
    [told] = hall.status["unjudged"]
    assert (told["run"], told["reason"]) == ("first", "ProjectChanged")
    assert speaks(told["reason"], told["message"])


@pytest.mark.parametrize(
    "change",
    [
        lambda hall: hall.change("EvalGate", "good", minScored=0.5),
        lambda hall: hall.put(with_digest(hall, "test", "e")),
        lambda hall: hall.change("EvalGate", "good", criteria=[AGAINST | {"allowedDrop": {"absolute": 0.0}}]),
    ],
)
def test_another_text_or_other_data_are_judged_anew_and_old_verdicts_stay(change: Any) -> None:
    hall = Hall(succeeded())
    hall.look()
    [first] = hall.evaluations
    hall.decide(first["metadata"]["name"])
    change(hall)
    hall.look()
    assert len(hall.evaluations) == 2
    assert hall.get("Evaluation", first["metadata"]["name"])["spec"] == first["spec"]
    assert hall.status["verdicts"]["passed"] == 1
    change = hall.get("EvalGate", "good")
    assert change["status"]["judging"][0]["evaluation"] != first["metadata"]["name"]


def with_digest(hall: Hall, name: str, letter: str) -> builders.Object:
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    for item in found["status"]["datasets"]:
        if item["name"] == name:
            item["digest"] = builders.digest(letter)
    return found


def test_what_decides_no_verdict_makes_no_other_evaluation() -> None:
    hall = Hall(succeeded())
    hall.look()
    hall.decide(hall.evaluations[0]["metadata"]["name"])
    criteria = [builders.gate()["spec"]["criteria"][0] | {"outcome": "fewer misrouted tickets"}]
    hall.change("EvalGate", "good", resources={"memory": "64Gi"}, maxDuration="9h", newest=3, criteria=criteria)
    hall.look()
    assert len(hall.evaluations) == 1


def test_the_precision_is_part_of_the_release() -> None:
    hall, other = Hall(succeeded()), Hall(succeeded())
    inference = {"prompt": {"name": "route", "version": 1}, "precision": "bfloat16"}
    other.change("TransformerProject", "desk", inference=inference)
    ready(other)
    for each in (hall, other):
        each.look()
    one, two = (each.evaluations[0]["spec"]["release"] for each in (hall, other))
    assert one["digest"] != two["digest"]
    assert (
        Release(asked=two["asked"], artifact=two["artifact"], engine=Engine(precision=Precision.BFLOAT16)).digest
        == (two["digest"])
    )


def test_training_data_that_changed_cannot_be_searched_for_the_suites_rows() -> None:
    hall = Hall(succeeded())
    hall.put(with_digest(hall, "train", "e"))
    hall.look()
    assert hall.evaluations == []
    [told] = hall.status["unjudged"]
    assert told["reason"] == "TrainingDataChanged"
    assert speaks(told["reason"], told["message"])
    assert [reason for reason, _ in hall.events] == ["TrainingDataChanged"]
    assert hall.condition()["status"] == "True", "the gate itself is as it should be"
    assert hall.condition()["reason"] == "NoneJudged"
    assert speaks("NoneJudged", hall.condition()["message"])
    assert hall.condition()["message"].endswith("says of first.")
    hall.put(with_digest(hall, "train", "1"))
    hall.look()
    assert names(hall) == ["first"]
    assert hall.status.get("unjudged", []) == []


def test_a_data_set_that_is_gone_keeps_a_run_from_being_judged() -> None:
    hall = Hall(succeeded())
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    found["spec"]["data"]["sets"] = [item for item in found["spec"]["data"]["sets"] if item["name"] != "test"]
    hall.put(found)
    hall.look()
    assert hall.condition()["reason"] == "UnknownDataset"


def sets(**changes: Any) -> list[builders.Object]:
    return [item | changes.get(item["name"], {}) for item in builders.project_spec()["data"]["sets"]]


SUITE = {"name": "held-out", "dataset": "test", "type": "HeldOut"}
GOOD = {"name": "good", "suite": "held-out", "metric": "f1_macro", "min": 0.8}


@pytest.mark.parametrize(
    ("gate", "data", "reason", "words"),
    [
        ({"suites": [SUITE | {"dataset": "none"}]}, {}, "UnknownDataset", "it has test, train, valid"),
        ({"suites": [SUITE | {"dataset": "valid"}]}, {}, "WrongSplit", "has split Validation"),
        ({"suites": [SUITE | {"type": "Adversarial"}]}, {}, "WrongSplit", "split Adversarial"),
        ({"suites": [SUITE | {"type": "Canary"}]}, {"test": {"split": "Canary"}}, "CanarySize", "150 rows"),
        (
            {"suites": [SUITE | {"task": "arc_easy"}]},
            {},
            "WrongSplit",
            "a suite with a task takes a data set of split Benchmark",
        ),
        ({"suites": [SUITE]}, {"test": {"split": "Benchmark"}}, "WrongSplit", "has split Benchmark"),
        (
            {"suites": [SUITE | {"task": "arc_easy"}], "criteria": [GOOD | {"metric": "acc", "label": "billing"}]},
            {"test": {"split": "Benchmark"}},
            "LabelUnsuited",
            "no metric of one label",
        ),
        (
            {"suites": [SUITE | {"task": "arc_easy"}], "criteria": [GOOD | {"metric": "acc", "min": 0.0}]},
            {"test": {"split": "Benchmark"}},
            "BoundIdle",
            "holds of every model",
        ),
        ({"criteria": [GOOD | {"metric": "bleu"}]}, {}, "UnknownMetric", "accuracy"),
        ({"criteria": [GOOD | {"label": "billing"}]}, {}, "LabelUnsuited", "recall"),
        ({"criteria": [GOOD | {"metric": "recall", "label": "lost"}]}, {}, "UnknownLabel", "billing, delivery"),
        ({"criteria": [GOOD | {"min": 80.0}]}, {}, "BoundImpossible", "from 0 to 1"),
        ({"criteria": [GOOD | {"min": 0.0}]}, {}, "BoundIdle", "holds of every model"),
        ({"criteria": [AGAINST | {"minGain": {"absolute": 5.0}}]}, {}, "BoundImpossible", "minGain.absolute: 5"),
    ],
)
def test_what_does_not_go_with_the_project_is_told_before_any_pod_starts(
    gate: builders.Object, data: builders.Object, reason: str, words: str
) -> None:
    hall = Hall(succeeded(), **gate)
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    found["spec"]["data"]["sets"] = sets(**data)
    hall.put(found)
    hall.look()
    assert hall.evaluations == []
    told = hall.condition()
    assert (hall.status["phase"], told["reason"], told["status"]) == ("Incomplete", reason, "False")
    assert hall.condition("Stalled")["status"] == "True"
    assert words in told["message"]
    assert speaks(reason, told["message"])
    assert hall.events == [(reason, told["message"])]


@pytest.mark.parametrize(("rows", "fits"), [(9, False), (10, True), (20, True), (21, False)])
def test_a_canary_is_what_people_read_one_by_one(rows: int, fits: bool) -> None:
    hall = Hall(succeeded(), project_with_canary(), **reviewed_spec())
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    [canary] = [item for item in found["status"]["datasets"] if item["name"] == "canary"]
    canary["examples"] = rows
    hall.put(found)
    hall.look()
    assert (hall.condition()["reason"] != "CanarySize") == fits


ARC = {"suites": [SUITE | {"task": "arc_easy"}], "criteria": [GOOD | {"metric": "acc_norm"}]}


def of_a_task(**changes: Any) -> Hall:
    hall = Hall(succeeded(), **ARC | changes)
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    found["spec"]["data"]["sets"] = sets(test={"split": "Benchmark"})
    hall.put(found)
    return hall


def test_a_suite_may_be_a_task_whose_name_and_version_are_in_the_key() -> None:
    hall, other = of_a_task(), of_a_task(suites=[SUITE | {"task": "arc_challenge"}])
    for each in (hall, other):
        each.look()
    evaluation = Evaluation.model_validate(hall.evaluations[0])
    assert evaluation.spec.suites[0].task == "arc_easy"
    job = document.job(evaluation, project(hall), 2)
    columns = TaskDocuments(task="arc_easy", lm_eval=LM_EVAL)
    assert (job.inputs.suites[0].columns, job.datasets[0].columns) == (columns, columns)
    assert other.evaluations[0]["spec"]["key"] != evaluation.spec.key


def test_an_evaluation_of_a_task_whose_data_set_became_one_of_rows_is_over() -> None:
    hall = of_a_task()
    hall.look()
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    found["spec"]["data"]["sets"] = sets()
    hall.put(found)
    with pytest.raises(document.Changed, match="the split of data set 'test'"):
        document.job(Evaluation.model_validate(hall.evaluations[0]), project(hall), 2)


def test_a_task_is_asked_of_decoders_alone() -> None:
    hall = of_a_task()
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    found["spec"]["problem"]["architecture"] = "Encoder"
    for prompt in found["spec"]["prompts"]:
        prompt.pop("system", None)
    hall.put(found)
    hall.look()
    assert hall.condition()["reason"] == "TaskUnsuited"
    assert speaks("TaskUnsuited", hall.condition()["message"])


def test_a_task_is_asked_by_transformers_alone() -> None:
    hall = of_a_task()
    found = copy.deepcopy(hall.get("TransformerProject", "desk"))
    found["spec"]["inference"]["engine"] = "vLLM"
    hall.put(found)
    hall.look()
    assert hall.condition()["reason"] == "TaskUnsuited"
    assert "vLLM" in hall.condition()["message"]
    assert speaks("TaskUnsuited", hall.condition()["message"])


def test_a_gate_waits_for_its_project() -> None:
    hall = Hall(succeeded())
    hall.remove("TransformerProject", "desk")
    hall.look()
    assert hall.condition()["reason"] == "ProjectMissing"
    assert "the gate judges its candidates then" in hall.condition()["message"]
    assert (hall.status["phase"], hall.condition("Reconciling")["status"]) == ("Blocked", "True")
    found = builders.ready_project()
    found["metadata"]["uid"] = "another"
    found["status"]["conditions"][0]["status"] = "False"
    hall.put(found)
    hall.look()
    assert hall.condition()["reason"] == "ProjectNotReady"
    hall.put(builders.ready_project() | {"metadata": found["metadata"]})
    hall.look()
    assert names(hall) == ["first"]


def test_what_is_being_judged_goes_on_while_the_gate_is_blocked() -> None:
    hall = Hall(succeeded())
    hall.look()
    hall.change("EvalGate", "good", criteria=[GOOD | {"metric": "bleu"}])
    hall.look()
    assert hall.status["phase"] == "Incomplete"
    assert len(hall.status["judging"]) == 1


def test_what_an_operator_told_and_did_not_live_to_make_is_told_once() -> None:
    hall = Hall(succeeded("first", 1), succeeded("second", 2), maxConcurrent=2)
    hall.look()
    [made, other] = (item["metadata"]["name"] for item in hall.evaluations)
    hall.remove("Evaluation", made)
    hall.decide(other)
    hall.look()
    assert {item["metadata"]["name"] for item in hall.evaluations} == {made, other}
    assert sum(made in message for _, message in hall.events) == 1


def test_an_evaluation_that_somebody_deletes_is_made_again() -> None:
    hall = Hall(succeeded())
    hall.look()
    name = hall.evaluations[0]["metadata"]["name"]
    hall.decide(name, "Error")
    hall.look()
    hall.remove("Evaluation", name)
    hall.look()
    assert [item["metadata"]["name"] for item in hall.evaluations] == [name]
    assert "status" not in hall.get("Evaluation", name)


def test_a_name_that_something_else_has_is_told() -> None:
    hall = Hall(succeeded())
    hall.look()
    [made] = hall.evaluations
    made["spec"]["key"] = builders.digest("e")
    hall.put(made)
    hall.look()
    [told] = hall.status["unjudged"]
    assert told["reason"] == "NameTaken"
    assert speaks(told["reason"], told["message"])


def test_a_run_that_a_later_version_wrote_is_told() -> None:
    run = succeeded()
    run["spec"]["purpose"] = "Later"
    hall = Hall(run)
    hall.look()
    [told] = hall.status["unjudged"]
    assert told["reason"] == "RunUnknown"
    assert speaks(told["reason"], told["message"])


def test_retention_leaves_the_artifact_of_what_is_judged() -> None:
    run = succeeded()
    hall = Hall(run)
    hall.look()
    hall.remove("FineTuneRun", "first")
    named = retention.named(hall.cache.everything())
    assert run["status"]["artifact"]["digest"].removeprefix("sha256:")[:12] in named
    assert run["status"]["inputs"]["digest"].removeprefix("sha256:")[:12] in named
    hall.remove("Evaluation", hall.evaluations[0]["metadata"]["name"])
    assert run["status"]["artifact"]["digest"].removeprefix("sha256:")[:12] not in retention.named(
        hall.cache.everything()
    )


def test_a_gate_of_500_evaluations_has_a_small_status() -> None:
    hall = Hall(*(succeeded(f"run-{number:03}", number) for number in range(1, 51)), newest=50, maxConcurrent=8)
    hall.look()
    [first, *_] = hall.evaluations
    for number in range(492):
        made = copy.deepcopy(first)
        made["metadata"] |= {"name": f"good-{number:012x}", "uid": f"uid-{number}"}
        made["status"] = {"phase": "Decided", "verdict": "Failed", "completionTime": builders.CREATED}
        hall.put(made)
    hall.look()
    assert len(hall.evaluations) == 500
    size = len(json.dumps(hall.status))
    print(f"\nstatus of a gate with 500 Evaluations: {size} bytes; spec of one: {len(json.dumps(first['spec']))} bytes")
    assert hall.status["verdicts"]["failed"] == 492
    assert size < 4000


def test_an_evaluation_that_is_held_up_is_named() -> None:
    hall = Hall(succeeded())
    hall.look()
    [made] = hall.evaluations
    told = hall.condition()["message"]
    for reason in ("Starting", "Unschedulable", "Retrying", "PodRefused", "PodMissing"):
        before = hall.get("Evaluation", made["metadata"]["name"])
        conditions = [{"type": "Ready", "status": "False", "reason": reason, "message": "So it is."}]
        after = before | {"status": {"phase": "Pending", "conditions": conditions}}
        woken = neighbours.wakes(key_of(after), hall.cache, before, after)
        hall.put(after)
        hall.look()
        name = made["metadata"]["name"]
        held = f" Evaluation {name} waits ({reason}), see its message." if reason[0] in "UP" else ""
        assert hall.condition()["message"] == told + held
        assert (key_of(hall.gate) in woken) is (reason != "Starting")
    hall.decide(name)
    hall.look()
    assert "waits" not in hall.condition()["message"]
