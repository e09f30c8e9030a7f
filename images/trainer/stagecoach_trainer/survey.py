"""What a storage holds, as far as retention has to know. What cannot be read stops it: it may keep an artifact."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.retention import Leaving, digests_in
from stagecoach.contract.store import Store
from stagecoach.contract.times import moment
from stagecoach_trainer import uses
from stagecoach_trainer.retaining import Held, Told

_HEX = re.compile(r"[0-9a-f]{64}")
_MANIFEST, _LEAVING, _USED = ".manifest.json", ".leaving.json", ".used.json"
_RECORD = re.compile(layout.RECORD_PATTERN)
_PIN = re.compile(r"(?:sha256[:-])?([0-9a-f]{12,64})(?:[._-].*)?")
# What people keep in any folder.
_NO_PINS = re.compile(r"[.].*|README.*")


class _Artifact(BaseModel):
    digest: str


class _Record(BaseModel):
    """The little of a record that counts here, so that those of later versions can be read too."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    inputs_digest: str
    finished: datetime
    project_uid: str | None = None
    artifact: _Artifact


@dataclass(frozen=True)
class Survey:
    """All of it."""

    held: dict[str, Held]
    records: tuple[Told, ...]
    pins: frozenset[str]


def survey(storage: Store) -> Survey:
    """Look at everything. Raises BadInput for a record or pin that cannot be read."""
    # Artifacts first: one that is published meanwhile is not among them.
    there = held(storage)
    return Survey(there, tuple(_records(storage)), pins(storage))


def pins(storage: Store) -> frozenset[str]:
    """Return the digits by which the storage pins artifacts and runs."""
    names = {item.path.partition("/")[0] for item in storage.listing(layout.PINS)} | set(storage.folders(layout.PINS))
    return frozenset(_pin(storage, name) for name in names if not _NO_PINS.fullmatch(name))


def leaving(storage: Store, digest: str) -> Leaving | None:
    """Return that an artifact is about to be removed, or None. Raises ValueError when that is not clear."""
    try:
        content = storage.read(layout.leaving_file(digest))
    except FileNotFoundError:
        return None
    try:
        found = Leaving.model_validate_json(content, extra="ignore")
    except ValidationError as error:
        raise ValueError(f"{layout.leaving_file(digest)} cannot be read") from error
    if found.manifest.digest != digest:
        raise ValueError(f"{layout.leaving_file(digest)} is another artifact's")
    return found


def held(storage: Store) -> dict[str, Held]:
    """Return the artifacts that are whole, or about to leave."""
    try:
        names = set(storage.names(layout.ARTIFACTS))
    except FileNotFoundError:
        return {}
    artifacts = {name[:64] for name in names if name[64:] in (_MANIFEST, _LEAVING)}
    return {artifact: _one(storage, artifact, names) for artifact in sorted(artifacts) if _HEX.fullmatch(artifact)}


def _one(storage: Store, artifact: str, names: set[str]) -> Held:
    digest, whole = f"sha256:{artifact}", f"{artifact}{_MANIFEST}" in names
    try:
        told = leaving(storage, digest) if f"{artifact}{_LEAVING}" in names else None
        used = uses.last(storage, digest) if f"{artifact}{_USED}" in names else None
        return Held(whole, moment(told.since) if told else None, used)
    except ValueError as error:
        return Held(whole, strange=str(error))


def _records(storage: Store) -> Iterator[Told]:
    for item in storage.listing(layout.RUNS):
        place = f"{layout.RUNS}/{item.path}"
        _, _, name = item.path.partition("/")
        if item.link and not name.startswith("checkpoints/"):
            _refuse(storage, "RecordUnreadable", place, "it is a link, and what is behind it is not looked at.")
        if _RECORD.fullmatch(name):
            yield _record(storage, place)


def _record(storage: Store, place: str) -> Told:
    try:
        text = storage.read(place).decode()
        record = _Record.model_validate_json(text)
        artifact, inputs = hex_of(record.artifact.digest), hex_of(record.inputs_digest)
    except (FileNotFoundError, UnicodeDecodeError, ValidationError) as error:
        _refuse(storage, "RecordUnreadable", place, f"it cannot be read as a record: {str(error)[:200]}")
    if not (_HEX.fullmatch(artifact) and _HEX.fullmatch(inputs)) or record.finished.tzinfo is None:
        _refuse(storage, "RecordUnreadable", place, "its digests, or the time at which it finished, are none.")
    return Told(inputs, artifact, record.finished, record.project_uid, digests_in(text))


def _pin(storage: Store, name: str) -> str:
    found = _PIN.fullmatch(name)
    if found is None:
        message = "its name does not begin with 12 digits or more of a digest."
        _refuse(storage, "PinUnreadable", f"{layout.PINS}/{name}", message)
    return found[1]


def _refuse(storage: Store, reason: str, place: str, message: str) -> NoReturn:
    remedy = "Nothing is removed until that is mended, or moved out of the storage."
    raise BadInput(Problem.of(reason, message, value=storage.path(place), remedy=remedy))
