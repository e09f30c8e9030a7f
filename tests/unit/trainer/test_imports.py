"""Imports by the real program of what was made elsewhere: the trainer's own artifacts, and whole models."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.jobs import HubPart, ImportJob, Split
from stagecoach.contract.layout import artifact_folder, run_folder
from stagecoach.contract.records import ImportRecord
from stagecoach.contract.reports import ArtifactReport
from stagecoach_trainer import compare, importing, lookup
from stagecoach_trainer.bases import Base
from stagecoach_trainer.train import read_base
from tests.unit.contract.documents import DIGEST

from .conftest import ANOTHER, Project, train, writing_pairs
from .elsewhere import (
    as_trainers_save_it,
    change,
    digest_there,
    import_job,
    made,
    pinned,
    problem_of,
    weights,
    whole_decoder,
    work,
)
from .test_compare import comparing

__all__ = ["made"]
pytestmark = pytest.mark.filterwarnings("ignore")


def test_an_own_adapter_is_the_same_artifact(
    made: tuple[Project, ArtifactReport, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project, trained, _ = made
    known = project.train_job().train[0].digest
    job = import_job(project, trained.digest, trained_on=(known,))
    told = {"revision": "c" * 40, "hub": HubPart(split="train")}
    job = job.model_copy(update={"trained_on": (job.trained_on[0].model_copy(update=told),)})
    # Another test imports the same, and may have been first.
    shutil.rmtree(project.storage.path(run_folder(job.inputs.digest)), ignore_errors=True)
    report = work(job)
    assert (report.digest, report.bytes, report.method, report.adopted) == (
        trained.digest,
        trained.bytes,
        "LoRA",
        False,
    )
    read = lookup.read_record(project.storage, job.inputs.digest)
    assert read is not None
    record = read[0]
    assert isinstance(record, ImportRecord)
    assert read[1] == report.record
    assert record.imported.source == trained.digest
    assert (record.imported.method, record.imported.precision) == ("LoRA", "float32")
    assert record.imported.trained_on != "Unknown"
    assert [(item.name, item.revision, item.hub) for item in record.imported.trained_on] == [
        ("train", "c" * 40, HubPart(split="train"))
    ]
    assert record.labels == ("card_lost", "parcel_late")
    card = project.storage.read(f"{run_folder(job.inputs.digest)}/README.md").decode()
    for words in (
        "imported",
        "    Route.\n    {text}",
        "pvc://made/it",
        trained.digest,
        "`card_lost`",
        "| train | Train |",
    ):
        assert words in card
    assert project.storage.folders("staging") == []
    tables = []
    for inputs in (job.inputs.digest, project.train_job().inputs.digest):
        assert compare.main(comparing(project, inputs=inputs, data="pvc://data/valid.csv")) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    again = work(job.model_copy(update={"subject": ANOTHER}))
    assert (again.adopted, again.digest, again.method) == (True, trained.digest, "LoRA")


def test_what_was_hashed_is_what_is_imported(
    made: tuple[Project, ArtifactReport, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FrozenInputs: somebody puts other weights there while the base is read."""
    project, trained, folder = made

    def late(job: ImportJob) -> Base:
        weights(lambda found: [tensor.fill_(0.5) for tensor in found.values()])(folder)
        return read_base(job)

    monkeypatch.setattr(importing, "read_base", late)
    # With data, as another test imports it: the others find no record of theirs.
    known = project.train_job().train[0].digest
    stranger = ANOTHER.model_copy(update={"uid": "of-a-stranger"})
    job = import_job(project, trained.digest, trained_on=(known,), subject=stranger, force=True)
    assert work(job).digest == trained.digest
    assert digest_there(import_job(project)) != trained.digest


def test_what_decides_nothing_does_not_change_the_artifact(made: tuple[Project, ArtifactReport, Path]) -> None:
    project, trained, folder = made
    for name, value in (
        ("base_model_name_or_path", "somebody/else"),
        ("init_lora_weights", "gaussian"),
        ("auto_mapping", {"base_model_class": "LlamaForCausalLM", "parent_library": "evil"}),
        ("peft_version", "9.9"),
        ("of_later", None),
    ):
        change(name, value)(folder)
    (folder / "evil.py").write_text("raise SystemExit")
    as_trainers_save_it(project.root / "pvc" / "models" / "tiny", folder)
    report = pinned(project)
    assert report.digest == trained.digest
    read = lookup.read_record(project.storage, import_job(project).inputs.digest)
    assert read is None, "the wrong digest left nothing"


def test_what_has_seen_the_test_data_is_refused(made: tuple[Project, ArtifactReport, Path]) -> None:
    project, trained, _ = made
    seen = project.source("train", Split.TEST, DIGEST)
    problem = problem_of(import_job(project, trained.digest).model_copy(update={"trained_on": (seen,)}))
    assert (problem.reason, problem.field) == ("TestSplitUsed", "method.trainedOn[train]")


def test_a_whole_decoder_is_imported_and_imported_again(real: Project) -> None:
    folder, base = real.root / "pvc" / "made" / "it", real.root / "pvc" / "models" / "tiny"
    whole_decoder(folder, base)
    report = pinned(real)
    assert (report.type, report.method) == ("Model", "Full")
    published = Path(real.storage.path(artifact_folder(report.digest)))
    config = json.loads((published / "config.json").read_text())
    assert (config["dtype"], config["stagecoach"]["base_model"]) == ("bfloat16", import_job(real).base.model)
    shutil.rmtree(folder)
    shutil.copytree(published, folder)
    assert work(import_job(real, report.digest)).digest == report.digest, "an own model is the same artifact"


def test_data_that_nobody_names_are_unknown_in_record_and_card(real: Project) -> None:
    whole_decoder(real.root / "pvc" / "made" / "it", real.root / "pvc" / "models" / "tiny")
    job = import_job(real, digest_there(import_job(real)))
    work(job)
    read = lookup.read_record(real.storage, job.inputs.digest)
    assert read is not None
    assert isinstance(read[0], ImportRecord)
    assert read[0].imported.trained_on == "Unknown"
    card = real.storage.read(f"{run_folder(job.inputs.digest)}/README.md").decode()
    assert "## Trained on\n\nUnknown: the run does not say what it was trained on" in card
    assert "| set |" not in card
    assert "datasets:" not in card


def test_an_imported_model_is_compared_with_its_base(real: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project = writing_pairs(real, "Generation")
    whole_decoder(real.root / "pvc" / "made" / "it", real.root / "pvc" / "models" / "tiny")
    job = import_job(project, digest_there(import_job(project)))
    work(job)

    def compared(**changes: Any) -> tuple[int, str]:
        code = compare.main(comparing(project, inputs=job.inputs.digest, **changes))
        return code, capsys.readouterr().err

    data = "pvc://data/valid.csv"
    code, words = compared()
    assert (code, "name a file of rows by --data" in words) == (64, True)
    code, words = compared(data=data)
    assert (code, 'name them by --columns {"input": "…", "target": "…"} or {"prompt"' in words) == (64, True)
    code, words = compared(data=data, columns='{"text": "input"}')
    assert (code, "does not name the columns of a Generation" in words) == (64, True)
    code, words = compared(data=data, columns='{"input": "input", "target": "target"}')
    assert (code, "model: 4 of 4 prompts" in words) == (0, True)


def test_want_of_memory_is_not_the_fault_of_a_model(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    def fails(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    whole_decoder(real.root / "pvc" / "made" / "it", real.root / "pvc" / "models" / "tiny")
    digest = digest_there(import_job(real))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fails)
    with pytest.raises(RuntimeError, match="allocate memory"):
        work(import_job(real, digest))


def test_an_adapter_of_an_own_method_is_the_same_artifact(real: Project) -> None:
    from .test_methods import METHODS

    for name in ("DoRA", "IA3", "PrefixTuning", "PromptTuningText", "PTuning", "Full"):
        method, _ = METHODS[name]
        trained = train(real.train_job(method=method, settings={"max_steps": 1, "epochs": None}))
        folder = real.root / "pvc" / "made" / "it"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(real.storage.path(artifact_folder(trained.digest)), folder)
        report = work(import_job(real, trained.digest))
        assert (report.digest, report.method) == (trained.digest, method.type)
