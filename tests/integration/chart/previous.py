"""The previous state of this repository, from its own history: what people have installed who upgrade to this one."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.integration.chart.tools import REPOSITORY

# Move it at each release, to the commit of the release before: an upgrade is tested from there.
PREVIOUS = "d3ab5df6699d986d3c0da2566eceed1524eb3dcc"


def unpack(folder: Path) -> Path:
    """Unpack the operator and the chart of the previous state; skip the test where there is no history."""
    try:
        _git("cat-file", "-e", f"{PREVIOUS}^{{commit}}")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(
            f"{REPOSITORY} has no commit {PREVIOUS[:12]}, from which an upgrade is tested ({_words(error)})."
            " In a shallow clone: git fetch --unshallow. Elsewhere: take a clone, with git installed."
        )
    with tarfile.open(fileobj=io.BytesIO(_git("archive", PREVIOUS, "operator", "charts"))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=True).stdout


def _words(error: Exception) -> str:
    said = error.stderr.decode().strip() if isinstance(error, subprocess.CalledProcessError) else ""
    return said or str(error)
