"""LookupJob: has this been computed already?"""

import hashlib

from pydantic import TypeAdapter, ValidationError

from stagecoach.contract import layout
from stagecoach.contract.jobs import Subject
from stagecoach.contract.records import ImportRecord, Record
from stagecoach.contract.reports import ArtifactReport
from stagecoach.contract.store import Store, require_storage

_RECORD: TypeAdapter[Record | ImportRecord] = TypeAdapter(Record | ImportRecord)


def read_record(storage: Store, inputs_digest: str) -> tuple[Record | ImportRecord, str] | None:
    """Return the record of the run with these inputs and its content's digest, or None when there is none to use."""
    try:
        content = storage.read(layout.record_file(inputs_digest))
        # A record of a later version may have more in it: what it has of ours stays true.
        record = _RECORD.validate_json(content, extra="ignore")
    except (FileNotFoundError, ValidationError):
        return None
    return (record, digest_of_content(content)) if record.inputs_digest == inputs_digest else None


def digest_of_content(content: bytes) -> str:
    """Return the digest of a record's bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def found(storage: Store, inputs_digest: str, subject: Subject, *, force: bool = False) -> ArtifactReport | None:
    """Return what the run with these inputs published, when its record is there and its artifact intact.

    What an earlier attempt of the same run published is its own, not adopted; with `force` nothing else counts.
    """
    require_storage(storage)
    known = read_record(storage, inputs_digest)
    if known is None or storage.verified(known[0].artifact.digest) is None:
        return None
    record, digest = known
    own = record.subject.uid == subject.uid
    return None if force and not own else record.report(digest, adopted=not own)
