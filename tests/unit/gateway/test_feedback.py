"""Who may say what answers were worth: each client of its own; or sources alone, by keys of theirs, of all."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stagecoach.contract import client_api
from stagecoach.contract.gateway_routes import RateLimit, sign
from stagecoach_gateway import feedback, ids
from stagecoach_gateway.errors import Refusal
from stagecoach_gateway.gateway import Gateway
from stagecoach_gateway.http_messages import Answer, Request
from stagecoach_gateway.settings import Settings
from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine, Running

CHAT = {"model": "intents", "messages": [{"role": "user", "content": "lost my card"}]}
KEPT: dict[str, Any] = {"rate": 0, "redact": ("email",), "keep_seconds": 3600}
WEB, TEAM = {"authorization": "Bearer web-key"}, {"authorization": "Bearer team-key"}


async def asked(gateway: Running, **headers: str) -> str:
    """Return the id of a request that was answered."""
    status, _, sent = await gateway.post("/v1/chat/completions", CHAT, **headers)
    assert status == 200
    return sent["x-request-id"]


async def said(gateway: Running, request: str, **headers: str) -> str | int:
    """Give feedback; return the code of the error, or the status."""
    body = {"request": request, "expected": "lost_card", "comment": "says a@example.com"}
    status, document, _ = await gateway.post("/v1/feedback", body, **headers)
    return str(document["error"]["code"]) if "error" in document else status


async def kept(gateway: Running) -> list[dict[str, Any]]:
    """Return what is kept, when the gateway has ended."""
    gateway.process.terminate()
    await gateway.process.wait()
    return [json.loads(line) for file in (gateway.root / "samples").glob("*") for line in file.read_text().splitlines()]


@pytest.mark.parametrize("keys", [True, False])
async def test_sources_alone_say_it_of_all_answers(root: Path, tokenizer: str, engine: MockEngine, keys: bool) -> None:
    (root / "samples").mkdir()
    target = releases.target(tokenizer, (engine.url,))
    limits = (RateLimit(requests=2, seconds=86_400),)
    routes = releases.routes(target, keys=keys, sampling=KEPT | {"sources": True}, rate_limits=limits)
    running.write_root(root, routes, {"web": "web-key"} if keys else None)
    running.write_keys(root, {"team": "team-key"}, "feedback")
    async with running.gateway(root) as gateway:
        request = await asked(gateway, **(WEB if keys else {}))
        assert await said(gateway, request, **WEB) == "invalid_key", "a client's key is no source's"
        assert await said(gateway, request) == "missing_key"
        assert await said(gateway, request[:-1] + "?", **TEAM) == "unknown_request"
        assert [await said(gateway, request, **TEAM) for _ in range(3)] == [202] * 3, "clients' limits are not theirs"
        if keys:
            assert (await gateway.post("/v1/chat/completions", CHAT, **TEAM))[0] == 401, "nor is theirs a client's"
        document = json.loads((await gateway.get(f"{gateway.url}/openapi.json"))[1])
        assert document["paths"]["/v1/feedback"]["post"]["security"] == [{"key": []}]
        assert document["components"]["securitySchemes"]
        found = await kept(gateway)
    assert len(found) == 3
    assert (found[0]["source"], found[0]["request"], found[0]["comment"]) == ("team", request, "says [email]")
    assert "client" not in found[0]


async def test_without_their_keys_nobody_gives_feedback(root: Path, tokenizer: str, engine: MockEngine) -> None:
    """A gateway that was started before, or whose file cannot be read: requests are answered all the same."""
    (root / "samples").mkdir()
    target = releases.target(tokenizer, (engine.url,))
    running.write_root(root, releases.routes(target, keys=True, sampling=KEPT | {"sources": True}), {"web": "web-key"})
    for content in (None, "no json"):
        if content:
            (root / "feedback" / "clients.json").write_text(content)
        async with running.gateway(root) as gateway:
            request = await asked(gateway, **WEB)
            for headers in (WEB, TEAM):
                assert await said(gateway, request, **headers) == "invalid_key"


@pytest.mark.parametrize("keys", [True, False])
async def test_a_client_says_it_of_its_own_answers(root: Path, tokenizer: str, engine: MockEngine, keys: bool) -> None:
    (root / "samples").mkdir()
    target = releases.target(tokenizer, (engine.url,))
    running.write_root(root, releases.routes(target, keys=keys, sampling=KEPT), {"web": "web-key", "app": "app-key"})
    async with running.gateway(root) as gateway:
        request = await asked(gateway, **WEB)
        if keys:
            assert await said(gateway, request, authorization="Bearer app-key") == "unknown_request"
        assert await said(gateway, request, **WEB) == 202
        [found] = await kept(gateway)
    assert found.get("client") == ("web" if keys else None), "an address is nobody's name, and is not kept"
    assert "source" not in found


@pytest.mark.parametrize("sources", [True, None])
async def test_who_gives_feedback_is_bounded(
    root: Path, tokenizer: str, sources: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "OF_ONE", RateLimit(requests=2, seconds=86_400))
    (root / "samples").mkdir()
    running.write_keys(root, {"team": "team-key", "other": "other-key"}, "feedback" if sources else "clients")
    target = releases.target(tokenizer, ("http://127.0.0.1:8000",))
    made = Gateway(Settings(root, releases.DEPLOYMENT, "", 0, 0, 0, 0))
    made.sources.refresh()
    made.clients.refresh()
    routes = releases.routes(target, keys=not sources, sampling=KEPT | {"sources": sources})
    await made.current.take(sign(routes, releases.ROUTES_KEY).line())

    async def give(name: str) -> None:
        headers = {b"authorization": f"Bearer {name}-key".encode(), b"content-type": b"application/json"}
        answered = ids.new(made._seal, name, target.release)
        request = Request(b"POST", client_api.FEEDBACK.encode(), headers, "10.0.0.2")
        request.body = json.dumps({"request": answered, "rating": 1}).encode()
        await made.handle(request, cast(Answer, SimpleNamespace(headers=[], send=lambda *_: None)))

    for _ in range(2):
        await give("team")
    with pytest.raises(Refusal, match="More than 2 requests"):
        await give("team")
    await give("other")
