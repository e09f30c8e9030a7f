from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine, Running


@pytest.fixture
async def engine() -> AsyncIterator[MockEngine]:
    async with MockEngine() as made:
        yield made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    running.write_root(tmp_path, None)
    return tmp_path


@pytest.fixture
def tokenizer(root: Path) -> str:
    return releases.tokenizer(root / "tokenizers")


@pytest.fixture
async def gateway(root: Path, tokenizer: str, engine: MockEngine) -> AsyncIterator[Running]:
    """Return one that serves a release to anybody."""
    running.write_root(root, releases.routes(releases.target(tokenizer, (engine.url,))))
    async with running.gateway(root) as made:
        yield made
