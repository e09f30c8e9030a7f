"""Real runs of encoders: tiny models of each family that may get a classification head."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import DataInput, Family, Freeze, FullMethod, LoraMethod, Method, Overflow, Tokenization
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.prompts import PlainEncoder
from stagecoach.contract.reports import ArtifactReport, BadInput
from stagecoach_trainer import sources
from tests.unit.contract.documents import METHOD, PROMPT

from .conftest import ANOTHER, EXAMPLES, Project, record_of, train
from .test_compare import comparing
from .test_in_a_pod import in_a_pod

pytestmark = pytest.mark.filterwarnings("ignore")

LORA = METHOD.model_dump()

LOW_RANK = LoraMethod.model_validate(LORA)
DORA = LoraMethod.model_validate(LORA | {"type": "DoRA"})
SIZES = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 130,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DISTIL = {"vocab_size": 260, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 130}
MODERN = SIZES | {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
# The class that is saved as the base; its configuration's class has the same name with Config.
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "BertForMaskedLM": ("BertConfig", SIZES),
    "BertModel": ("BertConfig", SIZES),
    "BertForSequenceClassification": ("BertConfig", SIZES | {"num_labels": 3}),
    "RobertaForMaskedLM": ("RobertaConfig", SIZES),
    "XLMRobertaModel": ("XLMRobertaConfig", SIZES),
    "ModernBertForMaskedLM": ("ModernBertConfig", MODERN),
    "DistilBertForMaskedLM": ("DistilBertConfig", DISTIL),
    "DebertaV2Model": ("DebertaV2Config", SIZES),
}
SETTINGS = {"learning_rate": 4e-3, "learning_rate_schedule": "linear", "epochs": 20}
FULL_SETTINGS = SETTINGS | {"learning_rate": 2e-3}
RUNS: dict[str, tuple[str, Method, dict[str, Any]]] = {
    "bert-lora": ("BertForMaskedLM", LOW_RANK, SETTINGS),
    "bert-dora": ("BertForMaskedLM", DORA, SETTINGS | {"learning_rate": 6e-3}),
    "bert-full": ("BertForMaskedLM", FullMethod(), FULL_SETTINGS),
    "roberta-lora": ("RobertaForMaskedLM", LOW_RANK, SETTINGS),
    "modernbert-full": ("ModernBertForMaskedLM", FullMethod(), FULL_SETTINGS),
    "distilbert-lora": ("DistilBertForMaskedLM", LOW_RANK, SETTINGS),
}


def save_base(folder: Path, architecture: str, **changes: int) -> None:
    """Save a random encoder with a byte-level tokenizer that puts special tokens around a text."""
    import torch
    import transformers

    config, sizes = BASES[architecture]
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(getattr(transformers, config)(**sizes | changes))
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", *alphabet]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def with_base(project: Project, architecture: str) -> Project:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    folder = project.root / "pvc" / "models" / "tiny"
    shutil.rmtree(folder)
    save_base(folder, architecture)
    return project


def encoder_job(project: Project, method: Method, **changes: Any) -> TrainJob:
    return project.train_job(architecture=Family.ENCODER, method=method, **changes)


def loaded(project: Project, job: TrainJob, report: ArtifactReport) -> Any:
    """Load what was published as its user would: nothing of the training is at hand but labels and base."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    folder = project.storage.path(f"artifacts/sha256/{report.digest[7:]}")
    torch.manual_seed(99)  # whatever the base lacks is drawn otherwise than in the training
    if report.type == "Model":
        return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    base = project.root / "pvc" / "models" / "tiny"
    labels = record_of(project, job).labels
    options = {"num_labels": len(labels), "dtype": torch.float32, "ignore_mismatched_sizes": True}
    model = AutoModelForSequenceClassification.from_pretrained(base, **options)
    return PeftModel.from_pretrained(model, folder).eval()


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (("card_lost", "parcel_late"), True),
        (("parcel_late", "card_lost"), False),
        (("joy", "anger"), False),
        (("card_lost", "parcel_late", "other"), False),
    ],
)
@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "RobertaForSequenceClassification"])
def test_a_head_is_kept_for_just_these_labels(
    tmp_path: Path, architecture: str, named: tuple[str, ...], kept: bool
) -> None:
    torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    import transformers

    from stagecoach_trainer.families import encoder

    labels = ("card_lost", "parcel_late")
    torch.manual_seed(1)  # not what the head is drawn by
    name = architecture.replace("ForSequenceClassification", "Config")
    config = getattr(transformers, name)(**SIZES, id2label=dict(enumerate(named)))
    base = getattr(transformers, architecture)(config)
    base.save_pretrained(tmp_path)
    loaded, again = (encoder.load(str(tmp_path), labels, "float32", 0) for _ in range(2))
    theirs, ours = base.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    last = "classifier.weight" if "classifier.weight" in ours else "classifier.out_proj.weight"
    assert torch.equal(ours[last], theirs[last]) is kept
    assert encoder.keeps_head(str(tmp_path), labels) is kept
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if not key.startswith("classifier"))
    assert all(torch.equal(ours[key], value) for key, value in again.model.state_dict().items()), "drawn by the seed"
    assert "classifier" in loaded.fresh


def test_comparing_with_a_base_whose_head_knows_the_labels(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import compare

    monkeypatch.setitem(BASES, "BertForSequenceClassification", ("BertConfig", SIZES))
    with_base(project, "BertForSequenceClassification")
    config = project.root / "pvc" / "models" / "tiny" / "config.json"
    for named, untrained in ((("card_lost", "parcel_late"), False), (("no", "yes"), True)):
        ids = {"id2label": dict(enumerate(named)), "label2id": {name: at for at, name in enumerate(named)}}
        config.write_text(json.dumps(json.loads(config.read_text()) | ids))
        job = encoder_job(project, LOW_RANK, settings={"max_steps": 1, "epochs": None})
        train(job)
        assert compare.main(comparing(project, inputs=job.inputs.digest, data="pvc://data/valid.csv")) == 0
        assert (compare.UNTRAINED_HEAD in capsys.readouterr().out) is untrained


@pytest.mark.parametrize("architecture", BASES)
@pytest.mark.parametrize(
    "method", [LOW_RANK, FullMethod(freeze=Freeze(embeddings=True, layers=1))], ids=lambda m: m.type
)
def test_every_family_is_trained(project: Project, architecture: str, method: Method) -> None:
    torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")

    job = encoder_job(with_base(project, architecture), method, settings={"max_steps": 2, "epochs": None})
    report = train(job)
    record = record_of(project, job)
    assert 0 < record.training.trainable_share < 1
    assert record.base.architecture == architecture
    ids = torch.tensor([[1, 40, 41, 42, 2]])
    with torch.no_grad():
        logits = loaded(project, job, report)(input_ids=ids).logits
    assert logits.shape == (1, 2)
    if report.type == "Model":
        config = json.loads(project.storage.read(f"artifacts/sha256/{report.digest[7:]}/config.json"))
        assert config["id2label"] == {"0": "card_lost", "1": "parcel_late"}
        assert config["architectures"][0].endswith("ForSequenceClassification")
        assert record.training.frozen == "The embeddings and the lowest 1 of 2 layers; all other weights were trained."


def test_balanced_classes_count_alike(project: Project) -> None:
    """With 12 rows to 4, a row counts 2/3 or 2; the mean row counts 1, so the first losses are of one size."""
    with_base(project, "BertModel")
    few = [row for row in EXAMPLES if row[1] == "card_lost"][:4]
    many = [(f"{text} {mark}", label) for text, label in EXAMPLES if label == "parcel_late" for mark in "?!"][:12]
    project.write("train.csv", few + many)
    steps = {"max_steps": 1, "epochs": None, "per_device_batch_size": 16}
    jobs = [encoder_job(project, FullMethod(), settings=steps | extra) for extra in ({}, {"class_weights": "balanced"})]
    plain, balanced = (first_loss(project, job) for job in jobs)
    losses = rows_losses(jobs[0])
    expected = sum(value * (2 if label == "card_lost" else 2 / 3) for value, label in losses) / 16
    assert plain == pytest.approx(sum(value for value, _ in losses) / 16, rel=1e-3)
    assert balanced == pytest.approx(expected, rel=1e-3)
    assert balanced != pytest.approx(plain, rel=1e-3)


def first_loss(project: Project, job: TrainJob) -> float:
    train(job)
    return record_of(project, job).training.losses[0].loss


def rows_losses(job: TrainJob) -> list[tuple[float, str]]:
    """Return each row's loss before the training, dropout off."""
    import torch

    from stagecoach_trainer.families import encoder
    from stagecoach_trainer.train import prepare

    prepared = prepare(job)
    model = encoder.load(prepared.base.folder, prepared.labels, "float32", job.inputs.hyperparameters.seed).model.eval()
    rows = zip(prepared.train[0].dataset.labelled, prepared.train[0].examples, strict=True)
    with torch.no_grad():
        return [
            (
                float(
                    torch.nn.functional.cross_entropy(
                        model(input_ids=torch.tensor([example.prompt])).logits,
                        torch.tensor([prepared.labels.index(row.label)]),
                    )
                ),
                row.label,
            )
            for row, example in rows
        ]


def test_the_labels_are_the_projects_whatever_is_trained_on(project: Project) -> None:
    with_base(project, "BertForMaskedLM").write("few.csv", [row for row in EXAMPLES if row[1] == "parcel_late"])
    job = encoder_job(project, FullMethod(), settings={"max_steps": 1, "epochs": None})
    few, columns = job.train[0].model_copy(update={"name": "few", "uri": "pvc://data/few.csv"}), project.columns
    few = few.model_copy(update={"digest": sources.read(project.source("few"), mismatch="", remedy="").digest})
    train_inputs = (DataInput(digest=few.digest or "", columns=columns),)
    inputs = job.inputs.model_copy(update={"train": train_inputs, "label_columns": columns})
    job = job.model_copy(update={"train": (few,), "labels_from": job.train[0], "inputs": inputs})
    report = train(TrainJob.model_validate_json(job.line()))
    assert record_of(project, job).labels == ("card_lost", "parcel_late")
    assert loaded(project, job, report).config.id2label == {0: "card_lost", 1: "parcel_late"}
    assert [item.name for item in record_of(project, job).data] == ["few", "valid"], "only its labels are of the other"


@pytest.mark.parametrize("method", [LOW_RANK, FullMethod()], ids=lambda method: method.type)
def test_a_run_as_in_a_pod(project: Project, method: Method) -> None:
    job = encoder_job(with_base(project, "BertForMaskedLM"), method, settings={"max_steps": 2, "epochs": None})
    code, report, _, log = in_a_pod(project, job.line())
    assert code == 0, log
    assert report is not None
    assert report.artifact is not None
    # People read this log: it says what happens, and nothing of heads that are missing in the base.
    assert log.splitlines() == ["reading data and base model", "Done"]


def test_an_encoder_in_bfloat16_with_checkpointing(project: Project) -> None:
    settings = {"max_steps": 2, "epochs": None, "precision": "bfloat16", "gradient_checkpointing": True}
    for method in (LOW_RANK, FullMethod()):
        job = encoder_job(with_base(project, "BertForMaskedLM"), method, settings=settings)
        report = train(job)
        assert report.digest == train(job.model_copy(update={"force": True, "subject": ANOTHER})).digest


def test_resolving_an_encoder_reads_the_template_alone(project: Project) -> None:
    from stagecoach_trainer import bases
    from stagecoach_trainer.resolve import resolve

    with_base(project, "RobertaForMaskedLM")
    found = resolve(project.resolve_job(architecture=Family.ENCODER))
    assert (found.candidates[0].architecture, found.candidates[0].context) == ("RobertaForMaskedLM", 129)
    base = bases.read(project.resolve_job().candidates[0], mismatch="", remedy="", family=Family.ENCODER)
    tokenizer: Any = bases.load_tokenizer(base)
    encoder = PlainEncoder(tokenizer, PROMPT, Tokenization(max_length=8, overflow=Overflow.TRUNCATE))
    assert tokenizer.decode(list(encoder.encode("lost").ids)) == "[CLS]lost[SEP]"
    cut = encoder.encode("lost card")
    assert (tokenizer.decode(list(cut.ids)), cut.truncated, len(cut.ids)) == ("[CLS]lost c[SEP]", True, 8)


def test_an_encoder_is_never_longer_than_its_positions(project: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    with_base(project, "BertModel")
    rule = Tokenization(max_length=131, overflow=Overflow.TRUNCATE)
    with pytest.raises(BadInput, match="Set at most 130") as caught:
        resolve(project.resolve_job(architecture=Family.ENCODER, tokenization=rule))
    assert caught.value.problem.field == "tokenization.maxLength"


def test_named_modules_of_an_encoder_do_not_reach_into_its_head(project: Project) -> None:
    with_base(project, "BertForMaskedLM")
    method = LoraMethod.model_validate(LORA | {"target_modules": ("dense", "query")})
    job = encoder_job(project, method, settings={"max_steps": 1, "epochs": None})
    train(job)
    names = record_of(project, job).training.target_modules
    assert len(names) == 8
    assert not [name for name in names if "pooler" in name or "classifier" in name]
