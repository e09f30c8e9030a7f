"""What was made elsewhere, and Jobs that import it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Family, ImportInputs, ImportMethod
from stagecoach.contract.jobs import ImportJob, ImportSource
from stagecoach.contract.layout import artifact_folder, run_folder
from stagecoach.contract.reports import ArtifactReport, BadInput
from tests.unit.contract.documents import DIGEST, OWNER, PROMPT, SUBJECT

from .conftest import Project, record_of, train


def import_job(project: Project, digest: str = DIGEST, **changes: Any) -> ImportJob:
    """Return the document that imports pvc://made/it for the project's tiny base."""
    given = changes.pop("like", None) or project.train_job()
    known, labels = changes.pop("trained_on", None), changes.pop("labels", None)
    inputs = ImportInputs(
        task=given.inputs.task,
        labels=given.inputs.labels,
        architecture=given.inputs.architecture,
        base=given.inputs.base,
        prompt=PROMPT,
        tokenization=given.inputs.tokenization,
        method=ImportMethod(source=digest, trained_on=known, labels=labels),
        label_columns=given.train[0].columns if given.inputs.labels else None,
    )
    job = ImportJob(
        subject=SUBJECT,
        project="desk",
        owner=OWNER,
        attempt=1,
        force=False,
        inputs=inputs,
        base=given.base,
        source=ImportSource(uri="pvc://made/it"),
        trained_on=(given.train[0],) if known else (),
        labels_from=given.train[0] if given.inputs.labels else None,
        image=given.image,
    )
    return job.model_copy(update=changes)


def work(job: ImportJob) -> ArtifactReport:
    """Carry out an import."""
    from stagecoach_trainer.importing import import_artifact

    return import_artifact(job)


def pinned(project: Project, **changes: Any) -> ArtifactReport:
    """Import with the digest that the first try names."""
    with pytest.raises(BadInput) as caught:
        work(import_job(project, **dict(changes)))
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("DigestMismatch", "method.digest")
    found = digest_told(problem)
    assert f"method.digest {found}" in problem.remedy
    return work(import_job(project, found, **changes))


@pytest.fixture
def made(trained: tuple[Project, ArtifactReport]) -> tuple[Project, ArtifactReport, Path]:
    """A project with an adapter that it trained, put where it is imported from."""
    project, report = trained
    folder = project.root / "pvc" / "made" / "it"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project.storage.path(artifact_folder(report.digest)), folder)
    return project, report, folder


def change(name: str, value: Any) -> Callable[[Path], None]:
    """Return a change of one setting of an adapter or a model."""

    def changed(folder: Path) -> None:
        place = folder / ("adapter_config.json" if (folder / "adapter_config.json").exists() else "config.json")
        place.write_text(json.dumps(json.loads(place.read_text()) | {name: value}))

    return changed


def weights(alter: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return a change of the weights."""

    def changed(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        [place] = folder.glob("*.safetensors")
        tensors = load_file(place)
        alter(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place, {"format": "pt"})

    return changed


def refusal(project: Project, reason: str, words: str, **changes: Any) -> None:
    """Import, with whatever digest there is, and see it refused."""
    problem = problem_of(import_job(project, **dict(changes)))
    if problem.reason == "DigestMismatch":
        problem = problem_of(import_job(project, digest_told(problem), **changes))
    assert (problem.reason, problem.field, problem.value) == (reason, "method.uri", "pvc://made/it")
    assert words in problem.message
    assert problem.remedy
    assert project.storage.folders("staging") == []


def problem_of(job: ImportJob) -> Any:
    with pytest.raises(BadInput) as caught:
        work(job)
    return caught.value.problem


def digest_told(problem: Any) -> str:
    """Return the digest of what lies there, as the message has it."""
    return str(problem.message).split("has the digest ")[1].split(",")[0]


def digest_there(job: ImportJob) -> str:
    """Return the digest of what lies where it is imported from."""
    return digest_told(problem_of(job))


def as_trainers_save_it(base: Path, folder: Path) -> None:
    """Save a base's tokenizer beside what was trained from it, set up for its batches."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    tokenizer.pad_token, tokenizer.padding_side, tokenizer.model_max_length = tokenizer.eos_token, "left", 64
    tokenizer("a text", padding="max_length", truncation=True, max_length=32)
    tokenizer.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (folder / name).read_bytes() != (base / name).read_bytes()


def whole_decoder(folder: Path, base: Path) -> None:
    """Make a whole model elsewhere: the base, its weights moved."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    model.save_pretrained(folder)


def imported_again(project: Project, method: Any, architecture: Family) -> ImportJob:
    """Train a step, import what came of it, and see the same artifact; return the import."""
    given = project.train_job(
        architecture=architecture, method=method, settings={"max_steps": 1, "epochs": None, "learning_rate": 1e-3}
    )
    trained = train(given)
    folder = project.root / "pvc" / "made" / "it"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project.storage.path(artifact_folder(trained.digest)), folder)
    headed = trained.type == "Adapter" and architecture is Family.ENCODER
    labels = (record_of(project, given).labels or None) if headed else None
    job = import_job(project, trained.digest, like=given, labels=labels)
    report = work(job)
    assert (report.digest, report.method) == (trained.digest, method.type)
    card = project.storage.read(f"{run_folder(job.inputs.digest)}/README.md").decode()
    assert PROMPT.template in card
    assert f"    {PROMPT.system}" not in card, "it reads the template alone"
    return job
