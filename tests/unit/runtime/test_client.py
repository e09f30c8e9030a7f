"""The client against a small HTTP server: paths, bodies, errors, fences, streams."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from stagecoach.runtime.client import Client
from stagecoach.runtime.connection import Connection
from stagecoach.runtime.errors import Conflict, Fenced, Gone, Unreachable
from stagecoach.runtime.resources import CONFIG_MAPS, JOBS, PODS, SECRETS, Resource

TOYS = Resource("stagecoach.dev/v1alpha1", "Toy", "toys")


class Api:
    """Answers what it is told, and remembers what was asked."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.answers: list[tuple[int, Any]] = []
        self.stream: list[bytes] = []
        self.hangs = False
        self.headers: dict[str, str] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        body = await request.read()
        self.bodies.append(orjson.loads(body) if body else None)
        if "watch" in request.query and self.stream:
            return await self._watch(request)
        if self.hangs:
            await asyncio.sleep(0.5)
        code, answer = self.answers.pop(0) if self.answers else (200, {})
        content = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        return web.Response(status=code, body=content, headers=self.headers)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in self.stream:
            await response.write(chunk)
            await asyncio.sleep(0.01)
        return response


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def connection(api: Api) -> AsyncIterator[Connection]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(app) as server:
        configuration = Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        configuration.api_key["BearerToken"] = "Bearer secret"
        yield Connection(configuration)


@pytest.fixture
async def client(connection: Connection) -> AsyncIterator[Client]:
    made = Client(connection)
    yield made
    await made.close()


async def test_a_status_patch_is_a_merge_patch_with_our_credentials(api: Api, client: Client) -> None:
    await client.patch_status(TOYS, "ns", "a", {"status": {"x": None}})
    [request] = api.requests
    assert (request.method, request.path) == ("PATCH", "/apis/stagecoach.dev/v1alpha1/namespaces/ns/toys/a/status")
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["User-Agent"].startswith("stagecoach-operator/")
    assert api.bodies == [{"status": {"x": None}}]


async def test_the_time_is_that_of_the_answers(api: Api, connection: Connection, client: Client) -> None:
    api.headers = {"Date": "Fri, 02 Jan 2026 12:00:00 GMT"}
    await client.get(JOBS, "ns", "a")
    assert connection.clock.now().isoformat()[:16] == "2026-01-02T12:00"


async def test_a_rotated_token_is_used_at_once(api: Api, connection: Connection, client: Client) -> None:
    connection._configuration.api_key["BearerToken"] = "Bearer new"
    await client.get(JOBS, "ns", "a")
    assert api.requests[0].headers["Authorization"] == "Bearer new"


async def test_an_apply_is_ours_and_has_its_way(api: Api, client: Client) -> None:
    wanted = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7"}}
    await client.apply(JOBS, wanted)
    [request] = api.requests
    assert (request.method, request.path) == ("PATCH", "/apis/batch/v1/namespaces/ns/jobs/a")
    assert dict(request.query) == {"fieldManager": "stagecoach", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert api.bodies == [wanted]


async def test_what_is_touched_is_not_changed_and_shows_its_metadata_only(api: Api, client: Client) -> None:
    await client.touch(SECRETS, "ns", "a")
    [request] = api.requests
    assert (request.method, request.path, dict(request.query)) == (
        "PATCH",
        "/api/v1/namespaces/ns/secrets/a",
        {"dryRun": "All"},
    )
    assert "as=PartialObjectMetadata;" in request.headers["Accept"]
    assert api.bodies == [{}]


async def test_a_deletion_names_the_very_object(api: Api, client: Client) -> None:
    await client.delete(JOBS, "ns", "a", uid="u", resource_version="7")
    assert api.bodies[0]["preconditions"] == {"uid": "u", "resourceVersion": "7"}
    assert api.bodies[0]["propagationPolicy"] == "Background"


async def test_a_long_list_comes_in_pages(api: Api, client: Client) -> None:
    api.answers = [
        (200, {"metadata": {"resourceVersion": "1", "continue": "more"}, "items": [{"n": 1}]}),
        (200, {"metadata": {"resourceVersion": "1"}, "items": None}),
    ]
    pages = [page async for page in client.pages(PODS, None, labels="a=b")]
    assert pages == [([{"n": 1}], "1"), ([], "1")]
    assert [request.query.get("continue") for request in api.requests] == [None, "more"]
    assert api.requests[1].query["labelSelector"] == "a=b"
    assert api.requests[1].path == "/api/v1/pods"


async def test_pages_of_what_may_be_large_are_short(api: Api, client: Client) -> None:
    api.answers = [(200, {"metadata": {"resourceVersion": "1"}, "items": []})] * 2
    for resource in (PODS, CONFIG_MAPS):
        assert [page async for page in client.pages(resource, None)] == [([], "1")]
    assert [request.query["limit"] for request in api.requests] == ["500", "25"]


async def test_a_log_is_asked_for_its_end(api: Api, client: Client) -> None:
    api.answers = [(200, b"one\ntwo\xff")]
    assert await client.pod_log("ns", "p", "trainer", 5) == "one\ntwo\ufffd"
    assert api.requests[0].query["tailLines"] == "5"


async def test_an_error_says_what_was_tried(api: Api, client: Client) -> None:
    api.answers = [(409, {"message": "the object has been modified", "reason": "Conflict"})]
    with pytest.raises(Conflict, match=r"update jobs.batch at .*/jobs/a: the object has been modified"):
        await client.update(JOBS, "ns", "a", {})


async def test_no_answer_is_unreachable(connection: Connection) -> None:
    connection.server = "http://127.0.0.1:1"
    lost = Client(connection)
    with pytest.raises(Unreachable, match=r"get jobs.batch"):
        await lost.get(JOBS, "ns", "a")
    await lost.close()


async def test_who_answers_too_late_is_unreachable(api: Api, connection: Connection) -> None:
    api.hangs = True
    hasty = Client(connection, timeout=0.05)
    with pytest.raises(Unreachable, match="Timeout"):
        await hasty.get(JOBS, "ns", "a")
    await hasty.close()


async def test_a_fence_stops_writes_and_lets_reads_pass(api: Api, connection: Connection) -> None:
    def refuse() -> None:
        raise Fenced

    fenced = Client(connection, fence=refuse)
    await fenced.get(JOBS, "ns", "a")
    with pytest.raises(Fenced):
        await fenced.create(JOBS, "ns", {})
    assert [request.method for request in api.requests] == ["GET"]
    await fenced.close()


async def test_the_fence_is_asked_after_the_wait_for_a_slot(connection: Connection) -> None:
    leading = True

    def check() -> None:
        if not leading:
            raise Fenced

    narrow = Client(connection, fence=check, concurrency=1)
    await narrow._slots.acquire()
    waiting = asyncio.create_task(narrow.create(JOBS, "ns", {}))
    await asyncio.sleep(0)
    leading = False
    narrow._slots.release()
    with pytest.raises(Fenced):
        await waiting
    await narrow.close()


async def test_a_watch_yields_lines_of_any_length_however_they_are_cut(api: Api, client: Client) -> None:
    long = orjson.dumps({"type": "ADDED", "object": {"x": "y" * 300_000}})
    whole = long + b"\n" + orjson.dumps({"type": "DELETED"}) + b"\n"
    api.stream = [whole[:10], whole[10:200_000], whole[200_000:]]
    events = [event async for event in client.watch(JOBS, None, since="1", seconds=5, silence=5)]
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    assert api.requests[0].query["allowWatchBookmarks"] == "true"


async def test_a_watch_of_a_version_too_old_is_gone(api: Api, client: Client) -> None:
    api.answers = [(410, {"message": "too old"})]
    with pytest.raises(Gone):
        _ = [event async for event in client.watch(JOBS, None, since="1", seconds=5, silence=5)]


async def test_a_silent_watch_ends(api: Api, client: Client) -> None:
    api.stream = [b"", b"\n"] + [b""] * 100
    with pytest.raises(Unreachable):
        _ = [event async for event in client.watch(JOBS, None, since="1", seconds=5, silence=0.2)]
