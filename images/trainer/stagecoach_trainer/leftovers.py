"""What runs left in a storage that nobody goes on from: checkpoints of runs that are gone, and staged files."""

import json
from collections.abc import Sequence
from datetime import datetime

from stagecoach.contract import layout
from stagecoach.contract.jobs import RetainJob
from stagecoach.contract.store import Store, Stored


def remove(storage: Store, job: RetainJob, before: datetime) -> int:
    """Remove what was last written before a time, and return how many bytes it took."""
    return _checkpoints(storage, job, before) + _staged(storage, before)


def _checkpoints(storage: Store, job: RetainJob, before: datetime) -> int:
    freed = 0
    for run in storage.folders(layout.RUNS):
        above = f"{layout.checkpoints_folder(run)}"
        for uid in storage.folders(above):
            folder = f"{above}/{uid}"
            files = storage.listing(folder)
            if uid.startswith(tuple(job.known_runs)) or not _is_old(files, before):
                continue
            manifests = [item.path for item in files if "/" not in item.path]
            # Without a manifest it was never a checkpoint, whosever it was: nobody goes on from it.
            if any(_project(storage, f"{folder}/{name}") != job.subject.uid for name in manifests):
                continue
            # The manifests go last: they say whose it is. Nobody goes on from what one names and is not there.
            for name in storage.folders(folder):
                storage.remove(f"{folder}/{name}")
            storage.remove(folder)
            storage.remove_empty(above)
            freed += sum(item.size for item in files)
    return freed


def _staged(storage: Store, before: datetime) -> int:
    freed = 0
    for uid in storage.folders(layout.STAGING):
        folder = layout.staging_folder(uid)
        files = storage.listing(folder)
        if _is_old(files, before):
            for item in files:
                storage.remove(f"{folder}/{item.path}")
            storage.remove_empty(folder)
            freed += sum(item.size for item in files)
    return freed


def _is_old(files: Sequence[Stored], before: datetime) -> bool:
    # A folder without files was made this moment: what it is for is still on its way.
    return bool(files) and all(item.modified < before and not item.link for item in files)


def _project(storage: Store, place: str) -> str | None:
    """Return the uid of the project whose run wrote a checkpoint, or None when it is not said."""
    try:
        document = json.loads(storage.read(place))
    except (FileNotFoundError, ValueError):
        return None
    return document.get("projectUid") if isinstance(document, dict) else None
