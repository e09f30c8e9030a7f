"""What a TransformerProject does, case by case."""

import copy
import json
from typing import Any

import pytest

from stagecoach.api.transformerproject import TransformerProject
from stagecoach.kinds.transformerproject.reconcile import CONTROLLER, resolve_job
from tests import builders
from tests.unit.kinds.world import World


def world(**spec: Any) -> World:
    return World(CONTROLLER, builders.stored(builders.project(**spec)))


def resolve(here: World, report: builders.Object | None = None, code: int = 0) -> None:
    here.reconcile()
    here.reconcile()
    here.start_pods()
    here.run_pods()
    here.reconcile()
    here.end_pods(report or {"outcome": "Done", "resolution": builders.resolution()}, code)
    here.reconcile()


def edit(here: World, **spec: Any) -> None:
    stored = here.stored | {"spec": here.stored["spec"] | spec}
    stored["metadata"] = stored["metadata"] | {"generation": stored["metadata"]["generation"] + 1}
    here.stored = stored
    here.history.append(stored)


def test_a_project_is_resolved_with_two_status_writes() -> None:
    here = world()
    resolve(here)
    assert here.status["phase"] == "Ready"
    assert here.status_writes == 2
    assert [item["name"] for item in here.status["datasets"]] == ["train", "valid", "test"]
    assert here.status["storage"] == {"records": False}
    assert "900 examples" in here.condition("Ready")["message"]


def test_the_job_reads_every_source_and_writes_only_the_storage() -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    [job] = here.job_objects.values()
    mounts = {item["mountPath"]: item for item in job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert set(mounts) == {
        "/stagecoach/scratch",
        "/stagecoach/storage",
        "/stagecoach/configmap/desk",
        "/stagecoach/pvc/lake",
        "/stagecoach/pvc/models",
    }
    assert {path for path, mount in mounts.items() if not mount.get("readOnly")} == {
        "/stagecoach/scratch",
        "/stagecoach/storage",
    }
    assert mounts["/stagecoach/storage"]["subPath"] == "desk"


def test_bad_data_is_told_with_the_way_to_look_again() -> None:
    here = world()
    problem = {"reason": "UnknownColumn", "field": "data.sets[train]", "message": "No column.", "remedy": "Name it."}
    resolve(here, {"outcome": "BadInput", "problem": problem}, 64)
    assert here.status["phase"] == "Incomplete"
    assert here.condition("Ready")["reason"] == "UnknownColumn"
    assert "stagecoach.dev/requested-at" in here.condition("Ready")["message"]
    assert here.condition("Stalled")["status"] == "True"
    here.wait(100_000)
    here.reconcile()
    assert len(here.creations) == 1, "bad input is not tried again by itself"


def test_a_resolution_that_needs_too_much_memory_is_told_in_a_projects_words() -> None:
    here = world()
    problem = {"reason": "OutOfMemory", "message": "The kernel killed the work."}
    resolve(here, {"outcome": "OutOfMemory", "problem": problem}, 70)
    assert here.status["phase"] == "Incomplete"
    assert "split the largest data set" in here.condition("Ready")["message"]
    assert "run" not in here.condition("Ready")["message"]


def test_an_annotation_asks_for_another_look() -> None:
    here = world()
    resolve(here)
    stored = here.stored
    stored["metadata"] = stored["metadata"] | {"annotations": {"stagecoach.dev/requested-at": "now"}}
    here.history.append(stored)
    resolve(here)
    assert here.status["resolution"]["number"] == 2
    assert here.status["phase"] == "Ready"


@pytest.mark.parametrize("value", ["", "x" * 300])
def test_an_odd_annotation_asks_once(value: str) -> None:
    here = world()
    here.stored["metadata"]["annotations"] = {"stagecoach.dev/requested-at": value}
    here.history = [here.stored]
    resolve(here)
    writes = here.status_writes
    here.reconcile()
    assert here.status["phase"] == "Ready"
    assert here.status_writes == writes
    assert here.status["resolution"]["number"] == 1


def test_a_storage_or_pod_setting_that_is_mended_is_tried_at_once() -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    edit(here, storage={"uri": "pvc://other/desk"})
    here.reconcile()
    here.reconcile()
    [job] = here.job_objects.values()
    assert "other" in json.dumps(job["spec"]["template"]["spec"]["volumes"])
    edit(here, pods={"nodeSelector": {"pool": "cpu"}})
    here.reconcile()
    here.reconcile()
    [job] = here.job_objects.values()
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {"pool": "cpu"}
    resolve(here)
    edit(here, pods={"nodeSelector": {"pool": "gpu"}})
    here.reconcile()
    assert here.status["phase"] == "Ready", "what is resolved needs no other pod"


def test_a_pod_that_waits_says_that_other_pod_settings_are_tried_at_once() -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    here.start_pods()
    [pod] = here.pod_objects.values()
    taint = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: untolerated taint."}
    pod["status"]["conditions"] = [taint]
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Unschedulable"
    assert "a change of spec.pods is tried at once" in here.condition("Ready")["message"]
    edit(here, pods={"nodeSelector": {"pool": "cpu"}})
    for _ in range(3):
        here.reconcile()
    [job] = here.job_objects.values()
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {"pool": "cpu"}


def test_a_claim_that_is_missing_is_told_with_the_field_that_names_it() -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    here.start_pods()
    [pod] = here.pod_objects.values()
    told = '0/1 nodes are available: persistentvolumeclaim "lake" not found. not found.'
    pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": told}]
    here.reconcile()
    message = here.condition("Ready")["message"]
    assert "Create the claim 'lake', or correct the URI that names it. It is named by data.sets[test].uri." in message
    edit(here, data=builders.project_spec()["data"] | {"sets": builders.project_spec()["data"]["sets"][:2]})
    for _ in range(3):
        here.reconcile()
    [job] = here.job_objects.values()
    assert "lake" not in json.dumps(job["spec"]["template"]["spec"]["volumes"]), "a correction is tried at once"


def test_an_edit_that_mends_nothing_is_seen() -> None:
    here = world()
    problem = {"reason": "UnknownColumn", "message": "No column."}
    resolve(here, {"outcome": "BadInput", "problem": problem}, 64)
    edit(here, owner={"name": "others"})
    here.reconcile()
    assert here.status["observedGeneration"] == 2
    assert here.condition("Ready")["reason"] == "UnknownColumn"
    assert here.condition("Ready")["observedGeneration"] == 2


def test_many_labels_are_cut_in_status() -> None:
    report = builders.resolution()
    report["labels"] |= {"count": 500, "first": [f"label {number}" for number in range(100)]}
    here = world()
    resolve(here, {"outcome": "Done", "resolution": report})
    assert here.status["phase"] == "Ready"
    assert here.status["labels"]["count"] == 500


def test_a_failure_that_may_pass_is_tried_again() -> None:
    here = world()
    problem = {"reason": "StorageAway", "message": "No route."}
    resolve(here, {"outcome": "ServiceFailed", "problem": problem}, 69)
    assert here.status["phase"] == "Resolving"
    assert here.condition("Ready")["reason"] == "StorageAway"
    here.wait(11)
    resolve(here)
    assert here.status["phase"] == "Ready"


def test_findings_block_until_they_are_accepted_and_nothing_is_hashed_again() -> None:
    report = builders.resolution() | {"findings": [{"code": "Leakage", "message": "3 rows of test are in train."}]}
    here = world()
    resolve(here, {"outcome": "Done", "resolution": report})
    assert here.status["phase"] == "Incomplete"
    assert here.condition("Resolved")["status"] == "True"
    message = here.condition("Ready")["message"]
    assert message.startswith("Leakage: 3 rows of test are in train.")
    assert message.endswith("Or accept it: add {finding: Leakage, reason: …, by: …} to spec.accepted.")
    edit(here, accepted=[{"finding": "Leakage", "reason": "Known duplicates.", "by": "ana"}])
    here.reconcile()
    assert here.status["phase"] == "Ready"
    assert here.status["findings"][0]["accepted"] is True
    assert len(here.creations) == 1


def test_what_the_spec_alone_shows_is_found() -> None:
    here = world(
        problem={key: value for key, value in builders.project_spec()["problem"].items() if key != "rationale"},
        candidates=[{"name": "small", "model": {"uri": "pvc://models/small"}}],
    )
    resolve(here)
    assert [item["code"] for item in here.status["findings"]] == ["ArchitectureUnusual", "LicenseUnknown"]


def test_a_changed_spec_is_resolved_anew_and_until_then_not_ready() -> None:
    here = world()
    resolve(here)
    edit(here, tokenization={"maxLength": 64, "overflow": "Reject"})
    here.reconcile()
    assert here.status["phase"] == "Resolving"
    assert here.condition("Ready")["status"] == "False"
    resolve(here)
    assert here.status["phase"] == "Ready"
    assert here.status["observedGeneration"] == 2


def test_a_succeeded_run_makes_lookups_worth_their_while() -> None:
    here = world()
    resolve(here)
    has_runs(here, {"phase": "Succeeded", "inputs": {"storage": "pvc://another/desk"}}, {"phase": "Failed"}, {})
    here.reconcile()
    assert here.status["storage"] == {"records": False}
    has_runs(here, {"phase": "Succeeded", "inputs": {"storage": "pvc://store/desk"}})
    here.reconcile()
    assert here.status["storage"] == {"records": True}
    has_runs(here)
    here.reconcile()
    assert here.status["storage"] == {"records": True}, "the record outlives the run"


def has_runs(here: World, *statuses: builders.Object) -> None:
    runs = [{"kind": "FineTuneRun", "status": each} for each in statuses]
    here.referrers = lambda key: [*runs, {"kind": "EvalGate"}]  # type: ignore[method-assign]  # noqa: ARG005


def test_what_was_known_of_one_storage_is_not_said_of_another() -> None:
    here = world()
    resolve(here, {"outcome": "Done", "resolution": builders.resolution(records=True)})
    assert here.status["storage"] == {"records": True}
    has_runs(here, {"phase": "Succeeded", "inputs": {"storage": "pvc://store/desk"}})
    edit(here, storage={"uri": "pvc://other/desk"})
    here.reconcile()
    assert "storage" not in here.status
    resolve(here)
    assert (here.status["phase"], here.status["storage"]) == ("Ready", {"records": False})


@pytest.mark.parametrize("name", ["{job}-debug", "{job}0", "debug", "desk-r1", "desk-0-r1", "{job}-r1"])
def test_a_job_that_a_person_copied_is_left_alone(name: str) -> None:
    here = world()
    resolve(here)
    [(job, original)] = here.job_objects.items()
    copied = copy.deepcopy(original)
    copied["metadata"]["name"] = name.format(job=job)
    copied.pop("status")
    here.job_objects[copied["metadata"]["name"]] = copied
    edit(here, tokenization={"maxLength": 64, "overflow": "Truncate"})
    resolve(here)
    assert here.status["phase"] == "Ready"
    assert copied["metadata"]["name"] in here.job_objects


def test_an_old_job_is_deleted_at_sight() -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    edit(here, tokenization={"maxLength": 64, "overflow": "Truncate"})
    for _ in range(3):
        here.reconcile()
    assert [name.rpartition("-")[2] for name in here.job_objects] == ["r2"]


def test_a_spec_that_does_not_fit_into_a_job_is_told() -> None:
    labels = {"values": ["€" * 120 + str(number) for number in range(500)]}
    here = world(problem=builders.project_spec()["problem"] | {"labels": labels})
    here.reconcile()
    [event] = here.reconcile().events
    assert here.condition("Ready")["reason"] == event.reason == "SpecTooLarge"
    assert event.warning
    assert not here.job_objects


def test_dollar_signs_in_prompts_reach_the_job_as_they_are() -> None:
    prompts = [{"name": "route", "version": 1, "template": "$(HOME) $$ {text}"}]
    here = world(prompts=prompts)
    here.reconcile()
    here.reconcile()
    [job] = here.job_objects.values()
    [variable] = job["spec"]["template"]["spec"]["containers"][0]["env"]
    # The kubelet turns $$ into $ and would replace $(HOME).
    document = json.loads(variable["value"].replace("$$", "$"))
    assert document["prompt"]["template"] == "$(HOME) $$ {text}"


def writing_spec(**columns: str) -> builders.Object:
    spec = builders.project_spec()
    spec["problem"] = {"statement": "Answer.", "task": "Generation", "architecture": "Decoder"}
    for item in spec["data"]["sets"]:
        item["columns"] = columns
    return spec


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"input": "input", "target": "target"}),
        ({"target": "summary"}, {"input": "input", "target": "summary"}),
        ({"prompt": "q"}, {"prompt": "q", "completion": "completion"}),
        ({"completion": "a"}, {"prompt": "prompt", "completion": "a"}),
        ({"messages": "turns"}, {"messages": "turns"}),
    ],
)
def test_a_task_that_writes_has_columns_and_lengths_of_its_own_and_no_labels(
    given: dict[str, str], told: dict[str, str]
) -> None:
    spec = writing_spec(**given)
    here = world(**spec)
    resolve(here, {"outcome": "Done", "resolution": {**builders.resolution(), "labels": None}})
    assert (here.status["phase"], here.status.get("labels"), here.status["findings"]) == ("Ready", None, [])
    project = TransformerProject.model_validate(here.stored)
    job = resolve_job(project).document()
    assert [item["columns"] for item in job["datasets"]] == [told] * 3
    assert "labels" not in job
    assert job["tokenization"] == {"maxLength": 128, "maxTargetLength": 128, "overflow": "Truncate"}


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        ("Classification", {"stride": 16}, {"stride": 16, "combine": "Mean"}),
        ("Classification", {"stride": 0, "combine": "Max"}, {"stride": 0, "combine": "Max"}),
        ("TokenClassification", {"stride": 16}, {"stride": 16}),
    ],
)
def test_chunks_are_told_with_the_default_of_the_task(task: str, given: dict[str, Any], told: dict[str, Any]) -> None:
    spec = builders.project_spec()
    spec["problem"] |= {"task": task, "architecture": "Encoder"}
    spec["tokenization"] = {"maxLength": 64, "overflow": "Chunk", "chunk": given}
    job = resolve_job(TransformerProject.model_validate(world(**spec).stored)).document()
    assert job["tokenization"] == {"maxLength": 64, "overflow": "Chunk", "chunk": told}


def test_the_labels_of_a_task_that_has_none_any_more_are_gone() -> None:
    here = world()
    resolve(here)
    assert here.status["labels"]["count"] == 2
    spec = writing_spec()
    edit(here, problem=spec["problem"], data=spec["data"])
    resolve(here, {"outcome": "Done", "resolution": {**builders.resolution(), "labels": None}})
    assert "labels" not in here.status


@pytest.mark.parametrize(
    ("task", "architecture", "unusual"),
    [
        ("Generation", "Decoder", False),
        ("Generation", "EncoderDecoder", True),
        ("Summarization", "EncoderDecoder", False),
        ("Translation", "Decoder", False),
    ],
)
def test_what_is_unusual_for_a_task_that_writes(task: str, architecture: str, unusual: bool) -> None:
    spec = writing_spec()
    spec["problem"] |= {"task": task, "architecture": architecture}
    here = world(**spec)
    resolve(here, {"outcome": "Done", "resolution": {**builders.resolution(), "labels": None}})
    assert ["ArchitectureUnusual"] * unusual == [item["code"] for item in here.status["findings"]]
