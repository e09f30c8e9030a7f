"""A real S3 server: versitygw over a folder."""

import os
from dataclasses import dataclass

from stagecoach.contract.uris import parse
from stagecoach_trainer.s3 import S3

from .servers import Server, free_port, program

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "us-east-1"}


@dataclass
class S3Server(Server):
    """versitygw."""

    scheme = "s3"
    program = "versitygw"

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
        command = [
            *(program(self.program), "--quiet", "--port", f"127.0.0.1:{self.port}"),
            *("posix", "--sidecar", str(self.root / "meta"), str(self.root / "buckets")),
        ]
        self.run(command, self.port, os.environ | keys)
