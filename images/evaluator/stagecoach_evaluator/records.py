"""Evidence in the storage: what was decided is written once, the record last, and used by whoever asks again."""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import count

from pydantic import ValidationError

from stagecoach.contract import layout
from stagecoach.contract.digests import FileEntry, hex_of
from stagecoach.contract.evaluations import EvaluationInputs, EvaluationRecord
from stagecoach.contract.releases import DescribedRelease
from stagecoach.contract.reports import Problem
from stagecoach.contract.store import StorageFailed, Store
from stagecoach.contract.verdicts import EvaluationReport, SuiteRows
from stagecoach_evaluator import criteria
from stagecoach_evaluator.report import HTML, JSON
from stagecoach_trainer.train import say

_TRIES = 3


def read(storage: Store, key: str) -> Iterator[tuple[EvaluationRecord, str]]:
    """Yield the records of the evaluation with this key that can be read, each with its content's digest."""
    return ((record, digest) for record, digest in _records(storage, key) if record is not None)


def _records(storage: Store, key: str) -> Iterator[tuple[EvaluationRecord | None, str]]:
    """Yield all records in the order in which they came; None: it cannot be read. The first that is whole counts."""
    for number in count(1):
        try:
            content = storage.read(layout.evaluation_record(key, number))
        except FileNotFoundError:
            return
        yield _record(content, key), digest_of(content)


def _record(content: bytes, key: str) -> EvaluationRecord | None:
    try:
        # One of a later version may have more in it: what it has of ours stays true.
        record = EvaluationRecord.model_validate_json(content, extra="ignore")
    except ValidationError:
        return None
    return record if hex_of(record.key) == hex_of(key) else None


def adopted(storage: Store, inputs: EvaluationInputs) -> EvaluationReport | None:
    """Return what was decided before on the same inputs, where all of its evidence is there as it was written."""
    known, why = _found(storage, inputs)
    if known is not None:
        say("the storage holds an evaluation of these inputs: nothing is computed")
    elif why is not None:
        say(f"the storage holds a damaged evaluation of these inputs: {why}; it is done anew")
    return known


def _found(storage: Store, inputs: EvaluationInputs) -> tuple[EvaluationReport | None, str | None]:
    """Return what was decided, if it can be used, and what is wrong with it, if it cannot."""
    why: str | None = None
    for record, digest in _records(storage, inputs.digest):
        why = "its record cannot be read" if record is None else _damage(storage, record, inputs)
        if record is not None and why is None:
            return report_of(record, digest, adopted=True), None
    return None, why


def _damage(storage: Store, record: EvaluationRecord, inputs: EvaluationInputs) -> str | None:
    """Return what is wrong with the evidence, or None."""
    if record.inputs != inputs or record.release.digest != inputs.release:
        return "its record is of other inputs than its key says"
    if wrong := _contradiction(record):
        return wrong
    if sorted(file.path for file in record.report) != sorted((JSON, HTML)):
        return "its report is not the files that it has to be"
    return _other_files(storage, record)


def _other_files(storage: Store, record: EvaluationRecord) -> str | None:
    """Return which file of the report is not there as its record says, or None."""
    for file in record.report:
        place = f"{layout.evaluation_folder(record.key)}/{file.path}"
        try:
            found = storage.entry(place, file.path)
        except FileNotFoundError:
            return f"{place} is not there"
        if found != file:
            return f"{place} is not what its record says"
    return None


def _contradiction(record: EvaluationRecord) -> str | None:
    """Return how a record contradicts itself: its results are of other criteria, or something does not follow."""
    inputs = record.inputs
    asked = [(criterion.name, criterion.advisory) for criterion in inputs.criteria]
    if [(result.criterion, result.advisory) for result in record.results] != asked:
        return "its results are not those of its criteria"
    if [suite.suite for suite in record.suites] != [suite.name for suite in inputs.suites]:
        return "its suites are not those of its inputs"
    for criterion, result in zip(inputs.criteria, record.results, strict=True):
        nothing = criterion.absent(inputs.incumbent)
        if not (criteria.follows(criterion, result) if nothing is None else result.outcome is nothing):
            return f"criterion {criterion.name} is {result.outcome}, which does not follow from its numbers"
    leaked = any(suite.leaked_rows for suite in record.suites)
    gaps = inputs.trained_on is None or any(
        suite.leaked_rows is None or not criteria.enough(suite.scored, suite.rows, inputs.min_scored)
        for suite in record.suites
    )
    deciding = [result.outcome for result in record.results if not result.advisory]
    if criteria.verdict_of(deciding, leaked, gaps) is not record.verdict:
        return f"its verdict is {record.verdict}, which does not follow from its results"
    return None


def publish(
    storage: Store,
    record: EvaluationRecord,
    files: Mapping[str, bytes],
    releases: tuple[DescribedRelease, ...],
    uid: str,
) -> EvaluationReport:
    """Write the report's files, what the releases are made of, and the record last; return what to report.

    Who was faster is right: its record is used where it is whole, and its files stay. Earlier records, which were
    damaged, stay where they are: one that is removed or replaced could be another's by then, of what is decided.
    """
    for release in releases:
        _write_once(storage, layout.release_file(release.release.digest), f"{release.line()}\n".encode(), uid)
    folder = layout.evaluation_folder(record.key)
    place = layout.evaluation_record(record.key, 1 + sum(1 for _ in _records(storage, record.key)))
    entries = tuple(FileEntry(path=name, size=len(files[name]), sha256=_sha256(files[name])) for name in sorted(files))
    record = record.model_copy(update={"report": entries})
    faster = _write_files(storage, record, files, place, uid)
    if faster is not None:
        return faster
    content = (record.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n").encode()
    if not storage.create(place, content, uid):
        faster, _why = _found(storage, record.inputs)
        if faster is None:
            raise _contested(storage, place)
        return faster
    # Since they were looked at another may have written its own.
    for name in files:
        _write_once(storage, f"{folder}/{name}", files[name], uid)
    return report_of(record, digest_of(content), adopted=False)


def _write_files(
    storage: Store, record: EvaluationRecord, files: Mapping[str, bytes], own: str, uid: str
) -> EvaluationReport | None:
    """Write the files of the report whose record will be at `own`; return what another has decided meanwhile.

    Its files are left as they are. Two may write at the same time: each file is of one of them, and all have to be.
    """
    for _ in range(_TRIES):
        for name in files:
            faster, _why = _found(storage, record.inputs)
            if faster is not None:
                return faster
            place = f"{layout.evaluation_folder(record.key)}/{name}"
            before = _write_once(storage, place, files[name], uid)
            if before is not None and storage.exists(own):
                storage.write(place, before, uid)  # of the record that came between the look and the write
        if _other_files(storage, record) is None:
            return None
    raise _contested(storage, own)


def _contested(storage: Store, place: str) -> StorageFailed:
    message = "another evaluation of the same inputs writes its report and record there at the same time."
    remedy = "The next attempt uses what that one has decided; see which other cluster has the same storage."
    return StorageFailed(Problem.of("EvidenceContested", message, value=storage.path(place), remedy=remedy))


def _content(storage: Store, place: str) -> bytes | None:
    try:
        return storage.read(place)
    except FileNotFoundError:
        return None


def _write_once(storage: Store, place: str, content: bytes, uid: str) -> bytes | None:
    """Write a file unless it is there as it should be; return what was there instead."""
    before = _content(storage, place)
    if before == content:
        return None
    storage.write(place, content, uid)
    return before


def report_of(record: EvaluationRecord, digest: str, *, adopted: bool) -> EvaluationReport:
    """Return what a Job reports of a record, whose content has the given digest."""
    leaked = [suite.leaked_rows for suite in record.suites]
    return EvaluationReport(
        verdict=record.verdict,
        results=record.results,
        message=record.message,
        record=digest,
        adopted=adopted,
        rows=sum(suite.rows for suite in record.suites),
        suites=tuple(SuiteRows(rows=suite.rows, scored=suite.scored) for suite in record.suites),
        leaked=None if None in leaked else sum(rows or 0 for rows in leaked),
        exposures=record.exposures,
        seconds=record.seconds,
    )


def digest_of(content: bytes) -> str:
    """Return the digest of a file's bytes."""
    return f"sha256:{_sha256(content)}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
