"""What gateways are asked, and what their answers mean."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from stagecoach.api.deployment_status import ClientKeys, RoutesStatus
from stagecoach.contract.gateway_routes import Acknowledgement, Routes
from stagecoach.contract.times import timestamp
from stagecoach.kinds.modeldeployment.routes import announced, identity, intended, wanted
from stagecoach.kinds.modeldeployment.telling import Heard, Told, calls, heard, last
from stagecoach.kinds.plan import Call
from stagecoach.kinds.view import Answer
from tests.builders import Object
from tests.remedies import speaks
from tests.unit.gateway import releases, running
from tests.unit.gateway.releases import ADMIN_TOKEN, ROUTES_KEY
from tests.unit.kinds.gateways import NOW, UID, Pod, admitted, after, deployment, served

TOKEN = "token-of-tests"  # noqa: S105 - of tests
ROUTES = Routes(deployment=UID, name="answers", revision=4, api="Task", keys=False)
TOLD = Told.of(ROUTES, ROUTES_KEY)
OLDER = Told.of(ROUTES.model_copy(update={"revision": 3}), ROUTES_KEY)
G, H = Pod("g"), Pod("h")
STARTING, WITHOUT_ADDRESS = Pod("s", ready=False), Pod("w", ready=False, address="")
Known = dict[tuple[str, str, str], Answer]


def put(status: int = 200, body: bytes | str = "", *, uid: str = "g", seconds: float = 0, told: Told = TOLD) -> Known:
    """Return what a gateway said, so many seconds ago."""
    text = TOLD.acknowledgement.line() if status == 200 and not body else body
    content = text.encode() if isinstance(text, str) else text
    return {(uid, "PUT", "/routes"): Answer(status, content, after(-seconds), told.body)}


def got(revision: int, *, uid: str = "g", seconds: float = 0, status: int = 200, deployment: str = UID) -> Known:
    said = Acknowledgement(deployment=deployment, revision=revision, digest=OLDER.acknowledgement.digest)
    return {(uid, "GET", "/routes"): Answer(status, said.line().encode(), after(-seconds), b"")}


def written(text: str) -> Object:
    return {"data": {"routes.json": text}}


FOREIGN = Told.of(ROUTES, b"x" * 64)
BEFORE, LONG_AGO = (Told.of(ROUTES.model_copy(update={"revision": n, "timeout": n}), ROUTES_KEY) for n in (3, 2))


@pytest.mark.parametrize(
    ("config_map", "known", "acknowledged", "revision"),
    [
        (None, {}, 0, None),
        (written(TOLD.signed.line()), {}, 1, 4),
        (written(OLDER.signed.line()), {}, 1, 3),  # the same, told anew since
        (None, put() | put(uid="h", told=BEFORE), 1, 4),
        ({}, put(), 1, 4),
        (written("{}"), put(), 1, 4),
        (written(FOREIGN.signed.line()), put(), 1, 4),
        (written(FOREIGN.signed.line()), put(told=FOREIGN) | got(9), 0, None),
        # Nobody has what the status says yet.
        (written(BEFORE.signed.line()), {}, 0, 3),
        (None, put(0, told=BEFORE), 0, 3),  # nobody answered, and it was told all the same
        (written(LONG_AGO.signed.line()), put(told=BEFORE), 0, 3),
        # What is older could not be replaced, or was put back.
        (written(BEFORE.signed.line()), put(), 1, 4),
        (written(BEFORE.signed.line()), {}, 1, None),
        (None, put(told=BEFORE), 1, None),
    ],
)
def test_what_gateways_were_told_last(
    config_map: Object | None, known: Known, acknowledged: int, revision: int | None
) -> None:
    status = RoutesStatus(revision=4, digest=identity(ROUTES), since=timestamp(NOW), acknowledged=acknowledged)
    found = last(config_map, known, status, ROUTES_KEY)
    assert (found and found.revision) == revision
    assert last(config_map, known, None, ROUTES_KEY) is None


STALE = "revision 4 is not newer than 9, which is in force"


@pytest.mark.parametrize(
    ("pods", "known", "ready", "acknowledged", "newest"),
    [
        ([], {}, 0, 0, 0),
        ([G, H, STARTING], {}, 2, 0, 0),
        ([G, H], put(), 2, 1, 0),
        ([G, H], put() | put(uid="h"), 2, 2, 0),
        ([G, STARTING], put() | put(uid="s"), 1, 1, 0),  # it has them, and clients do not reach it yet
        ([G], put(told=OLDER), 1, 0, 0),  # an answer to what it was told before
        ([G], put(body=OLDER.acknowledgement.line()), 1, 0, 0),
        ([G], put(body=b"\xff"), 1, 0, 0),
        # It has newer ones, and says which when it is asked.
        ([G], put(409, STALE), 1, 0, 0),
        ([G], put(409, STALE) | got(9), 1, 0, 9),
        ([G], put(409, STALE) | got(4), 1, 0, 4),  # of the same revision, and others
        ([G, H], put(409, STALE) | got(9) | put(409, STALE, uid="h") | got(11, uid="h"), 2, 0, 11),
        ([G, STARTING], put() | put(409, STALE, uid="s") | got(9, uid="s"), 1, 1, 9),
        ([G], put(409, STALE) | got(9, seconds=1), 1, 0, 0),  # what it said before it was told these
        ([G], put(409, STALE) | got(9, deployment="other"), 1, 0, 0),
        ([G], put(409, STALE) | got(3), 1, 0, 0),
        ([G], put(409, STALE) | got(9, status=0), 1, 0, 0),
        ([G], got(9), 1, 0, 0),
    ],
)
def test_who_has_the_routes(pods: Sequence[Pod], known: Known, ready: int, acknowledged: int, newest: int) -> None:
    found = heard(pods, TOLD, known)
    assert (found.ready, found.acknowledged, found.known) == (ready, acknowledged, newest)


@pytest.mark.parametrize(
    ("pods", "known", "words"),
    [
        ([G], {}, None),
        ([G], put(), None),
        ([G], put(409, STALE), None),
        ([G], put(422, "release 1 cannot be asked: mount it."), "Gateway pod answers-gateway-g does not take the routes (status 422): release 1 cannot be asked: mount it. See its log."),
        ([STARTING], put(422, "no", uid="s"), "Gateway pod answers-gateway-s does not take"),
        ([G], put(401, "{}"), "takes the operator for somebody else: delete the pod"),
        ([G], put(0, "no route to host"), "cannot be asked (no route to host): see that the operator reaches port 9090"),
        ([STARTING], put(0, "refused", uid="s"), None),  # it is about to start
        ([G], put(body=OLDER.acknowledgement.line()), "does not take the routes (status 200): {"),
    ],
)  # fmt: skip
def test_why_not(pods: Sequence[Pod], known: Known, words: str | None) -> None:
    refusals = heard(pods, TOLD, known).refusals
    assert bool(refusals) is (words is not None)
    assert words is None or (words in refusals[0] and speaks("RoutesRefused", refusals[0]))


@pytest.mark.parametrize(
    ("pods", "known", "asked"),
    [
        ([G, STARTING, WITHOUT_ADDRESS], {}, ["PUT g", "PUT s"]),
        ([G], put(told=OLDER), ["PUT g"]),
        ([G], put(), []),
        ([G], put(seconds=59), []),
        ([G], put(seconds=60), ["PUT g"]),  # it may have started anew meanwhile
        ([G], put(seconds=-1), ["PUT g"]),  # the clock went back
        ([STARTING], put(uid="s", seconds=1), []),
        ([STARTING], put(uid="s", seconds=2), ["PUT s"]),  # and is not ready before it is told
        ([G], put(422, "no", seconds=1), []),
        ([G], put(422, "no", seconds=2), ["PUT g"]),
        ([G], put(0, "no", seconds=2), ["PUT g"]),
        ([G], put(409, STALE, seconds=1), ["GET g"]),
        ([G], put(409, STALE, seconds=1) | got(9), []),
        ([G], put(409, STALE, seconds=2) | got(9), ["PUT g"]),
    ],
)
def test_what_is_asked(pods: Sequence[Pod], known: Known, asked: list[str]) -> None:
    found = calls(pods, TOLD, TOKEN, known, NOW, counting=False)
    assert [f"{call.method} {call.pod_uid}" for call in found] == asked
    for call in found:
        assert (call.address, call.port, call.path, call.token) == ("10.0.0.1", 9090, "/routes", TOKEN)
        assert call.body == (TOLD.body if call.method == "PUT" else b"")


@pytest.mark.parametrize(("seconds", "asks"), [(None, True), (9, False), (10, True), (-1, True)])
def test_what_was_counted_is_asked_now_and_then(seconds: float | None, asks: bool) -> None:
    known = put() if seconds is None else put() | {("g", "GET", "/counts"): Answer(200, b"", after(-seconds), b"")}
    found = calls([G, WITHOUT_ADDRESS], TOLD, TOKEN, known, NOW, counting=True)
    assert found == ((Call("g", "10.0.0.1", 9090, "GET", "/counts", TOKEN),) if asks else ())
    assert calls([G], TOLD, TOKEN, known, NOW, counting=False) == ()


@pytest.mark.parametrize(
    ("ready", "acknowledged", "everywhere", "after_a_while"),
    [
        (2, 2, True, True),
        (2, 1, False, True),  # the other one is silent
        (2, 0, False, False),  # nobody has heard of it
        (0, 0, False, True),  # nobody is there who could have old routes
    ],
)
def test_who_is_waited_for(ready: int, acknowledged: int, everywhere: bool, after_a_while: bool) -> None:
    found = Heard(ready, acknowledged, 0, ())
    assert found.everywhere is everywhere
    assert found.settled(NOW, after(19)) is everywhere
    assert found.settled(NOW, after(20)) is after_a_while
    assert found.settled(NOW, after(-60)) is everywhere


class Real:
    """A real gateway, and what it says to calls."""

    def __init__(self, gateway: running.Running) -> None:
        self.gateway = gateway
        self.known: Known = {}
        self.now = datetime.fromisoformat("2026-01-02T12:00:00Z")

    async def hear(self, told: Told, token: str = ADMIN_TOKEN) -> Heard:
        """Ask what is to be asked, and what follows from that, and return what came of it."""
        for _ in range(2):
            for call in calls([G], told, token, self.known, self.now, counting=False):
                self.known[call.pod_uid, call.method, call.path] = await self._ask(call)
            self.now += timedelta(seconds=0.5)
        return heard([G], told, self.known)

    async def _ask(self, call: Call) -> Answer:
        headers = {"authorization": f"Bearer {call.token}"}
        url = f"{self.gateway.admin}{call.path}"
        try:
            async with self.gateway.session.request(call.method, url, data=call.body, headers=headers) as response:
                return Answer(response.status, await response.read(), self.now, call.body)
        except aiohttp.ClientError as error:
            return Answer(0, str(error).encode(), self.now, call.body)


async def test_a_real_gateway_takes_what_is_told_and_says_what_it_has(tmp_path: Path) -> None:
    running.write_root(tmp_path, None)
    tokenizer = releases.tokenizer(tmp_path / "tokenizers")
    a, b = (admitted(run, tokenizer=tokenizer) for run in "ab")
    documents = {"answers-a": a, "answers-b": b}
    serving_a, serving_b = ({"serving": served(each)} for each in (a, b))

    def routes(status: Object, revision: int, known: int = 0) -> Routes:
        made = wanted(deployment(status), documents, lambda name: f"http://{name}.team.svc:8000")
        intent = intended(made, None, ClientKeys.OFF, NOW, max(known, revision - 1))
        found = announced(made, intent)
        assert found is not None
        return found

    async with running.gateway(tmp_path, STAGECOACH_CONFIRM_SECONDS="600") as gateway:
        real = Real(gateway)
        assert (await gateway.get(f"{gateway.admin}/ready"))[1] == "no routes"
        first = await real.hear(Told.of(routes(serving_a, 5), ROUTES_KEY))
        assert (first.acknowledged, first.refusals) == (1, [])
        assert (await gateway.get(f"{gateway.admin}/ready"))[0] == 200
        # The status was put back: the gateway knows better, and is believed.
        behind = await real.hear(Told.of(routes(serving_b, 1), ROUTES_KEY))
        assert (behind.acknowledged, behind.known) == (0, 5)
        above = await real.hear(Told.of(routes(serving_b, 1, known=behind.known), ROUTES_KEY))
        assert (above.acknowledged, above.known) == (1, 0)
        other = admitted("c")  # of another base, whose tokenizer it lacks
        documents["answers-c"] = other
        refused = await real.hear(Told.of(routes({"serving": served(other)}, 9), ROUTES_KEY))
        assert refused.acknowledged == 0
        assert "mount the tokenizer there" in refused.refusals[0]
        stranger = await real.hear(Told.of(routes(serving_a, 10), ROUTES_KEY), token="x" * 32)
        assert "takes the operator for somebody else" in stranger.refusals[0]
        forged = await real.hear(Told.of(routes(serving_a, 11), b"another key of thirty-two bytes!!"))
        assert "the signature is not that of this key" in forged.refusals[0]
        _, text = await gateway.get(f"{gateway.admin}/routes", authorization=f"Bearer {ADMIN_TOKEN}")
        assert json.loads(text)["revision"] == 6


def test_a_revision_that_nobody_can_have_told_is_not_believed() -> None:
    said = heard([G], TOLD, put(409, STALE) | got(1 << 63))
    assert said.known == 0
    [refusal] = said.refusals
    assert speaks("RoutesRefused", refusal)
