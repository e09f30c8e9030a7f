"""What the cluster reaches: probes, metrics, counts, and the operator with newer routes. On a port of its own."""

import hmac
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from stagecoach_gateway.counting import gauge, weights
from stagecoach_gateway.current import Refused
from stagecoach_gateway.errors import Refusal
from stagecoach_gateway.gateway import Gateway
from stagecoach_gateway.http_messages import Answer, Request
from stagecoach_gateway.http_server import Server

log = logging.getLogger(__name__)
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Admin:
    """The handler of that port."""

    def __init__(self, gateway: Gateway, clients: Server, token: bytes) -> None:
        self._gateway = gateway
        self._clients = clients
        self._authorization = b"Bearer " + token
        self._warned = False
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def admit(self, request: Request) -> None:
        """Look at a request before its body is read. Raises Refusal: nobody but the operator sends one."""
        if not hmac.compare_digest(request.headers.get(b"authorization", b""), self._authorization):
            raise Refusal("invalid_key", "Only the operator may ask this.")

    async def handle(self, request: Request, answer: Answer) -> None:
        """Answer."""
        if request.path == b"/live":
            answer.send(200, b"live", (_TEXT,))
        elif request.path == b"/ready":
            why = self.unready()
            answer.send(503 if why else 200, (why or "ready").encode(), (_TEXT,))
        elif request.path == b"/metrics":
            answer.send(200, generate_latest(self._registry), (_TEXT,))
        elif request.path in (b"/counts", b"/routes"):
            self.admit(request)
            await self._operator(request, answer)
        else:
            raise Refusal("unknown_path", "There is nothing at this path.")

    def unready(self) -> str | None:
        """Return why no requests should come here, or None.

        A new gateway may have read routes that are not the newest any more: it waits until the operator has told it,
        but not for ever, since what is admitted is served with the operator away.
        """
        current = self._gateway.current
        if self._clients.draining:
            return "draining"
        if current.loaded is None:
            return "no routes"
        if self._gateway.clients.unread:  # by keys that it does not know it would refuse every client
            return self._gateway.clients.unread
        if current.waits:
            return "waiting to be told the newest routes"
        if not current.confirmed and not self._warned:
            self._warned = True
            words = "nobody said in %g s that these routes are the newest: serving what is mounted"
            log.warning(words, current.patience)
        return None

    async def _operator(self, request: Request, answer: Answer) -> None:
        current = self._gateway.current
        if request.path == b"/counts" and request.method == b"GET":
            revision = current.loaded.routes.revision if current.loaded else 0
            answer.send(200, self._gateway.counts.told(revision).line().encode())
        elif request.path == b"/routes" and request.method == b"PUT":
            try:
                acknowledged = await current.take(request.body)
            except Refused as error:
                answer.send(409 if error.stale else 422, str(error).encode(), (_TEXT,))
                return
            current.confirmed = True
            answer.send(200, acknowledged.line().encode())
        elif request.path == b"/routes" and request.method == b"GET" and current.loaded:
            answer.send(200, current.loaded.acknowledgement.line().encode())
        else:
            raise Refusal("unknown_path", "There is nothing at this path.")

    def collect(self) -> Iterator[Metric]:
        """Return all metrics, for Prometheus' library."""
        gateway = self._gateway
        yield from gateway.counts.metrics()
        loaded = gateway.current.loaded
        yield gauge("routes_revision", "Revision of the routes in force.", loaded.routes.revision if loaded else 0)
        confirmed = gateway.current.confirmed
        yield weights(loaded.routes if loaded else None, datetime.now(UTC), confirmed=confirmed)
        yield gauge("ready", "Whether requests should come.", 0 if self.unready() else 1)
        yield gauge(
            "routes_confirmed", "Whether the operator has said that these are the newest routes.", int(confirmed)
        )
        yield gauge("connections", "Connections of clients.", len(self._clients.connections))
        yield gauge("engine_requests", "Requests that engines are answering.", gateway.engines.open)
        yield gauge("texts_skipped", "Requests whose texts were not counted.", gateway.texts.skipped)
        yield gauge("kept_dropped", "Samples and feedback that could not be written.", gateway.keeper.dropped)
