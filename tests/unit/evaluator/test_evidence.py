"""What is kept of an evaluation: noticed when it is damaged, never half written, and gone on from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.answers import ASKING_REVISION
from stagecoach.contract.evaluations import Criterion, EvaluationRecord
from stagecoach.contract.store import StorageFailed, Store
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator import answering, records
from tests.remedies import speaks

from .conftest import ACCURATE, NO_WORSE, Judging

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")


HOPELESS = Criterion(name="hopeless", suite="held-out", metric="accuracy", min=1.01)


def place(judging: Judging, name: str) -> Path:
    return Path(judging.project.storage.path(f"{layout.evaluation_folder(judging.job().inputs.digest)}/{name}"))


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def admit(document: dict[str, Any]) -> None:
    document["verdict"] = "Passed"


def claim(document: dict[str, Any]) -> None:
    """Say that what is far from its bound has passed."""
    admit(document)
    document["results"][0]["outcome"] = "Passed"


def of_the_record(change: Callable[[dict[str, Any]], None]) -> tuple[str, Callable[[Path], object]]:
    return "record.json", lambda path: edited(path, change)


def numbers(**changed: Any) -> Callable[[dict[str, Any]], None]:
    """Say so of the criterion's numbers as well."""

    def change(document: dict[str, Any]) -> None:
        claim(document)
        document["results"][0].update(changed)

    return change


def suite(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["suites"][0].update(changed)


def no_report(document: dict[str, Any]) -> None:
    document["report"] = []


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an edited page": (
        "report.html",
        lambda path: path.write_text("<p>good</p>"),
        "report.html is not what its record",
    ),
    "edited numbers": ("report.json", lambda path: path.write_text("{}"), "report.json is not what its record says"),
    "no page": ("report.html", Path.unlink, "report.html is not there"),
    "a record that is cut off": ("record.json", lambda path: path.write_text(path.read_text()[:-9]), "cannot be read"),
    "another verdict": ("record.json", lambda path: edited(path, admit), "does not follow from its results"),
    "a result that its numbers contradict": (*of_the_record(claim), "does not follow from its numbers"),
    "another bound": (*of_the_record(numbers(threshold=1.0)), "does not follow from its numbers"),
    "nothing measured": (*of_the_record(numbers(scored=0, value=0.0)), "does not follow from its numbers"),
    "another suite": (*of_the_record(suite(suite="other")), "its suites are not those of its inputs"),
    "no suite": (*of_the_record(lambda document: document["suites"].clear()), "its suites are not those of its"),
    "no report": (*of_the_record(no_report), "its report is not the files that it has to be"),
    "another's record": (
        "record.json",
        lambda path: edited(path, lambda document: document["inputs"].update(minScored=0.1)),
        "of other inputs than its key says",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_evidence_is_noticed_and_made_anew(
    judging: Judging, asked: list[str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    one = replace(judging, criteria=(HOPELESS,))
    first = one.judge()
    file, damage, words = DAMAGE[name]
    damage(place(one, file))
    before = place(one, "record.json").read_text()
    again = one.judge()
    assert words in capsys.readouterr().err
    assert (again.verdict, again.results, again.adopted) == (first.verdict, first.results, False)
    assert asked == ["the release"], "its answers are there"
    adopted = one.judge()
    assert adopted.adopted
    assert adopted.record == again.record
    assert place(one, "record.json").read_text() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (suite(scored=3), "does not follow from its results"),
        (suite(rows=0, scored=0), "does not follow from its results"),
        (suite(leakedRows=None), "does not follow from its results"),
        (suite(leakedRows=2), "does not follow from its results"),
        (lambda document: document["results"][0].update(value=0.2), "does not follow from its numbers"),
        (lambda document: document["results"][0].pop("value"), "does not follow from its numbers"),
        (lambda document: document["results"].clear(), "its results are not those of its criteria"),
    ],
)
def test_a_record_that_passed_and_contradicts_itself_is_damaged(
    judging: Judging, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    judging.judge()
    known = judging.record()
    assert records.adopted(judging.project.storage, known.inputs) is not None
    document = known.document()
    change(document)
    wrong = EvaluationRecord.model_validate(document)
    assert said in (records._damage(judging.project.storage, wrong, known.inputs) or "")


def test_what_decides_nothing_and_what_was_trained_on_nobody_knows_never_passed(judging: Judging) -> None:
    judging.judge()
    known, storage = judging.record(), judging.project.storage
    advisory = tuple(each.model_copy(update={"advisory": True}) for each in known.inputs.criteria)
    results = tuple(each.model_copy(update={"advisory": True}) for each in known.results)
    for changed, told in (({"trained_on": None}, known.results), ({"criteria": advisory}, results)):
        inputs = known.inputs.model_copy(update=changed)
        wrong = known.model_copy(update={"inputs": inputs, "results": told})
        assert "does not follow from its results" in (records._damage(storage, wrong, inputs) or "")


def test_what_another_version_asked_is_asked_anew(
    judging: Judging, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judging.judge()
    monkeypatch.setattr(answering, "ASKING_REVISION", ASKING_REVISION + 1)
    other = replace(judging, criteria=(ACCURATE.model_copy(update={"min": 0.5}),))
    other.judge()
    assert asked == ["the release", "the release"]
    replace(judging, criteria=(ACCURATE.model_copy(update={"min": 0.4}),)).judge()
    assert asked == ["the release", "the release"]


def test_of_two_that_publish_the_first_stays(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one looks before its files, and is then as slow as it can be: the first writes all between."""
    write_once = records._write_once
    first: list[Any] = []

    def slower(*arguments: Any) -> None:
        write_once(*arguments)
        if not first:
            first.append(None)
            first[0] = judging.judge()

    monkeypatch.setattr(records, "_write_once", slower)
    second = judging.judge()
    known = records.adopted(judging.project.storage, judging.job().inputs)
    assert known is not None
    assert known.record == second.record
    monkeypatch.setattr(records, "_write_once", write_once)
    before = judging.record()
    releases = ()
    again = records.publish(judging.project.storage, before, {"report.json": b"", "report.html": b""}, releases, "u")
    assert (again.adopted, again.record) == (True, known.record)
    assert judging.judge().record == known.record


@pytest.mark.parametrize("moment", ["before a file", "before the record"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_record_that_comes_between_a_look_and_a_write_stays(
    judging: Judging, monkeypatch: pytest.MonkeyPatch, moment: str, damaged: bool
) -> None:
    """VerdictIsFinal: what one has decided is not replaced by another, who saw the same damage."""
    if damaged:
        judging.judge()
        place(judging, "record.json").write_text("{")
    create, write_once, first = Store.create, records._write_once, list[Any]()

    def other() -> None:
        if not first:
            first.append(None)
            first[0] = judging.judge()

    def creating(self: Store, *given: Any) -> bool:
        other()
        return create(self, *given)

    def writing(storage: Store, relative: str, *given: Any) -> Any:
        if relative.endswith("report.html"):
            other()
        return write_once(storage, relative, *given)

    if moment == "before a file":
        monkeypatch.setattr(records, "_write_once", writing)
    else:
        monkeypatch.setattr(Store, "create", creating)
    second = judging.judge()
    known = records.adopted(judging.project.storage, judging.job().inputs)
    assert known is not None
    assert (second.adopted, second.record, known.record) == (True, first[0].record, first[0].record)


def test_a_file_that_another_writes_before_the_record_is_put_right(
    judging: Judging, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create

    def creating(self: Store, *given: Any) -> bool:
        place(judging, "report.html").write_text("another's")
        return create(self, *given)

    monkeypatch.setattr(Store, "create", creating)
    report = judging.judge()
    known = records.adopted(judging.project.storage, judging.job().inputs)
    assert known is not None
    assert (report.adopted, report.record) == (False, known.record)


def test_files_that_never_agree_are_no_evidence(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_other_files", lambda *_: "report.html is not what its record says")
    with pytest.raises(StorageFailed) as failed:
        judging.judge()
    assert failed.value.problem.reason == "EvidenceContested"
    assert speaks(failed.value.problem.reason, str(failed.value))
    assert not place(judging, "record.json").exists()


def test_answers_of_who_was_faster_are_used(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.judge()
    file, keep = first_answers(judging), answering.keep
    before = file.read_bytes()
    kept = answering.kept
    looks = iter([True])

    def late(*arguments: Any) -> Any:
        return None if next(looks, False) else kept(*arguments)

    def other(job: Any, party: Any, rows: Any, answers: Any, *how: Any) -> Any:
        said = tuple(each.model_copy(update={"label": "card_lost"}) for each in answers)
        return keep(job, party, rows, said, *how)

    monkeypatch.setattr(answering, "kept", late)
    monkeypatch.setattr(answering, "keep", other)
    replace(judging, criteria=(ACCURATE.model_copy(update={"min": 0.5}),)).judge()
    assert file.read_bytes() == before


def first_answers(judging: Judging) -> Path:
    job = judging.job()
    return Path(judging.project.storage.path(layout.outputs_file(job.inputs.release, job.inputs.suites[0].rows)))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace("parcel_late", "card_lost", 1), "are not those that were written"),
        (lambda text: text.partition("\n")[2], "are not those that were written"),
        (lambda text: text[:-9], "cannot be read"),
        (lambda _: "", "are not those that were written"),
    ],
)
def test_edited_answers_are_noticed_and_asked_for_anew(
    judging: Judging, asked: list[str], capsys: pytest.CaptureFixture[str], damage: Callable[[str], str], words: str
) -> None:
    judging.judge()
    file = first_answers(judging)
    before = file.read_text()
    file.write_text(damage(before))
    replace(judging, criteria=(ACCURATE.model_copy(update={"min": 0.5}),)).judge()
    assert words in capsys.readouterr().err
    assert asked == ["the release", "the release"]
    assert file.read_text() == before


class Crash(Exception):
    """The process is gone."""


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the process end at a write: before, or after it."""
    write, count = Store.write, [0]

    def writing(self: Store, relative: str, content: Any, uid: str) -> None:
        count[0] += 1
        if count[0] == step:
            raise Crash
        write(self, relative, content, uid)

    monkeypatch.setattr(Store, "write", writing)


def test_an_attempt_that_ends_anywhere_is_followed_by_one_that_goes_on(
    judging: Judging, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(judging, criteria=(ACCURATE, NO_WORSE))
    expected = one.judge()
    writes = 0
    for step in range(1, 20):
        for folder in (layout.OUTPUTS, layout.EVALUATIONS, layout.RELEASES):
            one.project.storage.remove(folder)
        with monkeypatch.context() as patch:
            crash_at(patch, step)
            try:
                one.judge()
            except Crash:
                writes = step
            else:
                break
        assert not list(records.read(one.project.storage, one.job().inputs.digest)), "the record comes last"
        asked.clear()
        again = one.judge()
        assert (again.verdict, again.results, again.adopted) == (expected.verdict, expected.results, False)
        # A probe, the note that the artifact is used, then answers and manifest of each.
        assert len(asked) == (2 if step <= 4 else 1 if step <= 6 else 0), step
        assert one.project.storage.folders(layout.STAGING) == []
    assert writes > 8


def test_who_was_faster_is_adopted(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    collect = answering.collect

    def slower(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(answering, "collect", collect)
            judging.judge()
        return collect(*arguments)

    monkeypatch.setattr(answering, "collect", slower)
    report = judging.judge()
    assert (report.verdict, report.adopted) == (Verdict.PASSED, True)
