"""What is kept: for as long as it is to be, by one or several gateways, and nothing of ours is taken for a card's."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stagecoach.api import sampling
from stagecoach.contract.gateway_routes import RedactionType
from stagecoach_gateway import asking, keeping
from stagecoach_gateway.keeping import Keeper
from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine

HOUR = 3600.0


@asynccontextmanager
async def working(*keepers: Keeper) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(keeper.work()) for keeper in keepers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def write(folder: Path, name: str, age: float, size: int = 3) -> Path:
    """Write a file that was last written so many seconds ago."""
    file = folder / name
    file.write_bytes(b"x" * size)
    os.utime(file, (time.time() - age,) * 2)
    return file


def kept(folder: Path, names: str = "*.jsonl") -> list[dict[str, Any]]:
    """Return all that is in these files, in this order."""
    return [json.loads(line) for file in sorted(folder.glob(names)) for line in file.read_text().splitlines()]


async def gone(*files: Path) -> None:
    await running.until(lambda: not any(file.exists() for file in files))


async def test_what_is_old_goes_though_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SWEEP_SECONDS", 0.02)
    old = [write(tmp_path, f"{kind}-20200101T00-gone.jsonl", HOUR + 60) for kind in ("samples", "feedback")]
    young = write(tmp_path, "samples-20200101T01-gone.jsonl", HOUR - 60)
    other = write(tmp_path, "what-i-found.jsonl", 9 * HOUR)
    keeper = Keeper(tmp_path, "one")
    async with working(keeper):
        await asyncio.sleep(0.1)
        assert all(file.exists() for file in old), "nobody has said yet how long it is to stay"
        keeper.keep_seconds = HOUR
        await gone(*old)
    assert young.exists()
    assert other.exists()


async def test_of_too_much_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST_BYTES", {"samples": 250, "feedback": 150})
    monkeypatch.setattr(keeping, "SWEEP_BYTES", 10)
    files = [write(tmp_path, f"samples-2020010{age}T00-gone.jsonl", age * 60.0, 100) for age in (3, 1, 2)]
    said = write(tmp_path, "feedback-20200101T00-gone.jsonl", HOUR - 60, 100)
    keeper = Keeper(tmp_path, "one")
    keeper.keep_seconds = HOUR
    async with working(keeper):
        keeper.keep("samples", {"input": "a"})
        await gone(files[0])
        assert all(file.exists() for file in files[1:])
        more = write(tmp_path, "samples-20200102T01-gone.jsonl", 90, 100)
        keeper.keep("samples", {"input": "a"})  # five minutes are not over
        await gone(files[2])
    assert more.exists()
    assert said.exists(), "what is too much of samples takes no feedback away"


async def test_what_waits_is_bounded_of_each_kind_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WAITING_BYTES", 100)
    monkeypatch.setattr(keeping, "BATCH_BYTES", 20)
    keeper = Keeper(tmp_path, "one")
    assert [keeper.keep("samples", {"input": "a" * 30}) for _ in range(4)] == [True, True, False, False]
    assert keeper.keep("feedback", {"comment": "b"}), "samples keep no feedback from being written"
    async with working(keeper):
        await keeper.finish()
        assert keeper.keep("samples", {"input": "a" * 30})
        await keeper.finish()
    assert (keeper.dropped, len(kept(tmp_path))) == (2, 4)


async def test_what_cannot_be_written_is_counted_each_time_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(tmp_path, "one")
    (tmp_path / f"samples-{time.strftime('%Y%m%dT%H', time.gmtime())}-one.jsonl").mkdir()
    async with working(keeper):
        for _ in range(3):
            keeper.keep("samples", {"input": "a"})
            keeper.keep("feedback", {"comment": "b"})
            await keeper.finish()
    assert (keeper.dropped, len(kept(tmp_path, "feedback-*"))) == (3, 3)
    assert caplog.text.count("samples cannot be written") == 1


async def test_gateways_write_beside_each_other_and_one_that_is_slower_finds_nothing_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SWEEP_SECONDS", 0.01)
    keepers = [Keeper(tmp_path, name) for name in ("one", "two")]
    for keeper in keepers:
        keeper.keep_seconds = HOUR
    async with working(*keepers):
        for number in range(20):
            files = [write(tmp_path, f"samples-{number}-{n}.jsonl", 2 * HOUR) for n in range(10)]
            for keeper in keepers:
                keeper.keep("samples", {"input": f"{number}"})
            await gone(*files)
        for keeper in keepers:
            await keeper.finish()
    assert [keeper.dropped for keeper in keepers] == [0, 0]
    for name in ("one", "two"):
        assert [each["input"] for each in kept(tmp_path, f"*-{name}.jsonl")] == [str(number) for number in range(20)]


async def test_a_line_that_was_broken_off_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "20260102T03")
    file = tmp_path / "samples-20260102T03-one.jsonl"
    file.write_text('{"input":"whole"}\n{"inp')
    keeper = Keeper(tmp_path, "one")
    async with working(keeper):
        keeper.keep("samples", {"input": "a"})
        await keeper.finish()
    assert file.read_text().splitlines() == ['{"input":"whole"}', '{"inp', '{"input":"a"}']


async def test_digits_of_ours_are_no_card(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, "one")
    card = "4111111111111111"
    async with working(keeper):
        assert keeper.keep("samples", {"request": f"req-{card}", "input": {card: card}, "output": [card]}, ("card",))
        assert keeper.keep("feedback", {"request": f"req-{card}", "expected": card, "comment": card}, ("card",))
        await keeper.finish()
    feedback, sample = kept(tmp_path)
    assert sample == {"request": f"req-{card}", "input": {"[card]": "[card]"}, "output": ["[card]"]}
    assert feedback == {"request": f"req-{card}", "expected": "[card]", "comment": "[card]"}


def test_whatever_can_be_asked_for_is_redacted() -> None:
    asked = [each.value for each in sampling.RedactionType]
    assert asked == [*RedactionType] == [*keeping._REDACTIONS]


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ({"embedding": [0.1, 0.2]}, {}),
        ({"data": [{"index": 0, "embedding": [0.1]}], "usage": {}}, {"data": [{"index": 0}], "usage": {}}),
        ({"label": "a", "scores": {"embedding": 1.0}}, {"label": "a", "scores": {"embedding": 1.0}}),
        ("of a stream", "of a stream"),
        # Of e-mail addresses in pieces nothing is found.
        ({"choices": [{"text": "a", "logprobs": {"tokens": ["a", "@", "b"]}}]}, {"choices": [{"text": "a"}]}),
    ],
)
def test_vectors_and_likelihoods_are_not_kept(answer: Any, left: Any) -> None:
    assert asking._without_numbers(answer) == left


@pytest.mark.parametrize("folder", [True, False])
async def test_nothing_is_kept_that_nobody_asked_for(
    root: Path, tokenizer: str, engine: MockEngine, folder: bool
) -> None:
    """Neither by who has the claim and was not told, nor by who was told and has none."""
    if folder:
        (root / "samples").mkdir()
    sampling = None if folder else {"rate": 1, "redact": (), "keep_seconds": 3600}
    target = releases.target(tokenizer, (engine.url,))
    running.write_root(root, releases.routes(target, sampling=sampling))
    async with running.gateway(root) as gateway:
        body = {"model": "intents", "messages": [{"role": "user", "content": "lost my card"}]}
        status, _, headers = await gateway.post("/v1/chat/completions", body)
        assert status == 200
        said = {"request": headers["x-request-id"], "rating": 1}
        assert (await gateway.post("/v1/feedback", said))[0] == 404
        assert "/v1/feedback" not in json.loads((await gateway.get(f"{gateway.url}/openapi.json"))[1])["paths"]
        gateway.process.terminate()
        await gateway.process.wait()
    assert not kept(root / "samples")


async def test_feedback_alone(root: Path, tokenizer: str, engine: MockEngine) -> None:
    (root / "samples").mkdir()
    sampling = {"rate": 0, "redact": (), "keep_seconds": 3600}
    running.write_root(root, releases.routes(releases.target(tokenizer, (engine.url,)), sampling=sampling))
    async with running.gateway(root) as gateway:
        body = {"model": "intents", "messages": [{"role": "user", "content": "lost my card"}]}
        _, _, headers = await gateway.post("/v1/chat/completions", body)
        assert (await gateway.post("/v1/feedback", {"request": headers["x-request-id"], "rating": 1}))[0] == 202
        gateway.process.terminate()
        await gateway.process.wait()
    assert [each["rating"] for each in kept(root / "samples")] == [1]
