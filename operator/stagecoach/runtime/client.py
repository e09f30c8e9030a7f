"""A thin JSON client for the API server: one call, one request, one typed error. It never retries: the queue does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import orjson

from stagecoach.kinds.plan import Object
from stagecoach.runtime import metrics
from stagecoach.runtime.connection import Connection
from stagecoach.runtime.errors import Unreachable, from_response
from stagecoach.runtime.resources import CONFIG_MAPS, PODS, Resource

# For everything but watches, headers and body together. The API server's own limit is 60 s: too late to help anybody.
REQUEST_TIMEOUT = 15.0
# Others may fill ConfigMaps with a mebibyte each, and label them like ours.
PAGE, PAGE_OF_CONFIG_MAPS = 500, 25
CONCURRENCY = 64
LOG_BYTES = 64 * 1024

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # of which JSON is a part
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
ONE_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
# Under this name the API server remembers which fields are ours.
FIELD_MANAGER = "stagecoach"

Fence = Callable[[], None]


class Client:
    """Requests to one API server. A fenced client asks its fence right before each write is sent."""

    def __init__(
        self,
        connection: Connection,
        *,
        agent: str = "",
        concurrency: int = CONCURRENCY,
        timeout: float = REQUEST_TIMEOUT,
        fence: Fence | None = None,
    ) -> None:
        self._server = connection.server
        self._clock = connection.clock
        self._session = connection.session(agent)
        self._slots = asyncio.Semaphore(concurrency)
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5.0)
        self._fence = fence

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return one object."""
        return await self._json("get", resource, "GET", resource.path(namespace, name))

    async def pages(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """Yield the objects page by page, each with the list's resourceVersion."""
        limit = PAGE_OF_CONFIG_MAPS if resource == CONFIG_MAPS else PAGE
        params = {"limit": str(limit)} | _selectors(labels, fields)
        accept = METADATA_ONLY if metadata_only else JSON
        while True:
            page = await self._json("list", resource, "GET", resource.path(namespace), params=params, accept=accept)
            metadata = page["metadata"]
            yield page.get("items") or [], metadata["resourceVersion"]
            if not metadata.get("continue"):
                return
            params["continue"] = metadata["continue"]

    async def list_all(self, resource: Resource, namespace: str, *, labels: str = "", fields: str = "") -> list[Object]:
        """Return all objects at once: for what is known to be few."""
        pages = self.pages(resource, namespace, labels=labels, fields=fields)
        return [item async for items, _ in pages for item in items]

    async def watch(
        self, resource: Resource, namespace: str | None, *, since: str, labels: str = "", seconds: int, silence: float
    ) -> AsyncIterator[Object]:
        """Yield events until the server ends the stream after `seconds`, or says nothing for `silence` seconds."""
        params = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": since, "timeoutSeconds": str(seconds)}
        timeout = aiohttp.ClientTimeout(sock_connect=5.0, sock_read=silence)
        params |= _selectors(labels)
        try:
            url = self._server + resource.path(namespace)
            async with self._session.get(url, params=params, timeout=timeout) as response:
                metrics.API_REQUESTS.labels("watch", resource.plural, response.status).inc()
                if response.status != 200:
                    what = f"watch {resource}"
                    raise from_response(response.status, response.headers, await response.read(), what)
                async for line in _lines(response.content):
                    yield orjson.loads(line)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"watch {resource}: {str(error) or type(error).__name__}") from error

    async def create(self, resource: Resource, namespace: str, obj: Object, *, dry_run: bool = False) -> Object:
        """Create an object and return it as the server has it; of a dry run nothing is kept."""
        params = {"dryRun": "All"} if dry_run else None
        return await self._json("create", resource, "POST", resource.path(namespace), params=params, body=obj)

    async def update(self, resource: Resource, namespace: str, name: str, obj: Object) -> Object:
        """Replace an object; its resourceVersion must be the current one."""
        return await self._json("update", resource, "PUT", resource.path(namespace, name), body=obj)

    async def patch_status(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """Merge a patch into the status; refused unless the patch carries the current resourceVersion."""
        path = resource.path(namespace, name, "status")
        return await self._json("patch", resource, "PATCH", path, body=patch, content=MERGE_PATCH)

    async def apply(self, resource: Resource, obj: Object) -> Object:
        """Apply an object as a whole: what was applied before and is not in it goes, and what others set besides stays.

        A resourceVersion in it, and a uid, have to be the current ones.
        """
        metadata = obj["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._json("apply", resource, "PATCH", path, params=params, body=obj, content=APPLY_PATCH)

    async def touch(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object's metadata by a patch that changes nothing: for what may be written, and not be read."""
        path, params = resource.path(namespace, name), {"dryRun": "All"}
        return await self._json(
            "touch", resource, "PATCH", path, params=params, body={}, content=MERGE_PATCH, accept=ONE_METADATA_ONLY
        )

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        """Delete this very object in this very state, and what it owns after it."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        await self._json("delete", resource, "DELETE", resource.path(namespace, name), body=body)

    async def pod_log(self, namespace: str, name: str, container: str, lines: int, size: int = LOG_BYTES) -> str:
        """Return the last lines of a container's log."""
        params = {"container": container, "tailLines": str(lines), "limitBytes": str(size)}
        path = PODS.path(namespace, name, "log")
        body = await self._request("log", PODS, "GET", path, params=params, accept="*/*")
        return body.decode(errors="replace")

    async def served_plurals(self, api_version: str) -> frozenset[str]:
        """Return the plurals that the API server knows in a group and version."""
        discovery = Resource(api_version, "APIResourceList", "")
        listing = await self._json("discover", discovery, "GET", f"/apis/{api_version}")
        return frozenset(each["name"] for each in listing["resources"])

    async def _json(self, verb: str, resource: Resource, method: str, path: str, **arguments: Any) -> Object:
        document: Object = orjson.loads(await self._request(verb, resource, method, path, **arguments))
        return document

    async def _request(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        accept: str = JSON,
        content: str = JSON,
    ) -> bytes:
        data = None if body is None else orjson.dumps(body)
        headers = {"Accept": accept} if data is None else {"Accept": accept, "Content-Type": content}
        async with self._slots:
            if method != "GET" and self._fence is not None:
                self._fence()  # here and not before the wait for a slot: leadership may have ended meanwhile
            began = time.monotonic()
            code, reply_headers, reply = await self._send(
                verb, resource, method, path, params=params, data=data, headers=headers
            )
        took = time.monotonic() - began
        self._clock.heard(reply_headers.get("Date"), took)
        _measure(verb, resource, code, took)
        if code >= 400:
            raise from_response(code, reply_headers, reply, f"{verb} {resource} at {path}")
        return reply

    async def _send(
        self, verb: str, resource: Resource, method: str, path: str, **arguments: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with self._session.request(
                method, self._server + path, timeout=self._timeout, **arguments
            ) as response:
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            metrics.API_REQUESTS.labels(verb, resource.plural, "none").inc()
            raise Unreachable(f"{verb} {resource}: {str(error) or type(error).__name__}") from error


def _measure(verb: str, resource: Resource, code: int, seconds: float) -> None:
    metrics.API_REQUESTS.labels(verb, resource.plural, code).inc()
    metrics.API_SECONDS.labels(verb, resource.plural).observe(seconds)


def _selectors(labels: str = "", fields: str = "") -> dict[str, str]:
    return ({"labelSelector": labels} if labels else {}) | ({"fieldSelector": fields} if fields else {})


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length: aiohttp's own reader refuses lines longer than its buffer."""
    rest: list[bytes] = []
    async for chunk in content.iter_any():
        head, *more = chunk.split(b"\n")
        rest.append(head)
        for part in more:
            line = b"".join(rest)
            rest = [part]
            if line:
                yield line
