"""Suites that are tasks of lm-evaluation-harness: the numbers are those that it gets by hand. Needs the evaluator's
libraries."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.evaluations import Criterion, Reference, SuiteType
from stagecoach.contract.inputs import TaskDocuments
from stagecoach.contract.releases import Engine, Precision
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Outcome, Verdict
from stagecoach_evaluator import harness, suites
from stagecoach_evaluator.intervals import Undefined

from .conftest import Judging

pytest.importorskip("lm_eval", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

FLOAT32 = Engine(precision=Precision.FLOAT32)
THINGS = ("a feather", "an anvil", "a leaf", "a grain of sand", "the whole of a mountain")
ARC = [
    {
        "id": f"q{number}",
        "question": f"Of the things that lie in box number {number * number}, which one is the {kind}?",
        "choices": {"text": [THINGS[(number + step) % 5] for step in range(3 + number % 3)], "label": list("ABCDE")},
        "answerKey": "ABC"[number % 3],
    }
    for number, kind in enumerate(["heaviest", "lightest", "one that burns best"] * 9)
]
SUMS = [{"query": f"Q: How many are {number} and {number + 2}? A:", "answer": str(number)} for number in range(5)]
ACC = Criterion(name="acc", suite="arc", metric="acc", min=0.01)
KEPT = Criterion(name="kept", suite="arc", metric="acc_norm", against=Reference.BASELINE, allowed_drop=0.9)


def write(judging: Judging, documents: Sequence[Any], name: str = "arc") -> None:
    place = judging.project.root / "pvc" / "data" / f"{name}.jsonl"
    place.write_text("\n".join(map(json.dumps, documents)))


@pytest.fixture
def benchmark(judging: Judging) -> Judging:
    write(judging, ARC)
    return replace(
        judging,
        criteria=(ACC, KEPT),
        suites=(("arc", "arc", SuiteType.HELD_OUT),),
        tasks={"arc": "arc_easy"},
        engine=FLOAT32,
    )


def other(judging: Judging, task: str, documents: Sequence[Any], *criteria: Criterion) -> Judging:
    write(judging, documents)
    return replace(judging, tasks={"arc": task}, criteria=criteria or (ACC,))


def by_hand(judging: Judging, task: str, folder: Path, *, tuned: bool) -> dict[str, Any]:
    """Return what lm-evaluation-harness says, run as its documentation has it, over the same file."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    theirs = Path(lm_eval.__file__).parent / "tasks" / f"{task}.yaml"
    mine = folder / "by-hand.yaml"
    data = judging.project.root / "pvc" / "data" / "arc.jsonl"
    mine.write_text(
        f"include: {theirs}\ntask: by-hand\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {folder / 'cache'}}}\n"
        "test_split: test\nvalidation_split: null\ntraining_split: null\nfewshot_split: null\nfewshot_config: null\n"
    )
    artifact = judging.project.storage.path(layout.artifact_folder(judging.run_record().artifact.digest))
    model = {"pretrained": str(judging.project.root / "pvc" / "models" / "tiny"), "dtype": "float32", "device": "cpu"}
    return lm_eval.simple_evaluate(  # type: ignore[no-any-return]
        model="hf",
        model_args=model | ({"peft": artifact} if tuned else {}),
        tasks=[str(mine)],
        num_fewshot=0,
        batch_size=16,
        bootstrap_iters=0,
        log_samples=True,
        task_manager=TaskManager(include_defaults=False),
    )


def test_the_numbers_are_those_of_lm_eval_by_hand(benchmark: Judging, tmp_path: Path) -> None:
    report = benchmark.judge()
    job = benchmark.job()
    document = json.loads(benchmark.project.storage.read(f"{layout.evaluation_folder(job.inputs.digest)}/report.json"))
    measured = {item["metric"]: item for item in document["suites"][0]["metrics"]}
    for release, name in ((job.inputs.release, "candidate"), (job.inputs.baseline, "baseline")):
        found = by_hand(benchmark, "arc/arc_easy", tmp_path, tuned=name == "candidate")
        for metric in ("acc", "acc_norm"):
            assert measured[metric][name]["value"] == found["results"]["by-hand"][f"{metric},none"]
        kept = benchmark.answers(release or "", job.inputs.suites[0])
        for sample, answer in zip(found["samples"]["by-hand"], kept, strict=True):
            assert answer["values"] == {metric: sample[metric] for metric in ("acc", "acc_norm")}
            likely = [each[0] for each in sample["filtered_resps"]]
            assert answer["text"] == sample["doc"]["choices"]["text"][likely.index(max(likely))]
    assert report.rows == len(ARC)
    assert report.results[1].reference is not None
    assert report.results[1].mcnemar is not None
    assert measured["acc"]["candidate"]["low"] < measured["acc"]["candidate"]["value"]


def test_the_likelihoods_are_the_same_bits(benchmark: Judging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.evaluator import evaluate

    told: list[Any] = []

    def noting(**given: Any) -> Any:
        told.append(evaluate(**given))
        return told[-1]

    monkeypatch.setattr("stagecoach_evaluator.harness_asking.evaluate", noting)
    benchmark.judge()
    monkeypatch.undo()
    for ours, tuned in zip(told, (True, False), strict=True):
        found = by_hand(benchmark, "arc/arc_easy", tmp_path, tuned=tuned)
        one, another = ours["samples"]["arc_easy"], found["samples"]["by-hand"]
        assert [each["resps"] for each in one] == [each["resps"] for each in another]
        assert [each["arguments"] for each in one] == [each["arguments"] for each in another]


def test_what_is_written_is_what_lm_eval_has_written(benchmark: Judging, tmp_path: Path) -> None:
    one = other(benchmark, "agieval_math", SUMS)
    one.judge()
    job = one.job()
    found = by_hand(one, "agieval/math", tmp_path, tuned=True)
    kept = one.answers(job.inputs.release, job.inputs.suites[0])
    assert [answer["text"] for answer in kept] == [each["filtered_resps"][0] for each in found["samples"]["by-hand"]]
    assert all(answer["text"] for answer in kept)


def test_an_answer_that_is_read_in_several_ways_has_a_metric_by_each(benchmark: Judging) -> None:
    write(benchmark, [{"question": "How many are 1 and 2?", "answer": "1 and 2 are 3.\n#### 3"}])
    job = replace(benchmark, tasks={"arc": "gsm8k"}).job()
    dataset, task = harness.ready(job.inputs.suites[0], suites.data(job.datasets[0]))
    assert [metric.name for metric in task.metrics()] == ["exact_match,strict-match", "exact_match,flexible-extract"]
    assert dataset.rows[0].text == "Question: How many are 1 and 2?\nAnswer:"
    with pytest.raises(Undefined, match=r"Choose one of exact_match,strict-match, exact_match,flexible-extract\."):
        task.metric("exact_match")


def test_a_context_that_is_too_short_for_what_is_to_be_written(benchmark: Judging) -> None:
    with pytest.raises(BadInput) as caught:
        other(benchmark, "gsm8k", [{"question": "How many are 1 and 2?", "answer": "#### 3"}]).judge()
    assert caught.value.problem.reason == "TaskUnfit"
    assert "requested max tokens to generate (256)" in caught.value.problem.message


def test_another_criterion_asks_nobody(benchmark: Judging, asked: list[str]) -> None:
    benchmark.judge()
    assert asked == ["the release", "the base"]
    again = replace(benchmark, criteria=(KEPT, ACC.model_copy(update={"metric": "acc_norm"})))
    assert not again.judge().adopted
    assert asked == ["the release", "the base"]


def test_task_version_and_documents_are_in_the_key(benchmark: Judging) -> None:
    before = benchmark.job().inputs
    assert before.suites[0].document()["columns"] == {"documents": "Whole", "task": "arc_easy", "lmEval": "0.4.13"}
    another = replace(benchmark, tasks={"arc": "arc_challenge"}).job().inputs
    write(benchmark, ARC[1:])
    fewer = benchmark.job().inputs
    assert len({each.digest for each in (before, another, fewer)}) == 3
    assert len({each.suites[0].rows for each in (before, another, fewer)}) == 3


def test_a_question_that_was_trained_on_fails(benchmark: Judging) -> None:
    write(benchmark, [*ARC, {**ARC[0], "question": "URGENT – my card is lost!"}])
    report = benchmark.judge()
    assert (report.verdict, report.leaked) == (Verdict.FAILED, 1)
    assert benchmark.record().suites[0].leaked == (f"arc.jsonl:{len(ARC) + 1}",)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (
            "accuracy",
            "the task arc_easy of lm-evaluation-harness has no metric 'accuracy'. Choose one of acc, acc_norm.",
        ),
        ("acc,none", "the task arc_easy of lm-evaluation-harness has no metric 'acc,none'."),
    ],
)
def test_a_metric_that_the_task_lacks(benchmark: Judging, metric: str, says: str) -> None:
    result = replace(benchmark, criteria=(ACC.model_copy(update={"metric": metric}),)).judge().results[0]
    assert result.outcome is Outcome.ERROR
    assert says in (result.message or "")


def test_a_metric_that_is_better_the_less_it_is(benchmark: Judging) -> None:
    wiki = [{"page": "= Boxes =\n\nA box holds things, and each of these is in one place alone."}]
    criterion = Criterion(name="words", suite="arc", metric="word_perplexity", min=1)
    result = other(benchmark, "wikitext", wiki, criterion).judge().results[0]
    assert result.outcome is Outcome.ERROR
    assert "less is better" in (result.message or "")


def test_a_metric_of_all_rows_together_takes_a_min_alone(benchmark: Judging, tmp_path: Path) -> None:
    rows = [
        {"question1": f"is {n} odd or even?", "question2": f"odd or even is {n}?", "label": n % 2, "idx": n}
        for n in range(9)
    ]
    criterion = Criterion(name="f1", suite="arc", metric="f1", min=0.01)
    one = other(benchmark, "qqp", rows, criterion)
    one.judge()
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    value = by_hand(one, "glue/qqp/default", tmp_path, tuned=True)["results"]["by-hand"]["f1,none"]
    assert len(kept) == len(rows)
    for bound, outcome in ((value, Outcome.PASSED), (value + 0.01, Outcome.FAILED)):
        plain = other(benchmark, "qqp", rows, criterion.model_copy(update={"min": bound})).judge().results[0]
        assert (plain.value, plain.outcome) == (value, outcome)
    sure = other(benchmark, "qqp", rows, criterion.model_copy(update={"confidence": 0.95})).judge().results[0]
    assert sure.outcome is Outcome.ERROR
    assert "min without confidence" in (sure.message or "")
    against = {"min": None, "against": Reference.BASELINE, "allowed_drop": 0.1}
    paired = other(benchmark, "qqp", rows, criterion.model_copy(update=against)).judge().results[0]
    assert paired.outcome is Outcome.ERROR
    assert "row by row" in (paired.message or "")


@pytest.mark.parametrize(
    ("task", "reason", "says"),
    [
        ("arc_esay", "UnknownTask", "arc_easy"),
        ("mmlu", "TaskUnsupported", "this is a group of tasks: mmlu_humanities, "),
        ("ai2_arc", "TaskUnsupported", "this is a group of tasks: arc_challenge, arc_easy"),
        ("humaneval", "TaskUnsupported", "it runs what the model writes as a program"),
        ("gsm8k_cot_self_consistency", "TaskUnsupported", "drawn by chance"),
        ("truthfulqa_gen", "TaskUnsupported", "No module named 'rouge_score'"),
        ("squadv2", "TaskUnsupported", "a class of its own"),
        ("mmmu_val_accounting", "TaskUnsupported", "pictures"),
        ("boolq", "DocumentsUnfit", "'passage' is undefined; there are the columns id, question, choices, answerKey"),
        ("hellaswag", "DocumentsUnfit", "KeyError: 'ctx_a'"),
    ],
)
def test_what_is_refused(benchmark: Judging, task: str, reason: str, says: str, asked: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        replace(benchmark, tasks={"arc": task}).judge()
    problem = caught.value.problem
    assert problem.reason == reason
    assert says in f"{problem.message} {problem.remedy}"
    assert asked == []


def test_another_version_is_refused(benchmark: Judging) -> None:
    job = benchmark.job()
    columns = TaskDocuments(task="arc_easy", lm_eval="0.0.1")
    suites = tuple(suite.model_copy(update={"columns": columns}) for suite in job.inputs.suites)
    inputs = job.inputs.model_copy(update={"suites": suites})
    datasets = tuple(source.model_copy(update={"columns": columns}) for source in job.datasets)
    with pytest.raises(BadInput) as caught:
        benchmark.judge(inputs=inputs, datasets=datasets)
    assert caught.value.problem.reason == "RevisionDiffers"
    assert "0.0.1" in caught.value.problem.message


def test_a_model_that_computes_no_numbers_has_no_answers(benchmark: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import asking

    loaded = asking._loaded

    def broken(model: Any) -> Any:
        made = loaded(model)
        for parameter in made.parameters():
            parameter.data.fill_(float("nan"))
        return made

    monkeypatch.setattr(asking, "_loaded", broken)
    report = benchmark.judge()
    assert report.verdict is Verdict.ERROR
    assert {result.scored for result in report.results} == {0}
