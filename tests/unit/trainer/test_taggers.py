"""Encoders that choose a tag for each token: their data, and real runs of tiny models."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import alignment
from stagecoach.contract.entities import Score
from stagecoach.contract.inputs import (
    AnyColumns,
    Family,
    FullMethod,
    LabelsInput,
    Method,
    Overflow,
    Prompt,
    SpanColumns,
    Tokenization,
    WordColumns,
)
from stagecoach.contract.jobs import Labels
from stagecoach.contract.prompts import encoder_for
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import AnyRow, File
from stagecoach.contract.tagged import Marked, Span, Words
from stagecoach_trainer import encoding, sources
from tests.unit.contract import test_alignment

from .conftest import EXAMPLES, Project, record_of, train
from .test_encoders import BASES, DORA, FULL_SETTINGS, LOW_RANK, SETTINGS, SIZES, encoder_job, with_base

pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = WordColumns(tokens="tokens", tags="tags")
SPANS = SpanColumns(text="text", spans="spans")
ENTITIES = {"my card": "card", "the parcel": "parcel"}


def labels(columns: AnyColumns) -> tuple[str, ...]:
    """Return the labels of the data below, in the order of their columns."""
    words = ("B-card", "B-parcel", "I-card", "I-parcel", "O")
    return words if columns == WORDS else ("O", "B-card", "I-card", "B-parcel", "I-parcel")


def marked(text: str) -> dict[str, Any]:
    """Return a row with the span that is in every example."""
    found = next(words for words in ENTITIES if words in text)
    start = text.index(found)
    return {"text": text, "spans": [{"start": start, "end": start + len(found), "label": ENTITIES[found]}]}


def tagged(text: str) -> dict[str, Any]:
    """Return a row with a tag for each word."""
    (span,) = marked(text)["spans"]
    tokens, tags, place = text.split(" "), [], 0
    for token in tokens:
        prefix = "B" if place == span["start"] else "I"
        tags.append(f"{prefix}-{span['label']}" if span["start"] <= place < span["end"] else "O")
        place += len(token) + 1
    return {"tokens": tokens, "tags": tags}


def write(project: Project, name: str, records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    (project.root / "pvc" / "data" / f"{name}.jsonl").write_text("".join(lines))


def tagging(columns: AnyColumns) -> Callable[[Project], Project]:
    """Return what gives a project words and tags, or texts and spans."""

    def change(project: Project) -> Project:
        made = replace(project, task="TokenClassification", columns=columns, suffix="jsonl")
        record = tagged if columns == WORDS else marked
        write(made, "train", [record(text) for text, _ in EXAMPLES])
        write(made, "valid", [record(f"{text} !") for text, _ in EXAMPLES[:4]])
        return made

    return change


RUNS: dict[str, tuple[str, Callable[[Project], Project], Method, dict[str, Any]]] = {
    "words-lora": ("BertForMaskedLM", tagging(WORDS), LOW_RANK, SETTINGS),
    "words-dora": ("BertForMaskedLM", tagging(WORDS), DORA, SETTINGS | {"learning_rate": 6e-3}),
    "spans-full": ("ModernBertForMaskedLM", tagging(SPANS), FullMethod(), FULL_SETTINGS | {"per_device_batch_size": 2}),
}


def real_tokenizer(kind: str) -> Any:
    """Return a tokenizer of each way to tell where tokens are."""
    pytest.importorskip("transformers", reason="needs the trainer's libraries")
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[CLS]", "[SEP]", "[UNK]", "[PAD]"]
    corpus = ["Alice in Wonderland met Bo, größe 👋🏽 你好 and it's über", "Rome was not built in a day"] * 3
    if kind == "wordpiece":
        backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        backend.normalizer = normalizers.BertNormalizer()
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=80, special_tokens=special))
    elif kind == "metaspace":
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="[UNK]")
        backend.train_from_iterator(corpus, trainer)
    else:
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
        backend.train_from_iterator(corpus, trainer)
    around = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)])
    if kind == "bytes trimmed":
        around = processors.RobertaProcessing(("[SEP]", 1), ("[CLS]", 0), trim_offsets=True, add_prefix_space=False)
    backend.post_processor = around
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")


@pytest.mark.parametrize("template", ["{text}", "Who is in: {text} ?"])
@pytest.mark.parametrize("kind", ["wordpiece", "metaspace", "bytes", "bytes trimmed"])
def test_what_is_learned_is_what_is_found_by_real_tokenizers(kind: str, template: str) -> None:
    tokens = ("Alice", "met", "größe,", "👋🏽", "in", "你好", "and", "it's", "Bo")
    row = Words(tokens, ("B-p", "O", "B-x", "S-e", "O", "B-l", "I-l", "E-l", "B-p"), 1)
    spans = Marked(row.text, tuple(Span(*place, "x") for place in row.places[::2]), 1)
    rule = Tokenization(max_length=200, overflow=Overflow.REJECT)
    encoder = encoder_for(Family.ENCODER, real_tokenizer(kind), Prompt(template=template), rule)
    for each in (row, spans):
        where = alignment.places(encoder, encoder.of(each))
        tags = alignment.tags(each, where)
        assert (tags[0], tags[-1]) == (None, None)
        assert alignment.found(each, where, [tag or "B-no" for tag in tags]) == alignment.given(each)


def test_a_row_of_which_nothing_is_left_is_refused(project: Project) -> None:
    made = tagging(WORDS)(project)
    write(made, "train", [tagged(EXAMPLES[0][0]), {"tokens": ["~", "~~"], "tags": ["O", "O"]}])
    dataset = sources.read(made.source("train"), mismatch="", remedy="")
    with pytest.raises(BadInput, match="nothing of row 2 that could have a tag") as caught:
        encoding.encode(dataset, test_alignment.encoder())
    assert (caught.value.problem.reason, caught.value.problem.value) == ("EmptyText", "train.jsonl:2")


def read(project: Project, name: str) -> sources.Dataset:
    return sources.read(project.source(name), mismatch="", remedy="")


@pytest.mark.parametrize("columns", [WORDS, SPANS])
def test_labels(project: Project, columns: AnyColumns) -> None:
    made = tagging(columns)(project)
    train_set, valid = read(made, "train"), read(made, "valid")
    assert sources.labels_of([train_set]) == labels(columns)
    assert sources.run_labels(LabelsInput(from_data=train_set.digest), [valid, train_set]) == labels(columns)
    sources.check_labels([train_set, valid], labels(columns))


@pytest.mark.parametrize(
    ("columns", "values", "words"),
    [
        (WORDS, ("O", "B-card", "I-card"), "row 2 has the label 'B-parcel', which is none of the 3 labels. Correct"),
        (SPANS, ("O", "B-card", "I-card"), "row 2 has the label 'B-parcel'"),
        (SPANS, ("card", "parcel"), "row 1 has the label 'O', which is none of the 2 labels. Correct the row, or add the"
         " label to problem.labels. Spans are learned as tags: problem.labels.values has O"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit(project: Project, columns: AnyColumns, values: tuple[str, ...], words: str) -> None:
    from stagecoach_trainer import resolve

    made = tagging(columns)(project)
    with pytest.raises(BadInput, match=words) as caught:
        resolve._labels(Labels(values=values), [read(made, "train"), read(made, "valid")])
    assert (caught.value.problem.reason, caught.value.problem.field) == ("LabelUnknown", "data.sets[train]")


def test_texts_without_spans_have_too_few_labels(project: Project) -> None:
    from stagecoach_trainer import resolve

    made = tagging(SPANS)(project)
    write(made, "train", [{"text": "a", "spans": []}])
    with pytest.raises(BadInput, match="column 'spans' of train has 1 different labels") as caught:
        resolve._labels(Labels(from_dataset="train"), [read(made, "train")])
    assert caught.value.problem.reason == "TooFewLabels"


def parquet_rows(table: dict[str, Any], columns: AnyColumns) -> list[AnyRow]:
    import io

    pa = pytest.importorskip("pyarrow", reason="needs the trainer's libraries: runs inside the trainer image")
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pa.table(table), stream)
    return list(sources.rows(stream.getvalue(), File("d.parquet", columns, "data.sets[d]")))


def test_parquet() -> None:
    assert parquet_rows({"tokens": [["a", "b"]], "tags": [["O", "B-x"]]}, WORDS) == [Words(("a", "b"), ("O", "B-x"), 1)]
    span = {"start": 0, "end": 1, "label": "x"}
    table = {"text": ["a b", "c"], "spans": [[span, {"start": 2, "end": 3, "label": "y"}], []]}
    assert parquet_rows(table, SPANS) == [Marked("a b", (Span(0, 1, "x"), Span(2, 3, "y")), 1), Marked("c", (), 2)]


@pytest.mark.parametrize(
    ("table", "columns", "reason", "words"),
    [
        ({"tokens": [["a"]], "tags": [[3]]}, WORDS, "BrokenTags", "tag 1 is 3"),
        ({"tokens": [["a"], None], "tags": [["O"], ["O"]]}, WORDS, "BrokenTags", "row 2: .* the words are ''"),
        ({"tokens": ["a"], "tags": ["O"]}, WORDS, "BrokenTags", "the words are 'a'"),
        ({"tokens": [["a"]], "ner": [["O"]]}, WORDS, "UnknownColumn", "no column 'tags'"),
        ({"text": [["a"]], "spans": [[]]}, SPANS, "BrokenParquet", "column 'text' holds list"),
        ({"text": ["a"], "spans": ["x"]}, SPANS, "BrokenSpans", "it holds 'x'"),
    ],
)
def test_parquet_that_is_not_right(table: dict[str, Any], columns: AnyColumns, reason: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        parquet_rows(table, columns)
    assert caught.value.problem.reason == reason


def test_the_table() -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer.tagging import numbers, table

    base = {"person": Score(4, 2, 1), "place": Score(1, 0, 0), "zoo": Score(0, 5, 0)}
    tuned = {"person": Score(4, 4, 4), "place": Score(1, 0, 0)}
    assert table(base, tuned, "adapter").splitlines() == [
        "           entities    base  adapter",
        "F1                5   0.167    0.889",
        "precision         5   0.143    1.000",
        "recall            5   0.200    0.800",
        "person            4   0.333    1.000",
        "place             1   0.000    0.000",
    ]
    found = numbers(base, tuned, "adapter")
    assert found["recall"] == {"entities": 5, "base": 0.2, "adapter": 0.8}
    assert found["labels"]["person"] == {"entities": 4, "base": pytest.approx(1 / 3), "adapter": 1.0}


# With real models, so inside the trainer's image.


def test_resolving(project: Project) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer.resolve import resolve

    made = tagging(WORDS)(with_base(project, "BertForMaskedLM"))
    write(made, "valid", [tagged(EXAMPLES[0][0]), tagged(f"{EXAMPLES[1][0]} {'x' * 200}")])
    rule = Tokenization(max_length=96, overflow=Overflow.TRUNCATE)
    job = made.resolve_job(architecture=Family.ENCODER, tokenization=rule)
    found = resolve(job)
    assert found.labels is not None
    assert found.labels.first == labels(WORDS)
    assert {item.code: item.message for item in found.findings} == {
        "Leakage": "1 of 2 rows of valid are training rows too (valid:1 = train:1).",
        "OverflowAboveOnePercent": "1 of 2 rows of valid are cut (50.0 %).",
    }
    with pytest.raises(BadInput, match="the prompt of row 2 has") as caught:
        resolve(job.model_copy(update={"tokenization": made.lengths}))
    assert caught.value.problem.reason == "RowTooLong"


@pytest.mark.parametrize("architecture", BASES)
def test_every_family_is_trained(project: Project, architecture: str) -> None:
    torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from transformers import AutoModelForTokenClassification

    made = tagging(SPANS)(with_base(project, architecture))
    job = encoder_job(made, FullMethod(), settings={"max_steps": 1, "epochs": None})
    report = train(job)
    folder = made.storage.path(f"artifacts/sha256/{report.digest[7:]}")
    config = json.loads((Path(folder) / "config.json").read_text())
    assert config["id2label"] == {str(index): label for index, label in enumerate(labels(SPANS))}
    assert config["architectures"][0].endswith("ForTokenClassification")
    assert record_of(made, job).base.architecture == architecture
    with torch.no_grad():
        model = AutoModelForTokenClassification.from_pretrained(folder).eval()
        assert model(input_ids=torch.tensor([[1, 40, 41, 2]])).logits.shape == (1, 4, 5)


def test_the_pipeline_of_transformers_finds_what_is_marked(project: Project) -> None:
    """As its user would ask it: by the library alone, with the model that was published and the base's tokenizer."""
    transformers = pytest.importorskip("transformers", reason="needs the trainer's libraries")
    architecture, change, method, settings = RUNS["spans-full"]
    made = change(with_base(project, architecture))
    report = train(encoder_job(made, method, settings=settings))
    tokenizer = transformers.AutoTokenizer.from_pretrained(made.root / "pvc" / "models" / "tiny")
    folder = made.storage.path(f"artifacts/sha256/{report.digest[7:]}")
    asks = transformers.pipeline("token-classification", folder, tokenizer=tokenizer, aggregation_strategy="simple")
    for text, _ in EXAMPLES[:2]:
        found = [{"start": item["start"], "end": item["end"], "label": item["entity_group"]} for item in asks(text)]
        assert found == marked(text)["spans"]


@pytest.mark.parametrize(
    ("architecture", "named", "kept"),
    [
        ("BertForTokenClassification", labels(SPANS), True),
        ("BertForTokenClassification", labels(WORDS), False),
        ("BertForSequenceClassification", labels(SPANS), False),
    ],
)
def test_a_head_is_kept_for_just_these_tags(
    tmp_path: Path, architecture: str, named: tuple[str, ...], kept: bool
) -> None:
    torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    import transformers

    from stagecoach_trainer.families import encoder, tagger

    torch.manual_seed(1)  # not what the head is drawn by
    base = getattr(transformers, architecture)(transformers.BertConfig(**SIZES, id2label=dict(enumerate(named))))
    base.save_pretrained(tmp_path)
    loaded = encoder.load(str(tmp_path), labels(SPANS), "float32", 0, tagger.TOKENS)
    assert torch.equal(loaded.model.classifier.weight, base.classifier.weight) is kept
    assert encoder.keeps_head(str(tmp_path), labels(SPANS), tagger.TOKENS) is kept
    assert loaded.fresh == ("classifier",)


def test_a_head_of_tokens_is_none_of_texts(tmp_path: Path) -> None:
    """Their weights may have the same names and shapes."""
    torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    import transformers

    from stagecoach_trainer.families import encoder

    torch.manual_seed(1)
    config = transformers.BertConfig(**SIZES, id2label=dict(enumerate(labels(SPANS))))
    base = transformers.BertForTokenClassification(config)
    base.save_pretrained(tmp_path)
    loaded = encoder.load(str(tmp_path), labels(SPANS), "float32", 0)
    assert loaded.model.classifier.weight.shape == base.classifier.weight.shape
    assert not torch.equal(loaded.model.classifier.weight, base.classifier.weight)
    assert not encoder.keeps_head(str(tmp_path), labels(SPANS))


@pytest.mark.parametrize("batch", [16, 4, 3])
def test_the_loss_is_the_mean_over_all_tokens_that_have_a_tag(project: Project, batch: int) -> None:
    """However many rows are in a batch, and however long they are: what is accumulated to one step is one mean."""
    made, rows = uneven(project)
    settings = {"max_steps": 1, "epochs": None, "per_device_batch_size": batch}
    job = encoder_job(made, FullMethod(), settings=settings | {"gradient_accumulation_steps": -(-16 // batch)})
    train(job)
    losses = [value for value, _ in token_losses(job)]
    assert len(losses) == sum(len(row["tokens"]) for row in rows)
    assert record_of(made, job).training.losses[0].loss == pytest.approx(sum(losses) / len(losses), rel=1e-3)


def test_balanced_tags_count_alike(project: Project) -> None:
    made, rows = uneven(project)
    settings = {"max_steps": 1, "epochs": None, "per_device_batch_size": 16, "class_weights": "balanced"}
    job = encoder_job(made, FullMethod(), settings=settings)
    train(job)
    given = [tag for row in rows for tag in row["tags"]]
    expected = sum(value / (5 * given.count(tag)) for value, tag in token_losses(job))
    plain = sum(value for value, _ in token_losses(job)) / len(given)
    assert record_of(made, job).training.losses[0].loss == pytest.approx(expected, rel=1e-3)
    assert expected != pytest.approx(plain, rel=1e-2)


def uneven(project: Project) -> tuple[Project, list[dict[str, Any]]]:
    """Return a project with rows of few and of many words."""
    made = tagging(WORDS)(with_base(project, "BertModel"))
    rows = [tagged(text + " so" * (3 * number % 10)) for number, (text, _) in enumerate(EXAMPLES)]
    write(made, "train", rows)
    return made, rows


def token_losses(job: Any) -> list[tuple[float, str]]:
    """Return the loss of each token that has a tag before the training, dropout off, and its tag."""
    import torch

    from stagecoach_trainer.families import encoder, tagger
    from stagecoach_trainer.train import prepare

    prepared = prepare(job)
    seed = job.inputs.hyperparameters.seed
    model = encoder.load(prepared.base.folder, prepared.labels, "float32", seed, tagger.TOKENS).model.eval()
    found = []
    for example in prepared.train[0].examples:
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([example.prompt])).logits[0].log_softmax(dim=-1)
        numbered = [(place, tag) for place, tag in enumerate(example.tags) if tag is not None]
        found += [(-float(scores[place, prepared.labels.index(tag)]), tag) for place, tag in numbered]
    return found
