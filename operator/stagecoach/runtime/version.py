"""Which version runs."""

import os
from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("stagecoach")
    except PackageNotFoundError:  # a source tree, or the image, which says it by a variable
        return os.environ.get("VERSION", "dev")


VERSION = _installed()
