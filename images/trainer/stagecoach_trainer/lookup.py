"""LookupJob: has this been computed already?"""

import hashlib

from pydantic import TypeAdapter, ValidationError

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.jobs import LookupJob, Subject
from stagecoach.contract.records import AnyRecord, ImportRecord, Record
from stagecoach.contract.reports import ArtifactReport
from stagecoach.contract.store import Store, require_storage
from stagecoach_trainer import checkpoints, places, uses

_RECORD: TypeAdapter[Record | ImportRecord] = TypeAdapter(Record | ImportRecord)


def look(job: LookupJob) -> ArtifactReport | None:
    """Return what the run adopts, if there is anything; what it saved before it had to wait for that is of no use."""
    known = found(places.storage(), job.inputs_digest, job.subject)
    if known is not None:
        checkpoints.forget(places.storage, job.inputs_digest, job.subject)
    return known


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

    What an earlier attempt of the same run published is its own, not adopted; with `force` nothing else counts. An
    artifact that retention has removed, or announced to, is not there.
    """
    require_storage(storage)
    known = read_record(storage, inputs_digest)
    if known is None or storage.manifest(known[0].artifact.digest) is None:
        return None
    record, digest = known
    own = record.subject.uid == subject.uid
    if force and not own:
        return None
    if not own:
        uses.note(storage, record.artifact.digest, subject)
    return record.report(digest, adopted=not own) if storage.verified(record.artifact.digest) else None


def absent(storage: Store, record: AnyRecord) -> str:
    """Return a sentence for people about a record whose artifact cannot be used."""
    digest = record.artifact.digest
    if storage.exists(layout.leaving_file(digest)):
        why = f"is about to be removed by the project's retention; a file pins/{hex_of(digest)} brings it back"
    elif storage.exists(layout.removed_file(digest)):
        why = "was removed by the project's retention; a run with the same inputs trains it anew"
    else:
        why = "is not there, or is damaged; a run with the same inputs trains it anew"
    return f"the record of the inputs {record.inputs_digest} is there, and its artifact {digest} {why}"
