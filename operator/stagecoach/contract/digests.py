"""Identities: `sha256:<64 hex>` over bytes, documents and sets of files. A name or a tag is never an identity."""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, BinaryIO

from pydantic import Field, StringConstraints

from stagecoach.contract import progress
from stagecoach.contract.model import ContractModel, canonical_json

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]

CHUNK = 1 << 20


class FileEntry(ContractModel):
    """One file of a manifest."""

    path: str = Field(description="Path below the manifest's folder, with forward slashes.")
    size: int = Field(ge=0, description="Length in bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content, in hex.")


class Manifest(ContractModel):
    """The files that make up a data set, model or adapter, and by their digest its identity."""

    files: tuple[FileEntry, ...]

    @classmethod
    def of(cls, entries: Iterable[FileEntry]) -> "Manifest":
        """Return the manifest of these files, in the one order that the digest is taken over."""
        return cls(files=tuple(sorted(entries, key=lambda entry: entry.path)))

    @property
    def digest(self) -> str:
        """The identity of the files' content."""
        return digest_of_document([entry.document() for entry in self.files])

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files)


def digest_of_document(document: Any) -> str:
    """Return the digest of a JSON document in its canonical form."""
    return "sha256:" + hashlib.sha256(canonical_json(document)).hexdigest()


def file_entry(path: str, stream: BinaryIO) -> FileEntry:
    """Read a stream to its end and return its manifest entry."""
    sha256, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        sha256.update(chunk)
        size += len(chunk)
        progress.made()
    return FileEntry(path=path, size=size, sha256=sha256.hexdigest())


def hex_of(digest: str) -> str:
    """Return the 64 hex digits of a digest, as used in paths."""
    return digest.removeprefix("sha256:")


def short(digest: str) -> str:
    """Return the 12 hex digits that people see in columns and messages."""
    return hex_of(digest)[:12]
