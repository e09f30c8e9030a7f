"""S3, or what speaks like it: large objects by multipart uploads, several parts at a time."""

import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from stagecoach.contract import layout, progress
from stagecoach.contract.digests import Manifest
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Content, StorageFailed, Stored
from stagecoach.contract.uris import Uri
from stagecoach_trainer import objects
from stagecoach_trainer.objects import ObjectStore, Page, Part, length, piece
from stagecoach_trainer.s3_errors import told

# An upload that was begun this long ago has nobody who goes on with it; a younger one may be another writer's.
ABANDONED = timedelta(days=1)


class S3(ObjectStore):
    """The objects of a bucket whose keys begin with a prefix."""

    @classmethod
    def connect(cls, place: Uri, keys: Mapping[str, str], field: str = "", secret: str = "") -> Self:
        """Return the store at a URI that a field of the spec names, given the content of its Secret and its name."""
        import s3fs

        endpoint = keys.get("AWS_ENDPOINT_URL") or None
        config = {
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": {"mode": "standard", "max_attempts": objects.TRIES},
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

    def size(self, relative: str) -> int:
        """Return an object's length in bytes."""
        return int(self._call("head_object", relative, Key=self._key(relative))["ContentLength"])

    def publish(self, files: Mapping[str, Content], uid: str) -> Manifest:
        """Publish files as one artifact. What others began to send of it long ago, and never ended, is given up."""
        manifest = super().publish(files, uid)
        self._give_up(f"{self._key(layout.artifact_folder(manifest.digest))}/", older=ABANDONED)
        return manifest

    def _page(self, relative: str, prefix: str, *, delimiter: str = "", following: str = "", most: int = 0) -> Page:
        asked = {"Delimiter": delimiter, "ContinuationToken": following, "MaxKeys": most}
        given = {name: value for name, value in asked.items() if value}
        page = self._call("list_objects_v2", relative, Prefix=prefix, **given)
        return Page(
            tuple(Stored(item["Key"], item["Size"], item["LastModified"]) for item in page.get("Contents", ())),
            tuple(item["Prefix"] for item in page.get("CommonPrefixes", ())),
            page["NextContinuationToken"] if page.get("IsTruncated") else "",
        )

    # Writing

    def _put(self, relative: str, content: bytes, *, new: bool = False) -> None:
        condition = {"IfNoneMatch": "*"} if new else {}
        self._call("put_object", relative, Key=self._key(relative), Body=content, **condition)

    def _delete(self, key: str) -> None:
        self._call("delete_object", key.removeprefix(self._prefix), Key=key)

    def _send(self, relative: str, content: Content) -> None:
        key = self._key(relative)
        upload = self._call("create_multipart_upload", relative, Key=key)["UploadId"]
        try:
            self._send_parts(relative, content, upload)
        except BaseException:
            with suppress(BadInput, StorageFailed):
                self._abort(key, upload)
            raise

    def _send_parts(self, relative: str, content: Content, upload: str) -> None:
        key = self._key(relative)

        def part(number: int) -> dict[str, Any]:
            body = piece(content, (number - 1) * objects.WRITE_PART)
            sent = self._call("upload_part", relative, Key=key, UploadId=upload, PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": self._etag(sent, relative)}

        pool = ThreadPoolExecutor(objects.PARALLEL)
        try:
            parts = list(pool.map(part, range(1, 1 + -(-length(content) // objects.WRITE_PART))))
            finished = {"MultipartUpload": {"Parts": parts}}
            self._call("complete_multipart_upload", relative, Key=key, UploadId=upload, **finished)
        finally:
            pool.shutdown(cancel_futures=True)

    def _give_up(self, prefix: str, *, older: timedelta = timedelta(0)) -> None:
        """Give up what interrupted attempts had begun to send: it is no object, and takes its room all the same."""
        with suppress(BadInput, StorageFailed):
            for upload in self._begun(prefix):
                if datetime.now(UTC) - upload["Initiated"] >= older:
                    self._abort(upload["Key"], upload["UploadId"])

    def _begun(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield the uploads below a prefix that nobody has ended.

        Not every store can go on behind an upload, all can behind a key. The last key of a page may have more uploads:
        the next page begins with it.
        """
        behind: dict[str, str] = {}
        while True:
            page = self._call("list_multipart_uploads", "", Prefix=prefix, **behind)
            found = page.get("Uploads", ())
            if not found or not page.get("IsTruncated"):
                yield from found
                return
            whole = [upload for upload in found if upload["Key"] != found[-1]["Key"]] or found
            yield from whole
            following = {"KeyMarker": whole[-1]["Key"]}
            if following == behind:
                return  # it does not go on
            behind = following

    def _abort(self, key: str, upload: str) -> None:
        with suppress(FileNotFoundError):
            self._call("abort_multipart_upload", "", Key=key, UploadId=upload)

    # The store's own words

    def _call(self, operation: str, relative: str, **arguments: Any) -> dict[str, Any]:
        with told(self.path(relative), self._field, self._secret):
            answer: dict[str, Any] = self._fs.call_s3(operation, Bucket=self._bucket, **arguments)
            progress.made()
            return answer

    def _etag(self, answer: Mapping[str, Any], relative: str) -> str:
        """Return the store's word for a version or a part. Raises BadInput when it has none."""
        if etag := answer.get("ETag"):
            return str(etag)
        above = f"{objects.READ_PART >> 20} MiB"
        message = f"the object store gives no ETag, without which objects above {above} cannot be trusted."
        remedy = "Use a store that answers with ETags (a proxy before it may drop them), or a claim."
        raise BadInput(Problem.of("EtagMissing", message, field=self._field, value=self.path(relative), remedy=remedy))

    def _get(self, relative: str, start: int, version: str = "") -> Part:
        condition = {"IfMatch": version} if version else {}
        answer, content = self._fetched(relative, start, **condition)
        found = re.search(r"/([0-9]+)$", answer.get("ContentRange", ""))
        size = int(found.group(1)) if found else len(content)
        # Only between parts does it matter which version they are of.
        return Part(content, size, self._etag(answer, relative) if size > len(content) else "")

    def _fetched(self, relative: str, start: int, **condition: str) -> tuple[dict[str, Any], bytes]:
        from aiohttp import ClientError
        from botocore.exceptions import HTTPClientError
        from fsspec.asyn import sync

        span = f"bytes={start}-{start + objects.READ_PART - 1}"
        with told(self.path(relative), self._field, self._secret):
            for left in reversed(range(objects.TRIES)):
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
