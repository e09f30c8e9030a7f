"""A base itself is judged: by what the job says of it, for no run has a record; and it is what is served."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.evaluation_report import EvaluationDocument
from stagecoach.contract.evaluations import EvaluateJob, Incumbent, Untuned
from stagecoach.contract.inputs import Family, LabelsInput
from stagecoach.contract.releases import Asked, DescribedRelease, Release
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Outcome, Verdict
from stagecoach_evaluator import answering, records
from stagecoach_evaluator.parties import INCUMBENT, Parties, Party
from stagecoach_evaluator.report import HTML, JSON
from tests.remedies import speaks

from . import engine_server
from .conftest import ACCURATE, HELD_OUT, NO_WORSE, Judging, evaluate, write
from .test_incumbents import AS_SERVED, BOTH
from .test_served import VLLM, by_vllm, engine  # noqa: F401 - a fixture

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")


def itself(one: Judging, **changes: Any) -> EvaluateJob:
    """Return the document by which the base of the run is judged itself, as the operator would write it."""
    known = one.run_record()
    listed = LabelsInput(values=known.labels)
    asked = Asked.of(known.inputs).model_copy(update={"labels": listed, "prompt": one.prompt or known.inputs.prompt})
    release = Release(asked=asked.digest, artifact=None, engine=one.engine)
    job = one.job()
    told = {"release": release.digest, "trained_on": (), "baseline": None}
    values = {name: getattr(job, name) for name in EvaluateJob.model_fields} | {
        "run": None,
        "run_inputs": None,
        "release": release,
        "baseline": None,
        "trained_on": (),
        "inputs": job.inputs.model_copy(update=told),
        "untuned": Untuned(asked=asked, architecture=known.base.architecture, context=known.base.context),
    }
    return EvaluateJob(**values | changes)


def document(one: Judging, job: EvaluateJob) -> EvaluationDocument:
    place = f"{layout.evaluation_folder(job.inputs.digest)}/{JSON}"
    return EvaluationDocument.model_validate_json(one.project.storage.read(place))


def refused(job: EvaluateJob) -> Any:
    with pytest.raises(BadInput) as caught:
        evaluate(job)
    assert speaks(caught.value.problem.reason, caught.value.problem.sentence)
    return caught.value.problem


ANY = ACCURATE.model_copy(update={"min": 0.0})


def test_it_is_judged_without_a_record_of_any_run(judging: Judging, asked: list[str]) -> None:
    one = replace(judging, criteria=(ANY,))
    job = itself(one)
    for name in one.project.storage.folders("runs"):
        assert name, "there are records, which nobody reads"
    report = evaluate(job)
    assert asked == ["the release"]
    assert (report.verdict, report.leaked, report.rows) == (Verdict.PASSED, 0, len(HELD_OUT))
    [(record, _)] = records.read(one.project.storage, job.inputs.digest)
    assert (record.run, record.run_inputs, record.release.artifact) == (None, None, None)
    assert record.inputs.trained_on == ()
    assert evaluate(job).adopted
    assert asked == ["the release"]


def test_its_report_says_what_it_is(judging: Judging) -> None:
    one = replace(judging, criteria=(ANY,))
    job = itself(one)
    evaluate(job)
    told = document(one, job)
    assert (told.run, told.run_inputs, told.method, told.trained_on) == (None, None, None, ())
    assert (told.base.name, told.base.model) == (job.base.name, job.release and told.asked.base.model)
    page = one.project.storage.read(f"{layout.evaluation_folder(job.inputs.digest)}/{HTML}").decode()
    for words in ("itself, without training", "none: the base itself", "nothing of this project"):
        assert words in page
    assert "None" not in page
    assert f"<title>Passed: {job.base.name} at gate</title>" in page


def test_what_it_answers_is_what_the_baseline_answered(judging: Judging, asked: list[str]) -> None:
    one = replace(judging, criteria=(ANY, NO_WORSE))
    one.judge()
    assert asked == ["the release", "the base"]
    job = itself(replace(judging, criteria=(ANY,)))
    reference = one.job().reference
    assert reference
    same = reference.digest == job.release.digest
    evaluate(job)
    assert asked[2:] == ([] if same else ["the release"])
    kept = one.answers(job.release.digest, job.inputs.suites[0])
    assert [each["label"] for each in kept] == [
        each["label"] for each in one.answers(reference.digest, job.inputs.suites[0])
    ]


def test_a_row_in_its_prompt_is_found(judging: Judging) -> None:
    text = HELD_OUT[0][0]
    prompt = judging.run_record().inputs.prompt
    shown = prompt.model_copy(update={"system": f"For example: {text}"})
    one = replace(judging, criteria=(ANY,), prompt=shown)
    report = evaluate(itself(one))
    assert report.verdict is Verdict.FAILED
    assert report.leaked


def test_one_engine_is_asked_for_the_base_alone(judging: Judging, engine: engine_server.Engine) -> None:  # noqa: F811
    one = by_vllm(judging, engine, criteria=(ANY,))
    job = itself(one)
    evaluate(job)
    base = hex_of(job.base.model or one.run_record().inputs.base.model)
    assert {body["model"] for body in engine.asked} == {base}
    [words] = engine.words
    assert "--enable-lora" not in words


def beside(one: Judging, base: EvaluateJob) -> EvaluateJob:
    """Return the document by which the run is judged beside its base, which is served."""
    job = replace(one, criteria=BOTH).job()
    served = Incumbent(release=base.release, base=base.base)
    inputs = job.inputs.model_copy(update={"incumbent": base.release.digest})
    return job.model_copy(update={"incumbent": served, "inputs": inputs})


def test_a_run_is_judged_beside_a_base_that_is_served(judging: Judging, asked: list[str]) -> None:
    base = itself(replace(judging, criteria=(ANY,)))
    evaluate(base)
    assert asked == ["the release"]
    report = evaluate(beside(judging, base))
    assert asked == ["the release", "the release"], "the answers of the base are those that are kept"
    assert report.results[1].criterion == AS_SERVED.name
    assert report.results[1].outcome in (Outcome.PASSED, Outcome.INCONCLUSIVE)
    judging.project.storage.remove(layout.OUTPUTS)
    judging.project.storage.remove(layout.EVALUATIONS)
    evaluate(beside(judging, base))
    assert asked[2:] == ["the release", "the incumbent"]


def gone(place: str, _told: DescribedRelease, one: Judging) -> None:
    one.project.storage.remove(place)


def odd(place: str, _told: DescribedRelease, one: Judging) -> None:
    one.project.storage.write(place, b"odd", "test")


def of_another_prompt(place: str, told: DescribedRelease, one: Judging) -> None:
    asked = told.asked.model_copy(update={"prompt": told.asked.prompt.model_copy(update={"template": "No: {text}"})})
    changed = told.model_copy(update={"asked": asked})
    one.project.storage.write(place, changed.line().encode(), "test")


@pytest.mark.parametrize("change", [gone, odd, of_another_prompt])
def test_a_base_that_is_served_and_of_which_nobody_says_how_it_is_asked(
    judging: Judging, change: Callable[[str, DescribedRelease, Judging], None]
) -> None:
    base = itself(replace(judging, criteria=(ANY,)))
    evaluate(base)
    place = layout.release_file(base.release.digest)
    change(place, DescribedRelease.model_validate_json(judging.project.storage.read(place)), judging)
    judging.project.storage.clean("test")
    problem = refused(beside(judging, base))
    assert (problem.reason, problem.remedy) == ("RecordMissing", INCUMBENT)
    assert place in problem.message


def test_a_base_that_would_choose_by_chance_is_not_judged(judging: Judging) -> None:
    job = itself(judging)
    assert job.untuned
    encoder = job.untuned.asked.model_copy(update={"architecture": Family.ENCODER})
    party = Party("the release", job.release, encoder, ("a", "b"), None, job.base)
    who = Parties(None, party, None, None)
    with pytest.raises(BadInput) as caught:
        answering._check_can_choose(who, {job.release.digest})
    assert caught.value.problem.reason == "BaseUntrained"
    assert speaks("BaseUntrained", caught.value.problem.sentence)
    answering._check_can_choose(who, set())


def test_other_files_than_were_fixed_end_it(judging: Judging) -> None:
    job = itself(judging)
    assert job.untuned
    asked = job.untuned.asked.model_copy(
        update={"base": job.untuned.asked.base.model_copy(update={"model": "sha256:" + "ab" * 32})}
    )
    release = job.release.model_copy(update={"asked": asked.digest})
    inputs = job.inputs.model_copy(update={"release": release.digest})
    untuned = job.untuned.model_copy(update={"asked": asked})
    problem = refused(job.model_copy(update={"release": release, "inputs": inputs, "untuned": untuned}))
    assert problem.reason == "InputChanged"


def test_a_row_with_a_label_that_is_not_listed_ends_it(judging: Judging) -> None:
    write(judging.project, "test", [*HELD_OUT, ("what is this?", "unheard_of")])
    assert refused(itself(judging)).reason == "LabelUnknown"


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "first"},
        {"run_inputs": "sha256:" + "1" * 64},
        {"untuned": None},
    ],
)
def test_a_document_that_is_half_of_a_run_is_refused(judging: Judging, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        itself(judging, **changes)


def test_a_run_that_was_trained_on_nothing_is_refused(judging: Judging) -> None:
    job = judging.job()
    inputs = job.inputs.model_copy(update={"trained_on": ()})
    values = {name: getattr(job, name) for name in EvaluateJob.model_fields}
    with pytest.raises(ValidationError, match="trainedOn is empty of a base itself"):
        EvaluateJob(**values | {"inputs": inputs, "trained_on": ()})


def test_labels_that_are_not_listed_are_refused(judging: Judging) -> None:
    job = itself(judging)
    assert job.untuned
    asked = job.untuned.asked.model_copy(update={"labels": LabelsInput(from_data="sha256:" + "1" * 64)})
    release = job.release.model_copy(update={"asked": asked.digest})
    inputs = job.inputs.model_copy(update={"release": release.digest})
    with pytest.raises(ValidationError, match="are not listed"):
        itself(judging, release=release, inputs=inputs, untuned=job.untuned.model_copy(update={"asked": asked}))
