"""Real runs on a tiny model. They need the trainer's libraries, so they run inside its image."""

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Overflow, Tokenization
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, LookupJob, Split, Subject
from stagecoach.contract.layout import run_folder, served_base_path
from stagecoach.contract.prompts import Encoder
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ArtifactReport, BadInput, Outcome, ProgressLine, Report
from stagecoach_trainer import compare, lookup, places

from .conftest import EXAMPLES, PROMPT, SUBJECT, Project, make_project

pytestmark = pytest.mark.filterwarnings("ignore")

ANOTHER = Subject(kind="FineTuneRun", namespace="team", name="another", uid="uid-2")


LENGTHS = Tokenization(max_length=96, overflow=Overflow.REJECT)


@pytest.fixture
def real(project: Project, tiny_base: Path) -> Project:
    """A project with a base that can be trained."""
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    return project


@pytest.fixture(scope="module")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, ArtifactReport]]:
    """A project whose run was trained."""
    project = make_project(tmp_path_factory.mktemp("trained") / "root")
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(project.root))
        yield project, train(project.train_job())


def train(job: Any) -> ArtifactReport:
    from stagecoach_trainer.train import train as work

    return work(job)


def record_of(project: Project) -> Record:
    known = lookup.read_record(project.storage, project.train_job().inputs.digest)
    assert known is not None
    return known[0]


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

    from stagecoach_trainer import artifact, loop
    from stagecoach_trainer.train import prepare

    prepared = prepare(real.train_job())
    result = loop.run(prepared)
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
    assert again == report.model_copy(update={"adopted": True})
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
    earlier = record_of(project)
    again = train(project.train_job(force=True, subject=ANOTHER))
    assert (again.digest, again.adopted) == (report.digest, False)
    folder = run_folder(earlier.inputs_digest)
    kept = [name for name in project.storage.names(folder) if name not in ("README.md", "record.json")]
    assert len(kept) == 1
    assert Record.model_validate_json(project.storage.read(f"{folder}/{kept[0]}")) == earlier


def test_another_seed_gives_other_bytes(trained: tuple[Project, ArtifactReport]) -> None:
    project, report = trained
    assert train(project.train_job(settings={"seed": 18})).digest != report.digest


def test_steps_may_be_given_instead_of_epochs(real: Project) -> None:
    job = real.train_job(settings={"epochs": None, "max_steps": 6, "gradient_accumulation_steps": 2})
    train(job)
    known = lookup.read_record(real.storage, job.inputs.digest)
    assert known is not None
    training = known[0].training
    assert (training.steps, training.effective_batch_size) == (6, 8)
    assert [point.step for point in training.evaluations] == [2, 4, 6]


def test_without_a_validation_set(real: Project) -> None:
    job = real.train_job(settings={"epochs": 1})
    job = job.model_copy(update={"validation": (), "inputs": job.inputs.model_copy(update={"validation": ()})})
    assert train(job).eval_loss is None


def test_a_loss_that_is_not_a_number_ends_the_run(real: Project) -> None:
    from stagecoach_trainer.failures import WorkFailed

    with pytest.raises(WorkFailed) as caught:
        train(real.train_job(settings={"learning_rate": 1e30, "max_grad_norm": 0.0}))
    assert caught.value.problem.reason == "LossNotFinite"
    assert "learningRate" in caught.value.problem.remedy
    assert real.storage.folders("artifacts") == []


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (("query",), "no module of this name"),
        (("q_proj", "lm_head"), "lm_head is not a linear layer that can be adapted"),
        (("embed_tokens",), "not a linear layer"),
        (("mlp",), "not a linear layer"),
    ],
)
def test_unknown_target_modules(real: Project, targets: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        train(real.train_job(method={"target_modules": targets}))
    assert caught.value.problem.reason == "UnknownTargetModule"
    assert "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in caught.value.problem.remedy


def test_named_target_modules(real: Project) -> None:
    job = real.train_job(method={"target_modules": ("q_proj", "v_proj")}, settings={"epochs": 1})
    train(job)
    known = lookup.read_record(real.storage, job.inputs.digest)
    assert known is not None
    assert known[0].training.target_modules == ("q_proj", "v_proj")
    assert known[0].training.adapted_layers == 4


def test_an_architecture_that_transformers_does_not_know(real: Project) -> None:
    config = real.root / "pvc" / "models" / "tiny" / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "nonesuch"'))
    with pytest.raises(BadInput) as caught:
        train(real.train_job())
    assert caught.value.problem.reason == "BaseUnusable"


@pytest.mark.parametrize("what", ["train.csv", "valid.csv"])
def test_data_that_changed_ends_the_run(real: Project, what: str) -> None:
    job = real.train_job()
    real.write(what, EXAMPLES[:3])
    with pytest.raises(BadInput) as caught:
        train(job)
    assert caught.value.problem.reason == "InputChanged"


def test_the_test_split_is_never_trained_on(real: Project) -> None:
    job = real.train_job()
    with pytest.raises(BadInput) as caught:
        train(job.model_copy(update={"train": (job.train[0].model_copy(update={"split": Split.TEST}),)}))
    assert caught.value.problem.reason == "TestSplitUsed"


def test_another_trainer_revision_is_refused(real: Project) -> None:
    job = real.train_job()
    with pytest.raises(BadInput) as caught:
        train(job.model_copy(update={"inputs": job.inputs.model_copy(update={"revision": 99})}))
    assert caught.value.problem.reason == "RevisionDiffers"


def test_resolving(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    real.write("valid.csv", [EXAMPLES[0], ("new", "card_lost")])
    found = resolve(real.resolve_job())
    assert [(item.name, item.examples) for item in found.datasets] == [("train", 16), ("valid", 2)]
    assert (found.labels.count, found.labels.first) == (2, ("card_lost", "parcel_late"))
    assert (found.candidates[0].architecture, found.candidates[0].context) == ("LlamaForCausalLM", 256)
    assert [item.code for item in found.findings] == ["Leakage"]
    assert not found.has_records


def test_resolving_finds_records(trained: tuple[Project, ArtifactReport]) -> None:
    from stagecoach_trainer.resolve import resolve

    assert resolve(trained[0].resolve_job()).has_records


def test_a_row_that_is_too_long_is_named(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    real.write("valid.csv", [("short", "card_lost"), ("long " * 50, "card_lost")])
    with pytest.raises(BadInput, match="row 3 has") as caught:
        resolve(real.resolve_job())
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("RowTooLong", "data.sets[valid]", "valid.csv:3")


def test_cut_rows_and_a_short_context_are_findings(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    real.write("valid.csv", [("short", "card_lost"), ("long " * 500, "card_lost")])
    found = resolve(real.resolve_job(tokenization=Tokenization(max_length=300, overflow=Overflow.TRUNCATE)))
    assert {item.code: item.message for item in found.findings} == {
        "OverflowAboveOnePercent": "1 of 2 rows of valid are cut (50.0 %).",
        "LongerThanContext": "tokenization.maxLength is 300, and tiny has a context of 256.",
    }


@pytest.mark.parametrize("text", ["{text}", "dé 👋🏽 <|end|>", "x" * 300, "Ω" * 300, "👋🏽" * 100])
def test_truncation_with_a_real_tokenizer(real: Project, text: str) -> None:
    from stagecoach_trainer import bases

    base = bases.read(real.resolve_job().candidates[0], mismatch="", remedy="")
    tokenizer: Any = bases.load_tokenizer(base)
    encoder = Encoder(tokenizer, PROMPT, Tokenization(max_length=96, overflow=Overflow.TRUNCATE))
    encoded = encoder.encode(text)
    assert len(encoded.ids) <= 96
    assert encoded.truncated == (len(text) >= 100)
    assert tokenizer.decode(list(encoded.ids)) == encoder.render(encoded.kept)
    assert text.startswith(encoded.kept)
    assert not encoded.truncated or len(encoded.ids) > 96 - 18
    assert tokenizer.decode(list(encoder.completion("card_lost"))) == "card_lost<|end|>"


def test_a_template_that_knows_no_system_turn(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (real.root / "pvc" / "models" / "tiny" / "chat_template.jinja").write_text(template)
    with pytest.raises(BadInput, match="System role not supported"):
        resolve(real.resolve_job())


def comparing(project: Project, **changes: Any) -> Namespace:
    inputs = changes.pop("inputs", None) or project.train_job().inputs.digest
    values = {"inputs": inputs, "data": None, "base": None, "limit": None, "batch_size": 3, "threads": 1, "json": None}
    return Namespace(**(values | changes))


def test_comparing_base_and_adapter(
    trained: tuple[Project, ArtifactReport], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project = trained[0]
    assert compare.main(comparing(project, data="pvc://data/train.csv", json=str(tmp_path / "n.json"))) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[0].split() == ["rows", "base", "adapter"]
    assert "adapter: 16 of 16 rows" in output.err
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["accuracy"]["rows"] == 16
    assert numbers["accuracy"]["adapter"] > max(0.8, numbers["accuracy"]["base"])
    assert set(numbers["labels"]) == {"card_lost", "parcel_late"}


def test_comparing_uses_the_validation_sets_by_default(
    trained: tuple[Project, ArtifactReport], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(comparing(trained[0], limit=3)) == 0
    assert "base: 3 of 3 rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": "sha256:" + "0" * 64}, "no complete run"),
        ({"data": "absent.csv"}, "absent.csv"),
        ({"data": "pvc://data/absent.csv"}, "no such file"),
        ({"data": "ftp://x/y.csv"}, "not a URI"),
    ],
)
def test_what_cannot_be_compared(
    trained: tuple[Project, ArtifactReport],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    words: str,
) -> None:
    assert compare.main(comparing(trained[0], **changes)) == 64
    assert words in capsys.readouterr().err


def in_a_pod(project: Project, document: str) -> tuple[int, Report | None, list[str], str]:
    """Run the image's command on a document; return exit code, report, progress lines and the log."""
    log = project.root / "termination-log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        places.ROOT_VARIABLE: str(project.root),
        places.TERMINATION_LOG_VARIABLE: str(log),
        ENVIRONMENT_VARIABLE: document,
    }
    command = [sys.executable, "-m", "stagecoach_trainer"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, Report.parse(log.read_text()), ended.stdout.splitlines(), ended.stderr


def test_a_run_as_in_a_pod(real: Project) -> None:
    job = real.train_job()
    code, report, lines, log = in_a_pod(real, job.line())
    assert code == 0, log
    assert report is not None
    assert report.artifact is not None
    progress = [ProgressLine.parse(line) for line in lines]
    assert None not in progress, lines
    assert [(item.step, item.percent) for item in (progress[0], progress[-1]) if item] == [(0, 0), (48, 100)]
    # People read this log: it says what happens, and nothing else.
    assert log.splitlines() == ["reading data and base model", "Done"]
    looked_up = in_a_pod(real, LookupJob(subject=ANOTHER, inputs_digest=job.inputs.digest).line())[1]
    assert looked_up == Report(outcome=Outcome.DONE, artifact=report.artifact.model_copy(update={"adopted": True}))


def test_resolving_and_looking_up_do_not_load_torch(real: Project) -> None:
    for document in (real.resolve_job().line(), LookupJob(subject=SUBJECT, inputs_digest="sha256:" + "0" * 64).line()):
        program = (
            "import os, sys; from stagecoach_trainer import work; report = work.perform();"
            "assert report.outcome == 'Done', report; assert 'torch' not in sys.modules"
        )
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            places.ROOT_VARIABLE: str(real.root),
            ENVIRONMENT_VARIABLE: document,
        }
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr


def test_a_storage_that_is_not_there_is_a_services_failure(real: Project) -> None:
    (real.root / "storage").rmdir()
    code, report, _, _ = in_a_pod(real, real.resolve_job().line())
    assert (code, report.outcome if report else None) == (69, Outcome.SERVICE_FAILED)
