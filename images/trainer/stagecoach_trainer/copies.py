"""Folders that libraries read by path: as they lie in the pod, or copied into scratch and hashed on the way."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from stagecoach.contract import layout
from stagecoach.contract.digests import FileEntry, Manifest, file_entry
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed, Store, copy
from stagecoach_trainer import places


class Seen(NamedTuple):
    """A file of a folder when it was hashed. What is written to it later, or put in its place, has other times."""

    name: str
    sha256: str
    modified: int  # in nanoseconds, as is the other, which nobody can set
    changed: int

    def again(self, folder: str) -> "Seen | None":
        """Return it as it is now, or None when it is not what was hashed.

        By its content where the times are others, as of another owner.
        """
        try:
            # Opened first: of a path alone a network file system may say what was true a minute ago.
            with Path(folder, self.name).open("rb") as stream:
                times = _times(stream)
                remains = times == self[2:] or file_entry(self.name, stream).sha256 == self.sha256
        except OSError:
            return None
        return Seen(self.name, self.sha256, *times) if remains else None


def _times(stream: IO[bytes]) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_mtime_ns, found.st_ctime_ns


@dataclass(frozen=True)
class Copy:
    """A folder of a store, and the path at which its files are found once they were hashed."""

    store: Store
    folder: str
    copied: bool
    seen: list[Seen] = field(default_factory=list)  # what was hashed where others may write

    @property
    def local(self) -> Store:
        """The store of the files as they lie in the pod."""
        return Store.local(self.folder) if self.copied else self.store

    def digest(self, names: Iterable[str]) -> str:
        """Return the digest of these files, each copied while it is hashed if it has to be."""
        return Manifest.of(self._entry(name) for name in names).digest

    def _entry(self, name: str) -> FileEntry:
        if self.copied:
            return fetched(self.store, name, name, Path(self.folder) / name)
        with self.store.open(name) as stream:
            times = _times(stream)
            entry = file_entry(name, stream)  # type: ignore[arg-type]
        self.seen.append(Seen(name, entry.sha256, *times))
        return entry


def of(store: Store, uri: str) -> Copy:
    """Return the folder of a store for libraries: itself when it is a folder of the pod."""
    if store.local_folder is not None:
        return Copy(store, store.local_folder, copied=False)
    return Copy(store, str(folder(uri)), copied=True)


def apart(store: Store, uri: str) -> Copy:
    """Return a copy of a store's folder for libraries, and nothing else in it: what was hashed is what they read.

    In the folder itself, whoever may write there could put something else in its place meanwhile.
    """
    place = folder(uri)
    with told(place):
        shutil.rmtree(place)
    return Copy(store, str(place), copied=True)


def folder(uri: str) -> Path:
    """Return the scratch folder for a copy of what a URI names."""
    place = places.scratch() / "copies" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    with told(place):
        place.mkdir(parents=True, exist_ok=True)
    return place


def artifact(storage: Store, manifest: Manifest) -> str:
    """Return a path at which the files of a verified artifact are found."""
    place = layout.artifact_folder(manifest.digest)
    if storage.local_folder is not None:
        return storage.path(place)
    local = folder(place)
    # Those right in it: libraries are told by us what files in folders say.
    for entry in (entry for entry in manifest.files if "/" not in entry.path):
        # Its name alone: what somebody wrote into a manifest must not choose the folder.
        with storage.open(f"{place}/{entry.path}") as stream, _written(local / Path(entry.path).name) as target:
            copy(stream, target)
    return str(local)


def fetched(store: Store, relative: str, name: str, target: Path) -> FileEntry:
    """Copy a file of a store to a path, and return what was read as the manifest entry of this name."""
    with store.open(relative) as stream, _written(target) as local:
        return file_entry(name, _Tee(stream, local))  # type: ignore[arg-type]


class _Tee:
    """A stream that writes down what is read from it."""

    def __init__(self, stream: IO[bytes], target: IO[bytes]) -> None:
        self._stream = stream
        self._target = target

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        with told(Path(self._target.name)):
            self._target.write(content)
        return content


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("wb")
    with stream:
        yield stream


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn the errors of the scratch folder into words."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            message = "the name of a file is longer than a file system takes."
            remedy = "Give it a name of at most 200 bytes, or name another file or folder."
            value = Path(str(error.filename or path)).name
            raise BadInput(Problem.of("SourceRefused", message, value=value, remedy=remedy)) from error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Let the pod run on a node with more room for its scratch volume." if full else "See the message."
        reason = "ScratchFull" if full else "ScratchUnusable"
        message = f"the scratch folder cannot take a copy: {os.strerror(error.errno or 0)}."
        raise StorageFailed(Problem.of(reason, message, value=str(path), remedy=remedy)) from error
