"""What the operator's log says of the Lease, and how loudly: a warning is for what somebody should look at."""

import json
import logging
from collections.abc import Iterator

import aiohttp
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kopf._cogs.clients import api, auth

from stagecoach.runtime import kopf_settings, logs
from stagecoach.runtime.errors import Forbidden, Unreachable
from tests.unit.runtime.candidates import Candidate
from tests.unit.runtime.fakes import FakeServer


class Log:
    """What was said since it was last asked."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def said(self) -> list[tuple[str, str]]:
        records = [(record.levelname, record.getMessage()) for record in self._caplog.records]
        self._caplog.clear()
        return records


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.INFO)
    return Log(caplog)


FORBIDDEN = {"kind": "Status", "code": 403, "message": "finetuneruns.stagecoach.dev is forbidden"}
WAITS = "waiting for the Lease ns/lease: {} holds it, until it gives it back or does not renew it for 15 seconds"


async def test_who_leads_and_who_waits_for_whom_is_said_once(log: Log, one: Candidate, two: Candidate) -> None:
    for _ in range(3):
        await one.tick(after=2)
        await two.tick(after=2)
    assert log.said() == [("INFO", "leading: made the Lease ns/lease"), ("INFO", WAITS.format("one"))]


async def test_a_lease_that_is_given_back_is_no_trouble(log: Log, one: Candidate, two: Candidate) -> None:
    await one.tick()
    await two.tick()
    log.said()
    await one.elector.release()
    await two.tick()
    await one.tick()
    assert log.said() == [
        ("INFO", "the Lease ns/lease is given back"),
        ("INFO", "leading: took the Lease ns/lease, which nobody held"),
        ("INFO", WAITS.format("two")),
    ]


async def test_a_leader_that_was_lost_and_comes_back_is_told_of(log: Log, one: Candidate, two: Candidate) -> None:
    await one.tick()
    await two.tick()
    await two.tick(after=15)
    log.said()
    await one.tick()
    assert log.said() == [
        ("WARNING", "leadership lost: two holds the Lease ns/lease"),
        ("INFO", WAITS.format("two")),
    ]
    await one.tick(after=15)
    assert log.said() == [
        ("INFO", "leading: took the Lease ns/lease from two, which had not renewed it for 15 seconds")
    ]


async def test_a_server_that_is_away_is_a_warning_for_as_long(log: Log, server: FakeServer, one: Candidate) -> None:
    await one.tick()
    log.said()
    server.fail("get", *[Unreachable("refused")] * 2)
    await one.tick(after=2)
    assert log.said() == [("WARNING", "Lease ns/lease not renewed, will be tried again: refused")]
    await one.tick(after=10)
    assert log.said() == [
        ("WARNING", "leadership lost: the Lease was not renewed in time; nothing is written until it is held again"),
        ("WARNING", "Lease ns/lease not to be had, will be tried again: refused"),
    ]
    await one.tick(after=2)
    assert log.said() == [("INFO", "leading: the Lease ns/lease is still ours")]


async def test_a_right_that_is_missing_is_an_error(log: Log, server: FakeServer, one: Candidate) -> None:
    server.fail("get", Forbidden("leases is forbidden", 403))
    await one.tick()
    assert log.said() == [("ERROR", "Lease ns/lease not to be had, will be tried again: leases is forbidden")]


@pytest.fixture
def configured() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize(("level", "shown"), [("INFO", ["WARNING", "ERROR"]), ("ERROR", ["ERROR"])])
@pytest.mark.usefixtures("configured")
def test_what_kopf_will_try_again_is_no_error(capsys: pytest.CaptureFixture[str], level: str, shown: list[str]) -> None:
    logs.configure(level)
    logging.getLogger("kopf._cogs.clients.watching").error("Request attempt #1 failed; will retry: GET")
    logging.getLogger("kopf._core.reactor.queueing").error("Event processing has failed")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["level"] for line in lines] == shown
    assert all(line["time"].endswith("Z") for line in lines)


@pytest.mark.usefixtures("configured")
async def test_a_right_that_kopf_misses_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    answers = iter((web.Response(status=503), web.json_response(FORBIDDEN, status=403), web.json_response({})))

    async def answer(_: web.Request) -> web.Response:
        return next(answers)

    app = web.Application()
    app.router.add_get("/apis", answer)
    settings = kopf_settings.quiet()
    settings.networking.error_backoffs = (0.0, 0.0)
    async with TestServer(app) as there, aiohttp.ClientSession() as session:
        info = kopf.AiohttpSession(server=str(there.make_url("/")), aiohttp_session=session)
        context = auth.APIContext(info)
        logger = logging.getLogger("kopf._cogs.clients.watching")
        await api.request("get", "/apis", settings=settings, context=context, logger=logger)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["level"], "APIForbiddenError" in line["message"]) for line in lines] == [
        ("WARNING", False),
        ("ERROR", True),
    ]
