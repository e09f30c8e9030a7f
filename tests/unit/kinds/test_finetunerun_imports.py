"""A run that imports what was made elsewhere: what is fixed, what its pod is told, and what becomes of it."""

import json
from typing import Any

import pytest

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.progress import DEADLINE_VARIABLE
from stagecoach.kinds.finetunerun.inputs import freeze
from tests import builders
from tests.unit.kinds.test_finetunerun import env_of, start, world

IMPORT = {"type": "Import", "uri": "pvc://made/adapter", "digest": builders.digest("a")}
TRAINED_ON: dict[str, Any] = {"trainedOn": [{"name": "train"}]}


def importing(**changes: Any) -> builders.Object:
    run = builders.run(method=IMPORT | changes)
    del run["spec"]["data"], run["spec"]["hyperparameters"]
    return run


def report(method: str = "LoRA", adopted: bool = False) -> builders.Object:
    found = builders.artifact_report(adopted)
    found["artifact"] |= {"method": method}
    del found["artifact"]["evalLoss"]
    return found


def test_an_import_that_goes_well() -> None:
    here = world(importing(**TRAINED_ON))
    start(here)
    assert (here.status["phase"], here.condition("Servable")) == ("Running", {}), "nobody knows yet what it is"
    assert "imports" in here.condition("Ready")["message"]
    [job] = here.job_objects.values()
    told = {item["name"]: item["value"] for item in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert told[DEADLINE_VARIABLE] == "1800"
    document = json.loads(env_of(job))
    assert (document["kind"], document["source"]) == ("Import", {"uri": "pvc://made/adapter"})
    assert document["inputs"]["method"] == {
        "type": "Import",
        "source": builders.digest("a"),
        "trainedOn": [builders.digest("1")],
    }
    assert [item["name"] for item in document["trainedOn"]] == ["train"]
    assert document["labelsFrom"]["digest"] == builders.digest("1")
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in job["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert sorted(claims) == ["made", "models", "store"]
    here.end_pods(report())
    here.reconcile()
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Succeeded", "Imported")
    assert here.condition("Ready")["message"] == "Adapter 777777777777 was imported."
    assert (here.condition("Servable")["status"], here.condition("Servable")["reason"]) == ("True", "Adapter")
    assert "cost" not in here.status
    assert here.status["inputs"]["source"] == builders.digest("a")
    assert here.status["inputs"]["trainedOn"] == [{"name": "train", "digest": builders.digest("1")}]
    assert here.status_writes == 3


def test_what_cannot_be_served_is_said_once_it_is_known() -> None:
    here = world(importing())
    start(here)
    here.end_pods(report("PTuning"))
    here.reconcile()
    assert here.condition("Servable")["reason"] == "PromptLearning"
    assert "trainedOn" not in here.status["inputs"], "unknown"


def test_of_a_method_of_later_nothing_is_claimed() -> None:
    here = world(importing())
    start(here)
    here.end_pods(report("VeRA"))
    here.reconcile()
    condition = here.condition("Servable")
    assert (here.status["phase"], condition["status"], condition["reason"]) == ("Succeeded", "Unknown", "MethodUnknown")


def test_an_import_that_was_done_before_is_adopted() -> None:
    here = world(importing(), builders.ready_project(records=True))
    start(here)
    here.end_pods(report(adopted=True))
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Adopted"
    assert here.condition("Servable")["reason"] == "Adapter"


REFUSED = [
    ({"trainedOn": [{"name": "test"}]}, "Failed", "TestSplitUsed", "spec.method.trainedOn[test]"),
    ({"trainedOn": [{"name": "valid"}]}, "Failed", "WrongSplit", "spec.method.trainedOn[valid]"),
    ({"trainedOn": [{"name": "more"}]}, "Blocked", "UnknownDataset", "it has test, train, valid"),
]


@pytest.mark.parametrize(("changes", "phase", "reason", "words"), REFUSED)
def test_what_it_was_trained_on_has_to_be_training_data(changes: Any, phase: str, reason: str, words: str) -> None:
    here = world(importing(**changes))
    here.reconcile()
    assert (here.status["phase"], here.condition("Ready")["reason"]) == (phase, reason)
    assert words in here.condition("Ready")["message"]


def test_what_is_in_the_folder_decides_and_not_its_place() -> None:
    def digest(project: builders.Object | None = None, **changes: Any) -> str:
        parsed = TransformerProject.model_validate(project or builders.ready_project())
        return freeze(FineTuneRun.model_validate(builders.stored(importing(**changes))), parsed, "image").digest

    other = builders.ready_project()
    other["status"]["candidates"][0]["model"] = builders.digest("b")
    assert digest() == digest(uri="s3://lake/elsewhere")
    labels: list[dict[str, Any]] = [{"labels": ["billing", "delivery"]}, {"labels": ["delivery", "billing"]}]
    different = [{"digest": builders.digest("b")}, TRAINED_ON, *labels]
    assert len({digest(), digest(other), *(digest(**changes) for changes in different)}) == 6


def with_label_column(project: builders.Object, name: str) -> builders.Object:
    project["spec"]["data"]["sets"][0]["columns"] = {"label": name}
    return project


def test_the_columns_of_the_labels_decide() -> None:
    def digest(project: builders.Object) -> str:
        parsed = TransformerProject.model_validate(project)
        return freeze(FineTuneRun.model_validate(builders.stored(importing())), parsed, "image").digest

    plain = builders.ready_project()
    intents, teams = (with_label_column(builders.ready_project(), name) for name in ("intent", "team"))
    assert len({digest(plain), digest(intents), digest(teams)}) == 3, "each takes other labels from the same file"
    given, elsewhere = builders.ready_project(), with_label_column(builders.ready_project(), "intent")
    for project in (given, elsewhere):
        project["spec"]["problem"]["labels"] = {"values": ["billing", "delivery"]}
    assert digest(given) == digest(elsewhere), "no column decides labels that are given"


def test_a_change_of_the_columns_of_the_labels_ends_the_run() -> None:
    here = world(importing())
    here.reconcile()
    here.project = with_label_column(builders.ready_project(), "team")
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ProjectChanged"
    assert "columns" in here.condition("Ready")["message"]


def test_what_lies_in_a_hub_is_read_at_the_commit_that_was_resolved() -> None:
    project, commit = builders.ready_project(), "c" * 40
    project["spec"]["data"]["sets"][0] |= {
        "uri": "hf://datasets/desk/cards",
        "hub": {"revision": "main", "split": "train"},
    }
    project["status"]["datasets"][0]["revision"] = commit
    here = world(importing(**TRAINED_ON), project)
    start(here)
    assert here.status["inputs"]["labelsRevision"] == commit
    [job] = here.job_objects.values()
    document = json.loads(env_of(job))
    for source in (document["labelsFrom"], *document["trainedOn"]):
        assert (source["revision"], source["hub"]) == (commit, {"split": "train"})


def test_out_of_memory_is_told_without_words_of_training() -> None:
    here = world(importing())
    start(here)
    here.end_pods({"outcome": "OutOfMemory", "problem": {"reason": "OutOfMemory", "message": "killed."}}, 70)
    here.reconcile()
    message = here.condition("Ready")["message"]
    assert "raise resources.memory" in message
    assert "perDeviceBatchSize" not in message


def test_a_base_of_any_family_takes_an_import() -> None:
    project = builders.ready_project()
    project["spec"]["problem"] |= {"architecture": "Encoder"}
    here = world(importing(), project)
    start(here)
    here.end_pods(report("LoRA"))
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
