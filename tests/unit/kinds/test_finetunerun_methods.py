"""What a run's method becomes, and what is said about it before anything is trained."""

import json
from typing import Any

import pytest

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.methods import Method, MethodType
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.digests import digest_of_document
from stagecoach.kinds.finetunerun import methods
from stagecoach.kinds.finetunerun.inputs import freeze, run_inputs
from stagecoach.kinds.transformerproject.reconcile import resolve_job
from tests import builders
from tests.unit.kinds.test_finetunerun import env_of, start, world
from tests.unit.kinds.world import World

NAMES = {"names": ["v_proj", "down_proj"]}
FROZEN = [
    ({"type": "LoRA"}, {"type": "LoRA", "rank": 16, "alpha": 32, "dropout": 0.0, "targetModules": "all-linear"}),
    ({"type": "LoRA", "targetModules": {"preset": "all-linear"}, "dropout": 0.1}, {"type": "LoRA", "rank": 16, "alpha": 32, "dropout": 0.1, "targetModules": "all-linear"}),
    ({"type": "RsLoRA", "rank": 64, "targetModules": NAMES}, {"type": "RsLoRA", "rank": 64, "alpha": 32, "dropout": 0.0, "targetModules": ["down_proj", "v_proj"]}),
    ({"type": "DoRA", "alpha": 8}, {"type": "DoRA", "rank": 16, "alpha": 8, "dropout": 0.0, "targetModules": "all-linear"}),
    ({"type": "QLoRA"}, {"type": "QLoRA", "rank": 16, "alpha": 32, "dropout": 0.0, "targetModules": "all-linear"}),
    ({"type": "QLoRA", "rank": 8, "targetModules": NAMES}, {"type": "QLoRA", "rank": 8, "alpha": 32, "dropout": 0.0, "targetModules": ["down_proj", "v_proj"]}),
    ({"type": "IA3"}, {"type": "IA3"}),
    ({"type": "IA3", "targetModules": NAMES, "feedforwardModules": ["down_proj"]}, {"type": "IA3", "targetModules": ["down_proj", "v_proj"], "feedforwardModules": ["down_proj"]}),
    ({"type": "PrefixTuning"}, {"type": "PrefixTuning", "virtualTokens": 20}),
    ({"type": "PromptTuning", "virtualTokens": 8, "initText": "Which?"}, {"type": "PromptTuning", "virtualTokens": 8, "initText": "Which?"}),
    ({"type": "PTuning"}, {"type": "PTuning", "virtualTokens": 20, "encoderHiddenSize": 128}),
    ({"type": "Full"}, {"type": "Full"}),
    ({"type": "Full", "freeze": {"embeddings": False}}, {"type": "Full"}),
    ({"type": "Full", "freeze": {"layers": 6}}, {"type": "Full", "freeze": {"embeddings": False, "layers": 6}}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), FROZEN)
def test_a_method_is_frozen_with_the_defaults_of_its_type(given: Any, expected: Any) -> None:
    assert methods.method(Method.model_validate(given)).document() == expected


def test_every_type_can_be_frozen() -> None:
    trained = [kind for kind in MethodType if kind is not MethodType.IMPORT]
    frozen = {methods.method(Method(type=kind)).type for kind in trained}
    assert frozen == {kind.value for kind in trained}


def encoder_project() -> builders.Object:
    project = builders.ready_project()
    project["spec"]["problem"] |= {"architecture": "Encoder"}
    project["status"]["candidates"][0]["architecture"] = "BertForMaskedLM"
    return project


def tagging_project(**columns: str) -> builders.Object:
    project = encoder_project()
    project["spec"]["problem"] |= {"task": "TokenClassification"}
    for dataset in project["spec"]["data"]["sets"]:
        dataset["columns"] = columns
    return project


def rewriting_project() -> builders.Object:
    project = builders.ready_project()
    project["spec"]["problem"] |= {"architecture": "EncoderDecoder", "task": "Summarization"}
    del project["spec"]["problem"]["labels"]
    del project["status"]["labels"]
    project["status"]["candidates"][0]["architecture"] = "T5ForConditionalGeneration"
    return project


def frozen_inputs(run: builders.Object, project: builders.Object) -> Any:
    parsed = FineTuneRun.model_validate(builders.stored(run)), TransformerProject.model_validate(project)
    return run_inputs(*parsed, freeze(*parsed, builders.IMAGE))


def test_what_there_was_before_keeps_its_digest() -> None:
    """Records of runs, and resolutions of projects, from before there was a choice are found again."""
    run, project = builders.run(), builders.ready_project()
    expected = "sha256:7a266cae77fd84bd1c2b24b9b199ade474505fbcf3babe29cb417ec192682338"
    assert frozen_inputs(run, project).digest == expected
    run["spec"]["hyperparameters"] |= {"gradientCheckpointing": False, "classWeights": "none"}
    run["spec"]["method"] |= {"dropout": 0.0, "targetModules": {"preset": "all-linear"}}
    assert frozen_inputs(run, project).digest == expected, "a default that is written out changes nothing"
    resolving = resolve_job(TransformerProject.model_validate(project)).document()
    assert digest_of_document(resolving) == "sha256:20a5b82ac1efc9ec23732b7fe9b18338409db0e757e8b922eb1f3914be87a959"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, {"tokens": "tokens", "tags": "tags"}),
        ({"tags": "ner"}, {"tokens": "tokens", "tags": "ner"}),
        ({"text": "body"}, {"text": "body", "spans": "spans"}),
        ({"spans": "marks"}, {"text": "text", "spans": "marks"}),
    ],
)
def test_columns_of_tags(columns: dict[str, str], expected: dict[str, str]) -> None:
    inputs = frozen_inputs(builders.run(), tagging_project(**columns))
    assert inputs.tags
    assert inputs.train[0].columns.document() == expected
    assert inputs.tokenization.max_target_length is None
    assert inputs.labels is not None


def test_what_is_new_decides_the_digest() -> None:
    changes: list[builders.Object] = [
        {"method": {"type": "RsLoRA", "rank": 8, "alpha": 16}},
        {"hyperparameters": {"learningRate": 1.0e-3, "epochs": 1, "gradientCheckpointing": True}},
    ]
    found = {frozen_inputs(builders.run(**change), builders.ready_project()).digest for change in ({}, *changes)}
    found.add(frozen_inputs(builders.run(), encoder_project()).digest)
    weighted = builders.run(hyperparameters={"learningRate": 1.0e-3, "epochs": 1, "classWeights": "balanced"})
    found.add(frozen_inputs(weighted, encoder_project()).digest)
    assert len(found) == 5


def test_an_encoder_is_told_to_the_trainer() -> None:
    project = encoder_project()
    assert resolve_job(TransformerProject.model_validate(project)).document()["architecture"] == "Encoder"
    here = world(project=project)
    start(here)
    [job] = here.job_objects.values()
    assert json.loads(env_of(job))["inputs"]["architecture"] == "Encoder"


def test_an_encoder_decoder_is_told_to_the_trainer_without_labels() -> None:
    here = world(project=rewriting_project())
    start(here)
    [job] = here.job_objects.values()
    inputs = json.loads(env_of(job))["inputs"]
    assert (inputs["architecture"], inputs["task"]) == ("EncoderDecoder", "Summarization")
    assert "labels" not in inputs
    assert inputs["train"][0]["columns"] == {"input": "input", "target": "target"}


BALANCED = {"learningRate": 1.0e-3, "epochs": 1, "classWeights": "balanced"}
UNSUITED = [
    (
        builders.run(method={"type": "PrefixTuning"}),
        encoder_project(),
        "spec.method.type: PrefixTuning is for decoders",
    ),
    (builders.run(method={"type": "IA3"}), encoder_project(), "one of LoRA, RsLoRA, DoRA, Full"),
    (builders.run(hyperparameters=BALANCED), builders.ready_project(), "spec.hyperparameters.classWeights"),
    (
        builders.run(resources={"nodes": 2, "sharding": "Full"}),
        encoder_project(),
        "spec.resources.sharding: Full is for decoders, and the project's problem.architecture is Encoder",
    ),
    (builders.run(resources={"nodes": 2, "sharding": "Full"}), rewriting_project(), "spec.resources.sharding"),
    (
        builders.run(method={"type": "PTuning"}),
        rewriting_project(),
        "PTuning is for decoders, and the project's problem.architecture is EncoderDecoder",
    ),
    (builders.run(method={"type": "IA3"}), rewriting_project(), "one of LoRA, RsLoRA, DoRA, QLoRA, Full"),
    (
        builders.run(method={"type": "QLoRA"}),
        encoder_project(),
        "QLoRA is for decoders and encoder-decoders, and the project's problem.architecture is Encoder. Create the run"
        " with one of LoRA, RsLoRA, DoRA, Full.",
    ),
    (builders.run(method={"type": "QLoRA"}), tagging_project(), "Create the run with one of LoRA, RsLoRA, DoRA, Full."),
    (builders.run(hyperparameters=BALANCED), rewriting_project(), "EncoderDecoder writes texts and has no"),
]


@pytest.mark.parametrize(("run", "project", "words"), UNSUITED)
def test_what_does_not_go_with_the_architecture_ends_the_run(
    run: builders.Object, project: builders.Object, words: str
) -> None:
    here = world(run, project)
    here.reconcile()
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Failed", "MethodUnsuited")
    assert words in here.condition("Ready")["message"]
    assert not here.job_objects


def servable(here: World) -> tuple[str, str]:
    condition = here.condition("Servable")
    return condition["status"], condition["reason"]


@pytest.mark.parametrize(
    ("run", "project", "expected"),
    [
        (builders.run(), builders.ready_project(), ("True", "Adapter")),
        (builders.run(method={"type": "QLoRA"}), builders.ready_project(), ("True", "Adapter")),
        (builders.run(method={"type": "PTuning"}), builders.ready_project(), ("False", "PromptLearning")),
        (builders.run(method={"type": "Full"}), encoder_project(), ("True", "WholeModel")),
        (builders.run(), encoder_project(), ("False", "NeedsMerging")),
        (builders.run(method={"type": "Full"}), tagging_project(), ("False", "TaskUnproven")),
        (builders.run(), rewriting_project(), ("False", "ArchitectureNotServed")),
    ],
)
def test_whether_it_can_be_served_is_said_before_a_pod_starts_and_stops_nothing(
    run: builders.Object, project: builders.Object, expected: tuple[str, str]
) -> None:
    here = world(run, project)
    here.reconcile()
    assert (servable(here), here.job_objects) == (expected, {})
    since = here.condition("Servable")["lastTransitionTime"]
    here.wait(5)
    start(here)
    assert (here.status["phase"], servable(here)) == ("Running", expected)
    here.end_pods(builders.artifact_report())
    here.reconcile()
    assert (here.status["phase"], servable(here)) == ("Succeeded", expected)
    assert here.condition("Servable")["lastTransitionTime"] == since


def test_a_whole_model_is_told_as_one() -> None:
    here = world(builders.run(method={"type": "Full"}))
    start(here)
    report = builders.artifact_report()
    report["artifact"]["type"] = "Model"
    here.end_pods(report)
    here.reconcile()
    assert here.status["artifact"]["type"] == "Model"
    assert here.condition("Ready")["message"].startswith("Model 777777777777 was trained")


def with_lengths(*accepted: str, **lengths: int) -> builders.Object:
    """Return a project, of a base with a context of 2048, whose task writes if it has a target's length."""
    project = builders.ready_project()
    project["spec"]["tokenization"] |= lengths
    project["spec"]["accepted"] = [{"finding": code, "reason": "r", "by": "b"} for code in accepted]
    if "maxTargetLength" in lengths:
        project["spec"]["problem"] |= {"task": "Generation"}
        del project["spec"]["problem"]["labels"], project["status"]["labels"]
    return project


VIRTUAL = {"type": "PromptTuning", "virtualTokens": 8}


@pytest.mark.parametrize(
    ("method", "project", "words"),
    [
        ({"type": "PrefixTuning"}, with_lengths(maxLength=2028), None),
        ({"type": "PrefixTuning"}, with_lengths(maxLength=2029), "virtualTokens: 20: with the project's tokenization.maxLength 2029 these are 2049 tokens"),
        (VIRTUAL, with_lengths(maxLength=2000, maxTargetLength=40), None),
        (VIRTUAL, with_lengths(maxLength=2000, maxTargetLength=41), "maxLength 2000 and maxTargetLength 41 these are 2049 tokens, and small has a context of 2048"),
        (VIRTUAL, with_lengths("LongerThanContext", maxLength=2048), None),
        (VIRTUAL, with_lengths("Leakage", maxLength=2048), "add {finding: LongerThanContext, reason: …, by: …} to its spec.accepted"),
        ({"type": "LoRA"}, with_lengths(maxLength=2048), None),
    ],
)  # fmt: skip
def test_virtual_tokens_take_context(method: Any, project: builders.Object, words: str | None) -> None:
    here = world(builders.run(method=method), project)
    here.reconcile()
    if words is None:
        assert here.status["phase"] == "Queued"
        return
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Blocked", "LongerThanContext")
    assert words in here.condition("Ready")["message"]
    here.project = with_lengths("LongerThanContext", maxLength=128)
    start(here)
    assert here.status["phase"] == "Running"
