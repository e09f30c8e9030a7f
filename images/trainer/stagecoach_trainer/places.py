"""Where this process finds storage, sources and scratch space. Inside a pod: the mounts of the contract."""

import os
from pathlib import Path

from stagecoach.contract import access, mounts, uris
from stagecoach.contract.store import Store
from stagecoach.contract.uris import Uri
from stagecoach_trainer import credentials

ROOT_VARIABLE = "STAGECOACH_ROOT"
TERMINATION_LOG_VARIABLE = "STAGECOACH_TERMINATION_LOG"
REPORT_VARIABLE = "STAGECOACH_REPORT"
PROGRESS_VARIABLE = "STAGECOACH_PROGRESS"


def rebased(path: str) -> str:
    """Return a path of the contract below the root that this process was given; outside a pod it is another one."""
    root = os.environ.get(ROOT_VARIABLE, mounts.ROOT).rstrip("/")
    return root + path.removeprefix(mounts.ROOT)


def storage() -> Store:
    """Return the project's storage, opened with the keys as they are now: they may be renewed while a Job runs."""
    uri = access.read_access().storage
    return _opened(uris.parse(uri), uri, "storage.uri") if uri else Store.local(rebased(mounts.STORAGE))


def store(uri: str) -> Store:
    """Return the store at a URI. Raises BadUri, and BadInput when its keys cannot be used."""
    return _opened(uris.parse(uri), uri)


def beside(uri: str) -> tuple[Store, str]:
    """Return the store in which a file lies, opened with the file's own keys, and the file's name there."""
    place = uris.parse(uri)
    folder, _, name = place.path.rpartition("/")
    return _opened(Uri(place.scheme, place.name, folder), uri), name


def _opened(place: Uri, uri: str, field: str = "") -> Store:
    if place.mounted:
        return Store.local(rebased(mounts.path_of(place)), within=rebased(mounts.folder_of(place)))
    # Each with libraries of its own, which take seconds to import.
    if place.scheme == "gs":
        from stagecoach_trainer.gs import GoogleStorage

        return GoogleStorage.connect(place, keys(uri), field, secret(uri))
    from stagecoach_trainer.s3 import S3

    return S3.connect(place, keys(uri), field, secret(uri))


def keys(uri: str) -> dict[str, str]:
    """Return what the Secret for a URI holds, by key; nothing when there is none. Raises BadInput."""
    name = secret(uri)
    return credentials.read(uris.parse(uri).scheme, Path(rebased(mounts.secret_folder(name))), name) if name else {}


def secret(uri: str) -> str:
    """Return the name of the Secret for a URI; empty when there is none."""
    return access.secret_of(uri, access.read_access().credentials) or ""


def scratch() -> Path:
    """Return a folder for what nobody needs afterwards."""
    return Path(rebased(mounts.SCRATCH))
