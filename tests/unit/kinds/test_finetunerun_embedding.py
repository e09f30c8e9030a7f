"""A run of an Embedding: what the trainer is told, and what is said about it before anything is trained."""

import json
from typing import Any

import pytest

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.kinds.finetunerun.inputs import freeze, run_inputs
from stagecoach.kinds.transformerproject.reconcile import resolve_job
from tests import builders
from tests.unit.kinds.test_finetunerun import env_of, start, world
from tests.unit.kinds.test_finetunerun_imports import importing, report

NEGATIVES = {"negative": "n"}


def embedding_project(validation: builders.Object | None = None, **columns: str) -> builders.Object:
    project = builders.ready_project()
    project["spec"]["problem"] |= {"architecture": "Encoder", "task": "Embedding"}
    del project["spec"]["problem"]["labels"]
    del project["status"]["labels"]
    project["spec"]["prompts"][0] |= {"template": "query: {text}", "passageTemplate": "passage: {text}"}
    train, valid = project["spec"]["data"]["sets"][:2]
    train["columns"], valid["columns"] = columns, validation or {}
    project["status"]["candidates"][0]["architecture"] = "BertModel"
    return project


def test_what_the_trainer_is_told() -> None:
    project = TransformerProject.model_validate(embedding_project(query="q", negative="n"))
    run = FineTuneRun.model_validate(builders.stored(builders.run()))
    document = run_inputs(run, project, freeze(run, project, builders.IMAGE)).document()
    assert (document["task"], document["architecture"], "labels" in document) == ("Embedding", "Encoder", False)
    assert document["train"][0]["columns"] == {"query": "q", "positive": "positive", "negative": "n"}
    assert document["validation"][0]["columns"] == {"query": "query", "positive": "positive"}
    assert document["prompt"] == {"template": "query: {text}", "passageTemplate": "passage: {text}"}
    assert "maxTargetLength" not in document["tokenization"]
    resolving = resolve_job(project)
    assert resolving is not None
    assert resolving.embeds
    plain = resolve_job(TransformerProject.model_validate(builders.ready_project()))
    assert plain is not None
    assert not plain.embeds


def settings(**changes: Any) -> builders.Object:
    return builders.run(hyperparameters={"learningRate": 1.0e-3, "epochs": 1} | changes)


@pytest.mark.parametrize(
    ("run", "columns", "reason", "words"),
    [
        (settings(perDeviceBatchSize=1), {}, "BatchTooSmall", "perDeviceBatchSize: 1: the negatives of a query"),
        (settings(perDeviceBatchSize=1, gradientAccumulationSteps=64), {}, "BatchTooSmall", "with 2 or more"),
        (settings(perDeviceBatchSize=1), NEGATIVES, "BatchTooSmall", "a row of valid alone teaches and tells"),
        (settings(classWeights="balanced"), {}, "MethodUnsuited", "classWeights: an Embedding has no labels"),
        (builders.run(method={"type": "IA3"}), {}, "MethodUnsuited", "IA3 is for decoders"),
        (builders.run(method={"type": "QLoRA"}), {}, "MethodUnsuited", "with one of LoRA, RsLoRA, DoRA, Full."),
    ],
)
def test_what_does_not_go_with_it(run: builders.Object, columns: dict[str, Any], reason: str, words: str) -> None:
    here = world(run, embedding_project(**columns))
    here.reconcile()
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Failed", reason)
    assert words in here.condition("Ready")["message"]
    assert here.job_objects == {}


@pytest.mark.parametrize(
    ("run", "columns", "expected"),
    [
        (settings(perDeviceBatchSize=1), {"validation": NEGATIVES, **NEGATIVES}, ("False", "NeedsMerging")),
        (settings(perDeviceBatchSize=2), {}, ("False", "NeedsMerging")),
        (builders.run(method={"type": "Full"}), {}, ("True", "WholeModel")),
    ],
)
def test_what_goes_with_it(run: builders.Object, columns: dict[str, Any], expected: tuple[str, str]) -> None:
    here = world(run, embedding_project(**columns))
    start(here)
    assert here.status["phase"] == "Running"
    servable = here.condition("Servable")
    assert (servable["status"], servable["reason"]) == expected
    assert "embeddings" in servable["message"]


@pytest.mark.parametrize(
    ("method", "kind", "expected"),
    [("Full", "Model", ("True", "WholeModel")), ("LoRA", "Adapter", ("False", "NeedsMerging"))],
)
def test_what_was_made_elsewhere_is_imported(method: str, kind: str, expected: tuple[str, str]) -> None:
    here = world(importing(), embedding_project())
    start(here)
    [job] = here.job_objects.values()
    document = json.loads(env_of(job))
    assert (document["kind"], document["inputs"]["task"]) == ("Import", "Embedding")
    assert not {"labels", "labelColumns"} & document["inputs"].keys()
    found = report(method)
    found["artifact"] |= {"type": kind}
    here.end_pods(found)
    here.reconcile()
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Succeeded", "Imported")
    servable = here.condition("Servable")
    assert (servable["status"], servable["reason"]) == expected
