"""Two candidates for the lead, and a server with versions; clocks are nobody's but their own."""

import pytest

from tests.unit.runtime.candidates import Candidate
from tests.unit.runtime.fakes import FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def one(server: FakeServer) -> Candidate:
    return Candidate(server, "one", 1000.0)


@pytest.fixture
def two(server: FakeServer) -> Candidate:
    return Candidate(server, "two", 5.0)  # clocks have nothing to do with each other
