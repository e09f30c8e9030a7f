"""Documents of tasks of lm-evaluation-harness: made once, and asked in batches that fit. Needs the evaluator's
libraries."""

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stagecoach.contract.answers import Answer
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator import harness, suites

from .conftest import Judging
from .test_harness import ACC, ARC, KEPT, benchmark, by_hand, write  # noqa: F401 - a fixture

pytest.importorskip("lm_eval", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

GPQA = [
    {
        "Question": f"Which of these numbers is the greatest of lot {number}?",
        "Correct Answer": f"{number + 90}",
        **{f"Incorrect Answer {each}": f"{number + each}" for each in (1, 2, 3)},
    }
    for number in range(12)
]


def prepared(judging: Judging, task: str, documents: list[dict[str, Any]]) -> tuple[Any, harness.Task]:
    write(judging, documents)
    job = replace(judging, tasks={"arc": task}).job()
    return harness.ready(job.inputs.suites[0], suites.data(job.datasets[0]))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What lm-evaluation-harness says of each release."""
    from lm_eval.evaluator import evaluate

    found: list[Any] = []

    def noting(**given: Any) -> Any:
        found.append(evaluate(**given))
        return found[-1]

    monkeypatch.setattr("stagecoach_evaluator.harness_asking.evaluate", noting)
    return found


def test_choices_that_are_shuffled_are_the_same_for_both_releases_and_as_by_hand(
    benchmark: Judging,  # noqa: F811
    told: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(benchmark, GPQA)
    replace(benchmark, tasks={"arc": "gpqa_main_zeroshot"}).judge()
    monkeypatch.undo()
    one, other = (each["samples"]["gpqa_main_zeroshot"] for each in told)
    hand = by_hand(benchmark, "gpqa/zeroshot/gpqa_main_zeroshot", tmp_path, tuned=True)["samples"]["by-hand"]
    asked = [[each["arguments"] for each in samples] for samples in (one, other, hand)]
    assert asked[0] == asked[1]
    assert asked[0] == asked[2]
    assert [each["target"] for each in one] == [each["target"] for each in hand]
    assert [each["acc"] for each in one] == [each["acc"] for each in hand]
    assert len({each["target"] for each in one}) > 1


@pytest.mark.parametrize("task", ["gpqa_main_zeroshot", "gpqa_main_n_shot"])
def test_whoever_reads_such_documents_reads_the_same(benchmark: Judging, task: str) -> None:  # noqa: F811
    first, again = (prepared(benchmark, task, GPQA) for _ in range(2))
    assert first[0].rows == again[0].rows
    assert list(first[1].documents) == list(first[1].made.eval_docs) == list(again[1].documents)


def test_a_document_that_python_has_made_is_named_by_its_task(benchmark: Judging) -> None:  # noqa: F811
    plain, _ = prepared(benchmark, "arc_easy", ARC)
    made, _ = prepared(benchmark, "gpqa_main_zeroshot", GPQA)
    assert (plain.place(1), made.place(1)) == ("arc.jsonl:2", "arc:gpqa_main_zeroshot:2")


@pytest.mark.parametrize(
    ("generation", "drawn"),
    [
        ({}, False),
        ({"temperature": 0.7}, True),
        ({"temperature": 0.0}, False),
        ({"do_sample": False, "temperature": 0.7}, False),
        ({"do_sample": True}, True),
        ({"do_sample": True, "temperature": 0.0}, True),
    ],
)
def test_answers_that_are_drawn_by_chance(generation: dict[str, Any], drawn: bool) -> None:
    entry = SimpleNamespace(kind=SimpleNamespace(name="TASK"))
    why, _ = harness._unfit(entry, {"generation_kwargs": generation})
    assert ("drawn by chance" in why) is drawn


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), MemoryError("no more")])
def test_what_the_machine_is_at_fault_for_is_no_fault_of_documents(
    benchmark: Judging,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    from datasets.exceptions import DatasetGenerationError
    from lm_eval.api.task import ConfigurableTask

    def full(*_: Any, **__: Any) -> None:
        try:
            raise fault
        except (OSError, MemoryError) as error:
            raise DatasetGenerationError("An error occurred while generating the dataset") from error

    monkeypatch.setattr(ConfigurableTask, "download", full)
    with pytest.raises(type(fault)) as caught:
        prepared(benchmark, "arc_easy", ARC)
    assert caught.value is fault


def test_a_folder_that_is_full(benchmark: Judging, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def full(*_: Any) -> None:
        raise PermissionError("not here")

    write(benchmark, ARC)
    job = benchmark.job()
    read = suites.data(job.datasets[0])
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(PermissionError):
        harness.ready(job.inputs.suites[0], read)


def failing(error: Exception) -> Any:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    return fails


@pytest.mark.parametrize("error", [ValueError("of a kernel"), TypeError("of a kernel"), AssertionError("of a kernel")])
def test_a_model_that_fails_is_no_fault_of_the_task(
    benchmark: Judging,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr("lm_eval.models.huggingface.HFLM._model_call", failing(error))
    with pytest.raises(type(error), match="of a kernel"):
        benchmark.judge()


@pytest.mark.parametrize(
    ("what", "says"), [("construct_requests", "make requests of the documents"), ("process_results", "judge an answer")]
)
def test_python_of_a_task_that_fails_is_told(
    benchmark: Judging,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    says: str,
) -> None:
    monkeypatch.setattr(f"lm_eval.api.task.ConfigurableTask.{what}", failing(TypeError("of a document")))
    with pytest.raises(BadInput) as caught:
        benchmark.judge()
    assert caught.value.problem.reason == "TaskUnfit"
    assert says in caught.value.problem.message


def test_an_answer_that_no_context_has_room_for(benchmark: Judging) -> None:  # noqa: F811
    write(benchmark, [{**ARC[0], "choices": {"text": ["a word " * 3000, "b", "c"], "label": list("ABC")}}])
    with pytest.raises(BadInput) as caught:
        benchmark.judge()
    assert caught.value.problem.reason == "TaskUnfit"
    assert "is longer than the base's context" in caught.value.problem.message


def test_a_batch_is_as_large_as_memory_allows(benchmark: Judging, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from lm_eval.models.huggingface import HFLM

    from stagecoach_evaluator import harness_asking

    call, sizes = HFLM._model_call, []

    def noting(self: Any, inps: Any, *args: Any, **given: Any) -> Any:
        logits = call(self, inps, *args, **given)
        sizes.append((inps.shape[0], logits.numel() * 4))
        return logits

    monkeypatch.setattr(HFLM, "_model_call", noting)
    replace(benchmark, criteria=(ACC,)).judge()
    assert max(size for size, _ in sizes) == 16
    bound = max(bytes_of for _, bytes_of in sizes) // 4
    sizes.clear()
    monkeypatch.setattr(harness_asking, "LOGITS", bound)
    other = replace(benchmark, tasks={"arc": "arc_challenge"}, criteria=(ACC,))
    other.judge()
    assert 1 < max(size for size, _ in sizes) < 16
    assert max(bytes_of for _, bytes_of in sizes) <= bound


@pytest.mark.parametrize(("tokens", "vocabulary", "most"), [(100, 152_000, 17), (300, 152_000, 5), (9000, 152_000, 1)])
def test_how_many_prompts_are_asked_at_once(tokens: int, vocabulary: int, most: int) -> None:
    from stagecoach_evaluator.harness_asking import _Told

    text = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=vocabulary))
    asks: Any = SimpleNamespace(max_length=2048 if most > 1 else 4096, config=text)
    assert _Told._most(asks, [(None, [1] * (tokens - 1), [1]), (None, [1], [1])]) == most


def test_answers_that_are_none_to_a_task_are_asked_for_anew(
    benchmark: Judging,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from stagecoach_evaluator import asking

    def written(task: harness.Task, *_: Any) -> tuple[Answer, ...]:
        return tuple(Answer(row=row, text="a text") for row in range(len(task.documents)))

    with monkeypatch.context() as patched:
        patched.setattr(asking, "_by_harness", written)
        assert benchmark.judge().verdict is Verdict.ERROR
    report = replace(benchmark, criteria=(KEPT, ACC.model_copy(update={"min": 0.02}))).judge()
    assert "are not those to a task of lm-evaluation-harness" in capsys.readouterr().err
    assert all(result.value is not None for result in report.results)
    job = benchmark.job()
    assert all("values" in answer for answer in benchmark.answers(job.inputs.release, job.inputs.suites[0]))
