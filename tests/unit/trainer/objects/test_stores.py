"""What holds in every object store: files, what is missing, and what a person is told."""

import os
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed, require_storage
from stagecoach_trainer import lookup, objects, places
from stagecoach_trainer.objects import ObjectStore, Page, UnknownCondition
from tests.unit.contract.documents import SUBJECT
from tests.unit.trainer.conftest import Project

from .servers import FILES, MIB, Server, give_keys

pytest.importorskip("s3fs", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_is_published_can_be_verified_and_read(store: ObjectStore, server: Server, bucket: str) -> None:
    manifest = store.publish(FILES, "uid")
    again = server.connect(bucket, "/desk")
    assert again.verified(manifest.digest) == manifest
    folder = layout.artifact_folder(manifest.digest)
    assert again.read(f"{folder}/adapter_config.json") == b"{}\n"
    assert again.names(folder) == sorted(FILES)
    assert again.folders("artifacts/sha256") == [manifest.digest[7:]]
    assert server.connect(bucket, "/other").verified(manifest.digest) is None


def test_publishing_again_writes_nothing(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = store.publish(FILES, "uid")
    monkeypatch.setattr(type(store), "write", lambda *_: pytest.fail("it is there already"))
    assert store.publish(FILES, "other") == manifest


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_a_damaged_artifact_is_not_complete_and_is_published_anew(store: ObjectStore, damage: str) -> None:
    manifest = store.publish(FILES, "uid")
    place = f"{layout.artifact_folder(manifest.digest)}/adapter_model.safetensors"
    content = FILES["adapter_model.safetensors"]
    if damage == "missing":
        store.remove(place)
    else:
        store.write(place, content[:-1] if damage == "short" else b"x" + content[1:], "")
    assert store.verified(manifest.digest) is None
    assert (store.complete(manifest.digest) is None) == (damage != "flipped")
    assert store.publish(FILES, "uid") == manifest
    assert store.verified(manifest.digest) == manifest


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 20 * MIB + 7])
@pytest.mark.parametrize("from_file", [False, True])
def test_an_object_is_read_in_parts_as_it_was_written(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int, from_file: bool
) -> None:
    monkeypatch.setattr(objects, "READ_PART", MIB)
    monkeypatch.setattr(objects, "WRITE_PART", 5 * MIB)
    content = os.urandom(size)
    file = tmp_path / "b"
    file.write_bytes(content)
    store.write("a/b", file if from_file else content, "")
    assert store.read("a/b") == content
    assert store.entry("a/b", "b").size == store.size("a/b") == size
    with store.open("a/b") as stream:
        pieces = list(iter(lambda: stream.read(300_007), b""))
    assert b"".join(pieces) == content


def test_what_is_there_and_what_is_not(store: ObjectStore) -> None:
    store.write("runs/one/record.json", b"{}", "")
    assert [store.exists(name) for name in ("", "runs", "runs/one/record.json", "runs/o", "absent")] == [
        *(True, True, True),
        *(False, False),
    ]
    assert store.folders("runs") == ["one"]
    assert store.folders("absent") == []
    for read in (store.read, store.size, store.names):
        with pytest.raises(FileNotFoundError):
            read("absent")


def test_many_names_take_several_pages(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        store.write(f"many/{number}", b"", "")
    page, pages = store._page, []

    def of_two(relative: str, prefix: str, **asked: Any) -> Page:
        pages.append(page(relative, prefix, **asked, most=2))
        return pages[-1]

    monkeypatch.setattr(store, "_page", of_two)
    assert store.names("many") == ["0", "1", "2", "3", "4"]
    assert len(pages) >= 3


def test_an_object_that_is_replaced_while_it_is_read(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "READ_PART", 1024)
    store.write("rows", bytes(100_000), "")
    with store.open("rows") as stream:
        stream.read(1)
        store.write("rows", b"x" * 100_000, "")
        with pytest.raises(StorageFailed) as caught:
            stream.read()
    assert caught.value.problem.reason == "SourceChanged"


def test_refused_keys_are_those_of_a_secret_that_is_named(
    project: Project, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"{server.scheme}://{bucket}/desk"
    give_keys(project, server, monkeypatch, storage=storage, keys=server.wrong_keys)
    with pytest.raises(BadInput) as caught:
        require_storage(places.storage())
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("KeysRefused", "storage.uri")
    assert problem.remedy.endswith(" Secret lake.")
    assert "0000wrong" not in problem.line()


def test_a_bucket_that_is_not_there(server: Server) -> None:
    for use in (require_storage, lambda store: store.probe("uid"), lambda store: store.read("a")):
        with pytest.raises(BadInput) as caught:
            use(server.connect("no-such-bucket"))
        assert caught.value.problem.reason == "BucketMissing"


def test_a_problem_of_the_storage_names_its_field(
    project: Project, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_keys(project, server, monkeypatch, storage=f"{server.scheme}://no-such-bucket/desk")
    with pytest.raises(BadInput) as caught:
        lookup.found(places.storage(), "sha256:" + "0" * 64, SUBJECT)
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == (
        "BucketMissing",
        "storage.uri",
        f"{server.scheme}://no-such-bucket/desk",
    )
    assert problem.sentence.startswith(f"storage.uri ({problem.value}): ")


def test_a_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setattr(objects, "TRIES", 1)
    with pytest.raises(StorageFailed) as caught:
        require_storage(type(server)(tmp_path, port=1).connect("any"))
    assert caught.value.problem.reason == "EndpointUnreachable"
    assert caught.value.problem.remedy


def test_removing_takes_all_below_a_name_and_nothing_else(store: ObjectStore) -> None:
    kept = ["runs/x/step-1.10/a", "runs/x/step-1.1.json", "runs/y"]
    for name in ("runs/x/step-1.1/a", "runs/x/step-1.1/b/c", *kept):
        store.write(name, b"", "")
    for _ in range(2):
        store.remove("runs/x/step-1.1")
    assert not store.exists("runs/x/step-1.1")
    assert all(map(store.exists, kept))
    store.remove("runs/y")
    assert not store.exists("runs/y")


@pytest.mark.parametrize("looked", [True, False])
def test_what_is_there_is_not_created_again(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, looked: bool) -> None:
    """And not when another has created it after this one has looked."""
    assert store.create("a/record.json", b"first", "u")
    if not looked:
        monkeypatch.setattr(store, "exists", lambda _: False)
    assert not store.create("a/record.json", b"second", "u")
    assert store.read("a/record.json") == b"first"


def test_a_store_without_conditions_creates_all_the_same(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(store, UnknownCondition, monkeypatch)
    assert store.create("a/record.json", b"first", "u")
    assert store.read("a/record.json") == b"first"


def test_where_it_fails_nothing_is_written_without_the_condition(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may have created it by then."""
    refusing(store, StorageFailed, monkeypatch)
    with pytest.raises(StorageFailed):
        store.create("a/record.json", b"first", "u")
    assert not store.exists("a/record.json")


def refusing(store: ObjectStore, error: type[StorageFailed], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store refuse what is to be written under a condition."""
    put = store._put

    def refuses(relative: str, content: bytes, *, new: bool = False) -> None:
        if new:
            raise error(Problem.of("StorageFailed", "it refused.", value=relative, remedy="None."))
        put(relative, content)

    monkeypatch.setattr(store, "_put", refuses)
