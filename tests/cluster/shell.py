"""Running other programs to their end."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError

_LINES_OF_A_FAILURE = 20


def run(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Return the standard output, or raise with the last lines that the program said."""
    done = subprocess.run(
        [str(part) for part in argv],
        env={**os.environ, **env} if env else None,
        cwd=cwd,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise failure(argv, done.returncode, (done.stdout + done.stderr).splitlines())
    return done.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Tell whether the program exists and exits with 0."""
    try:
        return subprocess.run([str(part) for part in argv], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def failure(argv: Sequence[str | Path], code: int, said: Sequence[str]) -> ClusterError:
    """Describe a failed program by its command line, code and last words."""
    command = shlex.join(str(part) for part in argv)
    tail = "\n".join(f"    {line}" for line in said[-_LINES_OF_A_FAILURE:])
    return ClusterError(f"`{command}` failed with exit code {code}:\n{tail}")
