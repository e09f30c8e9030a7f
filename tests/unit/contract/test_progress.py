"""How work tells that it moves: not too often, and wherever it takes long."""

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stagecoach.contract import progress
from stagecoach.contract.digests import CHUNK, file_entry
from stagecoach.contract.inputs import Columns
from stagecoach.contract.rows import File
from stagecoach.contract.store import Store
from stagecoach.contract.tables import read_rows


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(progress, "_beats", progress._Beats())
    yield
    if progress._beats.file is not None:
        os.close(progress._beats.file)


def words(file: Path) -> str:
    return file.read_text().strip().partition(" ")[2]


def test_what_is_done_is_told_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress.tell(file := tmp_path / "progress")
    assert file.read_text().strip() == f"{os.getpid()} starting"
    before, told = progress.count(), file.stat().st_mtime_ns
    progress.made("training, at about step 1")
    assert (progress.count(), file.stat().st_mtime_ns, words(file)) == (before, told, "starting")
    now += progress.BEAT_SECONDS
    os.utime(file, ns=(1, 1))  # kernels may date two writes of the same millisecond alike
    progress.made()
    assert (progress.count(), words(file)) == (before + 1, "training, at about step 1")
    assert file.stat().st_mtime_ns > 1
    progress.begins("publishing")
    assert (progress.count(), words(file)) == (before + 2, "publishing"), "at once"


def test_what_is_heard_of_others_is_no_progress_of_this_one(tmp_path: Path) -> None:
    progress.tell(file := tmp_path / "progress")
    os.utime(file, ns=(1, 1))
    before = progress.count()
    progress.heard()
    assert file.stat().st_mtime_ns > 1
    assert progress.count() == before


def test_words_are_cut_and_leave_nothing_of_longer_ones(tmp_path: Path) -> None:
    progress.tell(file := tmp_path / "progress")
    progress.begins("x" * 500)
    assert file.stat().st_size == progress.WIDTH
    progress.begins("saving")
    assert words(file) == "saving"


def test_without_a_file_nothing_is_told() -> None:
    progress.begins("training")
    progress.made()
    progress.heard()
    assert progress.count() > 0


CONTENT = b"x" * (3 * CHUNK)
ROWS = b"text,label\nhello,a\nbye,b\nso,a\n"
PLACES: dict[str, Callable[[Store], object]] = {
    "hashing": lambda _: file_entry("name", io.BytesIO(CONTENT)),
    "hashing a file": lambda store: store.entry("file", "file"),
    "reading": lambda store: store.read("file"),
    "writing": lambda store: store.write("copy", CONTENT, "uid"),
    "reading rows": lambda _: list(read_rows(io.BytesIO(ROWS), File("rows.csv", Columns(), "data"))),
}


@pytest.mark.parametrize("place", PLACES)
def test_long_work_tells_of_each_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    told: list[None] = []
    (tmp_path / "file").write_bytes(CONTENT)
    monkeypatch.setattr(progress, "made", lambda: told.append(None))
    PLACES[place](Store.local(str(tmp_path)))
    assert len(told) == 3


def test_what_is_read_and_written_is_whole(tmp_path: Path) -> None:
    store = Store.local(str(tmp_path))
    for content in (b"", b"x", CONTENT + b"y"):
        store.write("file", content, "uid")
        assert store.read("file") == content
