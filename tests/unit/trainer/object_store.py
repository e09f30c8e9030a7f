"""A real S3 server as a child process: versitygw over a folder."""

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAM = "versitygw"
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "us-east-1"}


def program() -> str:
    """Return the server's program, building it where there is only Go; skip where there is neither."""
    if found := shutil.which(PROGRAM):
        return found
    if shutil.which("go"):
        from tests.cluster import programs
        from tests.cluster.paths import State

        return str(programs.object_store(State.from_environment()))
    pytest.skip("needs versitygw or Go to build it")


@dataclass
class Server:
    """The server, its folder and its address."""

    root: Path
    program: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> dict[str, str]:
        """What a Secret for it holds."""
        return KEYS | {"AWS_ENDPOINT_URL": self.endpoint}

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it listens."""
        self.port = self.port or _free_port()
        for name in ("buckets", "meta"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        self.process = subprocess.Popen(
            [
                *(self.program, "--quiet", "--port", f"127.0.0.1:{self.port}"),
                *("posix", "--sidecar", str(self.root / "meta"), str(self.root / "buckets")),
            ],
            env=os.environ | keys,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while not _listens(self.port):
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        """Let it be gone in this moment."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
