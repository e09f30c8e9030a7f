"""Objects for tests: the smallest valid ones, to be changed where a test cares."""

from typing import Any, TypeVar

import orjson

from stagecoach.contract.reviews import CanaryRow, CanaryRows

Object = dict[str, Any]
Document = TypeVar("Document")

IMAGE = "registry.example/trainer@sha256:" + "a" * 64
EVALUATOR_IMAGE = "registry.example/evaluator@sha256:" + "b" * 64
# Of vLLM without GPUs, as all of these have it that do not ask for one; and with.
ENGINE_IMAGE = "registry.example/vllm-cpu@sha256:" + "c" * 64
GPU_ENGINE_IMAGE = "registry.example/vllm:v0.32.0"
GATEWAY_IMAGE = "registry.example/gateway@sha256:" + "d" * 64
CREATED = "2026-01-02T03:04:05Z"


def digest(letter: str) -> str:
    """Return a digest that people can tell apart."""
    return "sha256:" + letter * 64


def project_spec() -> Object:
    """Return a spec that resolves, without findings."""
    return {
        "owner": {"name": "support", "contact": "#support"},
        "problem": {
            "statement": "Route a message to the right queue.",
            "task": "Classification",
            "labels": {"fromDataset": "train"},
            "architecture": "Decoder",
            "rationale": "One adapter family for all teams.",
        },
        "data": {
            "sets": [
                {"name": "train", "uri": "configmap://desk/train.csv", "split": "Train"},
                {"name": "valid", "uri": "configmap://desk/valid.csv", "split": "Validation"},
                {"name": "test", "uri": "pvc://lake/desk/test.csv", "split": "Test"},
            ]
        },
        "tokenization": {"maxLength": 128, "overflow": "Truncate"},
        "candidates": [{"name": "small", "model": {"uri": "pvc://models/small"}, "license": "Apache-2.0"}],
        "prompts": [{"name": "route", "version": 1, "template": "Which queue? {text}"}],
        "inference": {"prompt": {"name": "route", "version": 1}},
        "storage": {"uri": "pvc://store/desk"},
    }


def project(name: str = "desk", namespace: str = "team", **changes: Any) -> Object:
    """Return a project as people write it."""
    return {
        "apiVersion": "stagecoach.dev/v1alpha1",
        "kind": "TransformerProject",
        "metadata": {"name": name, "namespace": namespace},
        "spec": project_spec() | changes,
    }


def run(name: str = "first", namespace: str = "team", **changes: Any) -> Object:
    """Return a run as people write it."""
    spec = {
        "project": "desk",
        "method": {"type": "LoRA", "rank": 8, "alpha": 16},
        "data": {"train": [{"name": "train"}], "validation": [{"name": "valid"}]},
        "hyperparameters": {"learningRate": 1.0e-3, "epochs": 1},
    }
    return {
        "apiVersion": "stagecoach.dev/v1alpha1",
        "kind": "FineTuneRun",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | changes,
    }


def gate(name: str = "good", namespace: str = "team", **changes: Any) -> Object:
    """Return a gate of the default project as people write it."""
    spec = {
        "project": "desk",
        "suites": [{"name": "held-out", "dataset": "test", "type": "HeldOut"}],
        "criteria": [{"name": "good", "suite": "held-out", "metric": "f1_macro", "min": 0.8}],
    }
    return {
        "apiVersion": "stagecoach.dev/v1alpha1",
        "kind": "EvalGate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | changes,
    }


def approval(name: str = "fine", namespace: str = "team", **changes: Any) -> Object:
    """Return a decision of a person about an Evaluation as people write it."""
    spec = {
        "subject": {"kind": "Evaluation", "name": "good-0123456789ab"},
        "release": digest("a"),
        "decision": "Approve",
        "reviewer": "qa@example.com",
    }
    return {
        "apiVersion": "stagecoach.dev/v1alpha1",
        "kind": "Approval",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | changes,
    }


def deployment(name: str = "answers", namespace: str = "team", **changes: Any) -> Object:
    """Return a deployment of the default project and gate as people write it."""
    spec = {"project": "desk", "model": {"latest": {}}, "gates": [{"name": "good"}]}
    return {
        "apiVersion": "stagecoach.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | changes,
    }


def canary_rows(count: int = 10) -> CanaryRows:
    """Return rows that people look at."""
    rows = (
        CanaryRow(row=f"canary.jsonl:{n}", input=f"Question {n}", expected="billing", candidate="billing")
        for n in range(1, count + 1)
    )
    return CanaryRows(rows=tuple(rows))


def copied(document: Document) -> Document:
    """Return a document as it comes back from a server: as JSON, and nobody else's. Much faster than copy.deepcopy."""
    result: Document = orjson.loads(orjson.dumps(document))
    return result


def stored(written: Object, uid: str = "11111111-2222-3333-4444-555555555555") -> Object:
    """Return an object as the API server keeps it."""
    result = copied(written)
    result["metadata"] |= {"uid": uid, "generation": 1, "resourceVersion": "1", "creationTimestamp": CREATED}
    return result


def resolution(records: bool = False) -> Object:
    """Return what the resolving Job reports for the default project."""
    return {
        "datasets": [
            {"name": "train", "digest": digest("1"), "examples": 600},
            {"name": "valid", "digest": digest("2"), "examples": 150},
            {"name": "test", "digest": digest("3"), "examples": 150},
        ],
        "labels": {"count": 2, "digest": digest("4"), "first": ["billing", "delivery"]},
        "candidates": [
            {
                "name": "small",
                "model": digest("5"),
                "tokenizer": digest("6"),
                "architecture": "LlamaForCausalLM",
                "context": 2048,
            }
        ],
        "findings": [],
        "hasRecords": records,
    }


def ready_project(records: bool = False) -> Object:
    """Return a stored project whose digests are known."""
    result = stored(project(), uid="99999999-2222-3333-4444-555555555555")
    found = resolution(records)
    condition = {"observedGeneration": 1, "lastTransitionTime": CREATED, "reason": "Resolved", "message": "Resolved."}
    result["status"] = {
        "observedGeneration": 1,
        "phase": "Ready",
        "conditions": [
            condition | {"type": "Ready", "status": "True"},
            condition | {"type": "Resolved", "status": "True"},
        ],
        "datasets": found["datasets"],
        "labels": found["labels"],
        "candidates": found["candidates"],
        "storage": {"records": records},
        "resolution": {
            "inputs": digest("9"),
            "pods": digest("9"),
            "number": 1,
            "failures": 0,
            "job": "desk-abcde-r1",
            "image": IMAGE,
            "startTime": CREATED,
            "completionTime": CREATED,
            "outcome": "Succeeded",
        },
    }
    return result


def artifact_report(adopted: bool = False) -> Object:
    """Return what a training, or a lookup that found a record, reports."""
    artifact = {"digest": digest("7"), "bytes": 1000, "record": digest("8"), "adopted": adopted, "evalLoss": 0.5}
    maker = {"namespace": "elsewhere", "name": "earlier", "at": "2025-12-31T23:59:59Z"}
    return {"outcome": "Done", "artifact": artifact | ({"maker": maker} if adopted else {})}


def evaluation_report(verdict: str = "Passed", **changes: Any) -> Object:
    """Return what an evaluation by the default gate reports."""
    outcome = verdict if verdict in ("Passed", "Failed", "Inconclusive") else "Error"
    value = {"Passed": 0.9, "Failed": 0.5, "Inconclusive": 0.81}.get(verdict)
    result = {"criterion": "good", "outcome": outcome, "threshold": 0.8, "scored": 150}
    result |= {} if value is None else {"value": value}
    told = {
        "verdict": verdict,
        "results": [result],
        "message": f"f1_macro is {value}, and has to be at least 0.8.",
        "record": digest("c"),
        "rows": 150,
        "leaked": 0,
        "exposures": 1,
    }
    return {"outcome": "Done", "evaluation": told | changes}
