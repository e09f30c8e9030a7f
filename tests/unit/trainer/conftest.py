"""A project in a folder: storage, data and a tiny random Llama, as a pod of the trainer would find them."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import (
    BaseInput,
    Columns,
    DataInput,
    Family,
    Hyperparameters,
    LabelsInput,
    LoraMethod,
    Overflow,
    Prompt,
    RunInputs,
    Tokenization,
)
from stagecoach.contract.jobs import DataSource, Labels, ModelSource, Owner, ResolveJob, Split, Subject, TrainJob
from stagecoach.contract.store import Store
from stagecoach_trainer import places

SUBJECT = Subject(kind="FineTuneRun", namespace="team", name="run", uid="uid-1")
PROMPT = Prompt(system="Route.", template="{text}")
EXAMPLES = [
    (f"{start} {what}", label)
    for start in ("please help:", "hello,", "hi, I ask about", "urgent:", "again:", "sorry,", "well,", "so,")
    for what, label in (("my card is lost", "card_lost"), ("the parcel is late", "parcel_late"))
]
LORA = {"rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear"}
SETTINGS = Hyperparameters(
    learning_rate=1e-2,
    learning_rate_schedule="constant",
    per_device_batch_size=4,
    gradient_accumulation_steps=1,
    epochs=12,
    warmup_ratio=0.0,
    weight_decay=0.0,
    max_grad_norm=1.0,
    optimizer="adamw_torch",
    precision="auto",
    seed=17,
)


@dataclass(frozen=True)
class Project:
    """A folder that stands for the mounts of a pod, and the documents that fit it."""

    root: Path

    @property
    def storage(self) -> Store:
        """The project's storage."""
        return Store.local(str(self.root / "storage"))

    def write(self, name: str, rows: list[tuple[str, str]]) -> None:
        """Write a data set as a .csv file."""
        with (self.root / "pvc" / "data" / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])

    def source(self, name: str, split: Split = Split.TRAIN, digest: str | None = None) -> DataSource:
        """Return the source of a data set."""
        return DataSource(name=name, uri=f"pvc://data/{name}.csv", split=split, columns=Columns(), digest=digest)

    def resolve_job(self, **changes: Any) -> ResolveJob:
        """Return the document that resolves the project."""
        job = ResolveJob(
            subject=SUBJECT,
            datasets=(self.source("train"), self.source("valid", Split.VALIDATION)),
            labels=Labels(from_dataset="train"),
            candidates=(ModelSource(name="tiny", uri="pvc://models/tiny"),),
            selected="tiny",
            prompt=PROMPT,
            tokenization=Tokenization(max_length=96, overflow=Overflow.REJECT),
        )
        return job.model_copy(update=changes)

    def train_job(self, **changes: Any) -> TrainJob:
        """Return the document that trains; hyperparameters and method may be changed by name, a method also whole."""
        from stagecoach_trainer import bases, sources

        digests = {name: sources.read(self.source(name), mismatch="", remedy="").digest for name in ("train", "valid")}
        architecture = changes.pop("architecture", None)
        family = architecture or Family.DECODER
        base = bases.read(ModelSource(name="tiny", uri="pvc://models/tiny"), mismatch="", remedy="", family=family)
        method = changes.pop("method", {})
        if isinstance(method, dict):
            method = LoraMethod.model_validate(LORA | method)
        settings = SETTINGS.model_copy(update=changes.pop("settings", {}))
        inputs = RunInputs(
            task="Classification",
            architecture=architecture,
            labels=LabelsInput(from_data=digests["train"]),
            base=BaseInput(model=base.model, tokenizer=base.tokenizer),
            train=(DataInput(digest=digests["train"], columns=Columns()),),
            validation=(DataInput(digest=digests["valid"], columns=Columns()),),
            prompt=PROMPT,
            tokenization=Tokenization(max_length=96, overflow=Overflow.REJECT),
            method=method,
            hyperparameters=settings,
            devices=0,
        )
        job = TrainJob(
            subject=SUBJECT,
            project="desk",
            owner=Owner(name="team", contact="#team"),
            attempt=1,
            force=False,
            inputs=inputs,
            base=ModelSource(name="tiny", uri="pvc://models/tiny", model=base.model, tokenizer=base.tokenizer),
            train=(self.source("train", digest=digests["train"]),),
            validation=(self.source("valid", Split.VALIDATION, digests["valid"]),),
            image="example.com/trainer@sha256:" + "0" * 64,
            threads=1,
        )
        return job.model_copy(update=changes)


def make_project(root: Path) -> Project:
    """Make the folders and data sets of a project, without a base model."""
    for folder in ("storage", "scratch", "pvc/data", "pvc/models/tiny", "configmap"):
        (root / folder).mkdir(parents=True)
    project = Project(root)
    project.write("train.csv", EXAMPLES)
    project.write("valid.csv", [(f"{text}!", label) for text, label in EXAMPLES[:4]])
    return project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose base is only a config, a tokenizer file and a file that calls itself weights."""
    monkeypatch.setenv(places.ROOT_VARIABLE, str(tmp_path))
    made = make_project(tmp_path)
    base = tmp_path / "pvc" / "models" / "tiny"
    (base / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128}')
    (base / "model.safetensors").write_bytes(b"weights")
    (base / "tokenizer.json").write_text("{}")
    return made


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two layers and a byte-level tokenizer with a chat template."""
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    folder = tmp_path_factory.mktemp("tiny")
    _save_tokenizer(folder)
    _save_model(folder)
    return folder


TEMPLATE = (
    "{% for turn in messages %}<|turn|>{{ turn['role'] }}\n{{ turn['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|pad|>", "<|turn|>", "<|end|>", *alphabet]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens({"eos_token": "<|end|>", "bos_token": "<|turn|>"})
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def _save_model(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    # The head stays frozen: as initialized, its logits are too close together for any label to be likely.
    model.lm_head.weight.data.mul_(20)
    model.save_pretrained(folder)
