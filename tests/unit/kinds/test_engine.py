"""A project that has its models judged by vLLM: what is refused before any pod, what the pod is, and how it ends."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.api.evaluation import Evaluation
from stagecoach.build import engines
from stagecoach.contract import mounts, serving
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from stagecoach.contract.releases import Engine, EngineType, Release
from stagecoach.kinds.controller import Settings
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds import gates
from tests.unit.kinds.gates import Hall, succeeded, world
from tests.unit.kinds.test_evaluation import end, start
from tests.unit.kinds.world import SETTINGS, World

GIB = 1024**3
LOST = {"outcome": "Failed", "problem": {"reason": serving.LOST, "message": "No answer.", "remedy": "See its log."}}


def served(**changes: Any) -> builders.Object:
    """Return the default project, ready, with the engine vLLM."""
    project = builders.ready_project()
    project["spec"]["inference"]["engine"] = "vLLM"
    project["spec"] |= changes
    return project


def hall(*objects: builders.Object, **gate: Any) -> Hall:
    here = Hall(*objects, **gate)
    here.put(served())
    return here


def evaluation(**gate: Any) -> builders.Object:
    here = hall(succeeded(), **gate)
    here.look()
    [made] = here.evaluations
    return made


def running(**gate: Any) -> World:
    return start(world(evaluation(**gate), served()))


def pod_of(here: World) -> builders.Object:
    [job] = here.job_objects.values()
    pod: builders.Object = job["spec"]["template"]["spec"]
    return pod


def test_the_evaluation_says_what_answers() -> None:
    by_vllm = Evaluation.model_validate(evaluation())
    plain = Hall(succeeded())
    plain.look()
    by_transformers = Evaluation.model_validate(plain.evaluations[0])
    assert by_vllm.spec.engine_image == builders.ENGINE_IMAGE
    release = by_vllm.spec.release
    engine = Engine(type=EngineType.VLLM)
    assert release.digest == Release(asked=release.asked, artifact=release.artifact, engine=engine).digest
    assert release.digest != by_transformers.spec.release.digest, "another engine is another release"
    written = plain.evaluations[0]["spec"]
    assert "engine" not in written["release"], "what was judged before is named as it was"
    assert "engineImage" not in written


def test_the_baseline_is_asked_by_the_same_engine() -> None:
    criterion = {"name": "worth", "suite": "held-out", "metric": "f1_macro", "against": "Baseline"}
    made = Evaluation.model_validate(evaluation(criteria=[criterion | {"minGain": {"absolute": 0.05}}]))
    assert made.spec.baseline
    engine = Engine(type=EngineType.VLLM)
    assert made.spec.baseline.digest == Release(asked=made.spec.baseline.asked, artifact=None, engine=engine).digest


@pytest.mark.parametrize(
    ("gpus", "settings", "value"),
    [
        (0, replace(SETTINGS, engine_cpu_image=""), "engineCpu.image"),
        (1, replace(SETTINGS, engine_image=""), "engine.image"),
    ],
)
def test_an_operator_without_an_engine_says_so(
    monkeypatch: pytest.MonkeyPatch, gpus: int, settings: Settings, value: str
) -> None:
    monkeypatch.setattr(gates, "SETTINGS", settings)
    here = hall(succeeded(), resources={"gpus": gpus})
    here.look()
    told = here.condition()
    assert (here.status["phase"], told["reason"], here.evaluations) == ("Incomplete", "EngineMissing", [])
    assert speaks(told["reason"], told["message"])
    assert f"resources.gpus is {gpus}" in told["message"]
    assert f"sets {value} in" in told["message"]
    monkeypatch.setattr(gates, "SETTINGS", SETTINGS)
    here.look()
    assert len(here.evaluations) == 1


@pytest.mark.parametrize(
    ("problem", "suited"),
    [
        ({"task": "Classification", "architecture": "Encoder"}, True),
        ({"task": "Embedding", "architecture": "Encoder"}, True),
        ({"task": "TokenClassification", "architecture": "Encoder"}, False),
        ({"task": "Translation", "architecture": "EncoderDecoder"}, False),
    ],
)
def test_what_reads_a_text_is_judged_and_what_tags_or_rewrites_it_is_refused(
    problem: builders.Object, suited: bool
) -> None:
    here = hall(succeeded())
    project = served()
    project["spec"]["problem"] |= problem | {"rationale": "small"}
    here.put(project)
    here.look()
    told = here.condition()
    assert (told["reason"] == "EngineUnsuited") is not suited
    if not suited:
        assert here.evaluations == []
        assert speaks(told["reason"], told["message"])


@pytest.mark.parametrize(
    ("task", "architecture", "against", "suited"),
    [
        ("Embedding", "BertForMaskedLM", True, False),
        ("Embedding", "BertForMaskedLM", False, True),
        ("Embedding", "BertModel", True, True),
        ("Classification", "BertForMaskedLM", True, True),
    ],
)
def test_a_base_that_vllm_makes_no_vectors_by_is_told_before_anything_is_trained(
    task: str, architecture: str, against: bool, suited: bool
) -> None:
    metric = "mrr" if task == "Embedding" else "f1_macro"
    criterion = {"name": "worth", "suite": "held-out", "metric": metric}
    held = {"against": "Baseline", "minGain": {"absolute": 0.05}} if against else {"min": 0.5}
    here = Hall(criteria=[criterion | held])
    project = served()
    project["spec"]["problem"] |= {"task": task, "architecture": "Encoder"}
    project["status"]["candidates"][0]["architecture"] = architecture
    if task == "Embedding":
        del project["spec"]["problem"]["labels"], project["status"]["labels"]
    here.put(project)
    here.look()
    told = here.condition()
    assert (told["reason"] != "EngineUnsuited") is suited, told["message"]
    if not suited:
        assert speaks(told["reason"], told["message"])
        assert architecture in told["message"]


@pytest.mark.parametrize(
    ("method", "architecture", "reason"),
    [
        ({"type": "LoRA"}, "LlamaForCausalLM", None),
        ({"type": "RsLoRA"}, "LlamaForCausalLM", None),
        ({"type": "Full"}, "LlamaForCausalLM", None),
        ({"type": "Full"}, "GPT2LMHeadModel", None),
        ({"type": "LoRA"}, "GPT2LMHeadModel", "NeedsMerging"),
        ({"type": "DoRA"}, "LlamaForCausalLM", "NeedsMerging"),
        ({"type": "IA3"}, "LlamaForCausalLM", "NeedsMerging"),
        ({"type": "PromptTuning"}, "LlamaForCausalLM", "PromptLearning"),
        ({"type": "LoRA"}, "OddForCausalLM", "ArchitectureNotServed"),
    ],
)
@pytest.mark.parametrize("told", [True, False], ids=["the run tells", "an older run"])
def test_what_vllm_does_not_serve_is_not_judged(
    method: builders.Object, architecture: str, reason: str | None, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def candidates(project: builders.Object) -> builders.Object:
        for each in project["status"]["candidates"]:
            each["architecture"] = architecture
        return project

    monkeypatch.setattr(builders, "ready_project", lambda ready=builders.ready_project: candidates(ready()))
    run = succeeded(method=method)
    if not told:
        run["status"]["conditions"] = [item for item in run["status"]["conditions"] if item["type"] != "Servable"]
    here = hall(run)
    here.look()
    assert [item["reason"] for item in here.status.get("unjudged", [])] == ([reason] if reason else [])
    assert len(here.evaluations) == (reason is None)
    for item in here.status.get("unjudged", []):
        assert speaks(item["reason"], item["message"])
        assert "Transformers" in item["message"]


@pytest.mark.parametrize(
    ("method", "architecture", "reason"),
    [
        ({"type": "Full"}, "BertForMaskedLM", None),
        ({"type": "LoRA"}, "BertForMaskedLM", "NeedsMerging"),
        ({"type": "Full"}, "DebertaV2Model", "ArchitectureNotServed"),
    ],
)
def test_what_is_made_of_an_encoder_is_judged_whole(
    method: builders.Object, architecture: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoder(project: builders.Object) -> builders.Object:
        project["spec"]["problem"]["architecture"] = "Encoder"
        for each in project["status"]["candidates"]:
            each["architecture"] = architecture
        return project

    monkeypatch.setattr(builders, "ready_project", lambda ready=builders.ready_project: encoder(ready()))
    here = hall(succeeded(method=method))
    here.look()
    assert [item["reason"] for item in here.status.get("unjudged", [])] == ([reason] if reason else [])
    assert len(here.evaluations) == (reason is None)


def test_of_what_nothing_is_known_nothing_is_judged() -> None:
    run = succeeded()
    run["status"]["conditions"] = [item for item in run["status"]["conditions"] if item["type"] != "Servable"]
    here = hall(run)
    project = served()
    project["status"]["candidates"] = []
    here.put(project)
    here.look()
    [item] = here.status["unjudged"]
    assert (item["reason"], here.evaluations) == ("MethodUnknown", [])
    assert speaks(item["reason"], item["message"])


def test_the_pod_has_the_engine_beside_the_evaluator() -> None:
    pod = pod_of(running())
    [engine], [evaluator] = pod["initContainers"], pod["containers"]
    assert (engine["name"], engine["image"], engine["restartPolicy"]) == ("engine", builders.ENGINE_IMAGE, "Always")
    assert evaluator["name"] == "trainer"
    told = {each["name"]: each["value"] for each in evaluator["env"]}
    job = EvaluateJob.model_validate_json(told[ENVIRONMENT_VARIABLE])
    assert (job.engine_image, job.release.engine.type) == (builders.ENGINE_IMAGE, EngineType.VLLM)
    assert engine["securityContext"] == evaluator["securityContext"]
    assert engine["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    words = engine["command"]
    assert words[:2] == ["sh", "-c"]
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--generation-config") + 1] == "vllm", "a model's own settings change no answer"
    assert "startupProbe" not in engine, "the evaluator starts first: it says what is served"


def test_the_engine_sees_models_alone_and_changes_none() -> None:
    pod = pod_of(running())
    [engine], [evaluator] = pod["initContainers"], pod["containers"]
    seen = {item["mountPath"]: item.get("readOnly", False) for item in engine["volumeMounts"]}
    assert seen == {
        mounts.MODELS: True,
        mounts.ENGINE: False,
        "/dev/shm": False,  # noqa: S108
        mounts.SCRATCH: True,
        mounts.STORAGE: True,
        "/stagecoach/pvc/models": True,
    }
    shared = {item["mountPath"]: item for item in evaluator["volumeMounts"]}
    assert "readOnly" not in shared[mounts.MODELS]
    assert shared[mounts.ENGINE]["readOnly"]
    names = {item["name"] for item in (*engine["volumeMounts"], *evaluator["volumeMounts"])}
    assert names == {item["name"] for item in pod["volumes"]}
    assert {item["name"] for item in engine["env"]} & {ENVIRONMENT_VARIABLE, "STAGECOACH_ACCESS"} == set()


def test_cpus_and_gpus_are_the_engines_and_memory_is_divided() -> None:
    resources = {"cpu": "4", "memory": "16Gi", "gpus": 1, "gpuResource": "amd.com/gpu"}
    pod = pod_of(running(resources=resources))
    [engine], [evaluator] = pod["initContainers"], pod["containers"]
    assert engine["image"] == builders.GPU_ENGINE_IMAGE
    assert engine["resources"]["limits"] == {"memory": str(12 * GIB), "amd.com/gpu": "1"}
    assert engine["resources"]["requests"]["cpu"] == "4"
    assert evaluator["resources"] == {
        "requests": {"cpu": "100m", "memory": str(4 * GIB)},
        "limits": {"memory": str(4 * GIB)},
    }
    assert "--enforce-eager" not in engine["command"]
    assert "--kv-cache-memory-bytes" not in engine["command"]


def test_on_cpus_the_cache_is_a_quarter_of_the_engines_memory() -> None:
    [engine] = pod_of(running(resources={"cpu": "1500m", "memory": "8Gi"}))["initContainers"]
    words = engine["command"]
    assert words[words.index("--kv-cache-memory-bytes") + 1] == str(6 * GIB // 4)
    assert "--enforce-eager" in words
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in engine["env"]


@pytest.mark.parametrize(
    ("memory", "evaluators", "engines_own"),
    [
        ("8Gi", 2 * GIB, 6 * GIB),
        ("4000000000", 10**9, 3 * 10**9),
        ("4G", 10**9, 3 * 10**9),
        ("2048Mi", GIB // 2, 3 * GIB // 2),
        ("4000k", 10**6, 3 * 10**6),
        ("1Ti", 8 * GIB, 1016 * GIB),
    ],
)
def test_shares(memory: str, evaluators: int, engines_own: int) -> None:
    assert engines.shares(memory) == (evaluators, engines_own)


def test_without_an_engine_the_pod_is_as_it_was() -> None:
    pod = pod_of(start(world()))
    assert "initContainers" not in pod
    assert not {"models", "engine"} & {item["name"] for item in pod["volumes"]}


def status(here: World, **engine: Any) -> None:
    """Let the engine be in a state."""
    [pod] = here.pod_objects.values()
    pod["status"]["initContainerStatuses"] = [{"name": "engine", "state": {"running": {}}} | engine]


OUT_OF_MEMORY = {"terminated": {"reason": "OOMKilled"}}


@pytest.mark.parametrize("when", ["state", "lastState"])
def test_an_engine_without_memory_ends_it_and_says_what_to_raise(when: str) -> None:
    here = running()
    here.end_pods(LOST, 70, "Error")
    status(here, **{when: OUT_OF_MEMORY})
    here.reconcile()
    told = here.condition("Ready")
    assert (here.status["verdict"], told["reason"]) == ("Error", "OutOfMemory")
    assert "engine" in told["message"]
    assert "raise spec.resources.memory (8Gi) of EvalGate 'good'" in told["message"]


def test_an_engine_that_was_lost_for_another_reason_is_tried_again() -> None:
    here = running()
    end(here, LOST, 70, "Error")
    assert (here.status["phase"], here.condition("Ready")["reason"], here.status["failures"]) == (
        "Pending",
        "Retrying",
        1,
    )


def test_another_failure_is_not_laid_to_an_engine_that_once_was_short_of_memory() -> None:
    here = running()
    report = {"outcome": "ServiceFailed", "problem": {"reason": "StorageAway", "message": "No route."}}
    here.end_pods(report, 69, "Error")
    status(here, lastState=OUT_OF_MEMORY)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Retrying"


def test_an_image_of_the_engine_that_cannot_be_pulled_is_told() -> None:
    here = world(evaluation(), served())
    here.reconcile()
    here.reconcile()
    here.start_pods()
    [pod] = here.pod_objects.values()
    pod["status"] = {
        "phase": "Pending",
        "initContainerStatuses": [
            {"name": "engine", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
        ],
        "containerStatuses": [{"name": "trainer", "state": {"waiting": {"reason": "PodInitializing"}}}],
    }
    here.reconcile()
    told = here.condition("Ready")
    assert told["reason"] == "ImagePullFailed"
    assert "no such image" in told["message"]


def test_an_upgrade_of_the_operator_changes_no_engine_of_what_has_begun() -> None:
    here = world(evaluation(), served())
    here.stored["spec"]["engineImage"] = "registry.example/vllm@sha256:" + "d" * 64
    start(here)
    assert pod_of(here)["initContainers"][0]["image"] == here.stored["spec"]["engineImage"]


SERVER = """\
#!/bin/sh
while test "$1" != --name; do shift; done
echo "begins $2" >> {log}
trap 'sleep 1; echo "ended $2" >> {log}; exit 0' TERM
while :; do sleep 0.1; done
"""


def test_what_is_served_is_said_once_the_server_of_before_is_gone(tmp_path: Path) -> None:
    """The evaluator takes the last of the starts for what answers."""
    serve, starts, log = tmp_path / "serve", tmp_path / "starts", tmp_path / "log"
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(SERVER.format(log=log))
    python.chmod(0o755)
    script = engines.SCRIPT.replace(serving.SERVE, str(serve)).replace(serving.STARTS, str(starts))

    def tell(line: str) -> None:
        serve.write_text(f"{line}\n")
        deadline = time.monotonic() + 60
        while not (starts.exists() and starts.read_text().splitlines()[-1:] == [line]):
            assert time.monotonic() < deadline, "it was never started"
            time.sleep(0.02)

    path = f"{python.parent}:{os.environ['PATH']}"
    command = ["sh", "-c", script, "engine"]
    with subprocess.Popen(command, env={"PATH": path}, start_new_session=True) as container:
        try:
            tell("--name a --limit 108")
            while not log.exists():
                time.sleep(0.02)
            tell("--name b --limit 64")
            assert log.read_text().splitlines()[:2] == ["begins a", "ended a"]
        finally:
            os.killpg(container.pid, signal.SIGKILL)  # and the servers that it has started
    assert starts.read_text().splitlines() == ["--name a --limit 108", "--name b --limit 64"]
