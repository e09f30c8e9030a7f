"""Files of a mounted storage and of mounted sources, through fsspec; publishing that is all or nothing.

A publication is written below `staging/<uid>/`, then each file is renamed to its place, and the manifest is renamed
last. Without the manifest an artifact is not there, so a crash between any two steps leaves nothing or all of it.

Whoever may write into a claim may put links there, and a pod has more in its file system than the claim, Secrets among
it: what a link names is used only if it is in the same mount.
"""

import errno
import io
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

import fsspec
from pydantic import ValidationError

from stagecoach.contract import layout, progress
from stagecoach.contract.digests import CHUNK, FileEntry, Manifest, file_entry, short
from stagecoach.contract.reports import BadInput, Problem

# Written to see whether writing is possible, and on a file system whether there is room for as much as a small adapter.
PROBE = "probe"
# safetensors and tempfile write 0600; a reader has another uid.
FILE_MODE = 0o644
FOLDER_MODE = 0o755

_WORDS = {
    errno.ENOSPC: ("StorageFull", "the storage is full", "Make room in the claim, or use a larger one."),
    errno.EDQUOT: ("StorageFull", "the storage's quota is used up", "Make room in the claim, or raise its quota."),
    errno.EACCES: ("StorageDenied", "permission denied", "Let uid 65532 or the pod's fsGroup read and write there."),
    errno.EPERM: ("StorageDenied", "operation not permitted", "Let uid 65532 or the pod's fsGroup write there."),
    errno.EROFS: ("StorageReadOnly", "the storage is read-only", "Mount a claim that can be written."),
    errno.ESTALE: ("StorageStale", "the mount is stale", "See that the file server of the claim is up."),
    errno.ENOTCONN: ("StorageStale", "the mount is not connected", "See that the file server of the claim is up."),
}
_OTHER = ("StorageFailed", "the storage refused", "See that the claim is bound and its volume healthy.")


# What a file system says that has no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EMLINK)

# What is published: bytes, or a local file that may be larger than memory.
Content = bytes | Path


@dataclass(frozen=True)
class Stored:
    """A file as a listing shows it."""

    path: str  # below the folder that was listed
    size: int
    modified: datetime
    link: bool = False


class StorageFailed(Exception):
    """Storage or a source did not do what it should; another attempt may do better."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn the operating system's errors into StorageFailed with words."""
    try:
        yield
    except OSError as error:
        reason, what, remedy = _WORDS.get(error.errno or 0, _OTHER)
        raise StorageFailed(Problem.of(reason, f"{what}: {error}.", value=path, remedy=remedy)) from error


@contextmanager
def _told_unless_missing(path: str) -> Iterator[None]:
    """Let the caller say what a missing file means; everything else is the storage's failure."""
    with _told(path):
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            missing: OSError = error
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
                raise
            missing = error  # there can be none
        else:
            return
    raise FileNotFoundError(errno.ENOENT, "no such file", path) from missing


class Store:
    """Files below one folder of this machine; the trainer has the same for object stores.

    Paths are relative to the root. Every method raises StorageFailed when the filesystem does, and those that read
    raise FileNotFoundError when there is no such file.
    """

    probe_bytes = 4 << 20

    def __init__(self, filesystem: fsspec.AbstractFileSystem, root: str, within: str | None = None) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._within = self._root if within is None else within

    @classmethod
    def local(cls, root: str, within: str | None = None) -> Self:
        """Return the store of a folder whose links may lead `within` another, its mount; by default within itself."""
        return cls(fsspec.filesystem("file"), root, within)

    @property
    def local_folder(self) -> str | None:
        """The root as a folder of this machine, or None when it is none."""
        return self._root if getattr(self._fs, "local_file", False) else None

    def path(self, relative: str = "") -> str:
        """Return the filesystem's own path of a file."""
        return f"{self._root}/{relative}" if relative else self._root

    # Reading

    def exists(self, relative: str = "") -> bool:
        """Whether there is a file or folder."""
        return self._kind(relative) is not None

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of the files right in a folder; links to files count as files."""
        path = self._inside(folder)
        with _told_unless_missing(path):
            found = [str(item) for item in self._fs.ls(path, detail=False)]
            return sorted(item.rsplit("/", 1)[1] for item in found if self._fs.isfile(item))

    def folders(self, folder: str = "") -> list[str]:
        """Return the sorted names of the folders right in a folder; none when it does not exist."""
        path = self._inside(folder)
        if self._kind(folder) != "directory":
            return []
        with _told(path):
            found = [str(item) for item in self._fs.ls(path, detail=False)]
            return sorted(item.rsplit("/", 1)[1] for item in found if self._fs.isdir(item))

    def listing(self, folder: str) -> list[Stored]:
        """Return all files below a folder; none when it does not exist.

        Links are shown and not followed: a folder that is one, or is below one, is shown as a link.
        """
        path = self.path(folder)
        with _told(path):
            if self._is_linked(folder):
                return [Stored("", 0, datetime.now(UTC), link=True)]
        if self._kind(folder) is None:
            return []
        with _told(path):
            return sorted(self._below(path, path), key=lambda item: item.path)

    def _is_linked(self, relative: str) -> bool:
        """Whether a link of the storage leads to this file or folder."""
        parts = relative.split("/")
        return any(Path(self.path("/".join(parts[: end + 1]))).is_symlink() for end in range(len(parts)))

    def _below(self, root: str, path: str) -> Iterator[Stored]:
        for info in self._fs.ls(path, detail=True):
            name, link = str(info["name"]), bool(info.get("islink"))
            if info["type"] == "directory" and not link:
                yield from self._below(root, name)
            else:
                modified = datetime.fromtimestamp(info["mtime"], UTC)
                yield Stored(name.removeprefix(f"{root}/"), int(info["size"] or 0), modified, link)

    def size(self, relative: str) -> int:
        """Return a file's length in bytes."""
        path = self._inside(relative)
        with _told_unless_missing(path):
            return int(self._fs.size(path))

    @contextmanager
    def open(self, relative: str) -> Iterator[IO[bytes]]:
        """Open a file for reading; errors while reading are told like all others."""
        path = self._inside(relative)
        with _told_unless_missing(path), self._fs.open(path, "rb") as stream:
            # Once more, of what was opened: a link may have been put there meanwhile.
            self._check(f"/proc/self/fd/{stream.fileno()}", path)
            yield stream

    def read(self, relative: str) -> bytes:
        """Return a file's content."""
        with self.open(relative) as stream:
            content = io.BytesIO()  # which gives away what it holds without copying it
            copy(stream, content)
            return content.getvalue()

    def entry(self, relative: str, name: str) -> FileEntry:
        """Hash a file and return its manifest entry under a name."""
        with self.open(relative) as stream:
            return file_entry(name, stream)  # type: ignore[arg-type]

    # Artifacts

    def manifest(self, digest: str) -> Manifest | None:
        """Return the manifest of an artifact, or None when it was never completely published."""
        try:
            found = Manifest.model_validate_json(self.read(layout.manifest_file(digest)))
        except (FileNotFoundError, ValidationError):
            return None
        return found if found.digest == digest else None

    def complete(self, digest: str) -> Manifest | None:
        """Return the manifest of an artifact whose files all have the right size, or None. Hashes nothing."""
        manifest = self.manifest(digest)
        folder = layout.artifact_folder(digest)
        try:
            sizes = [self.size(f"{folder}/{entry.path}") for entry in manifest.files] if manifest else []
        except FileNotFoundError:
            return None
        return manifest if manifest and sizes == [entry.size for entry in manifest.files] else None

    def verified(self, digest: str) -> Manifest | None:
        """Return the manifest of an artifact after hashing all its files, or None when any of them differs."""
        manifest = self.complete(digest)
        folder = layout.artifact_folder(digest)
        if manifest is None:
            return None
        found = Manifest.of(self.entry(f"{folder}/{entry.path}", entry.path) for entry in manifest.files)
        return manifest if found.digest == digest else None

    def publish(self, files: Mapping[str, Content], uid: str) -> Manifest:
        """Publish files (name → content) as one artifact and return its manifest. Once more is a no-op."""
        manifest = Manifest.of(_entry(name, content) for name, content in files.items())
        digest = manifest.digest
        if self.verified(digest):
            return manifest
        folder = layout.artifact_folder(digest)
        for entry in manifest.files:
            self.write(f"{folder}/{entry.path}", files[entry.path], uid)
        self.write(layout.manifest_file(digest), manifest.line().encode(), uid)
        if not self.verified(digest):
            raise StorageFailed(
                Problem.of(
                    "StorageCorrupts",
                    f"artifact {short(digest)} reads back differently from what was written.",
                    value=self.path(folder),
                    remedy="See that the volume or object store is healthy.",
                )
            )
        return manifest

    def write(self, relative: str, content: Content, uid: str) -> None:
        """Write a file so that a reader sees the old content or the new one, never a part."""
        with _told(self.path(relative)), self._staged(relative, content, uid) as staged:
            self._rename(staged, self.path(relative))

    def create(self, relative: str, content: Content, uid: str) -> bool:
        """Write a file that is not there yet; return whether that was done. Of two who try, one does it.

        Where nothing but looking first is to be had, both may do it who look in the same moment.
        """
        with _told(self.path(relative)), self._staged(relative, content, uid) as staged:
            try:
                Path(self.path(relative)).hardlink_to(staged)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if self.exists(relative):
                    return False
                self._rename(staged, self.path(relative))
            return True

    @contextmanager
    def _staged(self, relative: str, content: Content, uid: str) -> Iterator[str]:
        """Write a content where it can be moved to its place from; nothing stays there, nor of what was cut short.

        What fills a storage to the last byte would keep everybody from writing who needs less.
        """
        staged = f"{layout.staging_folder(uid)}/{secrets.token_hex(8)}"
        self._inside(relative)
        self._inside(staged)
        self._make_folder(staged.rpartition("/")[0])
        self._make_folder(relative.rpartition("/")[0])
        try:
            with _opened(content) as source, self._fs.open(self.path(staged), "wb") as stream:
                copy(source, stream)
                self._sync(stream)
            self._allow(staged, FILE_MODE)
            yield self.path(staged)
        finally:
            with suppress(OSError):
                Path(self.path(staged)).unlink(missing_ok=True)

    def remove(self, relative: str) -> None:
        """Remove a file, or a folder with all that is in it; once more is a no-op."""
        if self._kind(relative) is not None:
            with _told(self.path(relative)):
                self._fs.rm(self._inside(relative), recursive=True)

    def remove_empty(self, folder: str) -> None:
        """Remove a folder in which nothing is; any other stays."""
        with suppress(OSError, BadInput):
            self._fs.rmdir(self._inside(folder))

    def probe(self, uid: str) -> None:
        """Raise StorageFailed or BadInput when nothing can be written: better before the work than after it."""
        # Random: some file systems need no room for what they can compress.
        self.write(f"{layout.staging_folder(uid)}/{PROBE}", secrets.token_bytes(self.probe_bytes), uid)
        self.clean(uid)

    def clean(self, uid: str) -> None:
        """Remove what a Job left in staging. What cannot be removed stays: the work itself is done."""
        with suppress(OSError, BadInput):
            self._fs.rm(self._inside(layout.staging_folder(uid)), recursive=True)

    def _make_folder(self, relative: str) -> None:
        """Make a folder and those above it; folders that were there keep their mode."""
        parts = relative.split("/")
        for end in range(1, len(parts) + 1):
            folder = "/".join(parts[:end])
            if self._kind(folder) is None:
                self._fs.makedirs(self.path(folder), exist_ok=True)
                self._allow(folder, FOLDER_MODE)

    def _kind(self, relative: str) -> str | None:
        """Return `file`, `directory` or None. fsspec's own `exists` takes a stale mount for an absent file."""
        try:
            path = self._inside(relative)
            with _told_unless_missing(path):
                return str(self._fs.info(path)["type"])
        except FileNotFoundError:
            return None

    def _inside(self, relative: str) -> str:
        """Return the path of a file or folder. Raises BadInput when links lead out of where it may be."""
        path = self.path(relative)
        self._check(path, path)
        return path

    def _check(self, where: str, path: str) -> None:
        if not Path(os.path.realpath(where)).is_relative_to(os.path.realpath(self._within)):
            message = "this is a link, or below one, that leads out of the claim or ConfigMap that is mounted."
            remedy = "Put the file itself there, or let the link lead to a file of the same claim."
            raise BadInput(Problem.of("LinkLeadsOutside", message, value=path, remedy=remedy))

    def _rename(self, source: str, target: str) -> None:
        """Move a file. fsspec's local `mv` would fall back to copying, which readers could see half done."""
        os.replace(source, target)  # noqa: PTH105 - the store speaks in fsspec's paths

    def _allow(self, relative: str, mode: int) -> None:
        self._fs.chmod(self.path(relative), mode)

    def _sync(self, stream: Any) -> None:
        """Have the bytes on the disk before the rename is: a power cut must not leave an empty file in its place."""
        stream.flush()
        os.fsync(stream.fileno())


def copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy a stream to its end, and tell that it goes on."""
    while chunk := source.read(CHUNK):
        target.write(chunk)
        progress.made()


def _opened(content: Content) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def _entry(name: str, content: Content) -> FileEntry:
    with _opened(content) as stream:
        return file_entry(name, stream)


def require_storage(store: Store) -> None:
    """Raise StorageFailed when the storage's root is not there: an absent mount must not look like an empty one."""
    if not store.exists():
        raise StorageFailed(
            Problem.of(
                "StorageMissing",
                "there is no storage at this path in the pod.",
                value=store.path(),
                remedy="See that the project's claim is bound and mounted.",
            )
        )
