import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.gateway_routes import RateLimit
from stagecoach_gateway import feedback, ids
from stagecoach_gateway.clients import Clients, Rates
from stagecoach_gateway.counting import Counts
from stagecoach_gateway.errors import Refusal
from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine

CHAT = {"model": "intents", "messages": [{"role": "user", "content": "lost my card"}]}


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Basic abc", b"abc"])
def test_without_a_key(header: bytes | None, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        Clients(tmp_path / "none").who(header)
    assert caught.value.code == "missing_key"


def test_keys_come_and_go_with_their_file(tmp_path: Path) -> None:
    running.write_root(tmp_path, None, {"app": "the key"})
    clients = Clients(tmp_path / "clients/clients.json")
    clients.refresh()
    assert clients.who(b"Bearer the key") == "app"
    with pytest.raises(Refusal, match="not known"):
        clients.who(b"Bearer the kez")
    (tmp_path / "clients/clients.json").write_text("no json")
    clients.refresh()
    assert clients.who(b"bearer the key") == "app"
    (tmp_path / "clients/clients.json").unlink()
    clients.refresh()
    with pytest.raises(Refusal, match="not known"):
        clients.who(b"Bearer the key")


def test_a_file_that_cannot_be_read_keeps_nothing_from_being_looked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running.write_root(tmp_path, None, {"app": "the key"})
    file = tmp_path / "clients/clients.json"
    clients = Clients(file)
    clients.refresh()
    file.unlink()
    file.mkdir()
    for _ in range(2):
        clients.refresh()
    assert clients.who(b"Bearer the key") == "app"
    assert caplog.text.count("cannot be read") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json", "does not hold keys: all of it: Invalid JSON"),
        ('{"client": "app"}', "does not hold keys: all of it"),
        ('[{"client": "app", "sha256": "the key"}]', "does not hold keys: 0.sha256: "),
    ],
)
def test_a_file_of_which_no_keys_were_ever_read_is_told_until_it_is_mended(
    content: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running.write_root(tmp_path, None, {})
    file = tmp_path / "clients/clients.json"
    file.write_text(content)
    clients = Clients(file)
    clients.refresh()
    told = clients.unread or ""
    assert told.startswith(f"clients/clients.json {words}")
    assert told in caplog.text
    assert "the key" not in caplog.text, "who has put a key there as it is finds it in no log"
    running.write_keys(tmp_path, {"app": "the key"})
    os.utime(file, (1, 1))  # another time than before, however fast this is
    clients.refresh()
    assert (clients.unread, clients.who(b"Bearer the key")) == (None, "app")
    file.write_text(content)
    clients.refresh()
    assert (clients.unread, clients.who(b"Bearer the key")) == (None, "app"), "the keys from before hold"


async def test_a_gateway_that_can_read_no_clients_is_not_ready_and_one_without_sources_is(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    """Else the keys would be in force when every gateway has been started anew, and all clients be refused."""
    running.write_root(root, releases.routes(releases.target(tokenizer, (engine.url,))), {"app": "key-1"})
    for folder in ("clients", "feedback"):
        (root / folder / "clients.json").write_text("[{}]")
    async with running.gateway(root) as gateway:
        status, why = await gateway.get(f"{gateway.admin}/ready")
        assert (status, why.partition(": ")[0]) == (503, "clients/clients.json does not hold keys")
        running.write_keys(root, {"app": "key-1"})
        for _ in range(100):
            if (await gateway.get(f"{gateway.admin}/ready"))[0] == 200:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("it never came to be ready")


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 10), st.integers(1, 20))
def test_no_client_gets_more_than_its_limit(pauses: list[float], requests: int, seconds: int) -> None:
    limit, rates, now, taken, waits = (
        RateLimit(requests=requests, seconds=seconds),
        Rates(),
        0.0,
        list[float](),
        list[int](),
    )
    for pause in pauses:
        now += pause
        try:
            rates.take("a", [limit], now)
        except Refusal as refusal:
            waits.append(int(refusal.headers["retry-after"]))
            continue
        taken.append(now)
    assert all(1 <= wait <= seconds for wait in waits)
    for begin in taken:
        within = [time for time in taken if begin <= time <= begin + seconds]
        assert len(within) <= 2 * requests + 1


def test_who_waits_as_long_as_it_was_told_is_served() -> None:
    limit, rates = RateLimit(requests=2, seconds=60), Rates()
    rates.take("a", [limit], 0)
    rates.take("a", [limit], 0)
    with pytest.raises(Refusal) as caught:
        rates.take("a", [limit], 1)
    assert caught.value.headers["retry-after"] == "29"
    rates.take("a", [limit], 30)


@given(
    client=st.text(max_size=20),
    other=st.text(max_size=20),
    digits=st.text("0123456789abcdef", min_size=64, max_size=64),
)
def test_an_id_is_of_one_client_and_one_release(client: str, other: str, digits: str) -> None:
    found = ids.new(b"k" * 32, client, f"sha256:{digits}")
    assert ids.release_of(b"k" * 32, client, found) == digits[:12]
    assert ids.release_of(b"l" * 32, client, found) is None
    assert ids.release_of(b"k" * 32, None, found) == digits[:12], "who may name anybody's need not know whose it is"
    assert ids.release_of(b"l" * 32, None, found) is None
    if other != client:
        assert ids.release_of(b"k" * 32, other, found) is None


@given(place=st.integers(0, 79), digit=st.sampled_from("0123456789abcdef"), rest=st.text(max_size=3))
def test_an_id_that_was_changed_is_none(place: int, digit: str, rest: str) -> None:
    """Not even in the part that says for whom it was made, or a sample could not be found by it."""
    found = ids.new(b"k" * 32, "a", "sha256:" + "ab" * 32)
    assert len(found) == 80
    for changed in (found[:place] + digit + found[place + 1 :], found + rest, found[: len(found) - len(rest)]):
        for client in ("a", None):
            assert (ids.release_of(b"k" * 32, client, changed) is None) == (changed != found)


def test_the_longest_wait_is_told() -> None:
    limits, rates = [RateLimit(requests=1, seconds=10), RateLimit(requests=1, seconds=600)], Rates()
    rates.take("a", limits, 0)
    with pytest.raises(Refusal, match="More than 1 requests in 600 s") as caught:
        rates.take("a", limits, 0)
    assert caught.value.headers["retry-after"] == "600"
    rates.take("a", limits, 600)


def test_feedback_is_on_an_answer_of_a_release() -> None:
    found = ids.new(b"k" * 32, "a", "sha256:" + "ab" * 32)
    assert feedback.checked({"request": found, "rating": 1}, "a", b"k" * 32, Counts("d"))[0]["release"] == "ab" * 6
    with pytest.raises(Refusal, match="No release here answered"):
        feedback.checked({"request": ids.new(b"k" * 32, "a", ""), "rating": 1}, "a", b"k" * 32, Counts("d"))


@given(st.text(max_size=80))
def test_an_id_that_was_made_up(text: str) -> None:
    assert ids.release_of(b"k" * 32, None, text) is None
    assert ids.release_of(b"k" * 32, "a", text) is None
    assert ids.release_of(b"k" * 32, "a", "req-" + text) is None


async def test_a_gateway_asks_for_keys_and_counts_requests(root: Path, tokenizer: str, engine: MockEngine) -> None:
    limits = (RateLimit(requests=3, seconds=600),)
    routes = releases.routes(releases.target(tokenizer, (engine.url,)), keys=True, rate_limits=limits)
    running.write_root(root, routes, {"app": "key-1", "web": "key-2"})
    async with running.gateway(root) as gateway:
        status, document, headers = await gateway.post("/v1/chat/completions", CHAT)
        assert (status, document["error"]["code"], headers["www-authenticate"]) == (401, "missing_key", "Bearer")
        status, document, _ = await gateway.post("/v1/chat/completions", CHAT, authorization="Bearer no")
        assert (status, document["error"]["code"]) == (401, "invalid_key")
        for _ in range(3):
            assert (await gateway.post("/v1/chat/completions", CHAT, authorization="Bearer key-1"))[0] == 200
        status, document, headers = await gateway.post("/v1/chat/completions", CHAT, authorization="Bearer key-1")
        assert (status, document["error"]["code"]) == (429, "rate_limited")
        assert 190 <= int(headers["retry-after"]) <= 200
        assert (await gateway.post("/v1/chat/completions", CHAT, authorization="Bearer key-2"))[0] == 200
        assert (await gateway.get(f"{gateway.url}/v1/models"))[0] == 401
        assert (await gateway.get(f"{gateway.url}/openapi.json"))[0] == 200
        running.write_keys(root, {"web": "key-2"})
        for _ in range(60):
            if (await gateway.post("/v1/chat/completions", CHAT, authorization="Bearer key-1"))[0] == 401:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the key still opens")
        assert not any("key-1" in line for line in gateway.log)
