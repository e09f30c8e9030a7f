"""What is counted, and what is kept to be looked at."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from stagecoach.contract.gateway_counts import GatewayCounts
from stagecoach_gateway.keeping import Keeper, redacted
from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine, Running

CHAT = {
    "model": "intents",
    "messages": [{"role": "system", "content": "hello hello"}, {"role": "user", "content": "lost my card"}],
}


async def test_counts_are_a_document_and_prometheus_says_the_same(gateway: Running) -> None:
    for _ in range(3):
        await gateway.post("/v1/chat/completions", CHAT)
    async with gateway.session.post(f"{gateway.url}/v1/chat/completions", json=CHAT | {"stream": True}) as response:
        await response.read()
    await gateway.post("/v1/embeddings", {"model": "intents", "input": ["one", "one two three four"]})
    await gateway.post("/v1/chat/completions", {})
    await gateway.post("/v1/embeddings", {"model": "intents", "input": "two " * 5000})  # counted beside the loop
    for _ in range(100):
        counts = GatewayCounts.model_validate(await gateway.counts())
        if (profile := counts.releases[0].profile) and profile.prompts == 7:
            break
        await asyncio.sleep(0.05)
    (found,) = counts.releases
    assert (found.requests, found.errors, found.abandoned) == (6, {}, 0)
    assert (sum(found.latency.bins), sum(found.first_token.bins)) == (6, 1)
    assert (found.prompt_tokens, found.completion_tokens) == (6 * 5, 5 * 2 + 3)
    assert found.profile is not None
    assert found.profile.prompts == 7
    assert found.profile.lengths[:5] == (1, 0, 4, 1, 0)
    assert found.profile.lengths[-1] == 1
    assert max(found.profile.vocabulary) >= 5000  # the system's turn is no text of a client
    _, text = await gateway.get(f"{gateway.admin}/metrics")
    samples = {
        (s.name, s.labels.get("release"), s.labels.get("le"), s.labels.get("code")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    release = found.release
    assert samples["stagecoach_gateway_requests_total", release, None, None] == 6
    assert samples["stagecoach_gateway_errors_total", "none", None, "invalid_request"] == 1
    assert samples["stagecoach_gateway_latency_seconds_count", release, None, None] == 6
    assert samples["stagecoach_gateway_latency_seconds_bucket", release, "+Inf", None] == 6
    assert samples["stagecoach_gateway_completion_tokens_total", release, None, None] == 13
    assert samples["stagecoach_gateway_routes_revision", None, None, None] == 1
    assert (await gateway.get(f"{gateway.admin}/counts"))[0] == 401


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to jane.doe+x@mail.example.com now", "write to [email] now"),
        ("a@b, @x.y, a@b.c", "a@b, @x.y, [email]"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("4111-1111-1111-1111 and 378282246310005", "[card] and [card]"),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("phone 0041 44 123", "phone 0041 44 123"),
    ],
)
def test_what_is_private_is_redacted(text: str, left: str) -> None:
    assert redacted({text: [text, {"a": text}], "n": 1}, ("email", "card")) == {left: [left, {"a": left}], "n": 1}
    assert redacted(text, ()) == text


@given(st.text(alphabet="a@.-_0123456789 ", max_size=3000))
def test_redaction_takes_linear_time_and_leaves_no_address(text: str) -> None:
    assert "x1@example.com" not in redacted(text + " x1@example.com", ("email", "card"))


async def test_samples_and_feedback_are_kept_without_what_is_private(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    (root / "samples").mkdir()
    sampling: Any = {"rate": 1, "redact": ("email",), "keep_seconds": 3600}
    running.write_root(
        root,
        releases.routes(releases.target(tokenizer, (engine.url,)), keys=True, sampling=sampling),
        {"app": "key-1", "web": "key-2"},
    )
    app, web = {"authorization": "Bearer key-1"}, {"authorization": "Bearer key-2"}
    body = {"model": "intents", "messages": [{"role": "user", "content": "I am a@example.com"}], "user": "secret"}
    async with running.gateway(root) as gateway:
        _, _, headers = await gateway.post("/v1/chat/completions", body, **app)
        await gateway.post("/v1/chat/completions", body, **web)
        async with gateway.session.post(
            f"{gateway.url}/v1/chat/completions", json=body | {"stream": True}, headers=app
        ) as response:
            await response.read()
        request = headers["x-request-id"]
        said = {"request": request, "expected": "top up", "comment": "ask b@example.com"}
        assert (await gateway.post("/v1/feedback", said, **web))[0] == 404
        assert (await gateway.post("/v1/feedback", {"request": request}, **app))[0] == 400
        assert (await gateway.post("/v1/feedback", said, **app))[:2] == (202, {"accepted": True})
        assert (await gateway.counts())["releases"][0]["feedback"] == 1
        gateway.process.terminate()
        await gateway.process.wait()
    (feedback,) = [
        json.loads(line)
        for file in (root / "samples").glob("feedback-*.jsonl")
        for line in file.read_text().splitlines()
    ]
    samples = [
        json.loads(line)
        for file in (root / "samples").glob("samples-*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert (feedback["expected"], feedback["comment"], feedback["client"]) == ("top up", "ask [email]", "app")
    assert feedback["release"] == headers["x-stagecoach-release"][7:19]
    assert samples[0]["request"] == request
    assert samples[0]["input"]["messages"][0]["content"] == "I am [email]"
    assert samples[2]["output"] == "w0 w1 w2 "
    assert "secret" not in json.dumps(samples)


def _documents(folder: Path) -> list[Any]:
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


async def test_what_is_old_or_too_much_leaves(tmp_path: Path) -> None:
    old = tmp_path / "samples-20200101T00.jsonl"
    old.write_text("{}\n")
    os.utime(old, (0, 0))
    keeper = Keeper(tmp_path)
    task = asyncio.create_task(keeper.work())
    keeper.keep("samples", {"text": "x" * 100_000})  # too long for a line
    keeper.keep("samples", {"text": "a"})
    await keeper.finish()
    task.cancel()
    assert _documents(tmp_path) == [{"text": "a"}]
    assert keeper.dropped == 1
    for _ in range(1100):
        keeper.keep("samples", {})
    assert keeper.dropped == 101
