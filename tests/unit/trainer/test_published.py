"""The artifact and the record that a real run leaves. Needs the trainer's libraries: runs inside its image."""

import json
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.jobs import Split
from stagecoach.contract.layout import record_file, run_folder, served_base_path
from stagecoach.contract.profiles import Profile, Profiler
from stagecoach.contract.prompts import Encoder
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ArtifactReport, Maker
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import lookup
from tests.unit.contract.documents import LENGTHS, PROMPT, SUBJECT

from .conftest import ANOTHER, EXAMPLES, Project, fit, record_of, train

pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_was_trained_is_published_and_recorded(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    record = record_of(project)
    manifest = project.storage.verified(report.digest)
    assert manifest is not None
    assert [entry.path for entry in manifest.files] == ["adapter_config.json", "adapter_model.safetensors"]
    assert (record.artifact.digest, record.artifact.bytes) == (report.digest, report.bytes)
    assert not report.adopted
    assert project.storage.folders("staging") == []
    assert not (project.root / "pvc" / "models" / "tiny" / "README.md").exists()


def test_the_record_says_how_it_was_trained(trained: tuple[Project, ArtifactReport]) -> None:
    record = record_of(trained[0])
    training = record.training
    assert (training.steps, training.epochs, training.effective_batch_size) == (48, 12.0, 4)
    assert training.precision == "float32"
    expected = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
    assert training.target_modules == expected
    assert training.adapted_layers == 14
    assert 0 < training.trainable_share < 0.5
    assert [(item.name, item.split, item.examples) for item in record.data] == [
        ("train", Split.TRAIN, 16),
        ("valid", Split.VALIDATION, 4),
    ]
    assert record.labels == ("card_lost", "parcel_late")
    assert [point.epoch for point in training.evaluations] == [float(epoch) for epoch in range(1, 13)]
    assert training.eval_loss == training.evaluations[-1].loss
    assert record.determinism.deterministic
    assert set(record.software.packages) >= {"torch", "transformers", "peft", "trl"}
    assert "absent" not in record.software.packages.values()


def test_a_record_of_a_later_version_is_adopted_too(
    trained: tuple[Project, ArtifactReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, report = trained
    store = type(project.storage)
    file, read = record_file(record_of(project).inputs_digest), store.read
    later = json.dumps(json.loads(project.storage.read(file)) | {"weather": {"is": "fine"}}).encode()
    monkeypatch.setattr(store, "read", lambda self, path: later if path == file else read(self, path))
    assert record_of(project).artifact.digest == report.digest


def test_the_tokens_are_those_of_the_rows(trained: tuple[Project, ArtifactReport]) -> None:
    from stagecoach_trainer import bases

    project = trained[0]
    record = record_of(project)
    base = bases.read(project.resolve_job().candidates[0], mismatch="", remedy="")
    encoder = Encoder(bases.load_tokenizer(base), PROMPT, LENGTHS)
    tokens = sum(len(encoder.encode(text).ids) + len(encoder.completion(label)) for text, label in EXAMPLES)
    assert record.training.tokens == 12 * tokens


def test_the_loss_falls(trained: tuple[Project, ArtifactReport]) -> None:
    training = record_of(trained[0]).training
    assert len(training.losses) == 48
    assert training.losses[-1].loss < training.losses[0].loss * 0.2
    assert training.evaluations[-1].loss < training.evaluations[0].loss


def test_the_profile_of_the_training_texts_is_beside_the_record(trained: tuple[Project, ArtifactReport]) -> None:
    from stagecoach_trainer import bases

    project = trained[0]
    named = record_of(project).profile
    assert named is not None
    content = project.storage.read(named.path)
    assert lookup.digest_of_content(content) == named.digest
    base = bases.read(project.resolve_job().candidates[0], mismatch="", remedy="")
    # As a gateway counts that has the record's prompt and tokenizer, in two replicas.
    encoder = Encoder(bases.load_tokenizer(base), PROMPT, LENGTHS)
    replicas = [Profiler.of(encoder), Profiler.of(encoder)]
    for number, (text, _) in enumerate(EXAMPLES):
        replicas[number % 2].add(encoder.encode(text))
    profile = Profile.model_validate_json(content)
    assert profile == replicas[0].profile() + replicas[1].profile()
    # The tokenizer of this test has a token for each byte, and a text is all that its prompt has of its own.
    assert sum(profile.vocabulary) == sum(len(text) for text, _ in EXAMPLES)


def test_the_card_is_for_people(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    card = project.storage.read(f"{run_folder(project.train_job().inputs.digest)}/README.md").decode()
    for words in ("base_model: tiny", "library_name: peft", "team (#team)", report.digest, "`card_lost`", "48 steps"):
        assert words in card


def test_the_adapter_is_in_canonical_form(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    folder = Path(project.storage.path(f"artifacts/sha256/{report.digest[7:]}"))
    config = json.loads((folder / "adapter_config.json").read_text())
    base = record_of(project).base
    assert list(config) == sorted(config)
    assert config["target_modules"] == sorted(config["target_modules"])
    assert config["base_model_name_or_path"] == served_base_path(base.model)
    # What vLLM asks of an adapter.
    assert config["peft_type"] == "LORA"
    assert (config["r"], config["lora_alpha"], config["bias"]) == (16, 32, "none")
    assert config["modules_to_save"] is None
    assert not config["use_dora"]
    header = (folder / "adapter_model.safetensors").read_bytes()[8:300].decode()
    assert header.startswith(f'{{"__metadata__":{{"format":"pt","base_model":"{base.model}"')


def test_peft_loads_the_adapter_and_computes_the_same(real: Project) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from stagecoach_trainer import artifact
    from stagecoach_trainer.train import prepare

    prepared = prepare(real.train_job())
    result = fit(prepared)
    folder = real.root / "adapter"
    folder.mkdir()
    for name, content in artifact.files(result.model, prepared.base, result.precision).items():
        assert isinstance(content, bytes)
        (folder / name).write_bytes(content)
    ids = torch.tensor([prepared.train[0].examples[0].prompt])
    with torch.no_grad():
        expected = result.model.eval()(input_ids=ids).logits
        base = AutoModelForCausalLM.from_pretrained(prepared.base.folder, dtype=torch.float32)
        before = base(input_ids=ids).logits
        loaded = PeftModel.from_pretrained(base, folder).eval()(input_ids=ids).logits
    assert torch.equal(loaded, expected)
    assert not torch.allclose(before, expected)


def test_once_more_is_adopted(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    again = train(project.train_job(subject=ANOTHER))
    maker = Maker(namespace=SUBJECT.namespace, name=SUBJECT.name, at=record_of(project).finished)
    assert again == report.model_copy(update={"adopted": True, "maker": maker})
    assert lookup.found(project.storage, project.train_job().inputs.digest, ANOTHER) == again


def test_what_an_earlier_attempt_published_is_the_runs_own(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    assert train(project.train_job(attempt=2)) == report
    assert train(project.train_job(attempt=2, force=True)) == report, "nothing is trained twice"


def test_an_artifact_that_was_damaged_is_not_adopted(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    place = Path(project.storage.path(f"artifacts/sha256/{report.digest[7:]}/adapter_model.safetensors"))
    content = place.read_bytes()
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        assert lookup.found(project.storage, project.train_job().inputs.digest, ANOTHER) is None
    finally:
        place.write_bytes(content)


def test_a_record_whose_artifact_is_gone_is_not_adopted(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    place = Path(project.storage.path(f"artifacts/sha256/{report.digest[7:]}.manifest.json"))
    content = place.read_bytes()
    place.unlink()
    try:
        assert lookup.found(project.storage, project.train_job().inputs.digest, ANOTHER) is None
    finally:
        place.write_bytes(content)


def test_the_same_inputs_give_the_same_bytes(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    inputs = project.train_job().inputs.digest
    earlier = project.storage.read(record_file(inputs))
    again = train(project.train_job(force=True, subject=ANOTHER))
    assert (again.digest, again.adopted) == (report.digest, False)
    assert project.storage.read(record_file(inputs)) == earlier
    own = project.storage.read(record_file(inputs, again.record_name))
    assert lookup.digest_of_content(own) == again.record
    assert Record.model_validate_json(own).subject == ANOTHER


def test_nothing_is_published_of_a_base_that_changed_meanwhile(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """FrozenInputs: else the record would name a base that it may not have been trained on."""
    from stagecoach_trainer import loop

    run = loop.run

    def late(*arguments: Any) -> Any:
        result = run(*arguments)
        (real.root / "pvc" / "models" / "tiny" / "config.json").write_text("{}")
        return result

    monkeypatch.setattr(loop, "run", late)
    with pytest.raises(StorageFailed, match=r"config\.json is no longer that"):
        train(real.train_job(settings={"epochs": 1}))
    assert real.storage.folders("artifacts") == real.storage.folders("runs") == []


def test_another_seed_gives_other_bytes(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    assert train(project.train_job(settings={"seed": 18})).digest != report.digest
