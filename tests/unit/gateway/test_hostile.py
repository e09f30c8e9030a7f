"""Requests that nobody means well with, on bare sockets."""

import asyncio
import json
import random
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stagecoach_gateway import limits
from stagecoach_gateway.http_messages import Answer, Request
from stagecoach_gateway.http_server import Server
from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine, Running

PATH = b"POST /v1/chat/completions HTTP/1.1\r\n"
JSON = b"content-type: application/json\r\n"
BODY = json.dumps({"model": "intents", "messages": [{"role": "user", "content": "a"}]}).encode()


async def say(gateway: Running, *data: bytes, half_close: bool = False) -> bytes:
    """Send it, and return all that comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        for part in data:
            writer.write(part)
            await writer.drain()
        if half_close:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 15)
    finally:
        writer.close()


def code_of(answer: bytes) -> tuple[int, str]:
    """Return status and error code of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def post(body: bytes, *headers: bytes) -> bytes:
    length = b"content-length: %d\r\n" % len(body)
    return PATH + b"host: x\r\n" + JSON + length + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


SMUGGLED = {
    "length and chunks": PATH + b"host: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": PATH + b"host: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": PATH + b"host: x\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
    "two hosts": PATH + b"host: x\r\nhost: y\r\ncontent-length: 0\r\n\r\n",
    "no host": PATH + b"content-length: 0\r\n\r\n",
    "two keys": PATH + b"host: x\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\ncontent-length: 0\r\n\r\n",
    "an encoding that is none": PATH + b"host: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a length with a sign": PATH + b"host: x\r\ncontent-length: +4\r\n\r\nabcd",
    "a space before the colon": PATH + b"host: x\r\ncontent-length : 4\r\n\r\nabcd",
    "a folded header": PATH + b"host: x\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"POST /v1/chat/completions HTTP/1.1\nhost: x\ncontent-length: 0\n\n",
    "a zero in a header": PATH + b"host: x\r\na: b\x00c\r\ncontent-length: 0\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /a HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("what", SMUGGLED)
async def test_what_could_be_read_in_two_ways_is_refused(what: str, gateway: Running, engine: MockEngine) -> None:
    answer = await say(gateway, SMUGGLED[what] + post(BODY))
    assert code_of(answer) == (400, "bad_http")
    assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1  # and nothing behind it is taken for a request
    assert engine.asked == []


async def test_no_header_of_a_client_reaches_an_engine(gateway: Running, engine: MockEngine) -> None:
    headers = (
        b"x-forwarded-for: 1.2.3.4",
        b"cookie: a=b",
        b"authorization: Bearer mine",
        b"x-request-id: other",
        b"connection: close",
    )
    assert b"200 OK" in await say(gateway, post(BODY, *headers))
    sent = {name.lower() for name in engine.asked[0][2]}
    assert sent == {"host", "content-type", "authorization", "content-length"}
    assert "mine" not in str(engine.asked[0][2])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"' + b"\xff" + b'"', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"model": NaN}', "invalid_json"),
        (b'{"a": "\\ud800"}', "invalid_json"),
        (b"{}", "invalid_request"),
        (b'{"model": "intents", "messages": [{"role": "user", "content": "a"}], "tools": [' + b'{"a": ' * 199 + b"1" + b"}" * 199 + b"]}", "invalid_request"),
        (b'{"model": "intents", "messages": [{"role": "user", "content": "a"}], "tools": [' + b'{"a": ' * 300 + b"1" + b"}" * 300 + b"]}", "invalid_request"),
        (b'{"model": "intents", "messages": "a"}', "invalid_request"),
        (b'{"model": "../x", "messages": [{"role": "user", "content": "a"}]}', "model_not_found"),
        (b'{"model": "intents", "messages": [{"role": "user", "content": "a"}], "lora_request": {}}', "invalid_request"),
        (b'{"model": "intents", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}]}', "invalid_request"),
        (b'{"model": "intents", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1e400}', "invalid_json"),
    ],
)  # fmt: skip
async def test_bodies_that_no_engine_should_see(body: bytes, code: str, gateway: Running, engine: MockEngine) -> None:
    assert code_of(await say(gateway, post(body, b"connection: close")))[1] == code
    assert engine.asked == []


async def test_a_body_of_50_mb_is_refused_before_it_is_read(gateway: Running) -> None:
    size = 50 << 20
    answer = await say(gateway, PATH + b"host: x\r\n" + JSON + b"content-length: %d\r\n\r\n" % size, b"x" * 100_000)
    assert code_of(answer) == (413, "body_too_large")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = await say(gateway, PATH + b"host: x\r\n" + JSON + b"transfer-encoding: chunked\r\n\r\n" + chunk * 80)
    assert code_of(answer) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        (b"/v1/chat/completions", b"", "missing_key"),
        (b"/v1/chat/completions", b"authorization: Bearer no\r\n", "invalid_key"),
        (b"/v1/other", b"authorization: Bearer key-1\r\n", "unknown_path"),
    ],
)
@pytest.mark.parametrize("length", [b"content-length: 100000\r\n", b"transfer-encoding: chunked\r\n"])
async def test_who_may_not_ask_sends_no_long_body(
    length: bytes, path: bytes, headers: bytes, code: str, root: Path, tokenizer: str
) -> None:
    running.write_root(root, releases.routes(releases.target(tokenizer, ("http://a:1",)), keys=True), {"app": "key-1"})
    async with running.gateway(root) as gateway:
        answer = await say(gateway, b"POST %b HTTP/1.1\r\nhost: x\r\n" % path + JSON + headers + length + b"\r\n")
        assert code_of(answer)[1] == code
        assert b"x-request-id: req-" in answer
        _, metrics = await gateway.get(f"{gateway.admin}/metrics")
        assert f'errors_total{{code="{code}",release="none"}} 1.0' in metrics


async def test_what_cannot_be_read_has_an_id_and_is_counted(gateway: Running) -> None:
    assert b"x-request-id: req-" in await say(gateway, b"nonsense\r\n\r\n")
    _, metrics = await gateway.get(f"{gateway.admin}/metrics")
    assert 'errors_total{code="bad_http",release="none"} 1.0' in metrics


async def test_bodies_of_all_connections_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALL_BODY_BYTES", 100_000)

    async def reads(_: Request, answer: Answer) -> None:
        answer.send(200, b"{}")

    server = Server(reads)
    port = await server.start("127.0.0.1", 0)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n"
    first, other, third = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    first[1].write(head + b"x" * 59_999)
    await running.until(lambda: server.held == 59_999)
    other[1].write(head + b"x" * 60_000)
    assert code_of(await other[0].read()) == (503, "too_many_connections")
    first[1].write(b"x")
    assert b"200 OK" in await first[0].readuntil(b"{}")
    assert server.held == 0
    third[1].write(head + b"x" * 50_000)
    await running.until(lambda: server.held == 50_000)
    third[1].transport.abort()
    await running.until(lambda: server.held == 0)
    for _, writer in (first, other, third):
        writer.close()
    await server.drain(0)


async def test_who_reads_slowly_but_reads_gets_all_and_who_stops_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLOW_SECONDS", 0.6)
    monkeypatch.setattr(limits, "CLOSE_SECONDS", 30.0)
    size = 6 << 20

    async def long(_: Request, answer: Answer) -> None:
        answer.send(200, b"x" * size)

    server = Server(long)
    port = await server.start("127.0.0.1", 0)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        read = 0
        begin = loop.time()
        while read < size:
            got = await loop.sock_recv(client, 200_000)
            assert got, f"cut off after {read} bytes"
            read += len(got)
            await asyncio.sleep(0.03)
        assert loop.time() - begin > 0.6
    monkeypatch.setattr(limits, "SLOW_SECONDS", 30.0)
    monkeypatch.setattr(limits, "CLOSE_SECONDS", 0.5)
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await running.until(lambda: bool(server.connections))
    await running.until(lambda: not server.connections)
    writer.close()
    await server.drain(0)


async def test_curl_reads_the_answer_to_a_body_that_is_too_long(gateway: Running) -> None:
    command = (
        "curl",
        "-sS",
        f"{gateway.url}/v1/chat/completions",
        "-H",
        "content-type: application/json",
        "--data-binary",
        "@-",
    )
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(b"x" * (50 << 20))
    assert json.loads(out)["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    "head",
    [
        PATH + b"host: x\r\na: " + b"b" * 20_000 + b"\r\n\r\n",
        PATH + b"host: x\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(200)) + b"\r\n",
        b"POST /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\nendless: " + b"b" * 40_000,
    ],
)
async def test_heads_that_are_too_long(head: bytes, gateway: Running) -> None:
    assert code_of(await say(gateway, head)) == (431, "headers_too_large")


async def test_requests_in_a_row_on_one_connection_are_answered_in_order(gateway: Running, engine: MockEngine) -> None:
    texts = [str(number) for number in range(5)]
    engine.answers = lambda path, body: engine.answer(path, body) | {"id": body["messages"][0]["content"]}
    bodies = [BODY.replace(b'"a"', b'"%b"' % text.encode()) for text in texts]
    data = b"".join(post(body) for body in bodies[:-1]) + post(bodies[-1], b"connection: close")
    answer = await say(gateway, data)
    assert re.findall(rb'"id":"(\d)"', answer) == [text.encode() for text in texts]


async def test_who_is_too_slow_is_sent_away(gateway: Running) -> None:
    begin = asyncio.get_running_loop().time()
    answer = await say(gateway, PATH + b"host: x\r\n")
    assert code_of(answer) == (408, "request_timeout")
    assert limits.HEAD_SECONDS <= asyncio.get_running_loop().time() - begin < limits.HEAD_SECONDS + 2
    assert await say(gateway) == b""  # who says nothing at all gets nothing


async def test_a_thousand_idle_connections_disturb_nobody(gateway: Running) -> None:
    writers = [(await asyncio.open_connection("127.0.0.1", gateway.port))[1] for _ in range(1000)]
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for _ in range(20):
        assert (await gateway.post("/v1/chat/completions", json.loads(BODY)))[0] == 200
    assert loop.time() - begin < 5
    _, metrics = await gateway.get(f"{gateway.admin}/metrics")
    assert float(re.findall(r"^stagecoach_gateway_connections (\S+)", metrics, re.MULTILINE)[0]) >= 1000
    for writer in writers:
        writer.close()


async def test_http_1_0_and_head(gateway: Running) -> None:
    request = post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert b"200 OK" in await say(gateway, request)
    stream = json.dumps(json.loads(BODY) | {"stream": True}).encode()
    answer = await say(gateway, post(stream).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert b"transfer-encoding" not in answer
    assert answer.rstrip().endswith(b"data: [DONE]")
    answer = await say(gateway, b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405")
    assert answer.endswith(b"\r\n\r\n")


async def test_chunked_bodies_and_expectations(gateway: Running) -> None:
    chunked = b"%x\r\n%b\r\n0\r\nx-trailer: a\r\n\r\n" % (len(BODY), BODY)
    head = (
        PATH
        + b"host: x\r\n"
        + JSON
        + b"transfer-encoding: chunked\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n"
    )
    answer = await say(gateway, head, chunked)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def _open(gateway: Running, data: bytes) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", int(gateway.admin.rpartition(":")[2]))
    writer.write(data)
    return writer


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"G",
        b"GET /live HTTP/1.1\r\nhost: x\r\n",
        b"PUT /routes HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
        b"PUT /routes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /live HTTP/1.1\r\nhost: x\r\n\r\nG",
    ],
)
async def test_who_may_not_ask_keeps_no_probe_from_the_port_of_the_cluster(begun: bytes, gateway: Running) -> None:
    writers = [await _open(gateway, begun) for _ in range(100)]
    for path in ("/live", "/ready"):
        assert (await gateway.get(gateway.admin + path))[0] == 200
    assert (await gateway.counts())["revision"] == 1
    for writer in writers:
        writer.close()


async def test_no_body_is_read_but_of_the_operator(gateway: Running) -> None:
    for authorization in ("", "authorization: Bearer other\r\n"):
        head = f"PUT /routes HTTP/1.1\r\nhost: x\r\n{authorization}content-length: 4000000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.admin.rpartition(":")[2]))
        writer.write(head.encode())
        assert code_of(await asyncio.wait_for(reader.read(), 5)) == (401, "invalid_key")
        writer.close()


async def test_random_bytes_never_end_the_gateway(gateway: Running) -> None:
    source = random.Random(17)  # noqa: S311 - the same every time
    whole = post(BODY)

    async def one() -> None:
        data: Any = bytearray(whole)
        for _ in range(source.randint(1, 8)):
            data[source.randrange(len(data))] = source.randrange(256)
        with suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(say(gateway, bytes(data), half_close=True), 3)

    for _ in range(5):
        await asyncio.gather(*(one() for _ in range(30)))
    assert (await gateway.post("/v1/chat/completions", json.loads(BODY)))[0] == 200
    assert not any("Traceback" in line for line in gateway.log), gateway.log


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLOW_SECONDS", 0.5)
    ended = asyncio.Event()

    async def endless(_: Request, answer: Answer) -> None:
        answer.begin([])
        try:
            while True:
                await answer.part(b"x" * 10_000)
        finally:
            ended.set()

    server = Server(endless)
    port = await server.start("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.wait_for(ended.wait(), 10)
    assert not server.connections
    writer.close()
    await server.drain(0)
