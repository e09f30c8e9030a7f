"""A project in a folder: storage, data and a tiny random Llama, as a pod of the trainer would find them."""

import csv
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import access
from stagecoach.contract.access import Access, Credential
from stagecoach.contract.inputs import (
    AnyColumns,
    BaseInput,
    Columns,
    CompletionColumns,
    DataInput,
    Family,
    LabelsInput,
    MessagesColumns,
    Overflow,
    PairColumns,
    Tokenization,
)
from stagecoach.contract.jobs import DataSource, Labels, ModelSource, ResolveJob, Split, Subject, TrainJob
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ArtifactReport
from stagecoach.contract.store import Store
from stagecoach_trainer import credentials, lookup, places
from tests.unit.contract.documents import LENGTHS, METHOD, OWNER, PROMPT, SETTINGS, SUBJECT, run_inputs

from .hub_server import Hub
from .weights import safetensors_of

ANOTHER = Subject(kind="FineTuneRun", namespace="team", name="another", uid="uid-2")
EXAMPLES = [
    (f"{start} {what}", label)
    for start in ("please help:", "hello,", "hi, I ask about", "urgent:", "again:", "sorry,", "well,", "so,")
    for what, label in (("my card is lost", "card_lost"), ("the parcel is late", "parcel_late"))
]

CLASSIFIED = Columns()
WITH_LABELS = ("Classification", "TokenClassification")
WITHOUT_TARGETS = (*WITH_LABELS, "Embedding")


@dataclass(frozen=True)
class Project:
    """A folder that stands for the mounts of a pod, and the documents that fit it."""

    root: Path
    task: str = "Classification"
    columns: AnyColumns = CLASSIFIED
    suffix: str = "csv"

    @property
    def storage(self) -> Store:
        """The project's storage."""
        return Store.local(str(self.root / "storage"))

    @property
    def lengths(self) -> Tokenization:
        """How long a prompt may be, and a target where there is one."""
        return LENGTHS if self.task in WITHOUT_TARGETS else WRITING_LENGTHS

    def write(self, name: str, rows: list[tuple[str, str]]) -> None:
        """Write a data set as a .csv file."""
        with (self.root / "pvc" / "data" / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])

    def source(self, name: str, split: Split = Split.TRAIN, digest: str | None = None) -> DataSource:
        """Return the source of a data set."""
        return DataSource(
            name=name, uri=f"pvc://data/{name}.{self.suffix}", split=split, columns=self.columns, digest=digest
        )

    def resolve_job(self, **changes: Any) -> ResolveJob:
        """Return the document that resolves the project."""
        job = ResolveJob(
            subject=SUBJECT,
            datasets=(self.source("train"), self.source("valid", Split.VALIDATION)),
            labels=Labels(from_dataset="train") if self.task in WITH_LABELS else None,
            candidates=(ModelSource(name="tiny", uri="pvc://models/tiny"),),
            selected="tiny",
            prompt=PROMPT,
            tokenization=self.lengths,
        )
        return job.model_copy(update=changes)

    def train_job(self, **changes: Any) -> TrainJob:
        """Return the document that trains; hyperparameters and method may be changed by name, a method also whole."""
        from stagecoach_trainer import bases, sources

        digests = {name: sources.read(self.source(name), mismatch="", remedy="").digest for name in ("train", "valid")}
        architecture = changes.pop("architecture", None)
        family = architecture or Family.DECODER
        source = ModelSource(name="tiny", uri="pvc://models/tiny")
        base = bases.read(source, mismatch="", remedy="", family=family, embeds=self.task == "Embedding")
        method = changes.pop("method", {})
        inputs = run_inputs(
            architecture=architecture,
            task=self.task,
            labels=LabelsInput(from_data=digests["train"]) if self.task in WITH_LABELS else None,
            base=BaseInput(model=base.model, tokenizer=base.tokenizer),
            train=(DataInput(digest=digests["train"], columns=self.columns),),
            validation=(DataInput(digest=digests["valid"], columns=self.columns),),
            tokenization=self.lengths,
            method=METHOD.model_copy(update=method) if isinstance(method, dict) else method,
            hyperparameters=SETTINGS.model_copy(update=changes.pop("settings", {})),
        )
        job = TrainJob(
            subject=SUBJECT,
            project="desk",
            owner=OWNER,
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


ANSWERS = {"card_lost": "it is blocked", "parcel_late": "on Monday"}
WRITING_LENGTHS = Tokenization(max_length=128, max_target_length=16, overflow=Overflow.REJECT)


def writing_pairs(project: Project, task: str) -> Project:
    """Return the project with inputs and targets instead of texts and labels."""
    for name, examples in (("train", EXAMPLES), ("valid", EXAMPLES[:4])):
        with (project.root / "pvc" / "data" / f"{name}.csv").open("w", newline="") as stream:
            rows = [(text, ANSWERS[label]) for text, label in examples]
            csv.writer(stream).writerows([("input", "target"), *rows])
    return replace(project, task=task, columns=PairColumns(input="input", target="target"))


def writing_completions(project: Project) -> Project:
    """Return the project with prompts and completions, in .parquet files, instead of texts and labels."""
    import pyarrow
    from pyarrow import parquet

    for name, examples in (("train", EXAMPLES), ("valid", EXAMPLES[:4])):
        table = {"asked": [text for text, _ in examples], "answer": [ANSWERS[label] for _, label in examples]}
        parquet.write_table(pyarrow.table(table), project.root / "pvc" / "data" / f"{name}.parquet")
    columns = CompletionColumns(prompt="asked", completion="answer")
    return replace(project, task="Generation", columns=columns, suffix="parquet")


def writing_messages(project: Project) -> Project:
    """Return the project with conversations instead of texts and labels."""
    for name, examples in (("train", EXAMPLES), ("valid", EXAMPLES[:4])):
        with (project.root / "pvc" / "data" / f"{name}.jsonl").open("w") as stream:
            for text, label in examples:
                said = [("user", "hi"), ("assistant", "yes?"), ("user", text), ("assistant", ANSWERS[label])]
                turns = [{"role": role, "content": content} for role, content in said]
                stream.write(json.dumps({"messages": turns}) + "\n")
    return replace(project, task="Generation", columns=MessagesColumns(messages="messages"), suffix="jsonl")


def make_project(root: Path) -> Project:
    """Make the folders and data sets of a project, without a base model."""
    for folder in ("storage", "scratch", "pvc/data", "pvc/models/tiny", "configmap"):
        (root / folder).mkdir(parents=True)
    project = Project(root)
    project.write("train.csv", EXAMPLES)
    project.write("valid.csv", [(f"{text}!", label) for text, label in EXAMPLES[:4]])
    return project


@pytest.fixture(autouse=True)
def _servers_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.LOOPBACK_VARIABLE, "1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose base is only a config, a tokenizer file and a file that calls itself weights."""
    monkeypatch.setenv(places.ROOT_VARIABLE, str(tmp_path))
    made = make_project(tmp_path)
    base = tmp_path / "pvc" / "models" / "tiny"
    (base / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128}')
    (base / "model.safetensors").write_bytes(safetensors_of(b"weights"))
    (base / "tokenizer.json").write_text("{}")
    return made


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two layers and a byte-level tokenizer with a chat template."""
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    folder = tmp_path_factory.mktemp("tiny")
    save_tokenizer(folder)
    save_model(folder)
    return folder


TEMPLATE = (
    "{% for turn in messages %}<|turn|>{{ turn['role'] }}\n{{ turn['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def save_tokenizer(folder: Path) -> None:
    """Save a tokenizer of bytes with a chat template."""
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


def save_model(folder: Path, **changes: Any) -> None:
    """Save a random Llama of two layers for that tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=changes.pop("vocab_size", 259),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **changes,
    )
    model = LlamaForCausalLM(config)
    # The head stays frozen: as initialized, its logits are too close together for any label to be likely.
    if not config.tie_word_embeddings:
        model.lm_head.weight.data.mul_(20)
    model.save_pretrained(folder)


def train(job: TrainJob) -> ArtifactReport:
    """Carry out a run."""
    from stagecoach_trainer.train import train as work

    return work(job)


def fit(prepared: Any) -> Any:
    """Train what was prepared, as `train` does, without publishing it."""
    from stagecoach_trainer import loop
    from stagecoach_trainer.checkpoints import Checkpoints
    from stagecoach_trainer.interruption import Request

    return loop.run(prepared, Checkpoints(places.storage, prepared.job), Request())


def record_of(project: Project, job: TrainJob | None = None) -> Record:
    """Return the record of a run, by default of the project's plain one."""
    known = lookup.read_record(project.storage, (job or project.train_job()).inputs.digest)
    assert known is not None
    assert isinstance(known[0], Record)
    return known[0]


@pytest.fixture
def real(project: Project, tiny_base: Path) -> Project:
    """A project with a base that can be trained."""
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    return project


@pytest.fixture
def overfitting(real: Project) -> dict[str, Any]:
    """Settings whose evaluation loss is lowest before the end: the validation labels contradict the others."""
    rows = [line.rsplit(",", 1) for line in (real.root / "pvc" / "data" / "train.csv").read_text().splitlines()[1:5]]
    flipped = {"card_lost": "parcel_late", "parcel_late": "card_lost"}
    real.write("valid.csv", [(text.strip('"'), flipped[label]) for text, label in rows])
    return {"learning_rate": 5e-3, "gradient_accumulation_steps": 1, "learning_rate_schedule": "constant"}


@pytest.fixture(scope="session")
def _trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, ArtifactReport]:
    project = make_project(tmp_path_factory.mktemp("trained") / "root")
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(project.root))
        return project, train(project.train_job())


@pytest.fixture
def trained(
    _trained: tuple[Project, ArtifactReport], monkeypatch: pytest.MonkeyPatch
) -> tuple[Project, ArtifactReport]:
    """A project whose run was trained, once for all tests, and its report."""
    monkeypatch.setenv(places.ROOT_VARIABLE, str(_trained[0].root))
    return _trained


@pytest.fixture
def hub(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the project's base model, its address and a token in a Secret; the library is offline, as in a pod."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the trainer's libraries")
    server = Hub(project.root / "pvc" / "models" / "tiny")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    secret = project.root / "credentials" / "hub"
    secret.mkdir(parents=True)
    (secret / "token").write_text("t0ken\n")
    (secret / "HF_ENDPOINT").write_text(f"http://127.0.0.1:{server.server_port}\n")
    told = Access(credentials=(Credential(match="hf://", secret="hub"),))
    monkeypatch.setenv(access.ENVIRONMENT_VARIABLE, told.line())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    yield server
    server.shutdown()
    server.server_close()
