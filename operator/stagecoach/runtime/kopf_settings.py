"""How kopf is told to do as little as possible."""

import itertools
from collections.abc import Iterator
from typing import Any

import kopf

from stagecoach.runtime.client import PAGE


class Patience:
    """Backoffs without end: kopf gives up after the last one, and with it the whole process."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0), itertools.repeat(10.0))


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no last handled state. Without this kopf copies and compares every object at every event."""

    def build(self, **_: Any) -> Any:
        """Return the essence of an object: nothing of it matters."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Return what was stored: nothing."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):
    """Remembers no progress of handlers: event handlers have none."""

    def fetch(self, **_: Any) -> None:
        """Return what was stored: nothing."""

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Touch nothing."""

    def clear(self, *, essence: Any) -> Any:
        """Return the essence without progress: there is none in it."""
        return essence


def quiet() -> kopf.OperatorSettings:
    """Return settings under which kopf watches and calls, and writes nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # the kinds are known; to watch CRDs needs a right over the whole cluster
    settings.process.ultimate_exiting_timeout = None  # the process has its own deadline
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.queueing.worker_limit = None  # a limit can deadlock kopf
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 1.0
    settings.networking.connect_timeout = 5.0
    settings.networking.request_timeout = 30.0
    settings.networking.error_backoffs = Patience()
    settings.watching.chunk_size = PAGE
    settings.watching.inactivity_timeout = 90.0
    settings.watching.reconnect_backoff = 1.0
    return settings
