"""LookupJob: has this been computed already?"""

import hashlib
import re
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.jobs import LookupJob, Subject
from stagecoach.contract.records import AnyRecord, RunRecord
from stagecoach.contract.reports import ArtifactReport
from stagecoach.contract.store import Store, require_storage
from stagecoach_trainer import checkpoints, places, uses

_RECORD: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)
_NAME = re.compile(layout.RECORD_PATTERN)


class Known(NamedTuple):
    """A record, its content's digest, and its name in the folder of its inputs."""

    record: RunRecord
    digest: str
    name: str


def look(job: LookupJob) -> ArtifactReport | None:
    """Return what the run adopts, if there is anything; what it saved before it had to wait for that is of no use."""
    known = found(places.storage(), job.inputs_digest, job.subject)
    if known is not None:
        checkpoints.forget(places.storage, job.inputs_digest, job.subject)
    return known


def records(storage: Store, inputs_digest: str) -> list[Known]:
    """Return the records of runs with these inputs that can be used, the newest first."""
    try:
        names = storage.names(layout.run_folder(inputs_digest))
    except FileNotFoundError:
        return []
    found = [_read(storage, inputs_digest, name) for name in names if _NAME.fullmatch(name)]
    known = [each for each in found if each is not None]
    return sorted(known, key=lambda each: (each.record.finished, each.digest), reverse=True)


def read_record(storage: Store, inputs_digest: str, artifact: str | None = None) -> Known | None:
    """Return the newest record of a run with these inputs, of those that made an artifact if one did; or None."""
    known = records(storage, inputs_digest)
    made = [each for each in known if each.record.artifact.digest == artifact]
    return next(iter(made or known), None)


def _read(storage: Store, inputs_digest: str, name: str) -> Known | None:
    try:
        content = storage.read(layout.record_file(inputs_digest, name))
    except FileNotFoundError:
        return None
    record = parsed(content, inputs_digest)
    return Known(record, digest_of_content(content), name) if record else None


def parsed(content: bytes, inputs_digest: str) -> RunRecord | None:
    """Return the record of these inputs that a content is, or None when it is none."""
    try:
        # One of a later version may have more in it: what it has of ours stays true.
        record = _RECORD.validate_json(content, extra="ignore")
    except ValidationError:
        return None
    return record if record.inputs_digest == inputs_digest else None


def digest_of_content(content: bytes) -> str:
    """Return the digest of a record's bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def found(storage: Store, inputs_digest: str, subject: Subject, *, force: bool = False) -> ArtifactReport | None:
    """Return what a run with these inputs published, when its record is there and its artifact intact.

    What an earlier attempt of the same run published is its own, not adopted, and comes first; with `force` nothing
    else counts. Then the newest is adopted. An artifact that retention has removed, or announced to, is not there.
    """
    require_storage(storage)
    known = [(each.record.subject.uid == subject.uid, each) for each in records(storage, inputs_digest)]
    for own, (record, digest, name) in sorted(known, key=lambda each: not each[0]):
        if (force and not own) or storage.manifest(record.artifact.digest) is None:
            continue
        if not own:
            uses.note(storage, record.artifact.digest, subject)
        if storage.verified(record.artifact.digest):
            return record.report(digest, name, adopted=not own)
    return None


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
