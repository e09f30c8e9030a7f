"""Probes, metrics, and where those of others are, over HTTP."""

from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stagecoach.runtime import metrics
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.children import ChildWatch
from stagecoach.runtime.targets import targets

_CONTENT_TYPE = {"Content-Type": CONTENT_TYPE_LATEST}


class HealthServer:
    """Answers /healthz (alive), /readyz (synced, leading or not), /metrics, and /targets (what else has metrics)."""

    def __init__(self, cache: Cache, watches: Sequence[ChildWatch], synced: Callable[[], bool]) -> None:
        self._cache = cache
        self._watches = watches
        self._synced = synced
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/targets", self._targets)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(self, address: str | None, port: int) -> None:
        """Listen; None is every address."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        # That this runs at all says that the event loop turns. An API server that is away is no reason for a restart.
        stuck = [each.name for each in self._watches if each.stuck]
        if stuck:
            return web.Response(status=500, text=f"stuck watches: {', '.join(stuck)}\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n") if self._synced() else _waiting()

    async def _metrics(self, _: web.Request) -> web.Response:
        metrics.OBJECTS.clear()
        for (kind, phase), count in self._cache.phases().items():
            metrics.OBJECTS.labels(kind, phase).set(count)
        metrics.OVERRIDDEN.clear()
        for each in self._cache.overridden():
            metrics.OVERRIDDEN.labels(*each).set(1)
        metrics.PODS_WANTED.clear()
        for namespace, deployment, wanted in self._cache.autoscaled():
            metrics.PODS_WANTED.labels(namespace, deployment).set(wanted)
        return web.Response(body=generate_latest(), headers=_CONTENT_TYPE)

    async def _targets(self, _: web.Request) -> web.Response:
        # Who is refused keeps what it was told before; who is told of none forgets all.
        return web.json_response(targets(self._cache.live())) if self._synced() else _waiting()


def _waiting() -> web.Response:
    return web.Response(status=503, text="waiting for the first lists from the API server\n")
