import asyncio
from contextlib import suppress

from tests.bench import asking
from tests.bench.gateway import Proxy, Target, left, outcome, rotated, table, targets


def proxy(name: str, cost: float, alone: float, chunk: float = 0.0) -> Proxy:
    return Proxy(name, 1, "m", cost=[cost, cost * 3, cost], alone=[alone], chunk=[chunk] if chunk else [])


def test_ratios_are_of_what_a_request_costs() -> None:
    ours, direct = proxy("stagecoach", 100e-6, 0.0005, 20e-6), Proxy("no proxy", 1, "m", alone=[0.0001])
    found = targets(ours, direct, {"nginx": proxy("nginx", 10e-6, 0.0002)})
    assert [target.line for target in found] == [
        "requests per CPU second, times LiteLLM's: not measured (to reach: ≥ 40)",
        "requests per CPU second, % of nginx's: 10 (to reach: ≥ 6)",
        "added at the median to one request at a time, ms: 0.4 (to reach: ≤ 0.5)",
        "CPU per streamed chunk, µs: 20 (to reach: ≤ 35)",
    ]
    assert "100.0" in table([ours, direct])


def test_what_is_missed_is_said() -> None:
    assert Target("x", 3, least=4).line == "x: 3 (to reach: ≥ 4, MISSED)"
    assert Target("x", 3, most=2).line == "x: 3 (to reach: ≤ 2, MISSED)"


def test_what_is_missed_or_fails_is_no_success() -> None:
    reached, missed, unknown = Target("x", 3, least=2), Target("x", 3, most=2), Target("x", None, most=2)
    assert outcome([reached, unknown], [proxy("a", 1, 1)]) == 0
    assert outcome([reached, missed], [proxy("a", 1, 1)]) == 1
    assert outcome([Target("x", float("nan"), most=2)], [proxy("a", 1, 1)]) == 1
    assert outcome([reached], [Proxy("a", 1, "m", failed=1)]) == 1


def test_each_begins_in_turn() -> None:
    proxies = [proxy(name, 1, 1) for name in "abc"]
    assert ["".join(each.name for each in rotated(proxies, number)) for number in range(4)] == [
        "abc",
        "bca",
        "cab",
        "abc",
    ]


async def test_only_what_was_answered_well_counts() -> None:
    answers = [b"HTTP/1.1 200 OK", b"HTTP/1.1 502 Bad Gateway", b""]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"{}")
            if answer:
                writer.write(answer + b"\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    data = asking.request("/", b"{}", "key")
    found = await asking.ask(server.sockets[0].getsockname()[1], data, 2, 0.3)
    assert (found.requests, found.failed) == (2, 4)
    server.close()


async def test_streams_that_are_refused_are_no_streams() -> None:
    answers = iter([b"data: {}\n\n", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"data: {}\n\n", b""])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        answer = next(answers)
        writer.write(answer)
        if answer:
            with suppress(ConnectionError):
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port, data = server.sockets[0].getsockname()[1], asking.request("/", b"{}", "key")
    found = await asking.streams(port, data, 4)
    await asyncio.sleep(0.2)
    assert left(found) == 2
    await asyncio.sleep(0.1)
    assert not any(stream.flows for stream in found)
    server.close()


def test_memory_that_is_not_measured_says_so() -> None:
    assert "not measured" in table([Proxy("a", 1, "m")])
