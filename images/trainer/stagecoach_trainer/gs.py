"""Google Cloud Storage, by its JSON API: large objects by resumable uploads, which are no objects until they end.

An upload that was begun and never ended costs nothing and is forgotten after a week: unlike S3's, none has to be looked
for and given up. Listings are of the moment; nothing of them is kept here.
"""

import errno
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

from stagecoach.contract.store import Content, Stored
from stagecoach.contract.uris import Uri
from stagecoach_trainer import objects
from stagecoach_trainer.gs_client import Answer, Client, rest
from stagecoach_trainer.gs_errors import CHANGED, GIVEN_UP, MISSING, Refused, may_pass, told
from stagecoach_trainer.objects import ObjectStore, Page, Part, length, piece

_OBJECTS, _OBJECT, _UPLOAD = "/storage/v1/b/{}/o", "/storage/v1/b/{}/o/{}", "/upload/storage/v1/b/{}/o"
# As it lies there: otherwise the store unpacks what was written with Content-Encoding gzip, and ignores ranges.
_RAW = {"Accept-Encoding": "gzip"}
_JSON = {"Content-Type": "application/json"}
# Of an upload that has not all its bytes yet.
_GO_ON = 308


class GoogleStorage(ObjectStore):
    """The objects of a bucket whose keys begin with a prefix."""

    @classmethod
    def connect(cls, place: Uri, keys: Mapping[str, str], field: str = "", secret: str = "") -> Self:
        """Return the store at a URI that a field of the spec names, given the content of its Secret and its name."""
        return cls(Client.of(keys, secret), place, field, secret)

    def size(self, relative: str) -> int:
        """Return an object's length in bytes."""
        with self._told(relative):
            return int(self._ask_of_object("GET", relative, fields="size").document()["size"])

    def _page(self, relative: str, prefix: str, *, delimiter: str = "", following: str = "", most: int = 0) -> Page:
        asked = {"prefix": prefix, "delimiter": delimiter, "pageToken": following, "maxResults": str(most or "")}
        given = {name: value for name, value in asked.items() if value}
        with self._told(relative):
            fields = "items(name,size,timeCreated),prefixes,nextPageToken"
            page = self._fs.ask("GET", _OBJECTS, self._bucket, fields=fields, **given).document()
            found = tuple(
                Stored(item["name"], int(item["size"]), datetime.fromisoformat(item["timeCreated"]))
                for item in page.get("items", ())
            )
        return Page(found, tuple(page.get("prefixes", ())), page.get("nextPageToken", ""))

    def _get(self, relative: str, start: int, version: str = "") -> Part:
        span = {"Range": f"bytes={start}-{start + objects.READ_PART - 1}"}
        generation = {"generation": version} if version else {}
        with self._told(relative):
            answer = self._ask_of_object("GET", relative, headers=_RAW | span, alt="media", **generation)
            found = re.search(r"/([0-9]+)$", answer.headers.get("Content-Range", ""))
            size = int(found.group(1)) if found else len(answer.content)
            # Only between parts does it matter which version they are of.
            version = answer.header("X-Goog-Generation") if size > len(answer.content) else ""
            return Part(answer.content, size, version)

    # Writing

    def _put(self, relative: str, content: bytes, *, new: bool = False) -> None:
        with self._told(relative):
            named = {"uploadType": "media", "name": self._key(relative)} | ({"ifGenerationMatch": "0"} if new else {})
            self._fs.ask("POST", _UPLOAD, self._bucket, content=content, **named)

    def _delete(self, key: str) -> None:
        relative = key.removeprefix(self._prefix)
        with suppress(FileNotFoundError), self._told(relative):
            self._ask_of_object("DELETE", relative)

    def _send(self, relative: str, content: Content) -> None:
        with self._told(relative):
            named = json.dumps({"name": self._key(relative)}).encode()
            begun = self._fs.ask("POST", _UPLOAD, self._bucket, headers=_JSON, content=named, uploadType="resumable")
            upload = self._fs.here(begun.header("Location"))
            try:
                self._send_parts(upload, content)
            except BaseException as error:
                with suppress(Exception):
                    self._fs.ask("DELETE", upload, tries=1)
                if isinstance(error, Refused) and error.status in GIVEN_UP:
                    raise FileNotFoundError(errno.ENOENT, "no such upload", self.path(relative)) from error
                raise

    def _send_parts(self, upload: str, content: Content) -> None:
        size, start, stuck = length(content), 0, 0
        while start < size:
            body = piece(content, start)
            failed: Exception = Refused(_GO_ON, message="an upload does not go on")
            try:
                span = f"bytes {start}-{start + len(body) - 1}/{size}"
                answer = self._fs.ask("PUT", upload, headers={"Content-Range": span}, content=body, tries=1)
            except Exception as error:
                if not may_pass(error):
                    raise
                failed = error
                # How much has arrived is the store's to say, and whether the upload has ended with it.
                answer = self._fs.ask("PUT", upload, headers={"Content-Range": f"bytes */{size}"})
            arrived = _arrived(answer, size)
            stuck = 0 if arrived > start else stuck + 1
            if stuck == objects.TRIES:
                raise failed
            if stuck:
                rest(stuck)
            start = arrived

    # The store's own words

    def _told(self, relative: str) -> Any:
        return told(self.path(relative), self._field, self._secret)

    def _ask_of_object(self, method: str, relative: str, **asked: Any) -> Answer:
        try:
            answer: Answer = self._fs.ask(method, _OBJECT, self._bucket, self._key(relative), **asked)
        except Refused as refused:
            if refused.status != MISSING:
                raise
            if "generation" in asked:
                raise Refused(CHANGED, message=refused.message) from refused
            # The same is said of a missing object and of a missing bucket: a listing fails for want of a bucket alone.
            self._fs.ask("GET", _OBJECTS, self._bucket, maxResults="1", fields="nextPageToken")
            raise FileNotFoundError(errno.ENOENT, "no such object", self.path(relative)) from refused
        return answer


def _arrived(answer: Answer, size: int) -> int:
    """Return how many bytes of an upload the store has."""
    if answer.status != _GO_ON:
        return size
    found = re.search(r"-([0-9]+)$", answer.headers.get("Range", ""))
    return int(found.group(1)) + 1 if found else 0
