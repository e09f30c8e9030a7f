"""What the API server refuses of a run, and that it says what to write instead."""

from typing import Any

import pytest

from stagecoach.api.methods import MethodType
from tests import builders
from tests.integration.kinds.admission import Change, put, refused, take, written
from tests.kube import Kube, KubeError

RUNS = [
    ("epochs and steps", put("hyperparameters.maxSteps", 5), "give only one of hyperparameters.epochs and"),
    ("modules twice", put("method.targetModules", {"preset": "all-linear", "names": ["q_proj"]}), "give exactly one of targetModules"),
    ("no modules", put("method.targetModules", {}), "give exactly one of targetModules"),
    ("odd feed-forward module", put("method", {"type": "IA3", "feedforwardModules": ["q_proj$"]}), "must be a module's name or its last parts, such as q_proj"),
    ("odd module", put("method.targetModules", {"names": ["../q"]}), "must be a module's name or its last parts, such as q_proj"),
    ("unknown method", put("method.type", "Magic"), 'supported values: "LoRA", "RsLoRA", "DoRA", "QLoRA", "IA3", "PrefixTuning", "PromptTuning", "PTuning", "Full", "Import"'),
    ("a rank of a full training", put("method", {"type": "Full", "rank": 8}), "method.rank is a parameter of LoRA, RsLoRA, DoRA and QLoRA: leave it out, or choose such a type"),
    ("alpha of IA3", put("method", {"type": "IA3", "alpha": 8}), "method.alpha is a parameter of LoRA, RsLoRA, DoRA and QLoRA"),
    ("virtual tokens of QLoRA", put("method", {"type": "QLoRA", "virtualTokens": 8}), "method.virtualTokens is a parameter of PrefixTuning, PromptTuning and PTuning"),
    ("dropout of a prefix", put("method", {"type": "PrefixTuning", "dropout": 0.1}), "method.dropout is a parameter of LoRA"),
    ("modules of a prompt", put("method", {"type": "PromptTuning", "targetModules": {"names": ["q_proj"]}}), "method.targetModules is a parameter of LoRA, RsLoRA, DoRA, QLoRA and IA3"),
    ("feed-forward modules of LoRA", put("method.feedforwardModules", ["down_proj"]), "method.feedforwardModules is a parameter of IA3"),
    ("virtual tokens of LoRA", put("method.virtualTokens", 8), "method.virtualTokens is a parameter of PrefixTuning, PromptTuning and PTuning"),
    ("a text for a prefix", put("method", {"type": "PrefixTuning", "initText": "Which?"}), "method.initText is a parameter of PromptTuning"),
    ("an encoder of a prompt", put("method", {"type": "PromptTuning", "encoderHiddenSize": 8}), "method.encoderHiddenSize is a parameter of PTuning"),
    ("frozen layers of LoRA", put("method.freeze", {"layers": 2}), "method.freeze is a parameter of Full"),
    ("nothing frozen", put("method", {"type": "Full", "freeze": {}}), "give freeze.embeddings, freeze.layers or both"),
    ("no virtual tokens", put("method", {"type": "PTuning", "virtualTokens": 0}), "should be greater than or equal to 1"),
    ("IA3 with half of its modules", put("method", {"type": "IA3", "targetModules": {"names": ["k_proj"]}}), "method.targetModules and method.feedforwardModules together, or neither"),
    ("IA3 of all linear layers", put("method", {"type": "IA3", "targetModules": {"preset": "all-linear"}, "feedforwardModules": ["down_proj"]}), "IA3 takes method.targetModules.names"),
    ("IA3 with a stray module", put("method", {"type": "IA3", "targetModules": {"names": ["k_proj"]}, "feedforwardModules": ["down_proj"]}), "every one of method.feedforwardModules must be among them"),
    ("a prefix with checkpointing", lambda spec: spec.update(method={"type": "PrefixTuning"}, hyperparameters={"gradientCheckpointing": True}), "does not go with PrefixTuning"),
    ("unknown weights", put("hyperparameters.classWeights", "fair"), 'supported values: "none", "balanced"'),
    ("one process that shares", put("resources.sharding", "Full"), "this is one: raise resources.nodes or resources.gpusPerNode"),
    ("half of a model", put("resources", {"nodes": 2, "sharding": "Half"}), 'supported values: "None", "Full"'),
    ("shared 4 bits", lambda spec: spec.update(method={"type": "QLoRA"}, resources={"nodes": 2, "sharding": "Full"}), "goes with method.type Full, LoRA and RsLoRA"),
    ("shared virtual tokens", lambda spec: spec.update(method={"type": "PTuning"}, resources={"nodes": 2, "sharding": "Full"}), "goes with method.type Full, LoRA and RsLoRA"),
    ("shared factors", lambda spec: spec.update(hyperparameters={"optimizer": "adafactor"}, resources={"nodes": 2, "sharding": "Full"}), "does not go with hyperparameters.optimizer adafactor"),
    ("rank 0", put("method.rank", 0), "should be greater than or equal to 1"),
    ("negative rate", put("hyperparameters.learningRate", -0.1), "should be greater than or equal to 1e-09"),
    ("no rate", put("hyperparameters.learningRate", 0), "hyperparameters.learningRate must be more than 0"),
    ("a rate as YAML 1.1 reads it", put("hyperparameters.learningRate", "2e-4"), "must be of type number"),
    ("unknown optimizer", put("hyperparameters.optimizer", "luck"), "supported values"),
    ("huge seed", put("hyperparameters.seed", 2**40), "should be less than or equal to 2147483647"),
    ("negative retries", put("retries", -1), "should be greater than or equal to 0"),
    ("many retries", put("retries", 99), "should be less than or equal to 5"),
    ("odd duration", put("maxDuration", "1h30m"), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("a duration in words", put("maxDuration", "5 minutes"), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("a number too long for one", put("cleanUpAfter", "9" * 31 + "s"), "must be a length of time"),
    ("no duration", put("maxDuration", "0h"), "must be a length of time"),
    ("cleaned up too early", put("cleanUpAfter", "9m"), "cleanUpAfter must be at least 10m"),
    ("stalled too early", put("progressDeadline", "59s"), "progressDeadline must be at least 1m"),
    ("stalled after no time that is known", put("progressDeadline", "soon"), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("odd CPUs", put("resources.cpu", "two"), "must be a number of CPUs"),
    ("no CPUs", put("resources.cpu", "0"), "must be a number of CPUs"),
    ("all CPUs of the world", put("resources.cpu", "1000"), "must be a number of CPUs such as 500m, 1.5 or 2, and less than 1000"),
    ("as many in parts", put("resources.cpu", "1000000m"), "less than 1000"),
    ("a part of no CPU", put("resources.cpu", "0.000"), "must be a number of CPUs"),
    ("odd memory", put("resources.memory", "8 GB"), "must be an amount of memory"),
    ("all memory of the world", put("resources.memory", "999999999999Ti"), "of at least 1M and at most 99Ti"),
    ("more than 99Ti", put("resources.memory", "100Ti"), "of at least 1M and at most 99Ti"),
    ("as much in Gi", put("resources.memory", "100000Gi"), "of at least 1M and at most 99Ti"),
    ("as much in bytes", put("resources.memory", "100000000000000"), "of at least 1M and at most 99Ti"),
    ("eight bytes", put("resources.memory", "8"), "of at least 1M and at most 99Ti"),
    ("no training data", put("data.train", []), "should have at least 1 items"),
    ("odd project", put("project", "Desk"), "must be lower-case letters, digits and '-'"),
    ("odd training data", put("data.train", [{"name": "a.b"}]), "must be lower-case letters, digits and '-'"),
    ("unknown field", put("method.rnak", 8), "unknown field"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in RUNS], ids=[case[0] for case in RUNS])
def test_a_run_is_refused_with_the_remedy(kube: Kube, change: Change, words: str) -> None:
    assert words in refused(kube, written(builders.run, kube.namespace, change))


METHODS: list[dict[str, Any]] = [
    *({"type": kind.value} for kind in MethodType if kind is not MethodType.IMPORT),
    {"type": "DoRA", "rank": 8, "alpha": 16, "dropout": 0.1, "targetModules": {"names": ["q_proj"]}},
    {"type": "QLoRA", "rank": 8, "alpha": 16, "dropout": 0.1, "targetModules": {"names": ["q_proj"]}},
    {"type": "IA3", "targetModules": {"names": ["k_proj", "down_proj"]}, "feedforwardModules": ["down_proj"]},
    {"type": "IA3", "targetModules": {"names": ["k_proj"]}, "feedforwardModules": []},
    {"type": "PromptTuning", "virtualTokens": 8, "initText": "Which queue?"},
    {"type": "PTuning", "virtualTokens": 8, "encoderHiddenSize": 64},
    {"type": "Full", "freeze": {"embeddings": True, "layers": 6}},
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_can_be_written(kube: Kube, method: dict[str, Any]) -> None:
    hyperparameters = {"gradientCheckpointing": method["type"] != "PrefixTuning", "classWeights": "balanced"}
    created = kube.create(builders.run(namespace=kube.namespace, method=method, hyperparameters=hyperparameters))
    assert created["spec"]["method"] == method


@pytest.mark.parametrize(
    ("cpu", "memory"),
    [
        ("999", "99Ti"),
        ("999.999", "99999G"),
        ("999999m", "99999999Mi"),
        ("1.5", "99999999999k"),
        ("0.5", "1M"),
        ("0.001", "1000Ki"),
        ("1m", "1000000"),
    ],
)
def test_resources_are_those_that_a_machine_may_have(kube: Kube, cpu: str, memory: str) -> None:
    take(kube, written(builders.run, kube.namespace, put("resources", {"cpu": cpu, "memory": memory})))


@pytest.mark.parametrize("rate", [1, 1.0e-9])
def test_the_bounds_of_the_learning_rate_are_taken(kube: Kube, rate: float) -> None:
    take(kube, written(builders.run, kube.namespace, put("hyperparameters.learningRate", rate)))


@pytest.mark.parametrize("method", ["Full", "LoRA", "RsLoRA"])
def test_a_model_may_be_shared_out_among_several(kube: Kube, method: str) -> None:
    resources = {"gpusPerNode": 2, "sharding": "Full"}
    kube.create(builders.run(namespace=kube.namespace, method={"type": method}, resources=resources))


def test_one_process_may_say_that_it_shares_nothing(kube: Kube) -> None:
    take(kube, written(builders.run, kube.namespace, put("resources.sharding", "None")))


def test_a_run_cannot_change(kube: Kube) -> None:
    kube.create(builders.run(namespace=kube.namespace))
    for change in ({"retries": 1}, {"progressDeadline": "1h"}):
        with pytest.raises(KubeError, match="create another FineTuneRun"):
            kube.patch("FineTuneRun", "first", {"spec": change})


@pytest.mark.parametrize("deadline", ["60s", "1m", "2h", "1d"])
def test_a_run_may_be_without_progress_for_as_long_as_it_says(kube: Kube, deadline: str) -> None:
    take(kube, written(builders.run, kube.namespace, put("progressDeadline", deadline)))


def test_what_is_not_said_is_written_out(kube: Kube) -> None:
    spec = kube.create(builders.run(namespace=kube.namespace))["spec"]
    assert spec["maxDuration"] == "24h"
    assert spec["hyperparameters"]["learningRateSchedule"] == "cosine"
    assert set(spec["method"]) == {"type", "rank", "alpha"}, "what most types do not take has no default here"
    assert spec["resources"]["gpuResource"] == "nvidia.com/gpu"
    assert "maxSteps" not in spec["hyperparameters"]


IMPORT: dict[str, Any] = {"type": "Import", "uri": "pvc://models/made", "digest": builders.digest("a")}


def importing(**changes: Any) -> Change:
    """Return a change of a run that imports: nothing else is said, but for the changes; None removes."""

    def change(spec: builders.Object) -> None:
        method = IMPORT | changes.pop("method", {})
        spec.clear()
        spec.update(project="desk", method={key: value for key, value in method.items() if value is not None})
        spec.update(changes)

    return change


IMPORTS = [
    ("no folder", importing(method={"uri": None}), "Import needs method.uri"),
    ("no digest", importing(method={"digest": None}), "Import needs method.digest, for a run's artifact its status"),
    ("an odd digest", importing(method={"digest": "latest"}), "must be sha256: and 64 of the digits 0-9 and a-f"),
    ("a digest and more", importing(method={"digest": builders.digest("a") + "b"}), "copy it from a status"),
    ("an odd revision", importing(method={"uri": "hf://desk/a", "revision": "a/"}), "must be a commit, branch or tag"),
    ("a file", importing(method={"uri": "https://data.example.com/a"}), "hf://<organization>/<name>"),
    ("a revision of a folder", importing(method={"revision": "main"}), "method.revision is for a model hub"),
    ("trained on nothing", importing(method={"trainedOn": []}), "should have at least 1 items"),
    ("a rank", importing(method={"rank": 8}), "method.rank is a parameter of LoRA, RsLoRA, DoRA and QLoRA"),
    ("data", importing(data={"train": [{"name": "train"}]}), "leave out data, and name what it was trained on in"),
    ("a learning rate", importing(hyperparameters={"learningRate": 1.0e-3}), "leave out hyperparameters"),
    ("epochs", importing(hyperparameters={"epochs": 3}), "leave out hyperparameters"),
    ("checkpoints", importing(checkpoints={"keep": 3}), "leave out checkpoints"),
    ("the best checkpoint", importing(checkpoints={"best": "eval_loss"}), "leave out checkpoints"),
    ("a GPU", importing(resources={"gpusPerNode": 1}), "leave out resources.nodes and resources.gpusPerNode"),
    ("nodes", importing(resources={"nodes": 2}), "leave out resources.nodes and resources.gpusPerNode"),
    ("a folder to train from", put("method.uri", "pvc://models/made"), "method.uri is a parameter of Import"),
    ("a digest to train from", put("method.digest", builders.digest("a")), "method.digest is a parameter of Import"),
    ("a revision to train from", put("method.revision", "main"), "method.revision is a parameter of Import"),
    (
        "trained on, of a training",
        put("method.trainedOn", [{"name": "train"}]),
        "method.trainedOn is a parameter of Import",
    ),
    ("labels to train with", put("method.labels", ["a", "b"]), "method.labels is a parameter of Import"),
    ("one label", importing(method={"labels": ["a"]}), "should have at least 2 items"),
    ("a training without data", put("data", None), "data.train is required"),
]


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in IMPORTS], ids=[case[0] for case in IMPORTS])
def test_an_import_is_refused_with_the_remedy(kube: Kube, change: Change, words: str) -> None:
    assert words in refused(kube, written(builders.run, kube.namespace, change))


@pytest.mark.parametrize(
    "change",
    [
        importing(),
        importing(method={"uri": "hf://desk/made", "revision": "main", "trainedOn": [{"name": "train"}]}),
        importing(method={"labels": [f"label {number}" for number in range(500)]}),
        importing(resources={"cpu": "4", "memory": "16Gi"}, force=True, retries=0, maxDuration="1h"),
    ],
)
def test_an_import_says_little(kube: Kube, change: Change) -> None:
    created = kube.create(written(builders.run, kube.namespace, change))
    assert created["spec"]["method"]["type"] == "Import"
    assert "data" not in created["spec"]
    with pytest.raises(KubeError, match="create another FineTuneRun"):
        kube.patch("FineTuneRun", "first", {"spec": {"method": {"digest": builders.digest("b")}}})
    kube.patch("FineTuneRun", "first", {"spec": {"suspend": True}})
