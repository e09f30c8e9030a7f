"""Texts are counted beside the work, and routes wait for neither."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.gateway_routes import sign
from stagecoach.contract.inputs import Chunk, Combine, Overflow, Tokenization
from stagecoach.contract.prompts import encoder_for
from stagecoach_gateway import predict, texts, tokenizers_of_bases
from stagecoach_gateway.counting import Counted
from stagecoach_gateway.current import Current, Loaded
from stagecoach_gateway.texts import Texts
from tests.unit.gateway import releases, running
from tests.unit.gateway.releases import DEPLOYMENT, ROUTES_KEY
from tests.unit.gateway.running import MockEngine
from tests.unit.gateway.test_predict import ENCODER

LONG = "lost my card " * 20_000


def test_a_long_text_lets_others_work_meanwhile(root: Path, tokenizer: str) -> None:
    base = tokenizers_of_bases.load(root / "tokenizers", tokenizer)
    short, located = base("lost my card"), base(LONG, return_offsets_mapping=True)
    assert base(LONG)["input_ids"] == located["input_ids"] == short["input_ids"] * 20_000
    assert located["offset_mapping"][-1] == (len(LONG) - 5, len(LONG) - 1)
    assert "offset_mapping" not in short
    thread = threading.Thread(target=base, args=(LONG * 4,))
    turns = 0
    thread.start()
    while thread.is_alive():
        time.sleep(0.0005)
        turns += 1
    assert turns > 20


async def test_texts_are_counted_up_to_a_bound(root: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = releases.target(tokenizer, ("http://a:1",)).described.asked
    base = tokenizers_of_bases.load(root / "tokenizers", tokenizer)
    encoder = encoder_for(asked.family, base, asked.prompt, asked.tokenization)
    monkeypatch.setattr(texts, "MOST_CHARACTERS", 5000)
    monkeypatch.setattr(texts, "MOST_WAITING", 2)
    counting, counted = Texts(), Counted("sha256:" + "ab" * 32)
    for _ in range(5):
        counting.count(["lost " * 900, "card " * 900, "card"], encoder, counted)
    counting.count(["card"], encoder, counted)
    assert counting.skipped == 3

    def profile() -> Any:
        return counted.told().profile

    await running.until(lambda: profile() is not None and profile().prompts == 5)
    assert sum(profile().vocabulary) == 2 * 1000 + 1
    assert (profile().lengths[0], profile().lengths[-1]) == (1, 4)


async def test_routes_do_not_wait_for_work_of_clients() -> None:
    current = Current(DEPLOYMENT, ROUTES_KEY, Path("/nowhere"), lambda _: None, 0)
    held, loop = threading.Event(), asyncio.get_running_loop()
    work = [loop.run_in_executor(None, held.wait) for _ in range(64)]
    try:
        taken = current.take(sign(releases.routes(None), ROUTES_KEY).line())
        assert (await asyncio.wait_for(taken, 5)).revision == 1
    finally:
        held.set()
        await asyncio.gather(*work)


async def test_routes_are_taken_even_if_who_brought_them_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    held, load = threading.Event(), Current._load

    def late(current: Current, routes: Any) -> Loaded:
        held.wait(5)
        return load(current, routes)

    monkeypatch.setattr(Current, "_load", late)
    current = Current(DEPLOYMENT, ROUTES_KEY, Path("/nowhere"), lambda _: None, 0)
    taking = asyncio.create_task(current.take(sign(releases.routes(None), ROUTES_KEY).line()))
    await asyncio.sleep(0.1)
    taking.cancel()
    held.set()
    await running.until(lambda: current.loaded is not None)


async def test_a_text_of_too_many_chunks_is_refused_before_they_are_made(root: Path, engine: MockEngine) -> None:
    tokenizer = releases.tokenizer(root / "tokenizers", chat=False)
    chunks = Tokenization(max_length=8, overflow=Overflow.CHUNK, chunk=Chunk(stride=1, combine=Combine.MAX))
    target = releases.target(tokenizer, (engine.url,), tokenization=chunks, **ENCODER)
    running.write_root(root, releases.routes(target, api="Task"))
    engine.answers = lambda _, body: {
        "data": [{"index": n, "probs": [0.2, 0.5, 0.3]} for n in range(len(body["input"]))]
    }
    async with running.gateway(root) as gateway:
        most = predict.MOST_CHUNKS * 5
        assert (await gateway.post("/v1/predict", {"text": "one " * most}))[0] == 200
        assert len(engine.asked[0][1]["input"]) == predict.MOST_CHUNKS
        status, document, _ = await gateway.post("/v1/predict", {"text": "one " * (most + 1)})
        assert (status, document["error"]["code"]) == (400, "text_too_long")
        assert len(engine.asked) == 1
