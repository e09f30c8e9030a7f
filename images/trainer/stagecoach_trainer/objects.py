"""An object store, with the promises of Store.

Writing an object is atomic, and so is the end of an upload in parts, so nothing is staged and nothing renamed: the
manifest is the last object that is written, and what was interrupted is no object at all. Large objects are read and
written in parts; a reader names the version that it began with, and so never gets two halves of different ones.
"""

import errno
import io
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import IO, Any

from stagecoach.contract import layout, progress
from stagecoach.contract.digests import file_entry
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import PROBE, Content, StorageFailed, Store, Stored
from stagecoach.contract.uris import Uri

# Times PARALLEL, this is what reading or writing takes of the pod's memory.
READ_PART = 16 << 20
WRITE_PART = 16 << 20
PARALLEL = 8
TRIES = 4


class EmptyObject(Exception):
    """There is no first byte."""


class UnknownCondition(StorageFailed):
    """The store does not know the condition under which it was to write."""


@dataclass(frozen=True)
class Part:
    """A part of an object, the size of all of it, and the word for the version that it is of, where there are more."""

    content: bytes
    size: int
    version: str


@dataclass(frozen=True)
class Page:
    """What a listing names: objects by their keys, and with a delimiter what comes next below; and how to go on."""

    objects: tuple[Stored, ...]
    prefixes: tuple[str, ...]
    following: str  # empty when there is no more

    @property
    def keys(self) -> list[str]:
        """The keys of the objects."""
        return [item.path for item in self.objects]


class ObjectStore(Store, ABC):
    """The objects of a bucket whose keys begin with a prefix."""

    # A bucket is never full, and who refuses a long body before its end may cut the connection instead of saying why.
    probe_bytes = 1

    def __init__(self, filesystem: Any, place: Uri, field: str, secret: str) -> None:
        super().__init__(filesystem, str(place))
        self._field, self._secret = field, secret
        self._bucket = place.name
        self._prefix = f"{place.path}/" if place.path else ""

    # What each kind of store does in its own words. All raise FileNotFoundError for an object that is not there.

    @abstractmethod
    def size(self, relative: str) -> int:
        """Return an object's length in bytes."""

    @abstractmethod
    def _page(self, relative: str, prefix: str, *, delimiter: str = "", following: str = "", most: int = 0) -> Page:
        """Return a page of a listing, of at most so many names if a number is given."""

    @abstractmethod
    def _get(self, relative: str, start: int, version: str = "") -> Part:
        """Return a part of an object, of one version if it is named. Raises EmptyObject where nothing begins."""

    @abstractmethod
    def _put(self, relative: str, content: bytes, *, new: bool = False) -> None:
        """Write an object of at most WRITE_PART bytes. Raises SourceChanged when it is to be new, and is not."""

    @abstractmethod
    def _send(self, relative: str, content: Content) -> None:
        """Write a larger object in parts. Raises FileNotFoundError when the upload is no longer known."""

    @abstractmethod
    def _delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""

    def _give_up(self, prefix: str, *, older: timedelta = timedelta(0)) -> None:
        """Give up what interrupted attempts had begun to send, where a store keeps that until it is told to."""

    # Reading

    def exists(self, relative: str = "") -> bool:
        """Whether there is an object, or one below; the root of a bucket that can be listed is always there."""
        if not relative:
            self._page("", self._prefix, most=1)
            return True
        try:
            self.size(relative)
        except FileNotFoundError:
            return bool(self._page(relative, f"{self._key(relative)}/", most=1).keys)
        return True

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of the objects right below a prefix."""
        names, folders = self._list(folder)
        if not names and not folders:
            raise FileNotFoundError(errno.ENOENT, "no such objects", self.path(folder))
        return names

    def folders(self, folder: str = "") -> list[str]:
        """Return the sorted names of the next parts of the keys below a prefix."""
        return self._list(folder)[1]

    def listing(self, folder: str) -> list[Stored]:
        """Return all objects below a prefix."""
        prefix = f"{self._key(folder)}/"
        found = [item for page in self._pages(folder, prefix) for item in page.objects]
        return [Stored(item.path.removeprefix(prefix), item.size, item.modified) for item in found]

    @contextmanager
    def open(self, relative: str) -> Iterator[IO[bytes]]:
        """Open an object for reading, in parts that are fetched ahead."""
        parts = self._parts(relative)
        # The first part, so that what is missing is missed here.
        stream = _Stream(next(parts), parts)
        try:
            yield io.BufferedReader(stream)
        finally:
            parts.close()

    # Writing

    def write(self, relative: str, content: Content, uid: str) -> None:  # noqa: ARG002 - nothing is staged
        """Write an object so that a reader sees the old content or the new one, never a part."""
        if length(content) <= WRITE_PART:
            self._put(relative, piece(content, 0))
            return
        try:
            self._send(relative, content)
        except (FileNotFoundError, StorageFailed) as error:
            # Another writer of the same content may have been first, or the answer to the last request was lost.
            if self._holds(relative, content):
                return
            if isinstance(error, StorageFailed):
                raise
            message, remedy = "the upload was given up by somebody else.", "See the bucket's lifecycle rules."
            problem = Problem.of("UploadLost", message, field=self._field, value=self.path(relative), remedy=remedy)
            raise StorageFailed(problem) from error

    def create(self, relative: str, content: Content, uid: str) -> bool:
        """Write an object of at most WRITE_PART bytes that is not there yet; return whether that was done.

        Where a store takes no condition with what is written, looking first has to do.
        """
        if self.exists(relative):
            return False
        try:
            self._put(relative, piece(content, 0), new=True)
        except UnknownCondition:
            self.write(relative, content, uid)
        except StorageFailed as error:
            if error.problem.reason != "SourceChanged":
                raise  # whoever else writes it may have done so by now
            return False
        return True

    def remove(self, relative: str) -> None:
        """Remove an object, or all below a prefix and what was begun to be sent there; once more is a no-op."""
        key = self._key(relative)
        for page in self._pages(relative, key):
            for found in page.keys:
                # Another name may begin like this one.
                if found == key or found.startswith(f"{key}/"):
                    self._delete(found)
        self._give_up(f"{key}/")

    def remove_empty(self, folder: str) -> None:
        """There are no folders."""

    def clean(self, uid: str) -> None:
        """Remove what probing has left: nothing else is ever staged."""
        with suppress(BadInput, StorageFailed):
            self._delete(self._key(f"{layout.staging_folder(uid)}/{PROBE}"))

    def _holds(self, relative: str, content: Content) -> bool:
        """Whether there is an object with this content."""
        try:
            if self.size(relative) != length(content):
                return False
            with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as stream:
                return self.entry(relative, "content") == file_entry("content", stream)
        except (FileNotFoundError, BadInput, StorageFailed):
            return False

    # Keys, listings and parts

    def _key(self, relative: str) -> str:
        return f"{self._prefix}{relative}"

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        prefix = f"{self._key(folder)}/" if folder else self._prefix
        names: list[str] = []
        folders: list[str] = []
        for page in self._pages(folder, prefix, delimiter="/"):
            names += [key.removeprefix(prefix) for key in page.keys]
            folders += [key.removeprefix(prefix).rstrip("/") for key in page.prefixes]
        # An object that has the prefix itself as its key stands for the folder.
        return sorted(filter(None, names)), sorted(folders)

    def _pages(self, relative: str, prefix: str, delimiter: str = "") -> Iterator[Page]:
        """Yield the pages of a listing."""
        following = ""
        while True:
            page = self._page(relative, prefix, delimiter=delimiter, following=following)
            yield page
            if not (following := page.following):
                return

    def _parts(self, relative: str) -> Generator[bytes, None, None]:
        """Yield an object's parts in order, fetching the next ones meanwhile."""
        try:
            first = self._get(relative, 0)
        except EmptyObject:
            first = Part(b"", 0, "")
        starts = iter(range(len(first.content), first.size, READ_PART))
        pool = ThreadPoolExecutor(PARALLEL)

        def ask(count: int) -> list[Future[Part]]:
            return [pool.submit(self._get, relative, start, first.version) for start in islice(starts, count)]

        try:
            waiting = deque(ask(PARALLEL))
            yield first.content
            while waiting:
                part = waiting.popleft().result()
                progress.made()
                waiting.extend(ask(1))
                yield part.content
        finally:
            pool.shutdown(cancel_futures=True)


class _Stream(io.RawIOBase):
    """Bytes as they come from an iterator of parts."""

    def __init__(self, first: bytes, parts: Iterator[bytes]) -> None:
        self._at = memoryview(first)
        self._parts = parts

    def readable(self) -> bool:
        return True

    def readall(self) -> bytes:
        return b"".join((self._at, *self._parts))

    def readinto(self, buffer: Any) -> int:
        if not self._at:
            self._at = memoryview(next(self._parts, b""))
        count = min(len(buffer), len(self._at))
        buffer[:count] = self._at[:count]
        self._at = self._at[count:]
        return count


def length(content: Content) -> int:
    """Return a content's length in bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def piece(content: Content, start: int) -> bytes:
    """Return the part of a content that one request carries."""
    if isinstance(content, bytes):
        return content[start : start + WRITE_PART]
    with content.open("rb") as stream:
        stream.seek(start)
        return stream.read(WRITE_PART)
