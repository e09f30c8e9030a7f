"""An object store, S3 or what speaks like it, with the promises of Store.

A PUT is atomic and so is the end of a multipart upload, so nothing is staged and nothing renamed: the manifest is the
last object that is written, and what was interrupted is no object at all. Large objects are read and written in parts,
several at a time; a reader names the version that it began with, and so never gets two halves of different ones.
"""

import errno
import io
import re
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import IO, Any, Self

from stagecoach.contract import layout
from stagecoach.contract.digests import Manifest, file_entry
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import PROBE, Content, StorageFailed, Store, Stored
from stagecoach.contract.uris import Uri
from stagecoach_trainer.object_errors import EmptyObject, told

# Times PARALLEL, this is what reading or writing takes of the pod's memory.
READ_PART = 16 << 20
WRITE_PART = 16 << 20
PARALLEL = 8
TRIES = 4
# An upload that was begun this long ago has nobody who goes on with it; a younger one may be another writer's.
ABANDONED = timedelta(days=1)


class ObjectStore(Store):
    """The objects of a bucket whose keys begin with a prefix."""

    def __init__(self, filesystem: Any, place: Uri, field: str, secret: str) -> None:
        super().__init__(filesystem, str(place))
        self._field, self._secret = field, secret
        self._bucket = place.name
        self._prefix = f"{place.path}/" if place.path else ""

    @classmethod
    def connect(cls, place: Uri, keys: Mapping[str, str], field: str = "", secret: str = "") -> Self:
        """Return the store at a URI that a field of the spec names, given the content of its Secret and its name."""
        import s3fs

        endpoint = keys.get("AWS_ENDPOINT_URL") or None
        config = {
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": {"mode": "standard", "max_attempts": TRIES},
            # A store of one's own seldom has a DNS name for each bucket.
            "s3": {"addressing_style": "path" if endpoint else "auto"},
            # Not every store knows these; what is published and read is compared by its own SHA-256.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        filesystem = s3fs.S3FileSystem(
            # Never whatever the machine around the pod may offer.
            anon=not keys.get("AWS_ACCESS_KEY_ID"),
            key=keys.get("AWS_ACCESS_KEY_ID") or None,
            secret=keys.get("AWS_SECRET_ACCESS_KEY") or None,
            token=keys.get("AWS_SESSION_TOKEN") or None,
            endpoint_url=endpoint,
            client_kwargs={"region_name": keys.get("AWS_REGION") or "us-east-1"},
            config_kwargs=config,
            skip_instance_cache=True,
        )
        # The client below has tried again already.
        filesystem.retries = 2
        return cls(filesystem, place, field, secret)

    # Reading

    def exists(self, relative: str = "") -> bool:
        """Whether there is an object, or one below; the root of a bucket that can be listed is always there."""
        if not relative:
            self._call("list_objects_v2", "", Prefix=self._prefix, MaxKeys=1)
            return True
        try:
            self.size(relative)
        except FileNotFoundError:
            found = self._call("list_objects_v2", relative, Prefix=f"{self._key(relative)}/", MaxKeys=1)
            return bool(found.get("Contents"))
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
        found = [item for page in self._pages(folder, Prefix=prefix) for item in page.get("Contents", ())]
        return [Stored(item["Key"].removeprefix(prefix), item["Size"], item["LastModified"]) for item in found]

    def size(self, relative: str) -> int:
        """Return an object's length in bytes."""
        return int(self._call("head_object", relative, Key=self._key(relative))["ContentLength"])

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

    def publish(self, files: Mapping[str, Content], uid: str) -> Manifest:
        """Publish files as one artifact. What others began to send of it long ago, and never ended, is given up."""
        manifest = super().publish(files, uid)
        self._give_up(f"{self._key(layout.artifact_folder(manifest.digest))}/", older=ABANDONED)
        return manifest

    def write(self, relative: str, content: Content, uid: str) -> None:  # noqa: ARG002 - nothing is staged
        """Write an object so that a reader sees the old content or the new one, never a part."""
        if _length(content) <= WRITE_PART:
            self._call("put_object", relative, Key=self._key(relative), Body=_piece(content, 0))
        else:
            self._send(relative, content)

    def remove(self, relative: str) -> None:
        """Remove an object, or all below a prefix and what was begun to be sent there; once more is a no-op."""
        key = self._key(relative)
        for page in self._pages(relative, Prefix=key):
            for item in page.get("Contents", ()):
                # Another name may begin like this one.
                if item["Key"] == key or item["Key"].startswith(f"{key}/"):
                    self._call("delete_object", relative, Key=item["Key"])
        self._give_up(f"{key}/")

    def remove_empty(self, folder: str) -> None:
        """There are no folders."""

    def clean(self, uid: str) -> None:
        """Remove what probing has left: nothing else is ever staged."""
        with suppress(BadInput, StorageFailed):
            key = self._key(f"{layout.staging_folder(uid)}/{PROBE}")
            self._call("delete_object", "", Key=key)

    def _send(self, relative: str, content: Content) -> None:
        key = self._key(relative)
        upload = self._call("create_multipart_upload", relative, Key=key)["UploadId"]
        try:
            self._send_parts(relative, content, upload)
        except BaseException as error:
            with suppress(BadInput, StorageFailed):
                self._abort(key, upload)
            if not isinstance(error, (FileNotFoundError, StorageFailed)):
                raise
            # Another writer of the same content may have been first, or the answer to the last request was lost.
            if self._holds(relative, content):
                return
            if isinstance(error, StorageFailed):
                raise
            message, remedy = "the upload was given up by somebody else.", "See the bucket's lifecycle rules."
            problem = Problem.of("UploadLost", message, field=self._field, value=self.path(relative), remedy=remedy)
            raise StorageFailed(problem) from error

    def _holds(self, relative: str, content: Content) -> bool:
        """Whether there is an object with this content."""
        try:
            if self.size(relative) != _length(content):
                return False
            with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as stream:
                return self.entry(relative, "content") == file_entry("content", stream)
        except (FileNotFoundError, BadInput, StorageFailed):
            return False

    def _send_parts(self, relative: str, content: Content, upload: str) -> None:
        key = self._key(relative)

        def part(number: int) -> dict[str, Any]:
            body = _piece(content, (number - 1) * WRITE_PART)
            sent = self._call("upload_part", relative, Key=key, UploadId=upload, PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": self._etag(sent, relative)}

        pool = ThreadPoolExecutor(PARALLEL)
        try:
            parts = list(pool.map(part, range(1, 1 + -(-_length(content) // WRITE_PART))))
            finished = {"MultipartUpload": {"Parts": parts}}
            self._call("complete_multipart_upload", relative, Key=key, UploadId=upload, **finished)
        finally:
            pool.shutdown(cancel_futures=True)

    def _give_up(self, prefix: str, *, older: timedelta = timedelta(0)) -> None:
        """Give up what interrupted attempts had begun to send: it is no object, and takes its room all the same."""
        with suppress(BadInput, StorageFailed):
            for upload in self._call("list_multipart_uploads", "", Prefix=prefix).get("Uploads", ()):
                if datetime.now(UTC) - upload["Initiated"] >= older:
                    self._abort(upload["Key"], upload["UploadId"])

    def _abort(self, key: str, upload: str) -> None:
        with suppress(FileNotFoundError):
            self._call("abort_multipart_upload", "", Key=key, UploadId=upload)

    # The store's own words

    def _key(self, relative: str) -> str:
        return f"{self._prefix}{relative}"

    def _call(self, operation: str, relative: str, **arguments: Any) -> dict[str, Any]:
        with told(self.path(relative), self._field, self._secret):
            answer: dict[str, Any] = self._fs.call_s3(operation, Bucket=self._bucket, **arguments)
            return answer

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        prefix = f"{self._key(folder)}/" if folder else self._prefix
        names: list[str] = []
        folders: list[str] = []
        for page in self._pages(folder, Prefix=prefix, Delimiter="/"):
            names += [item["Key"].removeprefix(prefix) for item in page.get("Contents", ())]
            folders += [item["Prefix"].removeprefix(prefix).rstrip("/") for item in page.get("CommonPrefixes", ())]
        return sorted(filter(None, names)), sorted(folders)

    def _pages(self, relative: str, **asked: str) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing."""
        following: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", relative, **asked, **following)
            yield page
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def _parts(self, relative: str) -> Generator[bytes, None, None]:
        """Yield an object's parts in order, fetching the next ones meanwhile."""
        first, size, version = self._first(relative)
        starts = iter(range(len(first), size, READ_PART))
        pool = ThreadPoolExecutor(PARALLEL)

        def ask(count: int) -> list[Future[bytes]]:
            return [pool.submit(self._part, relative, start, version) for start in islice(starts, count)]

        try:
            waiting = deque(ask(PARALLEL))
            yield first
            while waiting:
                part = waiting.popleft().result()
                waiting.extend(ask(1))
                yield part
        finally:
            pool.shutdown(cancel_futures=True)

    def _first(self, relative: str) -> tuple[bytes, int, str]:
        """Return the first part of an object, its size and its version."""
        try:
            answer, content = self._get(relative, 0)
        except EmptyObject:
            return b"", 0, ""
        found = re.search(r"/([0-9]+)$", answer.get("ContentRange", ""))
        size = int(found.group(1)) if found else len(content)
        # Only between parts does it matter which version they are of.
        return content, size, self._etag(answer, relative) if size > len(content) else ""

    def _etag(self, answer: Mapping[str, Any], relative: str) -> str:
        """Return the store's word for a version or a part. Raises BadInput when it has none."""
        if etag := answer.get("ETag"):
            return str(etag)
        message = (
            f"the object store gives no ETag, without which objects above {READ_PART >> 20} MiB cannot be trusted."
        )
        remedy = "Use a store that answers with ETags (a proxy before it may drop them), or a claim."
        raise BadInput(Problem.of("EtagMissing", message, field=self._field, value=self.path(relative), remedy=remedy))

    def _part(self, relative: str, start: int, version: str) -> bytes:
        return self._get(relative, start, IfMatch=version)[1]

    def _get(self, relative: str, start: int, **condition: str) -> tuple[dict[str, Any], bytes]:
        from aiohttp import ClientError
        from botocore.exceptions import HTTPClientError
        from fsspec.asyn import sync

        span = f"bytes={start}-{start + READ_PART - 1}"
        with told(self.path(relative), self._field, self._secret):
            for left in reversed(range(TRIES)):
                try:
                    found: tuple[dict[str, Any], bytes] = sync(
                        self._fs.loop, self._fetch, Key=self._key(relative), Range=span, **condition
                    )
                except (TimeoutError, ClientError, HTTPClientError):
                    # Cut off in mid-answer; the library has repeated what had not been answered at all.
                    if not left:
                        raise
                    time.sleep(1.0)
                else:
                    return found
        raise AssertionError("the last try returns or raises")

    async def _fetch(self, **arguments: str) -> tuple[dict[str, Any], bytes]:
        answer = await self._fs._call_s3("get_object", Bucket=self._bucket, **arguments)
        async with answer["Body"] as body:
            return answer, await body.read()


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


def _length(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _piece(content: Content, start: int) -> bytes:
    """Return the part of a content that one request carries."""
    if isinstance(content, bytes):
        return content[start : start + WRITE_PART]
    with content.open("rb") as stream:
        stream.seek(start)
        return stream.read(WRITE_PART)
