"""Imports by the real program of what was made elsewhere: the trainer's own artifacts, and broken ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import AnyColumns, Family, FullMethod, ImportInputs, ImportMethod
from stagecoach.contract.jobs import HubPart, ImportJob, ImportSource, Split
from stagecoach.contract.layout import artifact_folder, run_folder
from stagecoach.contract.records import ImportRecord
from stagecoach.contract.reports import ArtifactReport, BadInput
from stagecoach_trainer import compare, lookup
from tests.unit.contract.documents import DIGEST, METHOD, OWNER, PROMPT, SUBJECT

from . import test_encoder_decoders, test_encoders, test_taggers
from .conftest import ANOTHER, Project, record_of, train, writing_pairs
from .test_compare import comparing

LABELS = ("card_lost", "parcel_late")
pytestmark = pytest.mark.filterwarnings("ignore")


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


def test_an_own_adapter_is_the_same_artifact(
    made: tuple[Project, ArtifactReport, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project, trained, _ = made
    known = project.train_job().train[0].digest
    job = import_job(project, trained.digest, trained_on=(known,))
    told = {"revision": "c" * 40, "hub": HubPart(split="train")}
    job = job.model_copy(update={"trained_on": (job.trained_on[0].model_copy(update=told),)})
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


def _first(tensors: dict[str, Any]) -> str:
    return next(iter(sorted(tensors)))


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _another_tokenizer(folder: Path) -> None:
    """Put a tokenizer beside an adapter that makes other tokens of some texts."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder.parents[1] / "models" / "tiny")
    tokenizer.add_tokens(["card"])
    tokenizer.save_pretrained(folder)


def _another_end(folder: Path) -> None:
    """Put the base's tokenizer beside an adapter that was taught to end with another token."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder.parents[1] / "models" / "tiny")
    tokenizer.add_special_tokens({"eos_token": "<|turn|>"})
    tokenizer.save_pretrained(folder)


ADAPTERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "nothing": (lambda folder: shutil.rmtree(folder), "ImportMissing", "no such folder"),
    "neither": (lambda folder: (folder / "adapter_config.json").unlink(), "ImportMissing", "neither"),
    "both": (lambda folder: (folder / "config.json").write_text("{}"), "ImportUnusable", "which is meant"),
    "a pickle": (_pickled, "ImportUnusable", "adapter_model.bin"),
    "broken weights": (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"no"), "ImportUnusable", "is broken"),
    "broken settings": (lambda folder: (folder / "adapter_config.json").write_text("[]"), "ImportUnusable", "is broken"),
    "another rank": (change("r", 8), "ImportUnfit", "has the shape"),
    "a weight less": (weights(lambda found: found.pop(_first(found))), "ImportUnfit", "1 weights are missing"),
    "a weight more": (weights(lambda found: found.update(odd=found[_first(found)].clone())), "ImportUnfit", "1 weights belong nowhere"),
    "a number that is none": (weights(lambda found: found[_first(found)].fill_(float("nan"))), "NotFinite", "not a number"),
    "an infinite number": (weights(lambda found: found[_first(found)].fill_(float("inf"))), "NotFinite", "infinite"),
    "integers": (weights(lambda found: found.update({k: v.int() for k, v in found.items()})), "ImportUnusable", "no numbers"),
    "an unknown type": (change("peft_type", "VERA"), "ImportUnusable", "peft_type is VERA"),
    "another task": (change("task_type", "SEQ_CLS"), "ImportUnusable", "task_type"),
    "a bias": (change("bias", "all"), "ImportUnusable", "bias"),
    "scales by module": (change("alpha_pattern", {"q_proj": 8}), "ImportUnusable", "alpha_pattern"),
    "a changed base": (change("init_lora_weights", "pissa"), "ImportUnusable", "init_lora_weights"),
    "a whole module": (change("modules_to_save", ["lm_head"]), "ImportUnusable", "modules_to_save"),
    "a setting of later": (change("use_magic", True), "ImportUnusable", "use_magic"),
    "modules that are not there": (change("target_modules", ["nowhere"]), "ImportUnfit", "cannot be put onto the base"),
    "a pattern of modules": (change("target_modules", ".*_proj"), "ImportUnusable", 'target_modules: ".*_proj"'),
    "patterns of modules": (change("target_modules", ["(q|k)_proj"]), "ImportUnusable", "target_modules"),
    "a pattern of what is left out": (change("exclude_modules", ".*k_proj"), "ImportUnusable", "exclude_modules"),
    "a pattern of layers": (change("layers_pattern", "(.+)+"), "ImportUnusable", 'layers_pattern: "(.+)+"'),
    "a scale that is none": (change("lora_alpha", float("nan")), "ImportUnusable", "lora_alpha: NaN"),
    "an infinite scale": (change("lora_alpha", float("inf")), "ImportUnusable", "lora_alpha: Infinity"),
    "a rank in words": (change("r", "16"), "ImportUnusable", 'r: "16"'),
    "a broken tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "TokenizerDiffers", "cannot be read"),
    "half a tokenizer": (lambda folder: (folder / "vocab.json").write_text("{}"), "TokenizerDiffers", "no tokenizer.json"),
    "another tokenizer": (_another_tokenizer, "TokenizerDiffers", "they differ in added_tokens"),
    "another end": (_another_end, "TokenizerDiffers", "they differ in eos_token"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason", "words"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_that_cannot_be_used_is_refused(
    made: tuple[Project, ArtifactReport, Path], spoil: Callable[[Path], object], reason: str, words: str
) -> None:
    project, _, folder = made
    spoil(folder)
    refusal(project, reason, words)


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


def as_trainers_save_it(base: Path, folder: Path) -> None:
    """Save a base's tokenizer beside what was trained from it, set up for its batches."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    tokenizer.pad_token, tokenizer.padding_side, tokenizer.model_max_length = tokenizer.eos_token, "left", 64
    tokenizer("a text", padding="max_length", truncation=True, max_length=32)
    tokenizer.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (folder / name).read_bytes() != (base / name).read_bytes()


def test_what_has_seen_the_test_data_is_refused(made: tuple[Project, ArtifactReport, Path]) -> None:
    project, trained, _ = made
    seen = project.source("train", Split.TEST, DIGEST)
    problem = problem_of(import_job(project, trained.digest).model_copy(update={"trained_on": (seen,)}))
    assert (problem.reason, problem.field) == ("TestSplitUsed", "method.trainedOn[train]")


def whole_decoder(folder: Path, base: Path) -> None:
    """Make a whole model elsewhere: the base, its weights moved."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    model.save_pretrained(folder)


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


MODELS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "code of its own": (change("auto_map", {"AutoModel": "evil.Model"}), "ImportUnusable", "auto_map"),
    "another family": (change("architectures", ["BertModel"]), "ImportUnusable", "BertModel"),
    "another vocabulary": (change("vocab_size", 300), "ImportUnfit", "vocab_size is 300"),
    "another type": (change("model_type", "mistral"), "ImportUnfit", "model_type is mistral"),
    "more layers": (change("num_hidden_layers", 3), "ImportUnfit", "weights are missing"),
    "a weight more": (weights(lambda found: found.update(odd=found[_first(found)].clone())), "ImportUnfit", "unexpected"),
    "a number that is none": (weights(lambda found: found[_first(found)].fill_(float("nan"))), "NotFinite", "not a number"),
    "a number in words": (change("num_hidden_layers", "two"), "ImportUnusable", "num_hidden_layers"),
    "no heads": (change("num_attention_heads", 0), "ImportUnusable", "cannot load"),
    "mixed numbers": (weights(lambda found: found.update({_first(found): found[_first(found)].float()})), "ImportUnusable", "all of one of"),
    "a pickle": (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "ImportUnusable", "pytorch_model.bin"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason", "words"), MODELS.values(), ids=MODELS)
def test_a_model_that_cannot_be_used_is_refused(
    real: Project, spoil: Callable[[Path], object], reason: str, words: str
) -> None:
    folder = real.root / "pvc" / "made" / "it"
    whole_decoder(folder, real.root / "pvc" / "models" / "tiny")
    spoil(folder)
    refusal(real, reason, words)


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


def imported_again(project: Project, method: Any, architecture: Family) -> ImportJob:
    """Train a step, import what came of it, and see the same artifact; return the import."""
    given = project.train_job(
        architecture=architecture, method=method, settings={"max_steps": 1, "epochs": None, "learning_rate": 1e-3}
    )
    trained = train(given)
    folder = project.root / "pvc" / "made" / "it"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project.storage.path(artifact_folder(trained.digest)), folder)
    labels = record_of(project, given).labels if trained.type == "Adapter" and architecture is Family.ENCODER else None
    job = import_job(project, trained.digest, like=given, labels=labels)
    report = work(job)
    assert (report.digest, report.method) == (trained.digest, method.type)
    card = project.storage.read(f"{run_folder(job.inputs.digest)}/README.md").decode()
    assert PROMPT.template in card
    assert f"    {PROMPT.system}" not in card, "it reads the template alone"
    return job


ENCODERS = [("BertForMaskedLM", METHOD), ("BertForMaskedLM", FullMethod()), ("DistilBertForMaskedLM", METHOD)]


@pytest.mark.parametrize(("architecture", "method"), ENCODERS, ids=["lora", "full", "distil"])
def test_what_was_made_of_an_encoder_is_the_same_artifact(project: Project, architecture: str, method: Any) -> None:
    real = test_encoders.with_base(project, architecture)
    job = imported_again(real, method, Family.ENCODER)
    assert compare.main(comparing(real, inputs=job.inputs.digest, data="pvc://data/valid.csv", limit=2)) == 0


@pytest.mark.parametrize(
    ("columns", "method"), [(test_taggers.WORDS, METHOD), (test_taggers.SPANS, FullMethod())], ids=["lora", "full"]
)
def test_what_was_made_of_a_tagger_is_the_same_artifact(project: Project, columns: AnyColumns, method: Any) -> None:
    tagger = test_taggers.tagging(columns)(test_encoders.with_base(project, "BertForMaskedLM"))
    imported_again(tagger, method, Family.ENCODER)


def test_a_head_for_texts_is_none_for_tokens(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, METHOD, Family.ENCODER)
    tagger = test_taggers.tagging(test_taggers.WORDS)(real)
    given = tagger.train_job(architecture=Family.ENCODER)
    refusal(tagger, "ImportUnusable", "has task_type", like=given, labels=test_taggers.labels(test_taggers.WORDS))


@pytest.mark.parametrize("method", [METHOD, FullMethod()], ids=["lora", "full"])
def test_what_was_made_of_an_encoder_decoder_is_the_same_artifact(project: Project, method: Any) -> None:
    made_of = test_encoder_decoders.with_base(project, "T5ForConditionalGeneration")
    imported_again(made_of, method, Family.ENCODER_DECODER)


def test_a_head_for_other_labels_is_refused(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, FullMethod(), Family.ENCODER)
    given = real.train_job(architecture=Family.ENCODER)
    labels = {"id2label": {"0": "parcel_late", "1": "card_lost"}, "label2id": {"parcel_late": 0, "card_lost": 1}}
    for key, value in labels.items():
        change(key, value)(real.root / "pvc" / "made" / "it")
    refusal(real, "ImportUnfit", "the project's labels in their order", like=given)


ENCODER_MODELS = [
    ("problem_type", "multi_label_classification", "ImportUnfit", "does not choose one label"),
    ("hidden_size", "wide", "ImportUnusable", "hidden_size"),
]


@pytest.mark.parametrize(("name", "value", "reason", "words"), ENCODER_MODELS)
def test_an_encoder_that_cannot_be_used_is_refused(
    project: Project, name: str, value: Any, reason: str, words: str
) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    given = real.train_job(architecture=Family.ENCODER)
    whole_encoder(real.root / "pvc" / "made" / "it", real.root / "pvc" / "models" / "tiny")
    change(name, value)(real.root / "pvc" / "made" / "it")
    refusal(real, reason, words, like=given)


def whole_encoder(folder: Path, base: Path) -> None:
    """Make a classifier elsewhere, as transformers saves it before any training."""
    from transformers import AutoModelForSequenceClassification

    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
    AutoModelForSequenceClassification.from_pretrained(base, **labels).save_pretrained(folder)


def test_an_adapter_without_a_head_is_refused(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, METHOD, Family.ENCODER)
    given = real.train_job(architecture=Family.ENCODER)
    folder = real.root / "pvc" / "made" / "it"
    change("modules_to_save", ["classifier", "score"])(folder)
    refusal(real, "ImportUnfit", "the base has no weights for", like=given, labels=LABELS)


def test_the_labels_of_an_adapter_have_to_be_said(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, METHOD, Family.ENCODER)
    given = real.train_job(architecture=Family.ENCODER)
    digest = digest_there(import_job(real, like=given))
    for labels, words in ((None, "which label each row of that is for"), (LABELS[::-1], "in their order")):
        problem = problem_of(import_job(real, digest, like=given, labels=labels))
        assert (problem.reason, problem.field, problem.value) == (
            "ImportUnfit",
            "method.labels",
            ", ".join(labels or ()),
        )
        assert words in problem.message
        assert "The project's labels are card_lost, parcel_late" in problem.remedy
