"""Every error that the OpenAPI document names is provoked, and is what the document says it is."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
from aiohttp import web

from stagecoach.contract import openapi
from stagecoach.contract.gateway_errors import ERRORS
from stagecoach.contract.gateway_routes import RateLimit, Routes
from stagecoach.contract.inputs import Overflow, Tokenization
from stagecoach_gateway.http_messages import Answer
from stagecoach_gateway.http_server import Server
from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine, Running
from tests.unit.gateway.test_hostile import code_of, say

CHAT = {"model": "intents", "messages": [{"role": "user", "content": "lost my card"}]}
KEY = {"authorization": "Bearer key-1"}
KEPT = {"rate": 0, "redact": (), "keep_seconds": 3600}
Provoked = tuple[int, dict[str, Any]]


class Scene:
    """A gateway, its engine, and the ways to each error."""

    def __init__(self, gateway: Running, engine: MockEngine, tokenizer: str) -> None:
        self.gateway = gateway
        self.engine = engine
        self.tokenizer = tokenizer
        self.revision = 1

    async def routes(self, **changes: Any) -> Routes:
        """Have other routes in force."""
        self.revision += 1
        url = changes.pop("url", self.engine.url)
        values: dict[str, Any] = {
            "stable": releases.target(self.tokenizer, (url,)),
            "keys": True,
            "revision": self.revision,
        } | changes
        routes = releases.routes(**values)
        status, text = await self.gateway.put(routes)
        assert status == 200, text
        return routes

    async def post(self, path: str = "/v1/chat/completions", body: Any = None, **headers: str) -> Provoked:
        status, document, _ = await self.gateway.post(path, CHAT if body is None else body, **(KEY | headers))
        return status, document

    async def raw(self, data: bytes) -> Provoked:
        status, code = code_of(await say(self.gateway, data))
        return status, {"error": {"code": code, "type": ERRORS[code].type, "message": "-", "param": None}}

    async def answers(self, answer: Any) -> Provoked:
        self.engine.answers = lambda _, __: answer
        return await self.post()

    async def bad_http(self) -> Provoked:
        return await self.raw(b"nonsense\r\n\r\n")

    async def headers_too_large(self) -> Provoked:
        return await self.raw(b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 20_000 + b"\r\n\r\n")

    async def body_too_large(self) -> Provoked:
        return await self.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 52428800\r\n\r\n")

    async def request_timeout(self) -> Provoked:
        return await self.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")

    async def invalid_json(self) -> Provoked:
        async with self.gateway.session.post(
            f"{self.gateway.url}/v1/completions", data=b"{", headers=KEY | {"content-type": "application/json"}
        ) as found:
            return found.status, await found.json()

    async def unsupported_media_type(self) -> Provoked:
        async with self.gateway.session.post(
            f"{self.gateway.url}/v1/completions", data=b"{}", headers=KEY | {"content-type": "text/plain"}
        ) as found:
            return found.status, await found.json()

    async def invalid_request(self) -> Provoked:
        return await self.post(body={})

    async def model_not_found(self) -> Provoked:
        return await self.post(body=CHAT | {"model": "../x"})

    async def missing_key(self) -> Provoked:
        status, document, _ = await self.gateway.post("/v1/completions", CHAT)
        return status, document

    async def invalid_key(self) -> Provoked:
        return await self.post(authorization="Bearer other")

    async def unknown_path(self) -> Provoked:
        return await self.post("/v1/other")

    async def method_not_allowed(self) -> Provoked:
        return await self.post("/v1/models")

    async def unknown_request(self) -> Provoked:
        await self.routes(sampling=KEPT)
        return await self.post("/v1/feedback", {"request": "req-" + "0" * 76, "rating": 1})

    async def rate_limited(self) -> Provoked:
        await self.routes(rate_limits=(RateLimit(requests=1, seconds=60),))
        await self.post()
        return await self.post()

    async def text_too_long(self) -> Provoked:
        rejects = Tokenization(max_length=20, overflow=Overflow.REJECT)
        await self.routes(api="Task", stable=releases.target(self.tokenizer, (self.engine.url,), tokenization=rejects))
        return await self.post("/v1/predict", {"text": "one " * 30})

    async def engine_refused(self) -> Provoked:
        error = {"error": {"message": "internal-name reads 64 tokens", "type": "BadRequestError", "code": 400}}
        status, document = await self.answers(web.json_response(error, status=400))
        assert document["error"]["message"] == "intents reads 64 tokens"
        return status, document

    async def engine_error(self) -> Provoked:
        for answer in (web.Response(status=404), web.Response(text="no json"), web.Response(text="[]")):
            assert (await self.answers(answer))[1]["error"]["code"] == "engine_error"
        return await self.answers(web.Response(status=500))

    async def engine_unavailable(self) -> Provoked:
        await self.routes(url="http://127.0.0.1:1")
        return await self.post()

    async def engine_timeout(self) -> Provoked:
        await self.routes(timeout=0.5)
        return await self.answers(asyncio.sleep(30))

    async def contract_violation(self) -> Provoked:
        await self.routes(output_schema={"required": ["never"]})
        return await self.post()

    async def nothing_served(self) -> Provoked:
        await self.routes(stable=None)
        return await self.post()

    async def too_many_hops(self) -> Provoked:
        await self.routes(url="http://127.0.0.1:1", fallback={"gateway": "http://127.0.0.1:1"})
        return await self.post(**{"x-stagecoach-hops": "2"})


@pytest.fixture
async def scene(root: Path, tokenizer: str, engine: MockEngine):  # type: ignore[no-untyped-def]
    (root / "samples").mkdir()
    routes = releases.routes(releases.target(tokenizer, (engine.url,)), keys=True)
    running.write_root(root, routes, {"app": "key-1"})
    async with running.gateway(root) as made:
        yield Scene(made, engine, tokenizer)


@pytest.mark.parametrize("code", sorted(ERRORS.keys() - {"internal_error", "too_many_connections"}))
async def test_an_error_is_what_the_document_says(code: str, scene: Scene) -> None:
    way: Callable[[], Awaitable[Provoked]] = getattr(scene, code)
    status, document = await way()
    error = document["error"]
    assert (error["code"], status, error["type"]) == (code, ERRORS[code].status, ERRORS[code].type), document
    assert set(error) == {"message", "type", "param", "code"}
    _, text = await scene.gateway.get(f"{scene.gateway.url}/openapi.json")
    operations = [
        each for path in json.loads(text)["paths"].values() for each in path.values() if "security" not in each
    ]
    assert operations
    assert all(f"`{code}`" in each["responses"][str(status)]["description"] for each in operations)


# More than the kernel takes at once, for a client that does not read.
LONG = 32 << 20


async def fails(*_: object) -> None:
    raise ZeroDivisionError


async def test_a_fault_of_the_gateway_itself() -> None:
    server = Server(fails)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert code_of(await reader.read()) == (500, "internal_error")
    writer.close()
    await server.drain(0)


async def test_one_connection_too_many() -> None:
    server = Server(fails, connections=2)
    port = await server.start("127.0.0.1", 0)
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, each in pairs:
        each.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
    await asyncio.sleep(0.1)
    pairs.append(await asyncio.open_connection("127.0.0.1", port))
    answer = await pairs[2][0].read()
    assert code_of(answer) == (503, "too_many_connections")
    assert b"retry-after: 1" in answer
    pairs[0][1].close()
    await pairs[0][1].wait_closed()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert code_of(await reader.read())[1] == "internal_error"
    for _, each in (*pairs, (reader, writer)):
        each.close()
    await server.drain(0)


@pytest.mark.parametrize(("begun", "for_probes"), [(b"", False), (b"", True), (b"GET / ", True)])
async def test_where_there_are_as_many_as_are_taken_the_one_leaves_that_asks_nothing_for_longest(
    begun: bytes, for_probes: bool
) -> None:
    server = Server(fails, connections=2, for_probes=for_probes)
    port = await server.start("127.0.0.1", 0)
    pairs = []
    for _ in range(3):
        pairs.append(await asyncio.open_connection("127.0.0.1", port))
        pairs[-1][1].write(begun)
    assert await pairs[0][0].read() == b""
    pairs[2][1].write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".removeprefix(begun))
    assert code_of(await pairs[2][0].read())[1] == "internal_error"
    for _, each in pairs:
        each.close()
    await server.drain(0)


@pytest.mark.parametrize(
    ("asked", "rest"),
    [
        (b"GET / HTTP/1.1\r\n", b"host: x\r\nconnection: close\r\n\r\n"),  # a head in two pieces
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b""),
    ],
)
async def test_a_client_that_asks_or_still_reads_gives_way_to_nobody(asked: bytes, rest: bytes) -> None:
    async def answers(_: object, answer: Answer) -> None:
        answer.send(200, b"x" * LONG)

    server = Server(answers, connections=1)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    await asyncio.sleep(0.1)
    other, other_writer = await asyncio.open_connection("127.0.0.1", port)
    assert code_of(await other.read())[1] == "too_many_connections"
    writer.write(rest)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert len(await reader.readexactly(LONG)) == LONG
    for each in (writer, other_writer):
        each.close()
    await server.drain(0)


@pytest.mark.parametrize("changes", [{}, {"keys": True, "rate_limits": (RateLimit(requests=1, seconds=1),)}, {"api": "Task", "fallback": {"static": {"label": "top up"}}}, {"api": "Task", "input_schema": {"maxProperties": 1}, "output_schema": {"minProperties": 1}}, {"sampling": KEPT | {"sources": True}}])  # fmt: skip
def test_the_document_is_valid(changes: dict[str, Any]) -> None:
    target = releases.target("sha256:" + "cd" * 32, ("http://a:1",))
    routes = releases.routes(target, **changes)
    document = openapi.document(routes, feedback=True)
    openapi_spec_validator.validate(document)
    text = json.dumps(document)
    for code, kind in ERRORS.items():
        assert f"`{code}`: {kind.meaning}" in text
    assert ("lost pin" in text) == (routes.api == "Task")
    assert ("securitySchemes" in text) == (routes.keys or routes.sources)
    assert "internal-name" not in text
    assert "http://a:1" not in text
