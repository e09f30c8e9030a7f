"""Each object store that there is, with a bucket."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagecoach_trainer.objects import ObjectStore

from .servers import Server


def make(scheme: str, root: Path) -> Server:
    """Return the server for URIs of a scheme. What it needs is imported here: not everywhere are the libraries."""
    if scheme == "gs":
        from .gs_server import GsServer

        return GsServer(root)
    from .s3_server import S3Server

    return S3Server(root)


@pytest.fixture(scope="module", params=["s3", "gs"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs as long as the tests of a module."""
    yield from running(make(request.param, tmp_path_factory.mktemp(request.param)))


def running(server: Server) -> Iterator[Server]:
    """Start a server, and end it."""
    server.start()
    yield server
    server.kill()


@pytest.fixture
def bucket(server: Server) -> str:
    """The name of a bucket of the test's own."""
    name = f"b-{uuid.uuid4().hex}"
    server.make_bucket(name)
    return name


@pytest.fixture
def store(server: Server, bucket: str) -> ObjectStore:
    """A folder of that bucket."""
    return server.connect(bucket, "/desk")
