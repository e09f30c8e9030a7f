"""Where this process finds storage, sources and scratch space. Inside a pod: the mounts of the contract."""

import os
from pathlib import Path

from stagecoach.contract import mounts, uris
from stagecoach.contract.store import Store

ROOT_VARIABLE = "STAGECOACH_ROOT"
TERMINATION_LOG_VARIABLE = "STAGECOACH_TERMINATION_LOG"
REPORT_VARIABLE = "STAGECOACH_REPORT"


def rebased(path: str) -> str:
    """Return a path of the contract below the root that this process was given; outside a pod it is another one."""
    root = os.environ.get(ROOT_VARIABLE, mounts.ROOT).rstrip("/")
    return root + path.removeprefix(mounts.ROOT)


def storage() -> Store:
    """Return the project's storage."""
    return Store.local(rebased(mounts.STORAGE))


def scratch() -> Path:
    """Return a folder for what nobody needs afterwards."""
    return Path(rebased(mounts.SCRATCH))


def path_of(uri: str) -> str:
    """Return the path of what a URI names. Raises BadUri."""
    return rebased(mounts.path_of(uris.parse(uri)))
