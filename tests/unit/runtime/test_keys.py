"""The operator's own key."""

import asyncio
import base64
import logging
from typing import Any

import pytest

from stagecoach.kinds.plan import Object
from stagecoach.runtime import keys
from stagecoach.runtime.errors import Forbidden, Rejected, Unreachable
from tests.unit.runtime.fakes import NAMESPACE, FakeServer

NAME = "operator-key"


async def master_key(server: Any) -> bytes:
    return await keys.master_key(server, NAMESPACE, NAME)


def secret(data: Object | None) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data}


async def test_the_first_makes_it_and_all_others_find_it(server: FakeServer) -> None:
    first = await master_key(server)
    assert len(first) == 32
    assert await master_key(server) == first
    assert server.made("create") == [NAME]
    assert server.objects["Secret", NAME]["immutable"] is True


async def test_two_that_begin_at_once_have_the_same(server: FakeServer) -> None:
    both = asyncio.Barrier(2)
    create = server.create

    async def together(*arguments: Any) -> Object:
        await both.wait()
        return await create(*arguments)

    server.create = together  # type: ignore[method-assign, assignment]
    one, two = await asyncio.gather(master_key(server), master_key(server))
    assert one == two


@pytest.mark.parametrize(
    "data",
    [None, {}, {"other": "eA=="}, {"key": ""}, {"key": "?"}, {"key": base64.b64encode(b"x" * 31).decode()}],
)
async def test_a_secret_without_a_good_key_is_said(server: FakeServer, data: Object | None) -> None:
    server.add(secret(data))
    with pytest.raises(
        keys.BadKey, match=r"Secret ns/operator-key has no data.key of at least 32 bytes.*delete the.* anew"
    ):
        await master_key(server)
    assert server.made("create") == []


async def test_a_longer_key_is_as_good(server: FakeServer) -> None:
    server.add(secret({"key": base64.b64encode(b"x" * 64).decode()}))
    assert await master_key(server) == b"x" * 64


@pytest.mark.parametrize("verb", ["get", "create"])
async def test_without_the_right_nothing_is_served_and_it_is_said(
    server: FakeServer, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    server.fail(verb, Forbidden("cannot get resource secrets. Grant it", 403, "Forbidden"))
    with caplog.at_level(logging.ERROR):
        assert await master_key(server) == b""
    assert "no ModelDeployment will be served until this is granted and the operator restarted" in caplog.text
    assert "Grant it" in caplog.text


async def test_a_name_that_cannot_be_is_said(server: FakeServer) -> None:
    server.fail("create", Rejected("metadata.name: Invalid value", 422))
    with pytest.raises(keys.BadKey, match=r"metadata.name.*Give --key-secret another name"):
        await master_key(server)


async def test_what_may_pass_is_waited_for(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    server.fail("get", Unreachable("refused"), Unreachable("refused"))
    assert len(await master_key(server)) == 32
    assert len(slept) == 2
