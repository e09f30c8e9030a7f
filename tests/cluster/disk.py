"""Room on the disk, checked before a long build finds out."""

import shutil
from pathlib import Path

from tests.cluster.errors import ClusterError

GIB = 1024**3


def need(directory: Path, gibibytes: float, purpose: str) -> None:
    """Raise unless the directory's disk has room."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free / GIB
    if free < gibibytes:
        raise ClusterError(
            f"{purpose} needs {gibibytes:g} GiB, and the disk of {existing} has {free:.1f} GiB free. "
            "Free some, or set STAGECOACH_STATE to a directory on another disk."
        )
