"""Which routes are in force: signed, of this deployment, never older ones."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.gateway_routes import BadRoutes, Routes, SignedRoutes, sign, verified
from stagecoach.runtime.lease import Timing
from stagecoach_gateway.choosing import Shares, place
from stagecoach_gateway.current import Current, Refused
from stagecoach_gateway.settings import Settings
from tests.unit.gateway import releases, running
from tests.unit.gateway.releases import DEPLOYMENT, ROUTES_KEY
from tests.unit.gateway.running import MockEngine, Running

CHAT = {"model": "intents", "messages": [{"role": "user", "content": "lost my card"}]}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
# A kubelet renews what a pod has mounted once a minute (its syncFrequency), and half a minute later at most.
MOUNTED_SECONDS = 90
STABLE = releases.target("sha256:" + "cd" * 32, ("http://a:1",))
OTHER = releases.target("sha256:" + "cd" * 32, ("http://b:1",), artifact="22")


def shared(weight: int, until: datetime = NOW + timedelta(hours=1)) -> Routes:
    candidate = releases.candidate(OTHER, weight).model_copy(update={"until": until})
    return releases.routes(STABLE, candidate=candidate)


@given(weight=st.integers(1, 100), requests=st.integers(1, 250))
def test_shares_are_exact_at_every_moment(weight: int, requests: int) -> None:
    shares, routes, to_candidate = Shares(), shared(weight), 0
    assert routes.candidate
    for number in range(1, requests + 1):
        to_candidate += shares.choose(routes, None, NOW) is routes.candidate.target
        assert to_candidate == number * weight // 100


@given(session=st.text(min_size=1, max_size=50), lower=st.integers(1, 99), higher=st.integers(2, 100))
def test_a_session_stays_with_the_candidate_while_its_weight_grows(session: str, lower: int, higher: int) -> None:
    lower, higher = sorted((lower, higher))
    before = Shares().choose(shared(lower), session, NOW)
    after = Shares().choose(shared(higher), session, NOW)
    assert before is not None
    assert after is not None
    if before.release == OTHER.release:
        assert after.release == OTHER.release
    assert Shares().choose(shared(lower), session, NOW) == before  # every gateway says the same
    assert 0 <= place(DEPLOYMENT, session) < 100


@pytest.mark.parametrize("weight", [1, 5, 50, 99])
def test_sessions_are_shared_out_as_the_weight_says(weight: int) -> None:
    shares, routes = Shares(), shared(weight)
    found = sum(shares.choose(routes, f"session {n}", NOW) is not routes.stable for n in range(20_000))
    assert abs(found / 200 - weight) < 1


def test_a_weight_that_is_not_renewed_runs_out_and_the_stable_release_takes_all() -> None:
    routes = shared(100, until=NOW)
    assert Shares().choose(routes, None, NOW) is routes.stable
    assert Shares().choose(routes, "a", NOW) is routes.stable
    assert Shares().choose(shared(100), "a", NOW) is not routes.stable
    assert Shares().choose(releases.routes(None), "a", NOW) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('\\"revision\\":1', '\\"revision\\":9'), "signature is not that of this key"),
        (lambda text: text.replace('"signature":"hmac-sha256:', '"signature":"hmac-sha256:0')[:-3] + '"}', "signature"),
        (lambda _: "{}", "no signed document"),
        (lambda _: "\x00", "no signed document"),
        (lambda _: " " * 2_000_000, "longer than"),
    ],
)
def test_what_is_not_signed_is_not_taken(change, message: str) -> None:  # type: ignore[no-untyped-def]
    text = sign(releases.routes(STABLE), ROUTES_KEY).line()
    assert verified(text, ROUTES_KEY) == releases.routes(STABLE)
    with pytest.raises(BadRoutes, match=message):
        verified(change(text), ROUTES_KEY)
    with pytest.raises(BadRoutes, match="signature"):
        verified(text, b"another key of thirty-two bytes!!")


def test_a_key_that_could_be_guessed_signs_nothing() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        sign(releases.routes(STABLE), b"short")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stable": None, "candidate": releases.candidate(OTHER, 5)}, "beside a stable release"),
        (
            {
                "candidate": releases.candidate(
                    releases.target("sha256:" + "cd" * 32, ("http://a:1",), task="Generation"), 5
                )
            },
            "one task",
        ),
        ({"candidate": releases.candidate(releases.target("sha256:" + "cd" * 32, ("http://b:1",)), 5)}, "two releases"),
        ({"fallback": {"static": {}, "gateway": "http://a:1"}}, "static or gateway"),
        ({"revision": 0}, "greater than or equal to 1"),
        ({"later": 1}, "Extra inputs"),
    ],
)
def test_routes_that_do_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        releases.routes(**({"stable": STABLE} | changes))


@pytest.mark.parametrize("model", ["../x", "a/b", "", ".hidden", "a b"])
def test_no_engine_is_asked_for_a_path(model: str) -> None:
    with pytest.raises(ValueError, match="String should"):
        releases.target("sha256:" + "cd" * 32, ("http://a:1",), model=model)


@given(order=st.permutations(list(range(1, 8))), again=st.integers(0, 6))
def test_in_whatever_order_they_come_the_newest_stays(order: list[int], again: int) -> None:
    asyncio.run(_newest_stays(order, again))


async def _newest_stays(order: list[int], again: int) -> None:
    taken: list[int] = []
    refused: list[bool] = []
    current = Current(DEPLOYMENT, ROUTES_KEY, Path("/nowhere"), lambda loaded: taken.append(loaded.routes.revision), 0)
    for revision in [*order, order[again]]:
        document = sign(releases.routes(None, revision=revision), ROUTES_KEY).line()
        try:
            assert (await current.take(document)).revision == revision
        except Refused as error:
            refused.append(error.stale and revision < max(taken))
    assert all(refused)
    assert taken == sorted(set(taken))
    assert current.loaded is not None
    assert current.loaded.routes.revision == 7


async def test_routes_that_could_not_be_put_into_force_are_not_acknowledged_when_they_come_again() -> None:
    faults = [ZeroDivisionError()]

    def changed(_: object) -> None:
        if faults:
            raise faults.pop()

    current = Current(DEPLOYMENT, ROUTES_KEY, Path("/nowhere"), changed, 0)
    document = sign(releases.routes(None), ROUTES_KEY).line()
    with pytest.raises(ZeroDivisionError):
        await current.take(document)
    assert current.loaded is None
    assert (await current.take(document)).revision == 1


async def test_another_document_of_the_same_revision_or_of_another_deployment() -> None:
    current = Current(DEPLOYMENT, ROUTES_KEY, Path("/nowhere"), lambda _: None, 0)
    await current.take(sign(releases.routes(None), ROUTES_KEY).line())
    with pytest.raises(Refused, match="is not newer") as caught:
        await current.take(sign(releases.routes(None, timeout=9), ROUTES_KEY).line())
    assert caught.value.stale
    with pytest.raises(Refused, match="routes of deployment other"):
        await current.take(sign(releases.routes(None, deployment="other", revision=2), ROUTES_KEY).line())
    with pytest.raises(Refused, match="mount the tokenizer there"):
        await current.take(sign(releases.routes(STABLE, revision=2), ROUTES_KEY).line())
    with pytest.raises(Refused, match="is no JSON Schema"):
        await current.take(
            sign(releases.routes(None, revision=2, input_schema={"type": "nonsense"}), ROUTES_KEY).line()
        )
    with pytest.raises(Refused, match="inputSchema or outputSchema"):
        await current.take(
            sign(releases.routes(None, revision=2, input_schema={"$ref": "http://a/b"}), ROUTES_KEY).line()
        )
    assert current.loaded
    assert current.loaded.routes.revision == 1


async def test_a_gateway_takes_newer_routes_and_acknowledges_them(
    gateway: Running, engine: MockEngine, tokenizer: str
) -> None:
    first = releases.target(tokenizer, (engine.url,))
    second = releases.target(tokenizer, (engine.url,), model="second", artifact="22")
    newer = releases.routes(first, revision=2, candidate=releases.candidate(second, 50))
    assert (await gateway.put(newer, token="wrong" * 8))[0] == 401
    status, text = await gateway.put(newer)
    assert (status, json.loads(text)) == (200, {"deployment": DEPLOYMENT, "revision": 2, "digest": newer.digest})
    assert await gateway.put(newer) == (status, text)
    assert (await gateway.put(releases.routes(first)))[0] == 409  # replayed
    assert (await gateway.put("{}"))[0] == 422
    assert (await gateway.put(SignedRoutes(payload=newer.line(), signature="hmac-sha256:" + "0" * 64)))[0] == 422
    seen = [(await gateway.post("/v1/chat/completions", CHAT))[2]["x-stagecoach-release"] for _ in range(20)]
    assert seen.count(second.release) == 10
    assert [body["model"] for _, body, _ in engine.asked].count("second") == 10
    sticky = {
        (await gateway.post("/v1/chat/completions", CHAT | {"user": "me"}))[2]["x-stagecoach-release"]
        for _ in range(20)
    }
    assert len(sticky) == 1


async def test_switching_under_load_loses_no_request(gateway: Running, engine: MockEngine, tokenizer: str) -> None:
    targets = [releases.target(tokenizer, (engine.url,), model=f"m{n}", artifact=f"{n + 2}{n + 2}") for n in range(3)]
    models = {target.release: target.model for target in targets}
    models[releases.target(tokenizer, (engine.url,)).release] = "internal-name"
    engine.answers = lambda path, body: engine.answer(path, body) | {"id": body["model"]}
    done, dropped = False, False
    seen: set[str] = set()

    async def client() -> None:
        while not done:
            without = dropped
            status, document, headers = await gateway.post("/v1/chat/completions", CHAT)
            assert status == 200
            release = headers["x-stagecoach-release"]
            assert document["id"] == models[release]  # which the engine was asked for
            assert not (without and release == targets[0].release)
            seen.add(release)

    clients = [asyncio.create_task(client()) for _ in range(8)]
    for revision in range(2, 32):
        target = targets[1 + revision % 2 if dropped else revision % 2]
        assert (await gateway.put(releases.routes(target, revision=revision)))[0] == 200
        assert (await gateway.post("/v1/chat/completions", CHAT))[2]["x-stagecoach-release"] == target.release
        dropped = revision >= 17
    done = True
    await asyncio.gather(*clients)
    assert {target.release for target in targets} <= seen


async def test_a_mounted_document_that_changes_is_taken(gateway: Running, engine: MockEngine, tokenizer: str) -> None:
    newer = releases.routes(releases.target(tokenizer, (engine.url,)), revision=3)
    running.write_root(gateway.root, newer)
    for _ in range(100):
        _, metrics = await gateway.get(f"{gateway.admin}/metrics")
        if "stagecoach_gateway_routes_revision 3.0" in metrics:
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the newer document was not taken")
    running.write_root(gateway.root, releases.routes(releases.target(tokenizer, (engine.url,)), revision=2))
    await asyncio.sleep(1.5)
    assert "routes_revision 3.0" in (await gateway.get(f"{gateway.admin}/metrics"))[1]


async def test_it_is_ready_when_it_was_told_the_newest_routes_or_nobody_tells(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    routes = releases.routes(releases.target(tokenizer, (engine.url,)), revision=2)
    running.write_root(root, routes)
    async with running.gateway(root, STAGECOACH_CONFIRM_SECONDS="600") as gateway:
        assert await gateway.get(f"{gateway.admin}/ready") == (503, "waiting to be told the newest routes")
        assert (await gateway.put(releases.routes(None)))[0] == 409
        assert (await gateway.get(f"{gateway.admin}/ready"))[0] == 503
        # Whoever reaches it all the same is not answered by what may not be served any more.
        status, document, _ = await gateway.post("/v1/chat/completions", CHAT)
        assert (status, document["error"]["code"]) == (503, "nothing_served")
        long = {"messages": [{"role": "user", "content": "a" * 100_000}]}
        assert (await gateway.post("/v1/chat/completions", CHAT | long))[0] == 503
        assert (await gateway.put(routes))[0] == 200
        assert await gateway.get(f"{gateway.admin}/ready") == (200, "ready")
        assert (await gateway.post("/v1/chat/completions", CHAT))[0] == 200
    async with running.gateway(root, STAGECOACH_CONFIRM_SECONDS="1") as gateway:
        await asyncio.sleep(1.2)
        assert await gateway.get(f"{gateway.admin}/ready") == (200, "ready")
        assert "routes_confirmed 0.0" in (await gateway.get(f"{gateway.admin}/metrics"))[1]
        assert any("nobody said in 1 s" in line for line in gateway.log)
        assert (await gateway.post("/v1/chat/completions", CHAT))[0] == 200
        assert (await gateway.put(routes))[0] == 200
        assert "routes_confirmed 1.0" in (await gateway.get(f"{gateway.admin}/metrics"))[1]


async def test_a_candidate_gets_nothing_of_a_gateway_that_was_not_told_its_routes(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    """What is mounted may be of long ago, and it may have been rejected since; a weight holds longer than it waits."""
    stable = releases.target(tokenizer, (engine.url,))
    second = releases.candidate(releases.target(tokenizer, (engine.url,), model="second", artifact="22"), 100)
    routes = releases.routes(stable, candidate=second)
    running.write_root(root, routes)
    weight = f'stagecoach_gateway_weight{{release="{second.target.release}"}}'
    async with running.gateway(root) as gateway:
        for told, release, share in ((False, stable.release, 0.0), (True, second.target.release, 100.0)):
            if told:
                assert (await gateway.put(routes))[0] == 200
            for body in (CHAT, CHAT | {"user": "me"}):
                assert (await gateway.post("/v1/chat/completions", body))[2]["x-stagecoach-release"] == release
            assert f"{weight} {share}" in (await gateway.get(f"{gateway.admin}/metrics"))[1]


def test_it_waits_until_another_operator_would_have_written_newer_routes_and_its_node_have_renewed_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAGECOACH_DEPLOYMENT", DEPLOYMENT)
    monkeypatch.delenv("STAGECOACH_CONFIRM_SECONDS", raising=False)
    assert Settings.of_environment().confirm_seconds > Timing().duration + MOUNTED_SECONDS


async def test_while_it_waits_a_fallback_answers_and_no_release(root: Path, tokenizer: str, engine: MockEngine) -> None:
    fallback = {"static": {"sorry": True}}
    running.write_root(root, releases.routes(releases.target(tokenizer, (engine.url,)), fallback=fallback))
    async with running.gateway(root, STAGECOACH_CONFIRM_SECONDS="600") as gateway:
        status, document, headers = await gateway.post("/v1/chat/completions", CHAT)
        assert (status, document, headers["x-stagecoach-fallback"]) == (200, {"sorry": True}, "static")
        assert "x-stagecoach-release" not in headers
        status, document, _ = await gateway.post("/v1/chat/completions", CHAT | {"stream": True})
        assert (status, document["error"]["code"]) == (503, "nothing_served")
        assert (await gateway.get(f"{gateway.url}/v1/models"))[0] == 503


async def test_without_routes_nothing_is_answered(root: Path) -> None:
    async with running.gateway(root) as gateway:
        assert await gateway.get(f"{gateway.admin}/ready") == (503, "no routes")
        assert (await gateway.get(f"{gateway.admin}/live"))[0] == 200
        status, document, _ = await gateway.post("/v1/chat/completions", CHAT)
        assert (status, document["error"]["code"]) == (503, "nothing_served")
        assert (await gateway.put(releases.routes(None)))[0] == 200
        status, document, _ = await gateway.post("/v1/chat/completions", CHAT)
        assert (status, document["error"]["message"]) == (503, "No release is admitted yet.")


@pytest.mark.parametrize("missing", ["routes-key", "admin-token"])
async def test_a_pod_that_lacks_a_secret_says_so(root: Path, missing: str) -> None:
    (root / "gateway" / missing).write_text("short")
    with pytest.raises(AssertionError, match=f"{missing} has to hold a secret of at least 32"):
        async with running.gateway(root):
            pass
