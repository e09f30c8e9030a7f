"""Records of the same inputs beside each other: none is ever replaced, and each is found by whoever was told of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.digests import short
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ArtifactReport
from stagecoach.contract.store import Store
from stagecoach_trainer import lookup
from tests.unit.contract.documents import SUBJECT
from tests.unit.contract.test_records import record

from .conftest import ANOTHER

INPUTS = record().inputs_digest
STRANGER = SUBJECT.model_copy(update={"uid": "of-a-stranger"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.local(str(tmp_path))


def made(store: Store, name: str, minute: int, **changes: Any) -> Record:
    """Return the record of a training that has published an artifact of its own at a minute."""
    manifest = store.publish({"adapter_model.safetensors": name.encode()}, "test")
    artifact = record().artifact.model_copy(update={"digest": manifest.digest})
    return record().model_copy(update={"artifact": artifact, "finished": f"2026-01-01T00:{minute:02}:00Z"} | changes)


def put(store: Store, known: Record, name: str = "") -> str:
    """Write a record as it is, by default under a name of its own, and return its digest."""
    content = known.model_dump_json(by_alias=True, exclude_none=True).encode()
    digest = lookup.digest_of_content(content)
    store.write(layout.record_file(INPUTS, name or layout.record_name(digest)), content, "test")
    return digest


def write(store: Store, known: Record) -> ArtifactReport:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import recording

    return recording.write(known, store, "test")


def told(store: Store, report: ArtifactReport) -> bytes:
    """Return the record that a report tells of, which has to be what its digest says."""
    content = store.read(layout.record_file(INPUTS, report.record_name))
    assert lookup.digest_of_content(content) == report.record
    return content


def card(store: Store, report: ArtifactReport) -> str:
    """Return the card beside a record, whose picture has to be there."""
    folder = layout.run_folder(INPUTS)
    text = store.read(f"{folder}/{layout.beside(report.record_name, 'README.md')}").decode()
    picture = layout.beside(report.record_name, "loss.svg")
    assert f"({picture})" in text
    assert store.exists(f"{folder}/{picture}")
    return text


# Writing


def test_no_record_is_ever_replaced(store: Store) -> None:
    """FrozenInputs: what a status says of a record stays true when the same inputs are trained again."""
    first = write(store, made(store, "a", 1))
    before = told(store, first)
    others = [write(store, made(store, name, 2, subject=ANOTHER)) for name in "bc"]
    assert [first.record_name, *(each.record_name for each in others)] == [
        "record.json",
        *(f"record.{short(each.record)}.json" for each in others),
    ]
    assert told(store, first) == before
    for report in (first, *others):
        assert report.digest in told(store, report).decode()
        assert report.digest in card(store, report)


def test_of_two_that_are_first_at_the_same_time_one_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, reports = made(store, "slow", 1), []
    exists = Store.exists

    def late(self: Store, relative: str = "") -> bool:
        seen = exists(self, relative)
        if relative == layout.record_file(INPUTS):
            monkeypatch.setattr(Store, "exists", exists)
            reports.append(write(store, made(store, "fast", 2, subject=ANOTHER)))
        return seen

    monkeypatch.setattr(Store, "exists", late)
    report = write(store, slow)
    [fast] = reports
    assert fast.record_name == "record.json"
    assert fast.digest in card(store, fast)
    assert report.record_name == f"record.{short(report.record)}.json"
    assert report.digest in card(store, report)
    assert report.digest in told(store, report).decode()
    assert fast.digest in told(store, fast).decode()


def test_what_was_written_although_the_answer_was_lost_is_the_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create
    monkeypatch.setattr(Store, "create", lambda *arguments: bool(create(*arguments)) and False)
    report = write(store, made(store, "a", 1))
    assert report.record_name == "record.json"
    assert [each.name for each in lookup.records(store, INPUTS)] == ["record.json"]


def test_a_first_record_that_cannot_be_read_stays_too(store: Store) -> None:
    place = layout.record_file(INPUTS)
    store.write(place, b"{", "test")
    report = write(store, made(store, "a", 1))
    assert store.read(place) == b"{"
    assert report.digest in told(store, report).decode()


def test_a_profile_that_was_counted_otherwise_stays(store: Store) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import recording

    job: Any = SimpleNamespace(inputs=SimpleNamespace(digest=INPUTS), subject=SUBJECT, attempt=1)
    texts = ("one", "one", "two")
    found = [
        recording._with_profile(SimpleNamespace(job=job, profile=SimpleNamespace(line=lambda text=text: text)), store)  # type: ignore[arg-type]
        for text in texts
    ]
    assert [each.path for each in found[:2]] == [layout.profile_file(INPUTS)] * 2
    assert found[2].path == layout.profile_file(INPUTS, found[2].digest)
    for each, text in zip(found, texts, strict=True):
        assert store.read(each.path) == f"{text}\n".encode()
        assert lookup.digest_of_content(store.read(each.path)) == each.digest


# Looking


@pytest.mark.parametrize(
    ("there", "gone", "force", "expected"),
    [
        (("a", "b", "c"), "", False, "c"),
        (("a", "b", "c"), "c", False, "b"),
        (("a", "b", "c"), "bc", False, "a"),  # pinned, say, while retention has removed the others
        (("a", "b", "c"), "abc", False, None),
        (("a", "own", "c"), "", False, "own"),
        (("a", "own", "c"), "own", False, "c"),
        (("own", "b"), "", True, "own"),
        (("own", "b"), "own", True, None),
        (("a", "b"), "", True, None),
    ],
)
@pytest.mark.parametrize("first", ["oldest", "newest"])  # which is record.json: as it is now, and as it was before
def test_whose_artifact_is_used(
    store: Store, there: tuple[str, ...], gone: str, force: bool, expected: str | None, first: str
) -> None:
    """NothingTwice: as long as one record of these inputs has its artifact, nothing is trained."""
    records: dict[str, Record] = {}
    for minute, name in enumerate(there):
        subject = SUBJECT if name == "own" else ANOTHER
        records[name] = made(store, name, minute, subject=subject)
        is_first = minute == (0 if first == "oldest" else len(there) - 1)
        put(store, records[name], layout.RECORD if is_first else "")
    for name in (name for name in there if name in gone):
        store.remove(layout.manifest_file(records[name].artifact.digest))
    found = lookup.found(store, INPUTS, SUBJECT, force=force)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.digest, found.adopted) == (records[expected].artifact.digest, expected != "own")
    assert found.digest in told(store, found).decode()


def test_damaged_files_and_records_are_passed_over(store: Store) -> None:
    whole, damaged = made(store, "whole", 1), made(store, "damaged", 2)
    put(store, whole)
    put(store, damaged)
    store.write(f"{layout.artifact_folder(damaged.artifact.digest)}/adapter_model.safetensors", b"demaged", "test")
    store.write(layout.record_file(INPUTS), b"{", "test")
    put(store, made(store, "other", 3, inputs_digest="sha256:" + "0" * 64), layout.record_name("0" * 64))
    found = lookup.found(store, INPUTS, STRANGER)
    assert found is not None
    assert found.digest == whole.artifact.digest


def test_a_record_is_found_by_its_artifact(store: Store) -> None:
    older, newer = made(store, "a", 1), made(store, "b", 2)
    assert lookup.read_record(store, INPUTS) is None
    for known in (older, newer):
        put(store, known)
    for known in (older, newer):
        found = lookup.read_record(store, INPUTS, known.artifact.digest)
        assert found is not None
        assert found.record == known
    for artifact in (None, "sha256:" + "0" * 64):
        found = lookup.read_record(store, INPUTS, artifact)
        assert found is not None
        assert found.record == newer
