"""The engine beside this container: what it is told to serve, and that it does."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stagecoach.contract import mounts, progress, serving
from stagecoach.contract.reports import Problem
from stagecoach_evaluator.engine import Away, Client, Refused
from stagecoach_trainer import places
from stagecoach_trainer.failures import WorkFailed

# To load a large model takes minutes, and what is computed with it may be compiled first.
START_SECONDS = 1500.0
# So often the server may end before it can be asked.
MOST_STARTS = 3
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Server:
    """The engine by its client, and where its log is seen."""

    client: Client
    see: str
    seconds: float = START_SECONDS
    look: float = LOOK_SECONDS

    def serve(self, words: Sequence[str], name: str) -> str:
        """Have this served, under a name; return vLLM's version once it can be asked. Raises WorkFailed."""
        file = _told()
        line = f"{' '.join(words)}\n"
        if not file.exists() or file.read_text() != line:
            part = file.with_suffix(".part")
            part.write_text(line)
            part.replace(file)
        return self.wait(name)

    def wait(self, name: str) -> str:
        """Return vLLM's version once what is served under a name can be asked. Raises WorkFailed.

        The server of before may have the same name, and ends only some time after another was asked for: what counts
        is what the last one was started with.
        """
        progress.begins("waiting for the engine")
        told = _told().read_text().strip()
        begun, before = time.monotonic(), len(_starts())
        while True:
            time.sleep(self.look)  # one that has just ended may still listen
            starts = _starts()
            try:
                if name in self.client.served() and starts[-1:] == [told]:
                    version = self.client.version()
                    progress.begins("asking the engine")
                    return version
            except (Away, Refused):
                pass
            if len(starts) - before > MOST_STARTS:
                raise self._failed(f"was started {MOST_STARTS} times, and ended before it could be asked.")
            if time.monotonic() - begun > self.seconds:
                raise self._failed(f"could not be asked within {self.seconds / 60:g} minutes.")

    def _failed(self, what: str) -> WorkFailed:
        remedy = f"{self.see} If it was short of memory or time, raise the gate's resources."
        return WorkFailed(Problem.of(serving.NOT_READY, f"the engine {what}", remedy=remedy))


def lay(folder: str, files: Iterable[tuple[str, str]]) -> None:
    """Let files be found below the folder that the engine sees: it reads what was hashed, and nothing else."""
    place = models() / folder
    place.mkdir(parents=True, exist_ok=True)
    for source, name in files:
        link = place / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path(source) / name)


def models() -> Path:
    """Return the folder in which the engine finds models."""
    root = os.environ.get(places.ROOT_VARIABLE)
    return Path(f"{root.rstrip('/')}{mounts.MODELS}") if root else Path(mounts.MODELS)


def _told() -> Path:
    return models() / Path(serving.SERVE).name


def _starts() -> list[str]:
    """Return what each server so far was started with; a server is started when the one before is gone."""
    try:
        return Path(places.rebased(serving.STARTS)).read_text().splitlines()
    except FileNotFoundError:
        return []
