"""A way to the API server on which an operator dies at a write: before it arrives, after it, or long before it."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.integration.support.proxy import HoldingProxy

WRITES = r"(POST|PUT|PATCH|DELETE) (?!\S+/leases)"


class Fate(StrEnum):
    """What becomes of the write at which an operator dies."""

    LOST = "lost"  # it never arrives
    DONE = "done"  # it arrives, and nobody hears the answer
    LATE = "late"  # it arrives when another operator leads


@dataclass(frozen=True)
class Death:
    """At which write somebody is killed, and what becomes of it."""

    pattern: str  # of the request's first line
    number: int  # of the requests that match, from now on
    fate: Fate


class KillingProxy(HoldingProxy):
    """Passes everything on, until the write comes at which somebody is to die."""

    LATE_SECONDS = 3.0

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.died_at: list[str] = []  # the first lines of these writes
        self._death: Death | None = None
        self._left = 0
        self._kill: Callable[[], object] = lambda: None

    def arm(self, death: Death, kill: Callable[[], object]) -> None:
        """Kill once, at that write."""
        self._left, self._kill, self._death = death.number, kill, death

    async def _kept(self, data: bytes) -> bytes:
        line = data.partition(b"\r\n")[0].decode(errors="replace")
        death = self._death
        if death is None or not re.match(WRITES, line) or not re.match(death.pattern, line):
            return data
        self._left -= 1
        if self._left > 0:
            return data
        self._death = None
        self._kill()
        self.died_at.append(line)
        if death.fate is Fate.LOST:
            raise ConnectionAbortedError
        if death.fate is Fate.LATE:
            await asyncio.sleep(self.LATE_SECONDS)
        return data
