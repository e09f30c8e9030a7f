import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from stagecoach.contract import layout
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed, Store, require_storage

FILES = {"adapter_config.json": b"{}\n", "adapter_model.safetensors": bytes(range(256)) * 10}


class Crash(Exception):
    """The process is gone."""


class Failing(LocalFileSystem):  # type: ignore[misc]
    """A filesystem whose writing steps can be counted, and made to fail from one of them on."""

    cachable = False

    def __init__(self, at: int, error: BaseException) -> None:
        super().__init__()
        self.steps = 0
        self.at = at
        self.error = error

    def step(self) -> None:
        self.steps += 1
        if self.steps >= self.at:
            raise self.error

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.step()
        super().makedirs(path, exist_ok=exist_ok)

    def chmod(self, path: str, mode: int) -> None:
        self.step()
        super().chmod(path, mode)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" not in mode:
            return super().open(path, mode, **options)
        self.step()
        stream = super().open(path, mode, **options)
        self._after_opening(stream)
        return stream

    def _after_opening(self, stream: Any) -> None:
        try:
            self.step()
        except BaseException:
            stream.write(b"half")  # what a killed process leaves
            stream.close()
            raise


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.local(str(tmp_path))


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, BaseException], Store]]:
    rename = os.replace

    def make(at: int, error: BaseException) -> Store:
        filesystem = Failing(at, error)

        def replace(source: str, target: str) -> None:
            filesystem.step()
            rename(source, target)

        monkeypatch.setattr("stagecoach.contract.store.os.replace", replace)
        return Store(filesystem, str(tmp_path))

    yield make
    monkeypatch.undo()


def test_what_is_published_can_be_verified_and_read(store: Store) -> None:
    manifest = store.publish(FILES, "uid")
    assert store.verified(manifest.digest) == manifest
    assert store.read(f"{layout.artifact_folder(manifest.digest)}/adapter_config.json") == b"{}\n"
    assert [entry.path for entry in manifest.files] == sorted(FILES)


def test_others_can_read_what_is_published(store: Store, tmp_path: Path) -> None:
    earlier = os.umask(0o077)
    try:
        digest = store.publish(FILES, "uid").digest
    finally:
        os.umask(earlier)
    folder = tmp_path / layout.artifact_folder(digest)
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}
    assert (tmp_path / layout.manifest_file(digest)).stat().st_mode & 0o777 == 0o644
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent, folder.parent.parent)} == {0o755}


def test_publishing_again_writes_nothing(store: Store, failing: Callable[[int, BaseException], Store]) -> None:
    manifest = store.publish(FILES, "uid")
    assert failing(1, Crash()).publish(FILES, "other") == manifest


def test_a_crash_between_any_two_steps_leaves_nothing_or_all(
    tmp_path: Path, failing: Callable[[int, BaseException], Store]
) -> None:
    digest = Store.local(str(tmp_path / "elsewhere")).publish(FILES, "uid").digest
    for at in range(1, 100):
        store = failing(at, Crash())
        store._root = root = str(tmp_path / f"crash-{at}")
        try:
            store.publish(FILES, "uid")
        except Crash:
            left = Store.local(root)
            assert left.manifest(digest) is None or left.verified(digest)
            failing(10**9, Crash())
            assert left.publish(FILES, "next").digest == digest
            assert left.verified(digest)
        else:
            assert at > 10
            return
    raise AssertionError("publishing never succeeded")


@pytest.fixture
def linked(tmp_path: Path) -> Store:
    """A folder of a mount with links to a file and a folder outside of the mount, and some that stay inside."""
    outside, folder = tmp_path / "credentials", tmp_path / "mount" / "folder"
    outside.mkdir()
    folder.mkdir(parents=True)
    (outside / "key").write_text("secret")
    (folder.parent / "shared").mkdir()
    (folder.parent / "shared" / "rows.csv").write_text("rows")
    for name, target in (
        ("file", "../../credentials/key"),
        ("absolute", str(outside / "key")),
        ("gone", "../../credentials/gone"),
        ("below", "../../credentials"),
        ("twice", "file"),
        ("inside", "../shared/rows.csv"),
        ("shared", "../shared"),
    ):
        (folder / name).symlink_to(target)
    return Store.local(str(folder), within=str(folder.parent))


READING: list[Callable[[Store, str], Any]] = [Store.read, Store.size, Store.exists, Store.names, Store.folders]


@pytest.mark.parametrize("name", ["file", "absolute", "gone", "below", "below/key", "twice"])
@pytest.mark.parametrize("reads", READING, ids=lambda read: read.__name__)
def test_what_a_link_leads_to_outside_is_not_looked_at(
    linked: Store, name: str, reads: Callable[[Store, str], Any]
) -> None:
    with pytest.raises(BadInput) as caught:
        reads(linked, name)
    problem = caught.value.problem
    assert (problem.reason, problem.value) == ("LinkLeadsOutside", linked.path(name))
    assert "same claim" in problem.remedy


@pytest.mark.parametrize("change", [lambda store, name: store.write(name, b"x", "uid"), Store.remove])
def test_nothing_is_written_or_removed_through_a_link(
    linked: Store, tmp_path: Path, change: Callable[[Store, str], Any]
) -> None:
    for name in ("below/key", "below"):
        with pytest.raises(BadInput):
            change(linked, name)
    (tmp_path / "mount" / "folder" / layout.STAGING).symlink_to(tmp_path / "credentials")
    (tmp_path / "credentials" / "uid").mkdir()
    linked.clean("uid")
    linked.remove_empty("below/uid")
    assert sorted(path.name for path in (tmp_path / "credentials").iterdir()) == ["key", "uid"]


@pytest.mark.parametrize("name", ["file", "gone", "below", "below/key", "inside", "shared", "shared/rows.csv"])
def test_a_listing_shows_links_and_follows_none(linked: Store, name: str) -> None:
    [found] = linked.listing(name)
    assert (found.path, found.link) == ("", True)


def test_links_within_a_mount_are_followed(linked: Store, tmp_path: Path) -> None:
    assert linked.read("inside") == linked.read("shared/rows.csv") == b"rows"
    assert linked.names("shared") == ["rows.csv"]
    (tmp_path / "mount" / "..data").symlink_to("folder")  # as the kubelet mounts a ConfigMap
    (tmp_path / "mount" / "key.csv").symlink_to("..data/inside")
    assert Store.local(str(tmp_path / "mount")).read("key.csv") == b"rows"


def test_a_link_that_is_put_there_while_a_file_is_opened(linked: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path: real(linked.path("inside") if "folder/file" in path else path)
    )
    with pytest.raises(BadInput, match="leads out"):
        linked.read("file")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "StorageFull"),
        (errno.EDQUOT, "StorageFull"),
        (errno.EACCES, "StorageDenied"),
        (errno.EROFS, "StorageReadOnly"),
        (errno.ESTALE, "StorageStale"),
        (errno.EIO, "StorageFailed"),
    ],
)
@pytest.mark.parametrize("at", [1, 3, 5, 6])
def test_errors_of_the_storage_become_words(
    failing: Callable[[int, BaseException], Store], number: int, reason: str, at: int
) -> None:
    with pytest.raises(StorageFailed) as caught:
        failing(at, OSError(number, os.strerror(number))).publish(FILES, "uid")
    assert caught.value.problem.reason == reason
    assert os.strerror(number) in caught.value.problem.message
    assert caught.value.problem.remedy


@pytest.mark.parametrize("write", [Store.write, Store.create], ids=lambda write: write.__name__)
def test_what_is_refused_leaves_no_part_of_a_file(
    store: Store, failing: Callable[[int, BaseException], Store], write: Callable[..., Any]
) -> None:
    for at in range(1, 20):
        try:
            write(failing(at, OSError(errno.ENOSPC, "full")), f"{at}/file", b"content", "uid")
        except StorageFailed:
            assert [item.path for item in store.listing("")] == [], f"step {at}"
        else:
            assert at > 5
            return
    raise AssertionError("writing never succeeded")


def test_a_storage_that_takes_empty_files_only_is_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any) -> None:
        if content := source.read():
            target.write(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.probe("uid")
    monkeypatch.setattr("stagecoach.contract.store.copy", full)
    with pytest.raises(StorageFailed) as caught:
        store.probe("uid")
    assert caught.value.problem.reason == "StorageFull"
    assert store.listing("") == []


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_a_damaged_artifact_is_not_complete_and_is_published_anew(store: Store, tmp_path: Path, damage: str) -> None:
    manifest = store.publish(FILES, "uid")
    file = tmp_path / layout.artifact_folder(manifest.digest) / "adapter_model.safetensors"
    if damage == "missing":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[:-1] if damage == "short" else b"x" + content[1:])
    assert store.verified(manifest.digest) is None
    assert (store.complete(manifest.digest) is None) == (damage != "flipped")
    assert store.publish(FILES, "uid") == manifest
    assert store.verified(manifest.digest) == manifest


@pytest.mark.parametrize("content", [b"", b"{", b'{"files": []}', b"\xff"])
def test_a_manifest_that_is_not_the_digests_own_is_none(store: Store, tmp_path: Path, content: bytes) -> None:
    digest = store.publish(FILES, "uid").digest
    (tmp_path / layout.manifest_file(digest)).write_bytes(content)
    assert store.manifest(digest) is None


def test_cleaning_removes_the_own_staging_only(store: Store, tmp_path: Path) -> None:
    for uid in ("mine", "theirs"):
        (tmp_path / "staging" / uid).mkdir(parents=True)
        (tmp_path / "staging" / uid / "part").write_text("half")
    store.clean("mine")
    store.clean("mine")
    assert sorted(path.name for path in (tmp_path / "staging").iterdir()) == ["theirs"]


def test_a_mounted_configmap_is_read_through_its_links(tmp_path: Path) -> None:
    data = tmp_path / "..2026_01_01"
    data.mkdir()
    (data / "rows.csv").write_text("text,label\n")
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "rows.csv").symlink_to("..data/rows.csv")
    store = Store.local(str(tmp_path))
    assert store.names() == ["rows.csv"]
    assert store.read("rows.csv") == b"text,label\n"
    assert store.entry("rows.csv", "rows.csv").size == 11


@pytest.mark.parametrize("path", ["absent", "absent/file", "folder", "file/below"])
def test_what_is_no_file_is_missing(store: Store, tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        store.read(path)


def test_a_storage_that_is_not_mounted_is_a_failure(tmp_path: Path) -> None:
    require_storage(Store.local(str(tmp_path)))
    with pytest.raises(StorageFailed, match="no storage"):
        require_storage(Store.local(str(tmp_path / "absent")))


def test_a_stale_mount_does_not_look_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: Any, **__: Any) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(LocalFileSystem, "info", stale)
    with pytest.raises(StorageFailed, match="stale"):
        Store.local(str(tmp_path)).exists("runs")


def test_a_local_file_is_published_as_its_bytes_are(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("scratch") / "weights"
    file.write_bytes(FILES["adapter_model.safetensors"])
    file.chmod(0o600)
    manifest = store.publish(FILES | {"adapter_model.safetensors": file}, "uid")
    place = Path(store.path(f"{layout.artifact_folder(manifest.digest)}/adapter_model.safetensors"))
    assert manifest == store.publish(FILES, "uid")
    assert place.read_bytes() == FILES["adapter_model.safetensors"]
    assert place.stat().st_mode & 0o777 == 0o644
    assert file.exists()


def test_removing_takes_all_of_a_folder_and_once_more_is_a_no_op(tmp_path: Path) -> None:
    store = Store.local(str(tmp_path))
    store.write("runs/x/checkpoints/a/b", b"b", "uid")
    store.write("runs/x/record.json", b"{}", "uid")
    for _ in range(2):
        store.remove("runs/x/checkpoints")
    assert (store.folders("runs/x"), store.names("runs/x")) == ([], ["record.json"])


@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_is_not_created_again(store: Store, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    assert store.create("a/record.json", b"first", "u")
    assert not store.create("a/record.json", b"second", "u")
    assert store.read("a/record.json") == b"first"
    assert [item.path for item in store.listing("")] == ["a/record.json"]
