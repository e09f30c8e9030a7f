"""Rows that are read in chunks: what becomes of them, and real runs on texts that only their ends tell apart."""

import json
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import alignment
from stagecoach.contract.inputs import AnyColumns, Chunk, Combine, Family, FullMethod, Overflow, Tokenization
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.profiles import Profile
from stagecoach.contract.records import Record
from stagecoach.contract.reports import BadInput
from stagecoach.contract.tagged import Marked, Span, Words
from stagecoach_trainer import encoding, sources
from tests.unit.contract import test_chunks

from .conftest import Project, record_of, train
from .test_compare import comparing
from .test_encoders import encoder_job, with_base
from .test_taggers import SPANS, WORDS, marked, real_tokenizer, tagged, tagging, write

pytestmark = pytest.mark.filterwarnings("ignore")

LENGTH, STRIDE = 40, 12
TRUNCATE = Tokenization(max_length=LENGTH, overflow=Overflow.TRUNCATE)
ENDS = {"card_lost": "my card is lost", "parcel_late": "the parcel is late"}
STARTS = ("good day, I write as", "hello, it is me again", "sorry that I ask", "as you know")
# All that is read of a text that is cut is the same for both labels.
TEXTS = [
    (f"{start} and so I thought of this for some time and {end}", label)
    for start in STARTS
    for label, end in ENDS.items()
]
SETTINGS = {"learning_rate": 4e-3, "learning_rate_schedule": "linear", "epochs": 30}


def chunking(combine: Combine | None = None, stride: int = STRIDE) -> Tokenization:
    return Tokenization(max_length=LENGTH, overflow=Overflow.CHUNK, chunk=Chunk(stride=stride, combine=combine))


def classifying(project: Project) -> Project:
    """Return a project of long texts and their labels; what is asked is what was to be learned."""
    for name in ("train", "valid"):
        project.write(f"{name}.csv", TEXTS)
    return project


def marking(project: Project, columns: AnyColumns) -> Project:
    """Return a project of the same texts, with what is at their ends marked."""
    made = tagging(columns)(project)
    record = tagged if columns == WORDS else marked
    for name in ("train", "valid"):
        write(made, name, [record(text) for text, _ in TEXTS])
    return made


def job_of(project: Project, tokenization: Tokenization, **settings: Any) -> TrainJob:
    job = encoder_job(project, FullMethod(), settings=SETTINGS | settings)
    return job.model_copy(update={"inputs": job.inputs.model_copy(update={"tokenization": tokenization})})


def compared(project: Project, job: TrainJob, folder: Path) -> dict[str, Any]:
    """Train, compare, and return what there is for programs."""
    from stagecoach_trainer import compare

    train(job)
    numbers = folder / "numbers.json"
    assert compare.main(comparing(project, inputs=job.inputs.digest, json=str(numbers))) == 0
    found: dict[str, Any] = json.loads(numbers.read_text())
    return found


def read(project: Project, name: str) -> sources.Dataset:
    return sources.read(project.source(name), mismatch="", remedy="")


def test_every_chunk_is_an_example_of_its_row(project: Project) -> None:
    project.write("train.csv", [("abcdef", "a"), ("abcdefghij", "b"), ("xyz", "c")])
    dataset = read(project, "train")
    found = encoding.encode(dataset, test_chunks.reader(test_chunks.rule(8, 2)))
    assert [(example.row, "".join(map(chr, example.prompt[1:-1]))) for example in found.examples] == [
        *((0, "abcdef"), (1, "abcdef"), (1, "efghij"), (2, "xyz"))
    ]
    assert (found.truncated, found.chunked, found.chunks) == (0, 1, 2)
    cut = encoding.encode(dataset, test_chunks.reader(test_chunks.truncating(8)))
    assert (cut.truncated, cut.chunked, cut.chunks) == (1, 0, 0)


def test_a_chunk_without_a_tag_is_no_example(project: Project) -> None:
    """A word has one tag, on its first token: of its other tokens nothing would be learned."""
    made = tagging(WORDS)(project)
    write(made, "train", [{"tokens": ["a", "b" * 20, "c"], "tags": ["x", "y", "z"]}])
    found = encoding.encode(read(made, "train"), test_chunks.reader(test_chunks.rule(8)))
    assert [[tag for tag in example.tags if tag] for example in found.examples] == [["x", "y"], ["z"]]
    assert all(len(example.tags) == len(example.prompt) for example in found.examples)
    assert (found.chunked, found.chunks) == (1, 2)


@pytest.mark.parametrize("template", ["{text}", "Who is in: {text} ?"])
@pytest.mark.parametrize("kind", ["wordpiece", "metaspace", "bytes", "bytes trimmed"])
def test_chunks_by_real_tokenizers(kind: str, template: str) -> None:
    """Words that begin in one chunk and end in the next are learned, and found, as of one text."""
    words = ("Alice", "met", "größe,", "👋🏽", "in", "你好", "and", "it's", "Wonderland", "über") * 4
    row = Words(words, ("B-p", "O", "B-x", "S-e", "O", "B-l", "I-l", "E-l", "B-p", "I-p") * 4, 1)
    spans = Marked(row.text, tuple(Span(*place, "x") for place in row.places[::2]), 1)
    tokenizer = real_tokenizer(kind)
    for length, stride in ((48, 0), (48, 1), (48, 5), (64, 20)):
        reads = test_chunks.reader(test_chunks.rule(length, stride), tokenizer, template)
        for each in (row, spans):
            chunks = reads.all_of(each)
            assert all(len(chunk.ids) <= length for chunk in chunks)
            where = list(chain(*alignment.places_of_all(reads, chunks)))
            tags = alignment.tags(each, where)
            assert alignment.found(each, where, [tag or "B-no" for tag in tags]) == alignment.given(each)
            whole = test_chunks.reader(test_chunks.truncating(1000), tokenizer, template).all_of(each)[0]
            assert len(chunks) > 1 or len(whole.ids) <= length


# With real models, so inside the trainer's image.


def test_resolving(project: Project) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer.resolve import resolve

    made = classifying(with_base(project, "BertForMaskedLM"))
    job = made.resolve_job(architecture=Family.ENCODER, tokenization=TRUNCATE)
    assert [item.code for item in resolve(job).findings] == ["Leakage", "OverflowAboveOnePercent"]
    found = resolve(job.model_copy(update={"tokenization": chunking(Combine.MEAN)}))
    assert [item.code for item in found.findings] == ["Leakage"], "nothing is cut"
    assert found.datasets[0].examples == len(TEXTS)
    with pytest.raises(BadInput, match="Set at most 19") as caught:
        resolve(job.model_copy(update={"tokenization": chunking(Combine.MEAN, stride=20)}))
    assert caught.value.problem.reason == "StrideTooLarge"


def test_a_label_at_the_end_is_learned_in_chunks_and_not_without(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    made = classifying(with_base(project, "BertForMaskedLM"))
    cut = job_of(made, TRUNCATE)
    assert compared(made, cut, tmp_path)["accuracy"]["model"] == 0.5
    told = record_of(made, cut)
    assert [(item.truncated, item.chunked, item.chunks) for item in told.data] == [(8, None, None)] * 2
    assert told.training.weighting is None
    check_profile(made, told)
    whole = job_of(made, chunking(Combine.MEAN))
    accuracy = compared(made, whole, tmp_path)["accuracy"]
    assert accuracy["rows"] == len(TEXTS)
    assert accuracy["model"] >= 0.9
    check_record(made, whole)
    check_combining(made, whole)


def check_profile(project: Project, record: Record) -> None:
    """Hold that a long text is one text, whether it was cut or read in chunks."""
    assert record.profile is not None
    profile = Profile.model_validate_json(project.storage.read(record.profile.path))
    assert (profile.prompts, profile.lengths[-1]) == (len(TEXTS), len(TEXTS))


def check_record(project: Project, job: TrainJob) -> None:
    """Hold that record and card say how long rows were read, and that a class weighs what its chunks do."""
    from stagecoach_trainer import card
    from stagecoach_trainer.families.encoder import _labelled
    from stagecoach_trainer.train import prepare

    record = record_of(project, job)
    prepared = prepare(job)
    examples = len(prepared.train[0].examples)
    assert [(item.examples, item.truncated, item.chunked) for item in record.data] == [(8, 0, 8)] * 2
    assert record.data[0].chunks == examples > 2 * len(TEXTS)
    assert Counter(label for label, _ in _labelled(prepared.train)) == Counter(
        TEXTS[example.row][1] for example in prepared.train[0].examples
    )
    assert record.training.steps == -(-examples // 4) * SETTINGS["epochs"]  # type: ignore[operator]
    check_profile(project, record)
    text = card.text(record)
    assert f"12 tokens of which are those before: 8 of 8 rows of train, as {examples};" in text
    assert "Every chunk is an example with the label of its row" in text
    assert "the highest mean of the probabilities" in text


def check_combining(project: Project, job: TrainJob) -> None:
    """Hold that a text gets the label that its chunks have by the rule of the run: two lean to one, one is sure."""
    from stagecoach_trainer import bases, choosing

    record = record_of(project, job)
    base = bases.read(job.base, mismatch="", remedy="", family=Family.ENCODER)

    def asks(_model: Any) -> Any:
        return lambda prompts: [[0.7, 0.3] if len(prompt) == LENGTH else [0.2, 0.8] for prompt in prompts]

    text = "x" * (LENGTH + LENGTH - STRIDE)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "_reader", asks)
        for combine in Combine:
            inputs = record.inputs.model_copy(update={"tokenization": chunking(combine)})
            chosen = choosing.choices(
                record.model_copy(update={"inputs": inputs}),
                base,
                project.storage.path(record.artifact.path),
                [text, "short"],
                2,
            )
            assert chosen[0] == chosen[1]
            found.append((combine, chosen[1]))
    assert found == [(Combine.MEAN, [0, 1]), (Combine.MAX, [1, 1])]


@pytest.mark.parametrize("columns", [WORDS, pytest.param(SPANS, marks=pytest.mark.long)], ids=["words", "spans"])
def test_tags_at_the_end_are_learned_in_chunks_and_not_without(
    project: Project, tmp_path: Path, columns: AnyColumns
) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    made = marking(with_base(project, "BertForMaskedLM"), columns)
    found = {}
    for rule in (TRUNCATE, chunking()):
        # Of a span every letter has to be right.
        job = job_of(made, rule, epochs=30 if columns == WORDS else 60)
        f1 = compared(made, job, tmp_path)["f1"]
        assert f1["entities"] == len(TEXTS), "also those that were cut off"
        found[rule.overflow] = f1["model"]
    assert found[Overflow.TRUNCATE] == 0
    assert found[Overflow.CHUNK] >= 0.9
    record = record_of(made, job)
    assert [(item.examples, item.truncated, item.chunked) for item in record.data] == [(8, 0, 8)] * 2
    assert record.training.weighting is not None
    assert record.training.weighting.startswith("Every token that has a tag counts once")
