"""A gateway as a process of its own, and an engine that answers by rule, both on real sockets."""

import asyncio
import base64
import hashlib
import json
import os
import re
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from stagecoach.contract.gateway_routes import Routes, SignedRoutes, sign
from tests.unit.gateway.releases import ADMIN_TOKEN, DEPLOYMENT, ENGINE_KEY, ROUTES_KEY

ROOT = Path(__file__).parents[3]


class MockEngine:
    """Answers as vLLM does, tells what it was asked, and how many are being answered now."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.now = 0
        self.connections: set[Any] = set()
        self.chunks = 3
        self.pace = 0.0
        self.sent = 0  # parts of streams
        self.answers: Callable[[str, dict[str, Any]], Any] | None = None
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((request.path, body, dict(request.headers)))
        self.connections.add(request.transport and request.transport.get_extra_info("peername"))
        self.now += 1
        try:
            if self.answers is not None:
                found = self.answers(request.path, body)
                if isinstance(found, web.StreamResponse):
                    return found
                if asyncio.iscoroutine(found):
                    return await found  # type: ignore[no-any-return]
                if found is not None:
                    return web.json_response(found)
            if body.get("stream"):
                return await self.stream(request, body)
            return web.json_response(self.answer(request.path, body))
        finally:
            self.now -= 1

    async def stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(self.chunks):
            choice = {"index": 0, "delta": {"content": f"w{number} "}, "text": f"w{number} ", "finish_reason": None}
            event = {
                "id": "x",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
            }
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
            self.sent += 1
            if self.pace:
                await asyncio.sleep(self.pace)
        usage = {"prompt_tokens": 5, "completion_tokens": self.chunks, "total_tokens": 5 + self.chunks}
        if (body.get("stream_options") or {}).get("include_usage"):
            event = {
                "id": "x",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": body["model"],
                "choices": [],
                "usage": usage,
            }
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        named = {"id": "x", "created": 1, "model": body["model"], "usage": usage}
        if path == "/v1/chat/completions":
            beside = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))  # as vLLM has it
            message = {"role": "assistant", "content": "hello"} | beside
            return named | {
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        if path == "/v1/completions":
            choice = {"index": 0, "text": "hello", "finish_reason": "stop", "token_ids": [4, 2]}
            return named | {"object": "text_completion", "choices": [choice]}
        if path == "/v1/embeddings":
            vector: Any = [0.6, 0.8]
            if body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack("<2f", *vector)).decode()
            return named | {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}
        if path == "/classify":
            rows = body["input"] if isinstance(body["input"][0], list) else [body["input"]]
            return named | {"data": [{"index": i, "label": "x", "probs": [0.2, 0.5, 0.3]} for i in range(len(rows))]}
        return named | {"results": [{"index": 0, "relevance_score": 0.9, "document": {"text": "a"}}]}


def completion(ids: list[int], ended: str = "length", logprob: float | None = -0.5) -> dict[str, Any]:
    """Return an engine's answer in tokens."""
    said = {"token_logprobs": [logprob] * len(ids)}
    return {"choices": [{"token_ids": ids, "finish_reason": ended, "logprobs": said}]}


class Running:
    """A gateway."""

    def __init__(self, root: Path, process: asyncio.subprocess.Process, port: int, admin: int) -> None:
        self.root = root
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin}"
        self.log: list[str] = []
        self.session = aiohttp.ClientSession()

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Return status, document and headers."""
        async with self.session.post(self.url + path, json=body, headers=headers) as response:
            return response.status, await response.json(), {k.lower(): v for k, v in response.headers.items()}

    async def get(self, url: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(url, headers=headers) as response:
            return response.status, await response.text()

    async def put(self, document: Routes | SignedRoutes | str, token: str = ADMIN_TOKEN) -> tuple[int, str]:
        """Hand routes over, as the operator does."""
        signed = sign(document, ROUTES_KEY) if isinstance(document, Routes) else document
        text = signed.line() if isinstance(signed, SignedRoutes) else signed
        headers = {"authorization": f"Bearer {token}"}
        async with self.session.put(f"{self.admin}/routes", data=text.encode(), headers=headers) as response:
            return response.status, await response.text()

    async def counts(self) -> dict[str, Any]:
        _, text = await self.get(f"{self.admin}/counts", authorization=f"Bearer {ADMIN_TOKEN}")
        found: dict[str, Any] = json.loads(text)
        return found

    async def stop(self) -> None:
        await self.session.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


def write_root(root: Path, routes: Routes | None, keys: dict[str, str] | None = None) -> None:
    """Write what a pod has mounted; `keys` are the clients' keys by client."""
    for folder in ("routes", "clients", "feedback", "gateway", "tokenizers"):
        (root / folder).mkdir(exist_ok=True, parents=True)
    (root / "gateway/routes-key").write_bytes(ROUTES_KEY + b"\n")
    (root / "gateway/admin-token").write_text(ADMIN_TOKEN)
    (root / "gateway/engine-key").write_text(ENGINE_KEY)
    if routes is not None:
        (root / "routes/routes.json").write_text(sign(routes, ROUTES_KEY).line())
    if keys is not None:
        write_keys(root, keys)


def write_keys(root: Path, keys: dict[str, str], folder: str = "clients") -> None:
    """Write the clients' keys, or those of who gives feedback."""
    entries = [{"client": client, "sha256": hashlib.sha256(key.encode()).hexdigest()} for client, key in keys.items()]
    (root / folder / "clients.json").write_text(json.dumps(entries))


@asynccontextmanager
async def gateway(root: Path, **environment: str) -> AsyncIterator[Running]:
    """Run a gateway on what `write_root` wrote."""
    variables = {
        "STAGECOACH_ROOT": str(root),
        "STAGECOACH_DEPLOYMENT": DEPLOYMENT,
        "STAGECOACH_HOST": "127.0.0.1",
        "STAGECOACH_PORT": "0",
        "STAGECOACH_ADMIN_PORT": "0",
        "STAGECOACH_CONFIRM_SECONDS": "0",
        "STAGECOACH_DRAIN_SECONDS": "3",  # and so it takes requests for no longer when it leaves
        "PYTHONPATH": f"{ROOT}/operator:{ROOT}/images/gateway",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stagecoach_gateway",
        env=os.environ | variables | environment,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    lines: list[str] = []
    while not (found := re.search(r"listening on (\d+) for clients, on (\d+)", lines[-1] if lines else "")):
        line = await process.stderr.readline()
        if not line:
            await process.wait()
            raise AssertionError(f"the gateway ended: {lines}")
        lines.append(line.decode())
    running = Running(root, process, int(found[1]), int(found[2]))
    running.log = lines
    reader = asyncio.create_task(_read(process.stderr, lines))
    try:
        async with asyncio.timeout(10):
            while (root / "routes/routes.json").exists() and "not taken" not in "".join(lines):
                if (await running.get(f"{running.admin}/ready"))[1] != "no routes":
                    break
                await asyncio.sleep(0.02)
        yield running
    finally:
        await running.stop()
        await reader


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode())


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> float:
    """Wait for a condition, and return how long that took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not condition():
        assert loop.time() < begin + seconds, "it did not come to that in time"
        await asyncio.sleep(0.01)
    return loop.time() - begin
