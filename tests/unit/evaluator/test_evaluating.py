"""Real runs of tiny models, evaluated from the document to the record. Needs the evaluator's libraries."""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout, progress
from stagecoach.contract.evaluation_report import EvaluationDocument
from stagecoach.contract.evaluations import SuiteType
from stagecoach.contract.inputs import Columns, Prompt
from stagecoach.contract.releases import Engine, Precision
from stagecoach.contract.store import StorageFailed
from stagecoach.contract.verdicts import Outcome, Verdict
from stagecoach_evaluator import leakage, records
from stagecoach_trainer import bases
from tests.unit.trainer.conftest import EXAMPLES

from .conftest import ACCURATE, HELD_OUT, NO_WORSE, Judging, evaluate, write

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

FLOAT32 = Engine(precision=Precision.FLOAT32)


def test_a_good_adapter_passes_and_the_evidence_is_there(judging: Judging, asked: list[str]) -> None:
    report = judging.judge()
    told = (report.verdict, report.adopted, report.rows, report.leaked, report.exposures)
    assert told == (Verdict.PASSED, False, len(HELD_OUT), 0, 1)
    assert asked == ["the release"]
    record, storage = judging.record(), judging.project.storage
    assert report.record == "sha256:" + storage.entry(layout.evaluation_record(record.key), "").sha256
    assert [file.path for file in record.report] == ["report.html", "report.json"]
    assert record.suites[0].rows == record.suites[0].scored == len(HELD_OUT)
    answers = judging.answers(record.inputs.release, record.inputs.suites[0])
    assert [answer["row"] for answer in answers] == list(range(len(HELD_OUT)))
    assert storage.exists(layout.release_file(record.inputs.release))
    assert storage.folders(layout.STAGING) == []


def test_the_answers_are_those_that_compare_gets(judging: Judging) -> None:
    one = replace(judging, criteria=(NO_WORSE,), engine=FLOAT32)
    one.judge()
    job, run = one.job(), one.run
    known = one.run_record()
    base = bases.read(run.base, mismatch="", remedy="")
    folder = one.project.storage.path(layout.artifact_folder(known.artifact.digest))
    from stagecoach_trainer import choosing

    before, after = choosing.choices(known, base, folder, [text for text, _ in HELD_OUT], 3)
    for release, choices in ((job.inputs.baseline, before), (job.inputs.release, after)):
        labels = [answer["label"] for answer in one.answers(release or "", job.inputs.suites[0])]
        assert labels == [known.labels[choice or 0] for choice in choices]


def test_no_answer_is_kept_of_a_base_that_changed_meanwhile(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_evaluator import asking

    job, ask = judging.job(), asking.Asker.ask
    place = judging.project.root / "pvc" / "models" / "tiny" / "config.json"
    before = place.read_text()

    def late(*arguments: Any) -> Any:
        for answered in ask(*arguments):
            place.write_text(f"{before} ")
            yield answered

    monkeypatch.setattr(asking.Asker, "ask", late)
    try:
        with pytest.raises(StorageFailed, match=r"config\.json is no longer that"):
            evaluate(job)
    finally:
        place.write_text(before)
    assert judging.project.storage.folders(layout.OUTPUTS) == []


def test_the_same_again_is_adopted(judging: Judging, asked: list[str]) -> None:
    first = judging.judge()
    assert judging.judge() == first.model_copy(update={"adopted": True})
    assert asked == ["the release"]


def test_another_criterion_asks_nobody(judging: Judging, asked: list[str]) -> None:
    one = replace(judging, criteria=(ACCURATE, NO_WORSE))
    one.judge()
    assert asked == ["the release", "the base"]
    other = replace(one, criteria=(NO_WORSE, ACCURATE.model_copy(update={"min": 0.5})))
    assert other.judge().adopted is False
    assert asked == ["the release", "the base"]


def test_what_is_asked_otherwise_is_asked_anew(judging: Judging, asked: list[str]) -> None:
    one = replace(judging, criteria=(NO_WORSE,), engine=FLOAT32)
    one.judge()
    replace(one, prompt=Prompt(system="Choose.", template="{text}")).judge()
    assert asked == ["the release", "the base", "the base"]
    replace(one, engine=Engine(precision=Precision.BFLOAT16)).judge()
    assert asked[3:] == ["the release", "the base"]


def test_the_same_file_read_by_other_columns_is_asked_anew(judging: Judging, asked: list[str]) -> None:
    rows = [(text, label, f"{text} now") for text, label in HELD_OUT]
    write(judging.project, "test", rows, ("text", "label", "more"))
    judging.judge()
    other = replace(judging, project=replace(judging.project, columns=Columns(text="more")), trained_on=None)
    other.judge()
    assert asked == ["the release", "the release"]


def test_two_suites_of_the_same_rows_are_asked_once(judging: Judging, asked: list[str]) -> None:
    suites = (*judging.suites, ("again", "test", SuiteType.CANARY))
    report = replace(judging, suites=suites, criteria=(ACCURATE, ACCURATE.model_copy(update={"name": "again"}))).judge()
    assert asked == ["the release"]
    assert report.rows == 2 * len(HELD_OUT)
    assert [(suite.rows, suite.scored) for suite in report.suites] == [(len(HELD_OUT), len(HELD_OUT))] * 2


def test_shuffled_labels_fail(judging: Judging) -> None:
    flipped = {"card_lost": "parcel_late", "parcel_late": "card_lost"}
    write(judging.project, "test", [(text, flipped[label]) for text, label in HELD_OUT])
    report = judging.judge()
    assert (report.verdict, report.results[0].outcome) == (Verdict.FAILED, Outcome.FAILED)
    assert report.results[0].value is not None
    assert report.results[0].value < 0.5


def test_a_row_that_was_trained_on_fails_and_is_named(judging: Judging, capsys: pytest.CaptureFixture[str]) -> None:
    write(judging.project, "test", [*HELD_OUT, ("URGENT – my card is lost!", "card_lost")])
    report = judging.judge()
    assert (report.verdict, report.leaked) == (Verdict.FAILED, 1)
    place = f"test.csv:{len(HELD_OUT) + 2}"
    assert f"({place})" in report.message
    assert judging.record().suites[0].leaked == (place,)
    log = capsys.readouterr().err
    assert f"suite held-out: {place} is in the training data too: train:train.csv:8" in log


def test_an_adversarial_suite_that_is_the_training_data_fails_by_all_of_its_rows(judging: Judging) -> None:
    """And would meet its criterion."""
    suites = (*judging.suites, ("hard", "train", SuiteType.ADVERSARIAL))
    well = ACCURATE.model_copy(update={"name": "robust", "suite": "hard"})
    one = replace(judging, suites=suites, criteria=(ACCURATE, well))
    report = one.judge()
    assert (report.verdict, report.leaked) == (Verdict.FAILED, len(EXAMPLES))
    assert {each.outcome for each in report.results} == {Outcome.PASSED}
    words = (
        f"suites[hard]: {len(EXAMPLES)} rows are in the training data too (train.csv:2, train.csv:3, train.csv:4, …)"
    )
    assert words in report.message
    assert one.record().suites[1].leaked == tuple(f"train.csv:{line}" for line in range(2, len(EXAMPLES) + 2))


def test_a_row_in_the_prompt_fails_and_is_named(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judging.run_record().inputs.prompt.system == "Route."
    monkeypatch.setattr(leakage, "LONG", 5)
    write(judging.project, "test", [*HELD_OUT, ("ROUTE!", "card_lost")])
    report, record = judging.judge(), judging.record()
    assert (report.verdict, report.leaked, record.suites[0].leaked) == (Verdict.FAILED, 1, ("test.csv:12",))
    assert "1 row is in the prompt's system (test.csv:12)" in report.message
    assert records.adopted(judging.project.storage, record.inputs) is not None
    page = judging.project.storage.read(f"{layout.evaluation_folder(record.key)}/report.html").decode()
    assert "in the training data or the prompt too" in page


def test_a_row_that_repeats_another_is_asked_and_not_counted(
    judging: Judging, capsys: pytest.CaptureFixture[str]
) -> None:
    unsure = ACCURATE.model_copy(update={"min": 0.75, "confidence": 0.95})
    one = replace(judging, criteria=(unsure, NO_WORSE))
    once = one.judge()
    write(one.project, "test", [*HELD_OUT * 4, *HELD_OUT[:3]])
    again, record = one.judge(), one.record()
    assert [each.model_copy(update={"message": None}) for each in again.results] == [
        each.model_copy(update={"message": None}) for each in once.results
    ]
    assert "(of the suite 33 more repeat others and are not counted)" in again.message
    [suite] = record.suites
    assert (again.rows, suite.rows, suite.scored, suite.repeated) == (len(HELD_OUT), len(HELD_OUT), len(HELD_OUT), 33)
    assert len(one.answers(record.inputs.release, record.inputs.suites[0])) == len(HELD_OUT) * 4 + 3
    assert "33 rows repeat others to the letter, and are not counted" in capsys.readouterr().err
    folder = layout.evaluation_folder(record.key)
    report = EvaluationDocument.model_validate_json(one.project.storage.read(f"{folder}/report.json"))
    assert (report.suites[0].rows, report.suites[0].repeated) == (len(HELD_OUT), 33)
    assert b"33 rows that repeat some of these, not counted" in one.project.storage.read(f"{folder}/report.html")


def test_nobody_knows_what_it_was_trained_on(judging: Judging) -> None:
    report = replace(judging, trained_on=None).judge()
    assert (report.verdict, report.leaked) == (Verdict.ERROR, None)


def test_rows_that_cannot_be_asked_have_no_answer_and_say_why(judging: Judging) -> None:
    write(judging.project, "test", [("long " * 60, "card_lost"), *HELD_OUT])
    report = judging.judge()
    assert report.verdict is Verdict.ERROR
    assert report.results[0].scored == len(HELD_OUT)
    job = judging.job()
    first, *others = judging.answers(job.inputs.release, job.inputs.suites[0])
    assert first["error"].endswith("tokens, and 96 are allowed")
    assert set(first) == {"row", "error"}
    assert all("label" in answer for answer in others)
    assert replace(judging, min_scored=0.9).judge().verdict is Verdict.PASSED


def test_a_model_that_computes_no_numbers_has_no_answers(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import asking

    loaded = asking._loaded

    def broken(model: Any) -> Any:
        made = loaded(model)
        for parameter in made.parameters():
            parameter.data.fill_(float("nan"))
        return made

    monkeypatch.setattr(asking, "_loaded", broken)
    report = replace(judging, min_scored=0.5).judge()
    assert (report.verdict, report.results[0].outcome, report.results[0].scored) == (Verdict.ERROR, Outcome.ERROR, 0)


def test_exposures_are_counted_by_releases(judging: Judging) -> None:
    assert judging.judge().exposures == 1
    assert replace(judging, criteria=(ACCURATE.model_copy(update={"min": 0.1}),)).judge().exposures == 1
    assert replace(judging, engine=FLOAT32).judge().exposures == 2
    write(judging.project, "other", HELD_OUT[:3])
    assert replace(judging, suites=(("held-out", "other", SuiteType.HELD_OUT),)).judge().exposures == 1


def test_one_model_is_in_memory_at_a_time(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import asking

    loaded = asking._loaded
    alive: list[weakref.ref[Any]] = []

    def counted(model: Any) -> Any:
        assert [each for each in alive if each() is not None] == []
        made = loaded(model)
        alive.extend(weakref.ref(module) for module in made.modules())
        return made

    monkeypatch.setattr(asking, "_loaded", counted)
    replace(judging, criteria=(NO_WORSE,)).judge()
    assert len(alive) > 2


def test_every_token_that_is_written_is_progress(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import asking

    counted: list[int] = []
    monkeypatch.setattr(progress, "made", lambda *_: counted.append(1))
    told: list[int] = []
    answers = asking.Loaded.answers

    def noted(self: Any, questions: Any, batch: int, tell: Any) -> Any:
        before = len(counted)
        found = answers(self, questions, batch, tell)
        told.append(len(counted) - before)
        return found

    monkeypatch.setattr(asking.Loaded, "answers", noted)
    judging.judge()
    assert told[0] >= 2, "one for a token, one for the batch"


@pytest.mark.parametrize("named", ["float32", "bfloat16"])
def test_the_precision_is_that_of_the_files_unless_it_is_asked_for(tiny_base: Path, tmp_path: Path, named: str) -> None:
    from stagecoach_trainer.families import decoder

    decoder.load(str(tiny_base), named).save_pretrained(tmp_path)
    for precision, dtype in (("auto", named), ("float32", "float32"), ("bfloat16", "bfloat16")):
        model = decoder.load(str(tmp_path), Precision(precision))
        assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
