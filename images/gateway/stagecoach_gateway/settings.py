"""Where a gateway finds what it needs: files of its pod, and a few variables of its environment."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stagecoach.contract import mounts

# How long a new gateway waits to be told that its routes are the newest. Longer than another operator needs to take
# over, and then a node to renew what is mounted. So what it then serves is old only if all that time no operator
# reached it, and either its node did not reach the API server, or no operator did, to write there what it had decided.
CONFIRM_SECONDS = 120.0


class BadSettings(Exception):
    """The pod lacks something; the message names it."""


@dataclass(frozen=True)
class Settings:
    """All of it."""

    root: Path
    deployment: str
    host: str
    port: int
    admin_port: int
    confirm_seconds: float
    drain_seconds: float

    @classmethod
    def of_environment(cls) -> Self:
        """Read the environment. Raises BadSettings."""
        read = os.environ.get
        deployment = read("STAGECOACH_DEPLOYMENT", "")
        if not deployment:
            raise BadSettings("STAGECOACH_DEPLOYMENT is not set: give it the uid of the deployment.")
        try:
            return cls(
                root=Path(read("STAGECOACH_ROOT", mounts.ROOT)),
                deployment=deployment,
                host=read("STAGECOACH_HOST", ""),
                port=int(read("STAGECOACH_PORT", "8080")),
                admin_port=int(read("STAGECOACH_ADMIN_PORT", "9090")),
                confirm_seconds=float(read("STAGECOACH_CONFIRM_SECONDS", CONFIRM_SECONDS)),
                drain_seconds=float(read("STAGECOACH_DRAIN_SECONDS", "60")),
            )
        except ValueError as error:
            raise BadSettings(f"a variable STAGECOACH_… holds no number: {error}.") from error

    @property
    def routes(self) -> Path:
        """The signed routes that a gateway starts with, and reads again when they change."""
        return self.root / "routes" / "routes.json"

    @property
    def clients(self) -> Path:
        """The clients' keys, as digests."""
        return self.root / "clients" / "clients.json"

    @property
    def sources(self) -> Path:
        """The keys of those who give feedback on everybody's answers, likewise."""
        return self.root / "feedback" / "clients.json"

    @property
    def tokenizers(self) -> Path:
        """A folder for each tokenizer, named by the 64 digits of its digest."""
        return self.root / "tokenizers"

    @property
    def kept(self) -> Path:
        """Where samples and feedback are written, if the folder is there."""
        return self.root / "samples"

    @property
    def writer(self) -> str:
        """What the files there are told apart by from those of others: a pod's host is called as the pod is."""
        return socket.gethostname()

    def secret(self, name: str) -> bytes | None:
        """Return what a file of the mounted Secret holds, without the line's end; None when there is none."""
        try:
            return (self.root / "gateway" / name).read_bytes().strip()
        except FileNotFoundError:
            return None

    def required(self, name: str) -> bytes:
        """Do so; raises BadSettings when it is not there, or short enough to be guessed."""
        found = self.secret(name)
        if found is None or len(found) < 32:
            raise BadSettings(f"{self.root / 'gateway' / name} has to hold a secret of at least 32 characters.")
        return found
