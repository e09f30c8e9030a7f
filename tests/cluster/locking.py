"""One change to a state directory at a time."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator

from tests.cluster.paths import State


@contextlib.contextmanager
def locked(state: State) -> Iterator[None]:
    """Wait for whoever is at it; a killed holder lets go by itself."""
    state.root.mkdir(parents=True, exist_ok=True)
    with state.lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another command that works on {state.root}", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
