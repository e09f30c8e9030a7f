"""What is served, to compare with: by the answers that are kept of it or, where there are none, by asking it."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import EvaluationDocument
from stagecoach.contract.evaluations import Criterion, EvaluateJob, Reference, SuiteType, WhenAbsent
from stagecoach.contract.inputs import BaseInput
from stagecoach.contract.jobs import ModelSource, TrainJob
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Outcome, Verdict
from stagecoach_evaluator import parties, served
from stagecoach_evaluator.answering import Answers
from stagecoach_evaluator.evaluate import comparable
from stagecoach_evaluator.parties import INCUMBENT
from stagecoach_evaluator.report import HTML, JSON
from stagecoach_trainer import places
from tests.remedies import speaks
from tests.unit.trainer.conftest import Project, train

from . import engine_server
from .conftest import ACCURATE, HELD_OUT, NO_WORSE, Judging, evaluate, trained_again, write
from .test_served import VLLM, by_vllm, engine  # noqa: F401 - a fixture

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

AS_SERVED = Criterion(
    name="as-served",
    suite="held-out",
    metric="accuracy",
    against=Reference.INCUMBENT,
    allowed_drop=0.9,
    when_absent=WhenAbsent.SKIP,
)
BOTH = (ACCURATE, AS_SERVED)
WITH_CANARY = (("held-out", "test", SuiteType.HELD_OUT), ("canary", "canary", SuiteType.CANARY))


@pytest.fixture(scope="module")
def served_run(_trained: Any) -> Iterator[TrainJob]:
    """Another run of the same project, which was trained less."""
    made: Project = _trained[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(made.root))
        job = made.train_job(settings={"seed": 5, "epochs": 1})
        train(job)
        yield job


@pytest.fixture
def beside(judging: Judging, served_run: TrainJob) -> Judging:
    """The run, whose release is compared with the one that is served."""
    return replace(judging, criteria=BOTH, served=served_run)


def as_candidate(one: Judging) -> Judging:
    """Return what judged the incumbent, when it was none yet."""
    assert one.served is not None
    return replace(one, run=one.served, served=None, criteria=(ACCURATE,))


def document(one: Judging) -> EvaluationDocument:
    folder = layout.evaluation_folder(one.job().inputs.digest)
    return EvaluationDocument.model_validate_json(one.project.storage.read(f"{folder}/{JSON}"))


def refused(job: EvaluateJob) -> Any:
    with pytest.raises(BadInput) as caught:
        evaluate(job)
    assert speaks(caught.value.problem.reason, caught.value.problem.sentence)
    return caught.value.problem


def forget(one: Judging) -> None:
    """Remove the answers that are kept."""
    one.project.storage.remove(layout.OUTPUTS)


def test_of_what_was_judged_nothing_is_asked_again(beside: Judging, asked: list[str]) -> None:
    before = as_candidate(beside)
    before.judge()
    assert asked == ["the release"]
    report = beside.judge()
    assert asked == ["the release", "the release"], "the incumbent's answers are those that are kept"
    compared = report.results[1]
    assert (compared.criterion, compared.reference) == ("as-served", before.record().results[0].value)
    assert compared.low is not None
    record, own = beside.record(), before.record()
    assert record.suites[0].incumbent_answers == own.suites[0].answers
    replace(beside, criteria=(AS_SERVED.model_copy(update={"allowed_drop": 0.8}), ACCURATE)).judge()
    assert len(asked) == 2


def test_what_was_not_judged_by_these_rows_is_asked_as_when_it_was_a_candidate(
    beside: Judging, asked: list[str]
) -> None:
    report = beside.judge()
    assert asked == ["the release", "the incumbent"]
    assert report.results[1].outcome is Outcome.PASSED
    job = beside.job()
    kept = beside.answers(job.inputs.incumbent or "", job.inputs.suites[0])
    forget(beside)
    before = as_candidate(beside)
    before.judge()
    assert before.answers(before.job().inputs.release, job.inputs.suites[0]) == kept


def test_base_and_incumbent_are_compared_side_by_side(beside: Judging, asked: list[str]) -> None:
    write(beside.project, "canary", [(f"canary: {text}", label) for text, label in HELD_OUT])
    one = replace(beside, criteria=(*BOTH, NO_WORSE), suites=WITH_CANARY)
    one.judge()
    assert asked == ["the release"] * 2 + ["the base"] * 2 + ["the incumbent"] * 2
    told = document(one)
    assert (told.incumbent_run, told.inputs.incumbent) == ("served", one.job().inputs.incumbent)
    accuracy = next(each for each in told.suites[0].metrics if each.metric == "accuracy")
    assert accuracy.incumbent is not None
    assert accuracy.incumbent_difference is not None
    assert accuracy.baseline is not None
    assert accuracy.candidate is not None
    assert accuracy.incumbent_difference.value == pytest.approx(accuracy.candidate.value - accuracy.incumbent.value)
    paired = told.suites[0].paired_incumbent
    assert paired is not None
    assert paired.both + paired.only_candidate + paired.only_incumbent + paired.neither == len(HELD_OUT)
    row = told.suites[1].canaries[0]
    assert None not in (row.candidate, row.baseline, row.incumbent)
    page = one.project.storage.read(f"{layout.evaluation_folder(told.key)}/{HTML}").decode()
    assert "Row by row, beside the incumbent" in page
    assert "no more than 0.9 below the incumbent" in page


@pytest.mark.parametrize(
    ("when", "outcome", "verdict"),
    [(WhenAbsent.SKIP, Outcome.SKIPPED, Verdict.PASSED), (WhenAbsent.FAIL, Outcome.FAILED, Verdict.FAILED)],
)
def test_where_nothing_is_served_the_criterion_says_what_comes_of_it(
    judging: Judging, when: WhenAbsent, outcome: Outcome, verdict: Verdict
) -> None:
    one = replace(judging, criteria=(ACCURATE, AS_SERVED.model_copy(update={"when_absent": when})))
    report = one.judge()
    assert (report.verdict, report.results[1].outcome) == (verdict, outcome)
    assert "as-served" in report.message
    assert one.judge().adopted, "its record does not contradict itself"
    assert (
        outcome.value
        in one.project.storage.read(f"{layout.evaluation_folder(one.job().inputs.digest)}/{HTML}").decode()
    )


def test_an_incumbent_whose_artifact_is_gone_passes_nothing_unless_its_answers_are_kept(
    beside: Judging, asked: list[str]
) -> None:
    storage, digest = beside.project.storage, beside.run_record(beside.served).artifact.digest
    manifest = storage.read(layout.manifest_file(digest))
    try:
        storage.remove(layout.manifest_file(digest))
        problem = refused(beside.job())
        assert (problem.reason, problem.value) == ("ArtifactMissing", digest)
        assert problem.remedy == INCUMBENT, "a run with the same inputs as the candidate's heals nothing"
        assert asked == [], "before anybody is asked"
        storage.write(layout.manifest_file(digest), manifest, "test")
        as_candidate(beside).judge()
        storage.remove(layout.manifest_file(digest))
        assert beside.judge().verdict is Verdict.PASSED
    finally:
        storage.write(layout.manifest_file(digest), manifest, "test")


def test_an_incumbent_that_cannot_be_asked_passes_nothing_unless_its_answers_are_kept(beside: Judging) -> None:
    job = beside.job()
    assert job.incumbent is not None
    job = job.model_copy(update={"incumbent": job.incumbent.model_copy(update={"base": None})})
    problem = refused(job)
    assert (problem.reason, problem.remedy) == ("IncumbentUnasked", INCUMBENT)
    as_candidate(beside).judge()
    assert evaluate(job).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"run_inputs": "sha256:" + "ef" * 32}, "RecordMissing"),
        ({}, "IncumbentUnsuited"),
    ],
)
def test_an_incumbent_that_is_not_what_its_record_says(beside: Judging, change: dict[str, str], reason: str) -> None:
    job = beside.job()
    assert job.incumbent is not None
    changed = job.incumbent.model_copy(update={"run_inputs": job.run_inputs} | change)
    problem = refused(job.model_copy(update={"incumbent": changed}))
    assert (problem.reason, problem.remedy) == (reason, INCUMBENT)


def test_an_incumbent_is_known_by_the_record_of_its_artifact(beside: Judging) -> None:
    job = beside.job()
    with trained_again(beside.project, beside.run_record(beside.served)):
        assert evaluate(job).verdict is Verdict.PASSED


def test_what_was_decided_stays_where_the_record_of_the_incumbent_is_gone(beside: Judging) -> None:
    """VerdictIsFinal: after a restore the operator asks again."""
    storage, record = beside.project.storage, layout.record_file(beside.run_record(beside.served).inputs.digest)
    before, content = beside.judge(), storage.read(record)
    job = beside.job()
    try:
        storage.remove(record)
        assert evaluate(job) == before.model_copy(update={"adopted": True})
        storage.remove(layout.EVALUATIONS)
        assert refused(job).reason == "RecordMissing"
    finally:
        storage.write(record, content, "test")


def test_an_incumbent_of_another_base_is_asked_by_its_own(judging: Judging, asked: list[str]) -> None:
    from stagecoach_trainer import bases
    from stagecoach_trainer.families import decoder

    made = judging.project
    folder = made.root / "pvc" / "models"
    model = decoder.load(str(folder / "tiny"), "float32")
    (folder / "other").mkdir()
    for file in (folder / "tiny").iterdir():
        (folder / "other" / file.name).write_bytes(file.read_bytes())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    model.save_pretrained(folder / "other")
    source = ModelSource(name="other", uri="pvc://models/other")
    base = bases.read(source, mismatch="", remedy="")
    job = made.train_job(settings={"epochs": 1})
    job = job.model_copy(
        update={
            "base": source.model_copy(update={"model": base.model, "tokenizer": base.tokenizer}),
            "inputs": job.inputs.model_copy(update={"base": BaseInput(model=base.model, tokenizer=base.tokenizer)}),
        }
    )
    train(job)
    one = replace(judging, criteria=BOTH, served=job)
    one.judge()
    assert asked == ["the release", "the incumbent"]
    kept = one.answers(one.job().inputs.incumbent or "", one.job().inputs.suites[0])
    forget(one)
    before = as_candidate(one)
    before.judge()
    assert before.answers(before.job().inputs.release, before.job().inputs.suites[0]) == kept
    for place in (layout.OUTPUTS, layout.EVALUATIONS):
        made.storage.remove(place)
    (folder / "other" / "tokenizer_config.json").write_text("{}")
    problem = refused(one.job())
    assert (problem.reason, problem.remedy) == ("InputChanged", f"It is the base of what is served. {INCUMBENT}")


@pytest.mark.parametrize("labels", [("a", "b"), ("b", "a"), ("a", "b", "c")])
def test_probabilities_of_other_labels_than_the_candidates_say_nothing(labels: tuple[str, ...]) -> None:
    who: Any = SimpleNamespace(candidate=SimpleNamespace(labels=("a", "b")), incumbent=SimpleNamespace(labels=labels))
    given = Answers((Answer(row=0, label="a", scores=(0.9, 0.1)),), "sha256:" + "ab" * 32)
    [answer] = comparable(given, who).each
    assert answer.label == "a"
    assert answer.scores == ((0.9, 0.1) if labels == ("a", "b") else None)


def test_which_release_vllm_is_not_asked_for_is_said(
    beside: Judging,
    engine: engine_server.Engine,  # noqa: F811
) -> None:
    one = by_vllm(beside, engine, criteria=(AS_SERVED,))
    job, storage = one.job(), one.project.storage
    incumbent = parties.read(job, one.run_record(), storage).incumbent
    assert incumbent is not None
    other = replace(incumbent, asked=incumbent.asked.model_copy(update={"architecture": "EncoderDecoder"}))
    with pytest.raises(BadInput, match="the incumbent is for Classification, by architecture EncoderDecoder") as caught:
        served.ready(job, [other], storage)
    assert speaks(caught.value.problem.reason, caught.value.problem.sentence)


def test_an_engine_serves_adapters_of_one_base_together(
    beside: Judging,
    engine: engine_server.Engine,  # noqa: F811
) -> None:
    one = by_vllm(beside, engine, criteria=(AS_SERVED,))
    one.judge()
    artifacts = {one.run_record(run).artifact.digest.removeprefix("sha256:") for run in (one.run, one.served)}
    assert {body["model"] for body in engine.asked} == artifacts
    assert len(engine.words) == 1, "it is not started anew"
    asked = len(engine.asked)
    one.project.storage.remove(layout.EVALUATIONS)
    one.judge()
    assert len(engine.asked) == asked
