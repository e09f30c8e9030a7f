"""When an artifact was last adopted, or in use: retention, of whatever cluster, leaves alone what was lately."""

from datetime import UTC, datetime

from pydantic import ValidationError

from stagecoach.contract import layout
from stagecoach.contract.jobs import Subject
from stagecoach.contract.retention import Use
from stagecoach.contract.store import Store
from stagecoach.contract.times import moment, timestamp


def note(storage: Store, digest: str, subject: Subject, now: datetime | None = None) -> None:
    """Say that a run is about to adopt an artifact, or that it is in use.

    A run does so before it looks whether the artifact is there: retention first takes the manifest away and then looks
    for this, so that one of the two sees the other.
    """
    staging = f"{subject.uid}-used"
    use = Use(at=timestamp(now or datetime.now(UTC)), by=subject)
    storage.write(layout.used_file(digest), use.line().encode(), staging)
    storage.clean(staging)


def last(storage: Store, digest: str) -> datetime | None:
    """Return when an artifact was last adopted, or None when it never was. Raises ValueError when that is not clear."""
    try:
        content = storage.read(layout.used_file(digest))
    except FileNotFoundError:
        return None
    try:
        return moment(Use.model_validate_json(content, extra="ignore").at)
    except ValidationError as error:
        raise ValueError(f"{layout.used_file(digest)} cannot be read") from error
