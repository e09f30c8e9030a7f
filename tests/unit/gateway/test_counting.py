"""What is counted, and what is kept to be looked at."""

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from stagecoach.contract.gateway_counts import GatewayCounts
from stagecoach.contract.gateway_routes import sign
from stagecoach_gateway import keeping
from stagecoach_gateway.counting import Counts
from stagecoach_gateway.gateway import Gateway
from stagecoach_gateway.http_messages import Answer, Request
from stagecoach_gateway.keeping import Keeper, redacted
from stagecoach_gateway.openai_api import Endpoint
from stagecoach_gateway.settings import Settings
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
    await gateway.post("/v1/completions", {"model": "intents", "prompt": ["one", "one two three four"]})
    await gateway.post("/v1/chat/completions", {})
    await gateway.post("/v1/completions", {"model": "intents", "prompt": "two " * 5000})  # counted beside the loop
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


async def test_prometheus_is_told_the_weight_of_each_release(
    gateway: Running, engine: MockEngine, tokenizer: str
) -> None:
    stable, other = (releases.target(tokenizer, (engine.url,), artifact=each) for each in ("11", "22"))

    async def told() -> dict[str, float]:
        _, text = await gateway.get(f"{gateway.admin}/metrics")
        (family,) = (each for each in text_string_to_metric_families(text) if each.name == "stagecoach_gateway_weight")
        return {sample.labels["release"]: sample.value for sample in family.samples}

    for revision, seconds, expected in ((2, 600, 75), (3, -1, 100)):
        candidate = releases.candidate(other, 25, seconds)
        await gateway.put(releases.routes(stable, candidate=candidate, revision=revision))
        assert await told() == {stable.release: expected, other.release: 100 - expected}
    await gateway.put(releases.routes(None, revision=4))
    assert await told() == {}


def test_ratings_in_feedback_are_summed() -> None:
    counts = Counts("d")
    for rating in (1, 0.5, None):
        counts.of("sha256:" + "a" * 64).said(rating)
    assert counts.told(1).releases[0].feedback == 3
    (family,) = (each for each in counts.metrics() if each.name == "stagecoach_gateway_rating")
    assert {sample.name[26:]: sample.value for sample in family.samples} == {"count": 2, "sum": 1.5}


async def test_a_request_before_the_first_release_breaks_no_count(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    async with running.gateway(root) as gateway:
        await gateway.put(releases.routes(None, fallback={"static": {}}))
        assert (await gateway.post("/v1/chat/completions", CHAT))[0] == 200
        assert (await gateway.counts())["releases"] == []
        await gateway.put(releases.routes(releases.target(tokenizer, (engine.url,)), revision=2))
        assert (await gateway.post("/v1/chat/completions", CHAT))[0] == 200
        assert [each["requests"] for each in (await gateway.counts())["releases"]] == [1]
        _, text = await gateway.get(f"{gateway.admin}/metrics")
        assert text.count('{code="nothing_served",release="none"}') == 1
        assert 'stagecoach_gateway_fallbacks_total{release="none"} 1.0' in text


async def test_a_fault_of_the_gateway_is_an_error_of_the_release(
    root: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.write_root(root, None)
    settings = Settings(root, releases.DEPLOYMENT, "", 0, 0, 0, 0)
    gateway = Gateway(settings)
    target = releases.target(tokenizer, ("http://127.0.0.1:1",))
    await gateway.current.take(sign(releases.routes(target), releases.ROUTES_KEY).line())
    request = Request(b"POST", b"/v1/chat/completions", {b"content-type": b"application/json"}, "a")
    request.body = json.dumps(CHAT).encode()

    async def fails(*_: object) -> None:
        raise ZeroDivisionError

    for place, found in ((Endpoint, gateway.counts.of(target.release)), (Gateway, gateway.counts.none)):
        name = "answer" if place is Endpoint else "_handle"
        monkeypatch.setattr(place, name, fails)
        request.id = ""
        with pytest.raises(ZeroDivisionError):
            await gateway.handle(request, Answer(cast(Any, None), request))
        assert found.errors == {"internal_error": 1}
        assert request.id


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to jane.doe+x@mail.example.com now", "write to [email] now"),
        ("a@b, @x.y, a@b.c", "a@b, @x.y, [email]"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("4111-1111-1111-1111 and 378282246310005", "[card] and [card]"),
        ("order 1000 0000 0000 1", "order 1000 0000 0000 1"),
        ("4111 1111 1111 1111 12/27", "[card]/27"),
        ("7 4111111111111111", "[card]"),
        ("4111.1111.1111.1111 or 4111  1111\u00a01111 1111", "[card] or [card]"),
        ("4111\u20131111\u20131111\u20131111", "[card]"),
        ("jos\u00e9@firma.ch and a@b\u00fccher.de", "[email] and [email]"),
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


async def test_choices_of_a_stream_are_redacted_each_for_itself(root: Path, tokenizer: str, engine: MockEngine) -> None:
    (root / "samples").mkdir()
    sampling: Any = {"rate": 1, "redact": ("email",), "keep_seconds": 3600}
    running.write_root(root, releases.routes(releases.target(tokenizer, (engine.url,)), sampling=sampling))

    async def stream(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in ("I am a", "@exam", "ple.com"):
            for index in (0, 1):
                chunk = {"model": "m", "choices": [{"index": index, "text": piece, "finish_reason": None}]}
                await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    engine.stream = stream  # type: ignore[assignment, method-assign]
    async with running.gateway(root) as gateway:
        body = {"model": "intents", "prompt": "a", "stream": True, "n": 2}
        async with gateway.session.post(f"{gateway.url}/v1/completions", json=body) as response:
            await response.read()
        gateway.process.terminate()
        await gateway.process.wait()
    (sample,) = _documents(root / "samples")
    assert sample["output"] == ["I am [email]", "I am [email]"]


def _documents(folder: Path) -> list[Any]:
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


async def test_what_is_too_much_is_not_written(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, "one")
    task = asyncio.create_task(keeper.work())
    keeper.keep("samples", {"text": "x" * 100_000})  # too long for a line
    keeper.keep("samples", {"text": "a"})
    await keeper.finish()
    assert _documents(tmp_path) == [{"text": "a"}]
    assert keeper.dropped == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    for _ in range(200):
        keeper.keep("samples", {"text": "x" * 60_000})
    assert 60 < keeper.dropped < 65, "of 12 MB, 8 MiB wait"


@given(st.text(alphabet="0123456789 -.", max_size=60), st.text(alphabet="0123456789 -.", max_size=60))
def test_no_card_is_left_whatever_stands_beside_it(before: str, after: str) -> None:
    assert "4111111111111111" not in re.sub(r"\D", "", redacted(f"{before}4111 1111 1111 1111{after}", ("card",)))


async def test_one_document_keeps_no_other_from_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_once(value: Any, what: Any) -> Any:
        if value == "poison":
            raise RecursionError
        return redacted(value, what)

    monkeypatch.setattr(keeping, "redacted", fails_once)
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    keeper = Keeper(tmp_path, "one")
    task = asyncio.create_task(keeper.work())
    assert not keeper.keep("samples", deep)
    assert not keeper.keep("samples", {"text": "x" * keeping.LINE_BYTES})  # not even while it waits
    assert all(keeper.keep("samples", {"input": text}) for text in ("poison", "a"))
    await keeper.finish()
    assert (_documents(tmp_path), keeper.dropped) == ([{"input": "a"}], 3)
    monkeypatch.setattr(keeper, "_write", fails)
    assert keeper.keep("samples", {})
    await keeper.finish()
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    monkeypatch.setattr(keeping, "FINISH_SECONDS", 0.1)
    keeper.keep("samples", {})
    await keeper.finish()  # nobody writes any more


def fails(*_: object) -> None:
    raise RuntimeError
