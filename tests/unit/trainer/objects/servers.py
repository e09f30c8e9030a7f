"""Real object stores as child processes, and what tests of any of them ask for."""

import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from stagecoach.contract import access
from stagecoach.contract.access import Access, Credential
from stagecoach.contract.store import Store
from stagecoach_trainer.objects import ObjectStore
from tests.unit.trainer.conftest import Project

MIB = 1 << 20
FILES = {"adapter_config.json": b"{}\n", "adapter_model.safetensors": bytes(range(256)) * 10}


def program(name: str) -> str:
    """Return a server's program, building it where there is only Go; skip where there is neither."""
    if found := shutil.which(name):
        return found
    if shutil.which("go"):
        from tests.cluster import programs
        from tests.cluster.paths import State

        return str(programs.single(State.from_environment(), name))
    pytest.skip(f"needs {name}, or Go to build it")


@dataclass
class Server(ABC):
    """A server, its folder and its port."""

    scheme: ClassVar[str]
    program: ClassVar[str]

    root: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def keys(self) -> dict[str, str]:
        """What a Secret for it holds."""

    @property
    @abstractmethod
    def wrong_keys(self) -> dict[str, str]:
        """What a Secret holds that is refused. Every value has `0000wrong` in it."""

    @abstractmethod
    def connect(self, bucket: str, path: str = "", **keys: str) -> ObjectStore:
        """Return the store of a bucket, with other keys if they are given."""

    @abstractmethod
    def make_bucket(self, name: str) -> None:
        """Make a bucket."""

    @abstractmethod
    def start(self) -> None:
        """Start it, on the same port as before, and wait until it listens."""

    def kill(self) -> None:
        """Let it be gone in this moment."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def run(self, command: list[str], port: int, environment: dict[str, str]) -> None:
        """Start the process, and wait until it listens."""
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not _listens(port):
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def give_keys(
    project: Project,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    storage: str | None = None,
    keys: dict[str, str] | None = None,
) -> None:
    """Mount a Secret for all places of a scheme, as a pod has it."""
    secret = project.root / "credentials" / "lake"
    (secret / "..data").mkdir(parents=True)
    for name, value in (keys or server.keys).items():
        (secret / "..data" / name).write_text(f"{value}\n")
        (secret / name).symlink_to(f"..data/{name}")
    told = Access(storage=storage, credentials=(Credential(match=f"{server.scheme}://", secret="lake"),))
    monkeypatch.setenv(access.ENVIRONMENT_VARIABLE, told.line())


def upload(store: Store, folder: Path) -> None:
    """Write a folder's files."""
    for file in folder.iterdir():
        store.write(file.name, file.read_bytes(), "")
