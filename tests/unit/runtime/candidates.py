"""Processes that want to lead."""

from typing import Any

from stagecoach.runtime.lease import Elector, Leadership, Timing
from tests.unit.runtime.fakes import Clock, FakeServer

TIMING = Timing(duration=15, deadline=10, retry=2)


class Candidate:
    """A process with a clock of its own."""

    def __init__(self, server: FakeServer, name: str, start: float) -> None:
        self.clock = Clock(start)
        self.gained = 0
        self.leadership = Leadership(self.clock)
        client: Any = server
        self.elector = Elector(
            client,
            self.leadership,
            namespace="ns",
            name="lease",
            identity=name,
            on_gained=self._count,
            timing=TIMING,
            clock=self.clock,
        )

    def _count(self) -> None:
        self.gained += 1

    async def tick(self, after: float = 0.0) -> bool:
        self.clock.now += after
        await self.elector.tick()
        return self.leadership.valid()
