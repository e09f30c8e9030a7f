"""Real runs of encoders that make vectors of texts."""

import csv
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stagecoach.contract.inputs import (
    Family,
    Freeze,
    FullMethod,
    LoraMethod,
    MatchColumns,
    Method,
    Overflow,
    Prompt,
    PromptTuningMethod,
    Tokenization,
)
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.profiles import Profile
from stagecoach.contract.reports import ArtifactReport, BadInput

from .conftest import Project, record_of, train
from .test_checkpoints import check_going_on
from .test_compare import comparing
from .test_encoders import BASES, LOW_RANK, SIZES, encoder_job, with_base
from .test_groups import codes, grouped, nearly_the_same, pods
from .test_in_a_pod import in_a_pod
from .test_pooling import OLD_CLS
from .test_taggers import WORDS, tagging

torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

THINGS = ("card", "parcel", "refund", "invoice", "password", "address", "voucher", "order")
ANSWERS = {thing: f"{thing[::-1]} desk {number}" for number, thing in enumerate(THINGS)}
TRAINED = [(f"{start} my {thing}", ANSWERS[thing]) for start in ("hi,", "where is") for thing in THINGS]
HELD_OUT = [(f"lost: {thing}", ANSWERS[thing]) for thing in THINGS]
PROMPT = Prompt(template="query: {text}", passage_template="passage: {text}")
SETTINGS = {"learning_rate": 4e-3, "learning_rate_schedule": "linear", "epochs": 3, "per_device_batch_size": 8}


def matching(project: Project, architecture: str = "BertForMaskedLM", *, negatives: bool = False) -> Project:
    """Return the project with queries and passages, and an encoder."""
    names = ("query", "positive", "negative") if negatives else ("query", "positive")
    for name, rows in (("train", TRAINED), ("valid", HELD_OUT)):
        with (project.root / "pvc" / "data" / f"{name}.csv").open("w", newline="") as stream:
            wrong = [row[1] for row in (*rows[1:], rows[0])]
            csv.writer(stream).writerows(
                [names, *((*row, other)[: len(names)] for row, other in zip(rows, wrong, strict=True))]
            )
    columns = MatchColumns(query="query", positive="positive", negative="negative" if negatives else None)
    return replace(with_base(project, architecture), task="Embedding", columns=columns)


def embedding_job(project: Project, method: Method = LOW_RANK, **changes: Any) -> TrainJob:
    settings = SETTINGS | changes.pop("settings", {})
    job = project.train_job(architecture=Family.ENCODER, method=method, settings=settings, **changes)
    return job.model_copy(update={"inputs": job.inputs.model_copy(update={"labels": None, "prompt": PROMPT})})


def published(project: Project, report: ArtifactReport, name: str) -> Any:
    return json.loads(project.storage.read(f"artifacts/sha256/{report.digest[7:]}/{name}"))


def reloaded(project: Project, report: ArtifactReport, texts: list[str]) -> Any:
    """Return the vectors of texts as a user of the artifact makes them: only its files and the base are at hand."""
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    folder = project.storage.path(f"artifacts/sha256/{report.digest[7:]}")
    base = str(project.root / "pvc" / "models" / "tiny")
    torch.manual_seed(99)  # a pooler, if any, is drawn otherwise than ever before: it must not count
    if report.type == "Model":
        model, tokenizer = AutoModel.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    else:
        model = PeftModel.from_pretrained(AutoModel.from_pretrained(base, dtype=torch.float32), folder)
        tokenizer = AutoTokenizer.from_pretrained(base)
    config = published(project, report, "1_Pooling/config.json")
    found = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            states = model.eval()(input_ids=ids).last_hidden_state[0]
        vector = states[0] if config["pooling_mode_cls_token"] else states.mean(dim=0)
        found.append(vector / vector.norm())
    return torch.stack(found)


def expected_loss(queries: Any, passages: Any, right: list[set[int]], own: list[int]) -> float:
    """The loss by its definition: of each row -log of its passage's share among those that are not right as well."""
    total = 0.0
    for row, query in enumerate(queries):
        powers = {index: math.exp(20 * float(query @ passage)) for index, passage in enumerate(passages)}
        others = [power for index, power in powers.items() if index not in right[row]]
        total -= math.log(powers[own[row]] / (powers[own[row]] + sum(others)))
    return total / len(queries)


Q, P = (1, 10, 2), (1, 20, 2)
BATCHES: dict[str, tuple[list[tuple[Any, Any, Any]], list[set[int]]]] = {
    "all apart": ([((1,), (5,), ()), ((2,), (6,), ()), ((3,), (7,), ())], [{0}, {1}, {2}]),
    "equal positives": ([((1,), (5,), ()), ((2,), (5,), ()), ((3,), (7,), ())], [{0, 1}, {0, 1}, {2}]),
    "equal queries": ([((1,), (5,), ()), ((1,), (6,), ()), ((3,), (7,), ())], [{0, 1}, {0, 1}, {2}]),
    "a row twice": ([((1,), (5,), ()), ((1,), (5,), ())], [{0, 1}, {0, 1}]),
    "negatives": ([((1,), (5,), (8,)), ((2,), (6,), ()), ((3,), (7,), (9,))], [{0}, {1}, {2}]),
    "the negative of one is right for another": ([((1,), (5,), (6,)), ((2,), (6,), ())], [{0}, {1, 2}]),
    "the negative is right in another row": ([((1,), (5,), (6,)), ((1,), (6,), ())], [{0, 1, 2}, {0, 1, 2}]),
}


@pytest.mark.parametrize("name", BATCHES)
def test_the_loss_counts_nothing_that_is_right_against_a_query(name: str) -> None:
    from stagecoach_trainer.encoding import Encoding, Example
    from stagecoach_trainer.families import embedding

    texts, right = BATCHES[name]
    encoding = Encoding(None, tuple(Example(*row) for row in texts), 0)  # type: ignore[arg-type]

    def pad(features: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"input_ids": torch.tensor(features["input_ids"])}

    batch = embedding.collator(pad)(embedding.rows([encoding]))
    generator = torch.Generator().manual_seed(5)
    table = torch.nn.functional.normalize(torch.randn(12, 4, generator=generator, dtype=torch.float64), dim=-1)
    queries, passages = (table[batch[use]["input_ids"][:, 0]] for use in ("queries", "passages"))
    logits = embedding.scores(queries, passages, batch["known"])
    found = embedding.loss({"logits": logits}, batch["labels"])
    assert float(found) == pytest.approx(expected_loss(queries, passages, right, list(range(len(texts)))))
    half = embedding.loss({"logits": logits}, batch["labels"], num_items_in_batch=2 * len(texts))
    assert float(half) == pytest.approx(float(found) / 2), "of a step of two such batches"


def test_what_is_right_in_another_batch_counts_against_nothing_either() -> None:
    from stagecoach_trainer.encoding import Encoding, Example
    from stagecoach_trainer.families import embedding

    examples = (Example((1,), (5,)), Example((2,), (6,)), Example((1,), (6,)))
    rows = embedding.rows([Encoding(None, examples, 0)])  # type: ignore[arg-type]
    batch = embedding.collator(lambda features, **_: features)(rows[:2])
    assert batch["known"].tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_padding_is_in_no_vector(project: Project, mode: str) -> None:
    from stagecoach_trainer import bases
    from stagecoach_trainer.families import embedding

    made = matching(project)
    base = bases.read(embedding_job(made).base, mismatch="", remedy="", family=Family.ENCODER, embeds=True)
    model = embedding.load(base.folder, "float32").eval()
    alone = {"input_ids": torch.tensor([[1, 50, 2]]), "attention_mask": torch.ones(1, 3)}
    padded = {
        "input_ids": torch.tensor([[1, 50, 2, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0, 0]]),
    }
    one, other = (embedding.vectors(model, mode, texts) for texts in (alone, padded))
    assert torch.allclose(one, other, atol=1e-6)
    assert float(one.norm()) == pytest.approx(1)


@pytest.mark.parametrize("layers", [2, 4], ids="{} layers".format)
def test_an_adapter_finds_its_modules_in_a_model_with_a_pooler(
    project: Project, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel
    from transformers import AutoModel

    # From 20 names on PEFT shortens them.
    monkeypatch.setitem(BASES, "BertModel", ("BertConfig", SIZES | {"num_hidden_layers": layers}))
    made = matching(project, "BertModel")
    job = embedding_job(made, settings={"epochs": None, "max_steps": 1})
    report = train(job)
    base = AutoModel.from_pretrained(made.root / "pvc" / "models" / "tiny")
    assert base.pooler is not None, "or the test shows nothing"
    folder = made.storage.path(f"artifacts/sha256/{report.digest[7:]}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, folder)
    assert not [str(warning.message) for warning in caught if "missing" in str(warning.message)]
    adapted = {name for name, module in model.get_base_model().named_modules() if hasattr(module, "lora_A")}
    assert len(adapted) == 6 * layers
    assert not [name for name in adapted if "pooler" in name]


@pytest.mark.parametrize("method", [LOW_RANK, FullMethod()], ids=lambda method: method.type)
def test_a_run(project: Project, method: Method, capsys: pytest.CaptureFixture[str]) -> None:
    from stagecoach_trainer import compare

    made = matching(project)
    rate = 4e-3 if method.type == "LoRA" else 2e-3
    job = embedding_job(made, method, settings={"epochs": 25, "learning_rate": rate})
    report = train(job)
    record = record_of(made, job)
    losses = [point.loss for point in record.training.losses]
    assert losses[-1] < losses[0] / 2, losses
    assert record.training.eval_loss is not None
    assert (record.base.pooling, record.labels, record.training.whole_modules) == ("mean", (), None)

    texts = [f"query: {query}" for query, _ in HELD_OUT] + [f"passage: {passage}" for passage in ANSWERS.values()]
    vectors = reloaded(made, report, texts)
    assert torch.allclose(vectors, trained_vectors(made, job, report), atol=1e-5), "as they were in the training"
    assert compare.main(comparing(made, inputs=job.inputs.digest, json=str(made.root / "numbers.json"))) == 0
    queries, passages = vectors[: len(THINGS)], vectors[len(THINGS) :]
    ranks = [int((cosines >= cosines[row]).sum()) for row, cosines in enumerate(queries @ passages.T)]
    numbers = json.loads((made.root / "numbers.json").read_text())
    name = report.type.lower()
    assert numbers["recall@1"][name] == pytest.approx(sum(rank == 1 for rank in ranks) / len(ranks))
    assert numbers["MRR@10"][name] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    assert numbers["MRR@10"][name] > numbers["MRR@10"]["base"]
    assert "among 8 passages" in capsys.readouterr().out


@pytest.mark.parametrize("family", ["encoder", "tagger", "embedding"])
def test_padding_comes_after_a_text_whatever_the_base_says(project: Project, family: str) -> None:
    from stagecoach_trainer import loop
    from stagecoach_trainer.train import prepare

    prepared_as: dict[str, Callable[[Project], Project]] = {
        "encoder": lambda made: with_base(made, "BertModel"),
        "tagger": lambda made: tagging(WORDS)(with_base(made, "BertModel")),
        "embedding": lambda made: matching(made, "BertModel"),
    }
    made = prepared_as[family](project)
    pads_before(made)
    prepared = prepare((embedding_job if family == "embedding" else encoder_job)(made, LOW_RANK))
    assert prepared.tokenizer.padding_side == "left", "or the test shows nothing"  # type: ignore[attr-defined]
    build, _ = loop.TASKS.get(prepared.job.inputs.task) or loop.FAMILIES[Family.ENCODER]
    options = build(prepared, "float32").options
    rows = [options["train_dataset"][index] for index in range(8)]
    batch = options["data_collator"](rows)
    texts = batch["queries"] if family == "embedding" else batch
    assert not texts["attention_mask"].all(), "texts have different lengths"
    assert texts["attention_mask"][:, 0].all()


def pads_before(project: Project) -> None:
    """Let the base's tokenizer pad before a text."""
    place = project.root / "pvc" / "models" / "tiny" / "tokenizer_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"padding_side": "left"}))


def trained_vectors(project: Project, job: TrainJob, report: ArtifactReport) -> Any:
    """Return the same vectors by the trainer's own way: batches, padding and templates."""
    from stagecoach_trainer import asking, bases, finding

    record = record_of(project, job)
    base = bases.read(job.base, mismatch="", remedy="", family=Family.ENCODER, embeds=True)
    tokenizer: Any = bases.load_tokenizer(base)
    texts = [f"query: {query}" for query, _ in HELD_OUT] + [f"passage: {passage}" for passage in ANSWERS.values()]
    prompts = [tuple(tokenizer(text)["input_ids"]) for text in texts]
    folder = project.storage.path(f"artifacts/sha256/{report.digest[7:]}")
    asked: asking.Questions[Any, list[Any]] = asking.Questions(
        prompts, lambda model: finding._embedder(model, base.pooling, tokenizer), list
    )
    return torch.stack(asking.both(record, base, folder, asked, 5)[1])


def test_what_is_published_beside_the_weights(project: Project) -> None:
    made = matching(project, "BertModel")
    folder = made.root / "pvc" / "models" / "tiny"
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(OLD_CLS))
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    pads_before(made)
    for method in (FullMethod(freeze=Freeze(embeddings=True, layers=1)), LOW_RANK):
        job = embedding_job(made, method, settings={"epochs": None, "max_steps": 1})
        report = train(job)
        texts = [f"query: {query}" for query, _ in HELD_OUT] + [f"passage: {passage}" for passage in ANSWERS.values()]
        assert torch.allclose(reloaded(made, report, texts), trained_vectors(made, job, report), atol=1e-5)
        types = [(item["path"], item["type"].rpartition(".")[2]) for item in published(made, report, "modules.json")]
        assert types == [*kinds, ("2_Normalize", "Normalize")]
        config = published(made, report, "1_Pooling/config.json")
        assert (config["pooling_mode_cls_token"], config["pooling_mode_mean_tokens"]) == (True, False)
        assert config["word_embedding_dimension"] == 32
        assert published(made, report, "config_sentence_transformers.json")["prompts"] == {
            "query": "query: ",
            "document": "passage: ",
        }
        files = {entry.path for entry in record_of(made, job).artifact.files}
        assert {"tokenizer.json", "config.json"} <= files or report.type == "Adapter"
        if report.type == "Model":
            assert published(made, report, "config.json")["architectures"] == ["BertModel"]
            assert published(made, report, "tokenizer_config.json")["padding_side"] == "right", "as it was trained"
        card = made.storage.read(f"runs/{job.inputs.digest[7:]}/README.md").decode()
        assert "| Vectors | vector of the first token, made of length 1 |" in card
        assert "    passage: {text}" in card
        assert "pipeline_tag: sentence-similarity" in card
        assert "has no prompt" not in card


def test_a_template_that_is_more_than_a_prefix_is_told_by_the_card(project: Project) -> None:
    made = matching(project)
    prompt = Prompt(template="query: {text} </q>", passage_template="passage: {text}")
    job = embedding_job(made, settings={"epochs": None, "max_steps": 1})
    job = job.model_copy(update={"inputs": job.inputs.model_copy(update={"prompt": prompt})})
    report = train(job)
    assert published(made, report, "config_sentence_transformers.json")["prompts"] == {"document": "passage: "}
    card = made.storage.read(f"runs/{job.inputs.digest[7:]}/README.md").decode()
    assert "`config_sentence_transformers.json` has no prompt for `query`: the template is more than a prefix." in card


@pytest.mark.parametrize(
    "architecture", ["RobertaForMaskedLM", "XLMRobertaModel", "ModernBertForMaskedLM", "DistilBertForMaskedLM"]
)
def test_other_families(project: Project, architecture: str) -> None:
    made = matching(project, architecture, negatives=True)
    dora = LoraMethod.model_validate(LOW_RANK.model_dump() | {"type": "DoRA"})
    for method in (dora, FullMethod()):
        settings = {"epochs": None, "max_steps": 2, "gradient_checkpointing": True, "precision": "bfloat16"}
        job = embedding_job(made, method, settings=settings)
        report = train(job)
        assert record_of(made, job).base.architecture == architecture
        assert reloaded(made, report, ["query: a", "b"]).shape[0] == 2


@pytest.mark.parametrize("method", [LOW_RANK, FullMethod()], ids=lambda method: method.type)
def test_interrupted_it_goes_on_to_the_same(project: Project, method: Method) -> None:
    check_going_on(project, embedding_job(matching(project, negatives=True), method))


@pytest.mark.long
@pytest.mark.parametrize("method", [LOW_RANK, FullMethod()], ids=lambda method: method.type)
def test_several_processes_make_what_one_makes_of_the_same_batches(project: Project, method: Method) -> None:
    made = matching(project)

    def job(accumulated: int) -> TrainJob:
        settings = {"epochs": 2, "per_device_batch_size": 4, "gradient_accumulation_steps": accumulated}
        found = embedding_job(made, method, settings=settings)
        return found.model_copy(update={"inputs": found.inputs.model_copy(update={"best": "eval_loss"})})

    alone, together = job(2), grouped(job(1), 1, 2)
    ended = pods(made, together)
    assert codes(ended) == [0], ended[0].output
    train(alone)
    records = [record_of(made, each) for each in (together, alone)]
    nearly_the_same(*records)
    for training in (record.training for record in records):
        losses = {point.step: point.loss for point in training.evaluations}
        best = min(losses, key=losses.__getitem__)
        assert (training.best_step, training.eval_loss) == (best, losses[best])
    assert records[0].training.processes == 2
    assert records[0].training.best_step == records[1].training.best_step


def test_as_in_a_pod(project: Project) -> None:
    made = matching(project)
    code, report, _, log = in_a_pod(made, embedding_job(made, settings={"epochs": 1}).line())
    assert code == 0, log
    assert report is not None
    assert report.artifact is not None
    assert log.splitlines() == ["reading data and base model", "Done"]


def test_a_method_for_decoders_is_refused(project: Project) -> None:
    job = embedding_job(matching(project), PromptTuningMethod(virtual_tokens=4))
    with pytest.raises(BadInput, match="this method is not for such models"):
        train(job)


def test_resolving_finds_pairs_that_are_in_two_sets_and_passages_that_are_too_long(project: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    made = matching(project)
    rows = [("query", "positive"), ("Hi, my  CARD", ANSWERS["card"]), ("hi, my card", "other"), ("new", "x" * 90)]
    with (made.root / "pvc" / "data" / "valid.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    rule = Tokenization(max_length=60, overflow=Overflow.TRUNCATE)
    job = made.resolve_job(architecture=Family.ENCODER, prompt=PROMPT, tokenization=rule)
    found = {item.code: item.message for item in resolve(job).findings}
    assert found["Leakage"].startswith("1 of 3 rows of valid are training rows too (valid:2 = train:2)")
    assert found["OverflowAboveOnePercent"].startswith("1 of 3 rows of valid are cut")
    refusing = job.model_copy(update={"tokenization": Tokenization(max_length=60, overflow=Overflow.REJECT)})
    with pytest.raises(BadInput, match="the positive of row 4 has"):
        resolve(refusing)


def test_the_profile_is_of_queries(project: Project) -> None:
    made = matching(project)
    job = embedding_job(made, settings={"epochs": None, "max_steps": 1})
    train(job)
    profile = Profile.model_validate_json(made.storage.read(f"runs/{job.inputs.digest[7:]}/profile.json"))
    assert profile.prompts == len(TRAINED)
    assert sum(profile.vocabulary) == sum(len(query.encode()) for query, _ in TRAINED)
