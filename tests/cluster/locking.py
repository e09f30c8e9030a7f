"""One change at a time to a state directory, or to a part of it that others do not touch."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator

from tests.cluster.paths import State


@contextlib.contextmanager
def locked(state: State, part: str = "") -> Iterator[None]:
    """Wait for whoever is at it; a killed holder lets go by itself."""
    state.root.mkdir(parents=True, exist_ok=True)
    with state.lock.with_name(f"{state.lock.name}{part}").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another command that works on {state.root}", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
