"""What cannot be judged, and what is said about it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.evaluations import EvaluateJob, in_order
from stagecoach.contract.inputs import (
    BaseInput,
    Columns,
    DataInput,
    Decided,
    ImportInputs,
    ImportMethod,
    LabelsInput,
    PairColumns,
)
from stagecoach.contract.jobs import DataSource, Split
from stagecoach.contract.records import ImportRecord
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator import parties

from .conftest import HELD_OUT, NO_WORSE, Judging, evaluate, trained_again, write

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

ANOTHER = "sha256:" + "ef" * 32


def refused(job: EvaluateJob) -> Any:
    with pytest.raises(BadInput) as caught:
        evaluate(job)
    assert caught.value.problem.remedy
    return caught.value.problem


def test_another_release_than_the_runs(judging: Judging) -> None:
    job = judging.job()
    for change, words in (({"artifact": ANOTHER}, "made another artifact"), ({"asked": ANOTHER}, "is asked otherwise")):
        release = job.release.model_copy(update=change)
        inputs = job.inputs.model_copy(update={"release": release.digest})
        problem = refused(job.model_copy(update={"release": release, "inputs": inputs}))
        assert problem.reason == "ReleaseMismatch"
        assert words in problem.message


def test_a_release_is_judged_by_the_record_of_its_artifact(judging: Judging) -> None:
    job = judging.job()
    with trained_again(judging.project, judging.run_record()):
        assert evaluate(job).verdict is Verdict.PASSED


def test_a_run_without_a_record(judging: Judging) -> None:
    assert refused(judging.job(run_inputs=ANOTHER)).reason == "RecordMissing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": BaseInput(model=ANOTHER, tokenizer=ANOTHER)}, "has another base than the run"),
        ({"task": "Generation"}, "has another task"),
        ({"labels": LabelsInput(values=("a", "b"))}, "has other labels"),
        ({"labels": None}, "has other labels"),
    ],
)
def test_another_base_than_the_runs(judging: Judging, change: dict[str, Any], words: str) -> None:
    job = replace(judging, criteria=(NO_WORSE,)).job()
    assert job.baseline is not None
    job = job.model_copy(update={"baseline": job.baseline.model_copy(update=change)})
    assert job.reference is not None
    job = job.model_copy(update={"inputs": job.inputs.model_copy(update={"baseline": job.reference.digest})})
    problem = refused(job)
    assert problem.reason == "ReleaseMismatch"
    assert words in problem.message


def test_another_revision_of_the_evaluator(judging: Judging) -> None:
    job = judging.job()
    problem = refused(job.model_copy(update={"inputs": job.inputs.model_copy(update={"revision": 99})}))
    assert (problem.reason, "evaluator revision 99" in problem.message) == ("RevisionDiffers", True)


def test_data_that_have_changed(judging: Judging) -> None:
    job = judging.job()
    write(judging.project, "test", HELD_OUT[:-1])
    problem = refused(job)
    assert (problem.reason, problem.field) == ("InputChanged", "data.sets[test].digest")


def test_training_data_that_have_changed(judging: Judging) -> None:
    job, path = judging.job(), judging.project.root / "pvc" / "data" / "valid.csv"
    before = path.read_bytes()
    path.write_bytes(before + b"one more,card_lost\n")
    try:
        problem = refused(job)
    finally:
        path.write_bytes(before)
    assert (problem.reason, problem.field) == ("InputChanged", "data.sets[valid].digest")


def searching(job: EvaluateJob, *sources: DataSource) -> EvaluateJob:
    """Let other data be looked through, as a status that somebody wrote would have it."""
    known = in_order(DataInput(digest=item.digest or "", columns=item.columns) for item in sources)
    inputs = job.inputs.model_copy(update={"trained_on": known})
    return job.model_copy(update={"inputs": inputs, "trained_on": sources})


def test_what_the_run_was_trained_on_is_looked_through_as_it_was_read(judging: Judging) -> None:
    job = judging.job()
    train, valid = job.trained_on
    elsewhere = train.model_copy(update={"columns": Columns(text="label")})
    for sources in ((), (train,), (valid,), (elsewhere, valid)):
        problem = refused(searching(job, *sources))
        assert problem.reason == "ReleaseMismatch"
        assert "the gate names them with other columns, or not at all" in problem.message
        assert "columns that they had" in problem.remedy
    write(judging.project, "more", HELD_OUT[:1])
    more = judging._source("more", Split.TRAIN)
    report = evaluate(searching(job, train, valid, more))
    assert (report.verdict, report.leaked) == (Verdict.FAILED, 1), "the gate may know of more"


@pytest.mark.parametrize(
    ("said", "searched", "words"),
    [
        (None, ("train",), "by its record nobody knows what the run"),
        (("train", "valid"), ("train",), "names them with other columns, or not at all"),
        (("train",), ("train", "valid"), None),
        (("train",), ("train",), None),
        (("train",), None, None),
        (None, None, None),
    ],
)
def test_an_import_was_trained_on_what_its_record_says(
    judging: Judging, said: tuple[str, ...] | None, searched: tuple[str, ...] | None, words: str | None
) -> None:
    record = judging.run_record()
    digests = None if said is None else tuple(sorted(judging._source(name, Split.TRAIN).digest or "" for name in said))
    shared = {name: getattr(record.inputs, name) for name in Decided.model_fields}
    imported = ImportInputs(**shared, method=ImportMethod(source=ANOTHER, trained_on=digests))
    made = ImportRecord.model_construct(inputs=imported)  # type: ignore[call-arg]
    job = replace(judging, trained_on=searched).job()
    if words is None:
        parties._check_training_data(job, made)
        return
    with pytest.raises(BadInput, match=words) as caught:
        parties._check_training_data(job, made)
    assert caught.value.problem.reason == "ReleaseMismatch"


def test_a_label_that_the_run_does_not_know(judging: Judging) -> None:
    write(judging.project, "test", [*HELD_OUT, ("where is it", "refund")])
    problem = refused(judging.job())
    assert (problem.reason, problem.value) == ("LabelUnknown", f"test.csv:{len(HELD_OUT) + 2}")


def test_rows_of_another_task(judging: Judging) -> None:
    write(judging.project, "test", HELD_OUT, ("input", "target"))
    pairs = replace(judging.project, columns=PairColumns(input="input", target="target"))
    made = replace(judging, project=pairs, trained_on=None).job()
    problem = refused(made)
    assert (problem.reason, problem.value) == ("ColumnsUnfit", "held-out")


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: damaged(folder / "adapter_model.safetensors"), "is not there, or is damaged"),
        (lambda folder: folder.with_name(f"{folder.name}.manifest.json").unlink(), "is not there, or is damaged"),
    ],
)
def test_an_artifact_that_is_not_as_it_was(judging: Judging, damage: Callable[[Path], None], words: str) -> None:
    digest = judging.run_record().artifact.digest
    storage = judging.project.storage
    folder = Path(storage.path(layout.artifact_folder(digest)))
    files = [folder / "adapter_model.safetensors", folder.with_name(f"{hex_of(digest)}.manifest.json")]
    before = {file: file.read_bytes() for file in files}
    damage(folder)
    try:
        problem = refused(judging.job())
    finally:
        for file, content in before.items():
            file.write_bytes(content)
    assert problem.reason == "ArtifactMissing"
    assert words in problem.message


def test_a_base_that_is_not_as_it_was(judging: Judging) -> None:
    path = judging.project.root / "pvc" / "models" / "tiny" / "model.safetensors"
    before = path.read_bytes()
    job = judging.job()
    damaged(path)
    try:
        assert refused(job).reason == "InputChanged"
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda job: {"release": job["release"] | {"artifact": ANOTHER}}, "the release is not that of the inputs"),
        (lambda _: {"baseline": None}, "the baseline is not that of the inputs"),
        (lambda _: {"datasets": []}, "the data sets are not those of the suites"),
        (lambda _: {"trainedOn": []}, "the data sets that were trained on are not those"),
    ],
)
def test_a_document_that_contradicts_itself(judging: Judging, change: Callable[[Any], Any], words: str) -> None:
    document = replace(judging, criteria=(NO_WORSE,)).job().document()
    assert EvaluateJob.model_validate(document).document() == document
    with pytest.raises(ValueError, match=words):
        EvaluateJob.model_validate(document | change(document))
