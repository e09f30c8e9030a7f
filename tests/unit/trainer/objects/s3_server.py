"""A real S3 server: versitygw over a folder."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from stagecoach.contract.uris import parse
from stagecoach_trainer.s3 import S3

from .servers import Server, free_port, program

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "us-east-1"}


@dataclass
class S3Server(Server):
    """versitygw; its buckets may be on a small disk of their own."""

    scheme = "s3"
    program = "versitygw"
    small: bool = False

    @property
    def keys(self) -> dict[str, str]:
        """What a Secret for it holds."""
        return KEYS | {"AWS_ENDPOINT_URL": self.endpoint}

    @property
    def wrong_keys(self) -> dict[str, str]:
        """What a Secret holds that is refused."""
        return self.keys | {"AWS_SECRET_ACCESS_KEY": "0000wrong"}

    def connect(self, bucket: str, path: str = "", **keys: str) -> S3:
        """Return the store of a bucket, with other keys if they are given."""
        return S3.connect(parse(f"s3://{bucket}{path}"), self.keys | keys)

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self.connect(name)._call("create_bucket", "")

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it listens."""
        self.port = self.port or free_port()
        for name in ("buckets", "meta"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        begin, buckets = _small_disk(self.root / "buckets") if self.small else ([], self.root / "buckets")
        command = [
            *begin,
            *(program(self.program), "--quiet", "--port", f"127.0.0.1:{self.port}"),
            *("posix", "--sidecar", str(self.root / "meta"), str(buckets)),
        ]
        self.run(command, self.port, os.environ | keys)


def _small_disk(place: Path) -> tuple[list[str], Path]:
    """Return a folder on a disk of 24 MiB, and what begins a command that sees it; skip where there can be none.

    In a pod it is a volume, whose place `SMALL_DISK` says. Elsewhere it is mounted for the command alone, at `place`.
    """
    if given := os.environ.get("SMALL_DISK"):
        return [], Path(given)
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=24m disk {place}"
    if not shutil.which(apart[0]) or subprocess.run([*apart, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("needs a disk that is soon full, and may not mount one: there are no user namespaces here")
    return [*apart, "sh", "-c", f'{mount} && exec "$@"', "sh"], place
