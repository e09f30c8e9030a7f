"""Every task, from a real run to its numbers, which other libraries compute as well from what is kept."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from stagecoach.contract import entities
from stagecoach.contract.evaluations import Criterion, Reference
from stagecoach.contract.inputs import FullMethod
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.verdicts import Verdict
from tests.unit.contract.documents import METHOD
from tests.unit.trainer import test_embeddings, test_encoder_decoders, test_encoders, test_taggers
from tests.unit.trainer.conftest import ANSWERS, Project, train, writing_pairs

from .conftest import ACCURATE, HELD_OUT, NO_WORSE, Judging, write

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

Kept = Sequence[dict[str, Any]]
# By metric: what it is by another way, of what is expected and what was answered.
Numbers = dict[str, Callable[[Any, Kept], float]]
SHORT = {"epochs": None, "max_steps": 2}


@dataclass(frozen=True)
class Task:
    """How a project of a task is made and trained, what is expected of its rows, and numbers."""

    job: Callable[[Project], tuple[Project, TrainJob]]
    expected: list[Any]
    numbers: Numbers
    baseline: bool


def sklearn(name: str, **options: Any) -> Callable[[Any, Kept], float]:
    def number(expected: Any, kept: Kept) -> float:
        from sklearn import metrics

        return float(getattr(metrics, name)(expected, [answer["label"] for answer in kept], **options))

    return number


def auc(expected: Any, kept: Kept) -> float:
    from sklearn import metrics

    return float(metrics.roc_auc_score([label == "parcel_late" for label in expected], [a["scores"][1] for a in kept]))


def sacrebleu(kind: str) -> Callable[[Any, Kept], float]:
    def number(expected: Any, kept: Kept) -> float:
        import sacrebleu as library

        return float(getattr(library, f"corpus_{kind}")([answer["text"] for answer in kept], [expected]).score)

    return number


def exact(expected: Any, kept: Kept) -> float:
    right: list[bool] = [answer["text"].strip() == target for answer, target in zip(kept, expected, strict=True)]
    return sum(right) / len(kept)


def spans_f1(expected: Any, kept: Kept) -> float:
    given = {(row, *span) for row, tags in enumerate(expected) for span in entities.entities(tags)}
    found = {(row, *span) for row, answer in enumerate(kept) for span in entities.entities(answer["tags"])}
    return 2 * len(given & found) / (len(given) + len(found)) if given or found else 0.0


def tags_right(expected: Any, kept: Kept) -> float:
    pairs = [
        (tag, said)
        for tags, answer in zip(expected, kept, strict=True)
        for tag, said in zip(tags, answer["tags"], strict=True)
    ]
    right: list[bool] = [tag == said for tag, said in pairs]
    return sum(right) / len(right)


def of_ranks(measure: Callable[[int], float]) -> Callable[[Any, Kept], float]:
    return lambda _, kept: sum(measure(answer["rank"]) for answer in kept) / len(kept)


QUERIES = [(f"please tell me about the {thing}", answer) for thing, answer in test_embeddings.ANSWERS.items()]
LABELS = [label for _, label in HELD_OUT]
CLASSES: Numbers = {
    "accuracy": sklearn("accuracy_score"),
    "f1_macro": sklearn("f1_score", average="macro"),
    "f1_weighted": sklearn("f1_score", average="weighted"),
    "mcc": sklearn("matthews_corrcoef"),
}


def decoder(project: Project) -> tuple[Project, TrainJob]:
    write(project, "test", HELD_OUT)
    return project, project.train_job()


def encoder(project: Project) -> tuple[Project, TrainJob]:
    test_encoders.with_base(project, "BertForMaskedLM")
    write(project, "test", HELD_OUT)
    return project, test_encoders.encoder_job(project, FullMethod(), settings=test_encoders.FULL_SETTINGS)


def words(columns: Any) -> Callable[[Project], tuple[Project, TrainJob]]:
    def change(project: Project) -> tuple[Project, TrainJob]:
        made = test_taggers.tagging(columns)(test_encoders.with_base(project, "BertForMaskedLM"))
        record = test_taggers.tagged if columns == test_taggers.WORDS else test_taggers.marked
        test_taggers.write(made, "test", [record(text) for text, _ in HELD_OUT])
        return made, test_encoders.encoder_job(made, FullMethod(), settings=test_encoders.FULL_SETTINGS)

    return change


def pairs(project: Project) -> tuple[Project, TrainJob]:
    made = writing_pairs(project, "Generation")
    write(made, "test", [(text, ANSWERS[label]) for text, label in HELD_OUT], ("input", "target"))
    return made, made.train_job(settings={"epochs": 6})


def rewriting(project: Project) -> tuple[Project, TrainJob]:
    made = test_encoder_decoders.with_base(project, "T5ForConditionalGeneration")
    write(made, "test", [(text, ANSWERS[label]) for text, label in HELD_OUT], ("input", "target"))
    return made, test_encoder_decoders.rewriting_job(made, METHOD, settings=SHORT)


def matching(project: Project) -> tuple[Project, TrainJob]:
    made = test_embeddings.matching(project)
    write(made, "test", QUERIES, ("query", "positive"))
    return made, test_embeddings.embedding_job(made, settings=SHORT | {"per_device_batch_size": 8})


def spans(text: str) -> tuple[str, ...]:
    (span,) = test_taggers.marked(text)["spans"]
    start, end, label = span["start"], span["end"], span["label"]
    return tuple(f"{'B' if at == start else 'I'}-{label}" if start <= at < end else "O" for at in range(len(text)))


TEXTS: Numbers = {"exact_match": exact, "bleu": sacrebleu("bleu"), "chrf": sacrebleu("chrf")}
TARGETS = [ANSWERS[label] for label in LABELS]
TASKS = {
    "decoder": Task(decoder, LABELS, CLASSES, baseline=True),
    "encoder": Task(encoder, LABELS, CLASSES | {"auc_roc": auc}, baseline=False),
    "words": Task(
        words(test_taggers.WORDS),
        [test_taggers.tagged(text)["tags"] for text, _ in HELD_OUT],
        {"seqeval_f1": spans_f1, "accuracy": tags_right},
        baseline=False,
    ),
    "spans": Task(
        words(test_taggers.SPANS), [spans(text) for text, _ in HELD_OUT], {"seqeval_f1": spans_f1}, baseline=False
    ),
    "pairs": Task(pairs, TARGETS, TEXTS, baseline=True),
    "rewriting": Task(rewriting, TARGETS, TEXTS, baseline=True),
    "matching": Task(
        matching,
        [positive for _, positive in QUERIES],
        {
            "mrr": of_ranks(lambda rank: 1 / rank),
            "recall_at_1": of_ranks(lambda rank: float(rank == 1)),
            "ndcg_at_10": of_ranks(lambda rank: 1 / math.log2(1 + rank) if rank <= 10 else 0.0),
        },
        baseline=True,
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_number_is_what_another_library_computes(real: Project, name: str) -> None:
    task = TASKS[name]
    project, run = task.job(real)
    train(run)
    least = [Criterion(name=f"{metric}-least", suite="held-out", metric=metric, min=0.0) for metric in task.numbers]
    drops = [
        Criterion(
            name=f"{metric}-drop", suite="held-out", metric=metric, against=Reference.BASELINE, allowed_drop=100.0
        )
        for metric in task.numbers
    ]
    criteria = (*least, *drops) if task.baseline else tuple(least)
    judging = Judging(project, run, criteria)
    report = judging.judge()
    assert {result.outcome for result in report.results} == {"Passed"}, report
    assert report.verdict is Verdict.PASSED
    job = judging.job()
    kept = judging.answers(job.inputs.release, job.inputs.suites[0])
    before = judging.answers(job.inputs.baseline, job.inputs.suites[0]) if job.inputs.baseline else None
    for criterion, result in zip(criteria, report.results, strict=True):
        number = task.numbers[criterion.metric]
        assert result.value == pytest.approx(number(task.expected, kept), abs=1e-9), criterion.name
        if criterion.against and before:
            assert result.reference == pytest.approx(number(task.expected, before), abs=1e-9), criterion.name
    assert len(kept) == len(task.expected)


@pytest.mark.parametrize("name", ["pairs", "rewriting"])
def test_a_model_that_computes_no_numbers_writes_no_answers(
    real: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from stagecoach_trainer import asking

    project, run = TASKS[name].job(real)
    train(run)
    loaded = asking._loaded

    def broken(model: Any) -> Any:
        made = loaded(model)
        for parameter in made.parameters():
            parameter.data.fill_(math.nan)
        return made

    monkeypatch.setattr(asking, "_loaded", broken)
    written = Criterion(name="like", suite="held-out", metric="chrf", min=1.0)
    judging = Judging(project, run, (written,), min_scored=0.5)
    report = judging.judge()
    assert (report.verdict, report.results[0].outcome, report.results[0].scored) == (Verdict.ERROR, "Error", 0)
    job = judging.job()
    errors = {answer["error"] for answer in judging.answers(job.inputs.release, job.inputs.suites[0])}
    assert errors == {"what the model computes for this row is not a number"}


def test_the_base_of_an_encoder_has_no_head_to_compare_with(real: Project) -> None:
    project, run = encoder(real)
    run = test_encoders.encoder_job(project, FullMethod(), settings=SHORT)
    train(run)
    judging = Judging(project, run, (NO_WORSE, ACCURATE.model_copy(update={"min": 0.0})))
    report = judging.judge()
    compares, alone = report.results
    assert (report.verdict, compares.outcome, alone.outcome) == (Verdict.ERROR, "Error", "Passed")
    assert "chance" in (compares.message or "")
    assert "against: Baseline" in (compares.message or "")
    assert judging.record().suites[0].baseline_answers is None
    assert judging.judge().adopted


def test_a_head_that_knows_the_labels_is_compared_with(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(test_encoders.BASES, "BertForSequenceClassification", ("BertConfig", test_encoders.SIZES))
    project = test_encoders.with_base(real, "BertForSequenceClassification")
    write(project, "test", HELD_OUT)
    config = project.root / "pvc" / "models" / "tiny" / "config.json"
    named = ("card_lost", "parcel_late")
    ids = {"id2label": dict(enumerate(named)), "label2id": {name: at for at, name in enumerate(named)}}
    config.write_text(json.dumps(json.loads(config.read_text()) | ids))
    run = test_encoders.encoder_job(project, FullMethod(), settings=SHORT)
    train(run)
    report = Judging(project, run, (NO_WORSE.model_copy(update={"allowed_drop": 1.0}),)).judge()
    assert report.results[0].reference is not None


def test_a_passage_whose_query_cannot_be_read_is_looked_among(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import finding

    project, run = matching(real)
    write(project, "test", [*QUERIES, ("long " * 300, "an answer of its own")], ("query", "positive"))
    train(run)
    among: list[str] = []
    questions = finding.questions

    def noted(pooling: Any, tokens: Any, rows: Any, others: Any = ()) -> Any:
        made = questions(pooling, tokens, rows, others)
        among.extend(others)
        # Of each query and of each passage one, that of the refused row too.
        assert len(made.prompts) == len(QUERIES) + len({positive for _, positive in QUERIES}) + 1
        return made

    monkeypatch.setattr(finding, "questions", noted)
    judging = Judging(project, run, (Criterion(name="found", suite="held-out", metric="mrr", min=0.0),), min_scored=0.5)
    assert judging.judge().results[0].scored == len(QUERIES)
    assert "an answer of its own" in among
    job = judging.job()
    assert "error" in judging.answers(job.inputs.release, job.inputs.suites[0])[-1]
