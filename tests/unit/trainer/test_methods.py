"""Real runs of every method for decoders on a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import (
    Freeze,
    FullMethod,
    Ia3Method,
    LoraMethod,
    Method,
    PrefixTuningMethod,
    PromptTuningMethod,
    PTuningMethod,
)
from stagecoach.contract.layout import run_folder, served_base_path
from stagecoach.contract.reports import BadInput
from tests.unit.contract.documents import METHOD

from .conftest import Project, record_of, train

pytestmark = pytest.mark.filterwarnings("ignore")

LORA = METHOD.model_dump()

METHODS: dict[str, tuple[Method, dict[str, Any]]] = {
    "RsLoRA": (LoraMethod.model_validate(LORA | {"type": "RsLoRA"}), {"learning_rate": 2e-3}),
    "DoRA": (LoraMethod.model_validate(LORA | {"type": "DoRA"}), {}),
    "IA3": (Ia3Method(), {"learning_rate": 0.1}),
    "PrefixTuning": (PrefixTuningMethod(virtual_tokens=4), {"learning_rate": 0.1}),
    "PromptTuning": (PromptTuningMethod(virtual_tokens=8), {"learning_rate": 0.3}),
    "PromptTuningText": (PromptTuningMethod(virtual_tokens=8, init_text="Which queue?"), {"learning_rate": 0.3}),
    "PTuning": (PTuningMethod(virtual_tokens=8, encoder_hidden_size=32), {"learning_rate": 0.1}),
    "Full": (FullMethod(), {"learning_rate": 3e-3}),
    "FullFrozen": (FullMethod(freeze=Freeze(embeddings=True, layers=1)), {"learning_rate": 3e-3}),
}


def test_a_whole_model_is_in_canonical_form(real: Project) -> None:
    job = real.train_job(method=FullMethod(), settings={"max_steps": 1, "epochs": None, "precision": "bfloat16"})
    report = train(job)
    folder = Path(real.storage.path(f"artifacts/sha256/{report.digest[7:]}"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    config = json.loads((folder / "config.json").read_text())
    base = record_of(real, job).base
    assert list(config) == sorted(config)
    assert (config["architectures"], config["dtype"]) == (["LlamaForCausalLM"], "bfloat16")
    assert config["stagecoach"] == {"base_model": base.model, "tokenizer": base.tokenizer}
    assert "transformers_version" not in config
    original = json.loads((real.root / "pvc" / "models" / "tiny" / "config.json").read_text())
    changed = {key for key in original if config.get(key) != original[key]}
    assert changed == {"dtype", "transformers_version"}, "a trainer's own settings are not the model's"
    assert (folder / "model.safetensors").stat().st_mode & 0o044 == 0o044, "another user serves it"
    assert sum(path.stat().st_size for path in folder.iterdir()) == report.bytes


def test_a_large_model_is_published_in_parts(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from stagecoach_trainer import artifact

    monkeypatch.setattr(artifact, "MAX_SHARD", "30KB")
    report = train(real.train_job(method=FullMethod(), settings={"max_steps": 1, "epochs": None}))
    folder = Path(real.storage.path(f"artifacts/sha256/{report.digest[7:]}"))
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert (folder / "model.safetensors.index.json").exists()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_what_is_frozen_stays_as_it_was(real: Project) -> None:
    import torch
    from safetensors.torch import load_file

    method = FullMethod(freeze=Freeze(embeddings=True, layers=1))
    job = real.train_job(method=method, settings={"max_steps": 2, "epochs": None})
    report = train(job)
    before = load_file(real.root / "pvc" / "models" / "tiny" / "model.safetensors")
    after = load_file(real.storage.path(f"artifacts/sha256/{report.digest[7:]}/model.safetensors"))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "embed_tokens" in name or ".layers.0." in name}
    training = record_of(real, job).training
    assert training.frozen == "The embeddings and the lowest 1 of 2 layers; all other weights were trained."
    changed = sum(before[name].numel() for name in before if name not in same)
    assert training.trainable_parameters == changed


@pytest.mark.parametrize(
    ("method", "reason", "words"),
    [
        (FullMethod(freeze=Freeze(embeddings=False, layers=3)), "FreezeTooMuch", "the base has 2 layers"),
        (Ia3Method(target_modules=("query",), feedforward_modules=()), "UnknownTargetModule", "no module of this name"),
    ],
)
def test_what_the_base_does_not_have_is_named(real: Project, method: Method, reason: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        train(real.train_job(method=method))
    assert caught.value.problem.reason == reason


def test_ia3_needs_names_where_peft_knows_none(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import modules

    monkeypatch.setattr(modules, "TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING", {})
    with pytest.raises(BadInput, match="PEFT knows no modules of LlamaForCausalLM") as caught:
        train(real.train_job(method=Ia3Method()))
    assert "feedforwardModules" in caught.value.problem.remedy
    named = Ia3Method(target_modules=("down_proj", "v_proj"), feedforward_modules=("down_proj",))
    job = real.train_job(method=named, settings={"max_steps": 1, "epochs": None})
    train(job)
    assert record_of(real, job).training.target_modules == ("down_proj", "v_proj")


def test_the_path_of_the_tokenizer_is_not_in_the_artifact(real: Project) -> None:
    method = PromptTuningMethod(virtual_tokens=4, init_text="Which queue?")
    job = real.train_job(method=method, settings={"max_steps": 1, "epochs": None})
    config = json.loads(real.storage.read(f"artifacts/sha256/{train(job).digest[7:]}/adapter_config.json"))
    assert config["tokenizer_name_or_path"] == served_base_path(record_of(real, job).base.model)
    assert str(real.root) not in json.dumps(config)


@pytest.mark.parametrize(
    "method", [LoraMethod.model_validate(LORA), FullMethod(freeze=Freeze(embeddings=True, layers=1))]
)
def test_gradient_checkpointing_trains_the_same(real: Project, method: Method) -> None:
    steps = {"max_steps": 4, "epochs": None}
    plain = real.train_job(method=method, settings=steps)
    thrifty = real.train_job(method=method, settings=steps | {"gradient_checkpointing": True})
    assert plain.inputs.digest != thrifty.inputs.digest
    train(plain)
    train(thrifty)
    losses = [[point.loss for point in record_of(real, job).training.losses] for job in (plain, thrifty)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    card = real.storage.read(f"{run_folder(thrifty.inputs.digest)}/README.md").decode()
    assert "| Gradient checkpointing | on |" in card
