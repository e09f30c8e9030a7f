"""The engine beside this container: what it is told to serve, and that it does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stagecoach.contract import progress, serving
from stagecoach.contract.reports import Problem
from stagecoach_evaluator import laying
from stagecoach_evaluator.engine import Away, Client, Refused
from stagecoach_trainer import places
from stagecoach_trainer.failures import WorkFailed

# To load a large model takes minutes, and what is computed with it may be compiled first.
START_SECONDS = 1500.0
# So often the server may end before it can be asked.
MOST_STARTS = 3
LOOK_SECONDS = 1.0
SERVE = Path(serving.SERVE).name


@dataclass(frozen=True)
class Server:
    """The engine by its client, and where its log is seen."""

    client: Client
    see: str
    seconds: float = START_SECONDS
    look: float = LOOK_SECONDS

    def serve(self, words: Sequence[str], name: str) -> str:
        """Have this served, under a name; return vLLM's version once it can be asked. Raises WorkFailed."""
        tell(words)
        return self.wait(name)

    def wait(self, name: str) -> str:
        """Return vLLM's version once what is served under a name can be asked. Raises WorkFailed.

        The server of before may have the same name, and ends only some time after another was asked for: what counts
        is what the last one was started with.
        """
        progress.begins("waiting for the engine")
        told = (laying.models() / SERVE).read_text().strip()
        begun, before = time.monotonic(), len(starts())
        while True:
            time.sleep(self.look)  # one that has just ended may still listen
            so_far = starts()
            try:
                if name in self.client.served() and so_far[-1:] == [told]:
                    version = self.client.version()
                    progress.begins("asking the engine")
                    return version
            except (Away, Refused):
                pass
            if len(so_far) - before > MOST_STARTS:
                raise self._failed(f"was started {MOST_STARTS} times, and ended before it could be asked.")
            if time.monotonic() - begun > self.seconds:
                raise self._failed(f"could not be asked within {self.seconds / 60:g} minutes.")

    def _failed(self, what: str) -> WorkFailed:
        remedy = f"{self.see} If it was short of memory or time, raise the gate's resources."
        return WorkFailed(Problem.of(serving.NOT_READY, f"the engine {what}", remedy=remedy))


def tell(words: Sequence[str]) -> None:
    """Have the engine serve this, from when it reads it; what is served already goes on."""
    laying.write(SERVE, f"{' '.join(words)}\n")


def starts() -> list[str]:
    """Return what each server so far was started with; a server is started when the one before is gone."""
    try:
        return Path(places.rebased(serving.STARTS)).read_text().splitlines()
    except FileNotFoundError:
        return []
