"""What clients of OpenAI's API get, by OpenAI's own client and by curl."""

import asyncio
import base64
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from stagecoach.contract.gateway_routes import Target
from stagecoach.contract.inputs import Prompt
from tests.unit.gateway import releases, running
from tests.unit.gateway.releases import ENGINE_KEY
from tests.unit.gateway.running import MockEngine, Running

CHAT = {"model": "intents", "messages": [{"role": "user", "content": "lost my card"}]}
ENCODER: dict[str, Any] = {"architecture": "Encoder", "prompt": Prompt(template="{text}")}
# What is asked of which release.
KINDS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {},
    "/v1/completions": {},
    "/v1/embeddings": ENCODER | {"task": "Embedding"},
    "/classify": ENCODER,
    "/rerank": ENCODER | {"task": "Embedding"},
}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "intents", "prompt": "lost"},
    "/v1/embeddings": {"model": "intents", "input": "lost"},
    "/classify": {"model": "intents", "input": ["lost"]},
    "/rerank": {"model": "intents", "query": "lost", "documents": ["a", "b"]},
}


@pytest.mark.parametrize("path", BODIES)
async def test_an_engine_answers_and_never_sees_what_the_client_calls_the_model(
    path: str, root: Path, engine: MockEngine
) -> None:
    running.write_root(root, releases.routes(serves(root, engine, path)))
    async with running.gateway(root) as gateway:
        await check_an_answer(gateway, engine, path)


async def check_an_answer(gateway: Running, engine: MockEngine, path: str) -> None:
    status, document, headers = await gateway.post(path, BODIES[path] | {"user": "somebody"})
    assert status == 200
    assert document["model"] == "intents"
    ((asked_path, body, seen),) = engine.asked
    assert asked_path == path
    assert body == BODIES[path] | {"model": "internal-name"}
    assert seen["Authorization"] == f"Bearer {ENGINE_KEY}"
    assert headers["x-stagecoach-release"].startswith("sha256:")
    assert headers["x-request-id"].startswith("req-")


def serves(root: Path, engine: MockEngine, path: str) -> Target:
    """Return a release that answers at a path."""
    kind = KINDS[path]
    return releases.target(releases.tokenizer(root / "tokenizers", chat=not kind), (engine.url,), **kind)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/classify"])
async def test_an_engine_is_asked_at_no_path_that_it_does_not_know(path: str, root: Path, engine: MockEngine) -> None:
    running.write_root(root, releases.routes(serves(root, engine, path)))
    async with running.gateway(root) as gateway:
        there = {each for each in BODIES if KINDS[each] == KINDS[path]}
        for other in BODIES.keys() - there:
            status, document, _ = await gateway.post(other, BODIES[other])
            assert (status, document["error"]["code"]) == (404, "unknown_path")
        assert engine.asked == []
        assert not (await gateway.counts())["releases"], "no release is to blame"
        _, text = await gateway.get(f"{gateway.url}/openapi.json")
        assert BODIES.keys() & json.loads(text)["paths"].keys() == there


@pytest.mark.parametrize(
    ("settings", "encoding"),
    [({}, "base64"), ({"encoding_format": "base64"}, "base64"), ({"encoding_format": "float"}, "float")],
    ids=["as it does by itself", "base64", "float"],
)
async def test_openai_python_asks_for_vectors(
    settings: dict[str, Any], encoding: str, root: Path, engine: MockEngine
) -> None:
    running.write_root(root, releases.routes(serves(root, engine, "/v1/embeddings")))
    async with running.gateway(root) as gateway:
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
        found = await client.embeddings.create(model="intents", input="a", **settings)
        assert engine.asked[0][1]["encoding_format"] == encoding
        embedding: Any = found.data[0].embedding
        if settings.get("encoding_format") == "base64":  # who asks for it by name, decodes it
            embedding = struct.unpack("<2f", base64.b64decode(embedding))
        assert list(embedding) == pytest.approx([0.6, 0.8])
        await client.close()


async def test_openai_python_works_unchanged(gateway: Running) -> None:
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
    found = await client.chat.completions.create(model="intents", messages=[{"role": "user", "content": "hello"}])
    assert found.choices[0].message.content == "hello"
    assert found.usage
    assert found.usage.total_tokens == 7
    stream = await client.chat.completions.create(
        model="intents", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    parts = [chunk async for chunk in stream]
    assert [part.choices[0].delta.content for part in parts] == ["w0 ", "w1 ", "w2 "]
    assert {part.model for part in parts} == {"intents"}
    assert not any(part.usage for part in parts)
    options: Any = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="intents", messages=[{"role": "user", "content": "hello"}], stream=True, stream_options=options
    )
    assert [part.usage.completion_tokens async for part in stream if part.usage] == [3]
    assert [model.id async for model in client.models.list()] == ["intents"]
    assert (await client.completions.create(model="intents", prompt="a")).choices[0].text == "hello"
    with pytest.raises(openai.NotFoundError, match="The model here is intents"):
        await client.chat.completions.create(model="../x", messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="intents", messages=[], extra_body={"chat_template": "x"})
    assert caught.value.code == "invalid_request"
    await client.close()


async def test_openai_python_sends_an_answer_back_as_it_came(gateway: Running, engine: MockEngine) -> None:
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
    said: list[Any] = [{"role": "user", "content": "hello"}]
    said.append((await client.chat.completions.create(model="intents", messages=said)).choices[0].message)
    said.append({"role": "user", "content": "and then?"})
    assert (await client.chat.completions.create(model="intents", messages=said)).choices[0].message.content == "hello"
    await client.close()
    _, body, _ = engine.asked[-1]
    assert body["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hello", "refusal": None},
        {"role": "user", "content": "and then?"},
    ]


async def test_what_would_be_left_out_of_a_message_unsaid_is_refused(gateway: Running) -> None:
    message = {"role": "assistant", "function_call": {"name": "block", "arguments": "{}"}}
    status, answer, _ = await gateway.post("/v1/chat/completions", {"model": "intents", "messages": [message]})
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert "function_call" in answer["error"]["message"] + str(answer["error"]["param"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"tools": [{"x": [[]] * 50_000}]}, "has more than 50000 objects and arrays"),
        ({"tools": [{"x": json.loads("[" * 200 + "]" * 200)}]}, "is nested more than 200 levels deep"),
    ],
)
async def test_a_body_of_too_many_parts_or_levels_is_refused(
    gateway: Running, engine: MockEngine, body: dict[str, Any], said: str
) -> None:
    asked = len(engine.asked)
    status, answer, _ = await gateway.post("/v1/chat/completions", body | {"model": "intents", "messages": []})
    assert (status, answer["error"]["message"]) == (400, f"The body {said}.")
    assert len(engine.asked) == asked


async def test_every_answer_has_an_id(gateway: Running) -> None:
    for path in ("/openapi.json", "/v1/models", "/v1/models/intents"):
        async with gateway.session.get(gateway.url + path) as answer:
            assert (answer.status, answer.headers["x-request-id"][:4]) == (200, "req-")


async def test_an_engine_that_dies_in_mid_stream_is_an_error_to_the_client(
    gateway: Running, engine: MockEngine
) -> None:
    async def stream(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(
            b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
        )
        assert request.transport
        request.transport.abort()
        return response

    engine.stream = stream  # type: ignore[assignment, method-assign]
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
    answer = await client.chat.completions.create(
        model="intents", messages=[{"role": "user", "content": "a"}], stream=True
    )
    assert (await anext(answer)).choices[0].delta.content == "a"
    with pytest.raises(openai.APIError, match="broke its answer off"):
        await anext(answer)
    await client.close()
    counts = (await gateway.counts())["releases"][0]
    assert (counts["requests"], counts["errors"]) == (1, {"engine_error": 1})


async def test_a_connection_lost_after_the_end_is_no_error(gateway: Running, engine: MockEngine) -> None:
    async def stream(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"model":"m","choices":[]}\n\ndata: [DONE]\n\n')
        await asyncio.sleep(0.1)
        assert request.transport
        request.transport.abort()
        return response

    engine.stream = stream  # type: ignore[assignment, method-assign]
    async with gateway.session.post(f"{gateway.url}/v1/chat/completions", json=CHAT | {"stream": True}) as response:
        assert (await response.text()).endswith("data: [DONE]\n\n")
    assert (await gateway.counts())["releases"][0]["errors"] == {}


async def test_the_model_and_a_user_that_is_null(gateway: Running) -> None:
    status, text = await gateway.get(f"{gateway.url}/v1/models/intents")
    assert (status, json.loads(text)["id"]) == (200, "intents")
    status, text = await gateway.get(f"{gateway.url}/v1/models/other")
    assert (status, json.loads(text)["error"]["code"]) == (404, "model_not_found")
    assert (await gateway.post("/v1/chat/completions", CHAT | {"user": None}))[0] == 200


async def test_curl_streams(gateway: Running) -> None:
    command = [
        "curl",
        "-sSN",
        "-i",
        f"{gateway.url}/v1/chat/completions",
        "-H",
        "content-type: application/json",
        "-d",
        json.dumps(CHAT | {"stream": True}),
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert done.stdout.count("data: {") == 3
    assert done.stdout.rstrip().endswith("data: [DONE]")
    assert "x-stagecoach-release: sha256:" in done.stdout


async def test_a_client_that_leaves_frees_the_engine_within_a_second(gateway: Running, engine: MockEngine) -> None:
    engine.chunks, engine.pace = 10_000, 0.5
    body = json.dumps(CHAT | {"stream": True}).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    writers = []
    for _ in range(500):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request)
        await reader.readuntil(b"w0")
        writers.append(writer)
    assert engine.now == 500
    for writer in writers:
        writer.close()
    assert await running.until(lambda: engine.now == 0) < 1
    _, metrics = await gateway.get(f"{gateway.admin}/metrics")
    assert "stagecoach_gateway_engine_requests 0.0" in metrics
    assert (await gateway.counts())["releases"][0]["abandoned"] == 500


async def test_a_client_that_leaves_before_the_answer_frees_the_engine_too(
    gateway: Running, engine: MockEngine
) -> None:
    engine.answers = lambda _, __: asyncio.sleep(60)
    body = json.dumps(CHAT).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    await running.until(lambda: engine.now == 1)
    writer.close()
    assert await running.until(lambda: engine.now == 0) < 1


def memory(gateway: Running) -> int:
    """Return the resident memory in kilobytes."""
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


async def test_a_slow_reader_holds_its_engine_up_and_not_the_gateway(gateway: Running, engine: MockEngine) -> None:
    engine.chunks = 200_000
    body = json.dumps(CHAT | {"stream": True}).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    sent = -1
    async with asyncio.timeout(20):
        while sent != engine.sent:  # it comes to a stop, long before the end
            sent = engine.sent
            await asyncio.sleep(1)
    assert 0 < sent < engine.chunks
    assert memory(gateway) < 150_000  # kB
    assert (await gateway.post("/v1/completions", BODIES["/v1/completions"]))[0] == 200
    writer.close()
    await running.until(lambda: engine.now == 0)


async def test_it_asks_again_only_where_it_was_surely_not_answered(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    closed = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    dead = f"http://127.0.0.1:{closed.sockets[0].getsockname()[1]}"
    closed.close()
    await closed.wait_closed()
    running.write_root(root, releases.routes(releases.target(tokenizer, (dead, engine.url))))
    async with running.gateway(root) as gateway:
        for _ in range(10):
            assert (await gateway.post("/v1/chat/completions", CHAT))[0] == 200
        engine.asked.clear()
        fails: Any = lambda _, __: (_ for _ in ()).throw(RuntimeError)  # noqa: E731
        engine.answers = fails
        status, document, _ = await gateway.post("/v1/chat/completions", CHAT)
        assert (status, document["error"]["code"]) == (502, "engine_error")
        assert len(engine.asked) == 1


async def test_connections_to_engines_are_kept(gateway: Running, engine: MockEngine) -> None:
    for _ in range(10):
        assert (await gateway.post("/v1/chat/completions", CHAT))[0] == 200
        async with gateway.session.post(f"{gateway.url}/v1/chat/completions", json=CHAT | {"stream": True}) as response:
            assert "[DONE]" in await response.text()
    assert len(engine.connections) == 1


async def test_draining_ends_what_was_begun(gateway: Running, engine: MockEngine) -> None:
    engine.chunks, engine.pace = 20, 0.2
    answering = asyncio.create_task(gateway.post("/v1/chat/completions", CHAT))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    body = json.dumps(CHAT | {"stream": True}).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    await reader.readuntil(b"w0")
    gateway.process.terminate()
    assert (await answering)[0] == 200
    await asyncio.sleep(0.2)
    assert await gateway.get(f"{gateway.admin}/ready") == (503, "draining")
    status, _, headers = await gateway.post(
        "/v1/completions", BODIES["/v1/completions"]
    )  # others have not heard of it yet
    assert (status, headers.get("connection")) == (200, "close")
    assert b"[DONE]" in await reader.read()
    writer.close()
    assert await asyncio.wait_for(gateway.process.wait(), 10) == 0
