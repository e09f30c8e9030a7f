"""What clients reach: who asks, how often, which release answers, and what is answered when none does."""

import asyncio
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from stagecoach.contract import client_api, openapi
from stagecoach.contract.gateway_routes import Routes, Sampling
from stagecoach_gateway import feedback, ids, openai_api
from stagecoach_gateway.asking import Ask
from stagecoach_gateway.clients import Clients, Rates
from stagecoach_gateway.counting import Counted, Counts
from stagecoach_gateway.current import Current, Loaded
from stagecoach_gateway.engines import Engines
from stagecoach_gateway.errors import Closing, Refusal
from stagecoach_gateway.http_messages import Answer, Request
from stagecoach_gateway.keeping import Keeper
from stagecoach_gateway.predict import Predict, Unserved
from stagecoach_gateway.settings import Settings
from stagecoach_gateway.texts import Texts

# Of these another answer may come in the place.
_FALLS_BACK = {"engine_error", "engine_unavailable", "engine_timeout", "contract_violation", "nothing_served"}
_DOCUMENT, _MODELS, _FEEDBACK = (
    each.encode() for each in (client_api.DOCUMENT, client_api.MODELS, client_api.FEEDBACK)
)
HOPS = b"x-stagecoach-hops"
MOST_HOPS = 3
MOST_LEVELS = 200
# Of objects and arrays, which may be of two characters, and take thirty times as much memory while an engine answers.
MOST_PARTS = 50_000


class AnyEndpoint(Protocol):
    """A path at which a release answers."""

    @property
    def path(self) -> str:
        """Where it is."""

    def check(self, ask: Ask) -> None:
        """Raise Refusal for what no engine should see."""

    def session(self, body: dict[str, Any]) -> str | None:
        """Return what binds a request to others."""

    async def answer(self, ask: Ask) -> None:
        """Have an engine answer. Raises Refusal."""


class Gateway:
    """All of it."""

    def __init__(self, settings: Settings) -> None:
        key = settings.required("routes-key")
        engine_key = settings.secret("engine-key")
        self.current = Current(settings.deployment, key, settings.tokenizers, self._changed, settings.confirm_seconds)
        self.engines = Engines(engine_key.decode() if engine_key else None)
        self.counts = Counts(settings.deployment)
        self.texts = Texts()
        self.clients = Clients(settings.clients)
        self.sources = Clients(settings.sources)  # of feedback
        self.rates = Rates()
        self.keeper = Keeper(settings.kept, settings.writer)
        self._seal = hmac.digest(key, b"stagecoach request ids v1", hashlib.sha256)
        self._endpoints: dict[bytes, AnyEndpoint] = {}
        self._openapi = b""

    def _changed(self, loaded: Loaded) -> None:
        """Have other routes in force; or, where that fails, nothing of them."""
        routes = loaded.routes
        # Not without being told for how long it is kept, and what of it is not.
        kept = self.keeper.able and routes.sampling is not None
        self._openapi = openapi.text(routes, feedback=kept)
        self._endpoints = {each.path.encode(): each for each in endpoints_of(routes)}
        self.engines.routed(routes.urls)
        self.counts.forget(but=loaded.ready)
        if routes.sampling:
            self.keeper.keep_seconds = routes.sampling.keep_seconds

    def admit(self, request: Request) -> None:
        """Look at a request before its long body is read. Raises Refusal for who may not ask, or asks for nothing."""
        self._who(request, self._loaded(request).routes)
        if request.path not in self._endpoints and request.path != _FEEDBACK:
            raise _unknown()

    def _loaded(self, request: Request) -> Loaded:
        """Return the routes that are at hand. Raises Refusal where there are none, or none to answer this by.

        While there may be newer ones, nothing is answered but by their fallback: that is no release.
        """
        loaded = self.current.loaded
        if loaded is None or (
            self.current.waits and (loaded.routes.fallback is None or request.path not in self._endpoints)
        ):
            raise _not_yet()
        return loaded

    def _who(self, request: Request, routes: Routes) -> str:
        """Return the client that asks, or the source that gives feedback. Raises Refusal for who may not."""
        authorization = request.headers.get(b"authorization")
        if request.path == _FEEDBACK and routes.sources:
            return self.sources.who(authorization)
        return self.clients.who(authorization) if routes.keys else request.client

    def refused(self, request: Request, answer: Answer, refusal: Refusal) -> None:
        """Name and count a request that could not be read to its end."""
        self._name(request, answer, request.client, None)
        self.counts.refuse(refusal.code)

    async def handle(self, request: Request, answer: Answer) -> None:
        """Answer a request of a client."""
        began = asyncio.get_running_loop().time()
        try:
            await self._handle(request, answer, began)
        except Closing:
            raise
        except Exception as error:
            if not request.id:
                self._name(request, answer, request.client, None)
                self.counts.refuse(error.code if isinstance(error, Refusal) else "internal_error")
            raise

    def _name(self, request: Request, answer: Answer, client: str, release: str | None) -> None:
        """Name a request, and the release that answers it."""
        request.id = ids.new(self._seal, client, release or "")
        answer.headers = [(b"x-request-id", request.id.encode())]
        if release:
            answer.headers.append((b"x-stagecoach-release", release.encode()))

    async def _handle(self, request: Request, answer: Answer, began: float) -> None:
        if request.path == _DOCUMENT and self._openapi:
            _only(request, b"GET")
            self._name(request, answer, request.client, None)
            answer.send(200, self._openapi)
            return
        loaded, waits = self._loaded(request), self.current.waits
        routes = loaded.routes
        client = self._who(request, routes)
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            self._other(request, answer, client, routes)
            return
        _only(request, b"POST")
        self.rates.take(client, routes.rate_limits, began)
        ask = Ask(request, answer, body_of(request), loaded, client, began)
        endpoint.check(ask)
        if loaded.input:
            loaded.input.check(ask.body)
        session = endpoint.session(ask.body)
        target = None if waits else self.current.target(routes, session, datetime.now(UTC))
        self._name(request, answer, client, target.release if target else None)
        counted = self.counts.of(target.release) if target else self.counts.none
        try:
            if waits:
                raise _not_yet()
            if target is None:
                raise Refusal("nothing_served", "No release is admitted yet.", headers={"retry-after": "30"})
            ask.give_to(loaded.ready[target.release], counted, self.engines, self.texts, self.keeper)
            await endpoint.answer(ask)
        except Refusal as refusal:
            await self._instead(ask, counted, refusal)
        except (asyncio.CancelledError, Closing):
            counted.abandoned += 1
            raise
        except Exception:
            counted.failed("internal_error")
            raise
        finally:
            counted.requests += 1
        if not ask.fails:
            counted.latency.add(asyncio.get_running_loop().time() - began)

    async def _instead(self, ask: Ask, counted: Counted, refusal: Refusal) -> None:
        """Answer what is to be answered when no release does. Raises Refusal when that is nothing."""
        ask.fails = True
        counted.failed(refusal.code)
        fallback = ask.loaded.routes.fallback
        if fallback is None or refusal.code not in _FALLS_BACK or ask.body.get("stream"):
            raise refusal
        if fallback.static is not None:
            self._name(ask.request, ask.answer, ask.client, None)
            ask.answer.headers.append((b"x-stagecoach-fallback", b"static"))
            ask.answer.send(200, orjson.dumps(fallback.static))
        elif fallback.gateway is not None:
            await self._of_another(ask, fallback.gateway)
        counted.fallbacks += 1

    async def _of_another(self, ask: Ask, url: str) -> None:
        """Answer as another deployment's gateway does. Raises Refusal."""
        said = ask.request.headers.get(HOPS, b"0")
        hops = int(said) + 1 if said.isdigit() and len(said) < 3 else MOST_HOPS
        if hops >= MOST_HOPS:
            raise Refusal("too_many_hops", "Deployments fall back to each other: none of them has an answer.")
        headers = HOPS + b": %d\r\n" % hops
        body, path = orjson.dumps(ask.body), ask.request.path.decode()
        async with self.engines.ask([url], path, body, ask.loaded.routes.timeout, headers) as reply:
            content = await reply.whole()
            if reply.status == 508:
                raise Refusal("too_many_hops", "Deployments fall back to each other: none of them has an answer.")
            if reply.status != 200:
                raise Refusal("engine_unavailable", f"The fallback answered with status {reply.status}.")
            ask.check_answer(ask.parsed(content))
            release = reply.release
        self._name(ask.request, ask.answer, ask.client, None)
        if release:
            ask.answer.headers.append((b"x-stagecoach-release", release))
        ask.answer.headers.append((b"x-stagecoach-fallback", b"gateway"))
        ask.answer.send(200, content)

    def _other(self, request: Request, answer: Answer, client: str, routes: Routes) -> None:
        """Answer what needs no engine. Raises Refusal."""
        if request.path in (_MODELS, _MODELS + b"/" + routes.name.encode()):
            _only(request, b"GET")
            model = {"id": routes.name, "object": "model", "created": 0, "owned_by": "stagecoach"}
            listed = {"object": "list", "data": [model]}
            self._name(request, answer, client, None)
            answer.send(200, orjson.dumps(listed if request.path == _MODELS else model))
        elif request.path.startswith(_MODELS + b"/"):
            raise Refusal("model_not_found", f"The model here is {routes.name}.")
        elif request.path == _FEEDBACK and self.keeper.able and routes.sampling:
            _only(request, b"POST")
            self._feedback(request, client, routes, routes.sampling)
            self._name(request, answer, client, None)
            answer.send(202, b'{"accepted":true}')
        else:
            raise _unknown()

    def _feedback(self, request: Request, who: str, routes: Routes, sampling: Sampling) -> None:
        """Keep feedback of a client on its own requests, or of a source on anybody's. Raises Refusal."""
        now, seal = asyncio.get_running_loop().time(), self._seal
        if not routes.sources:
            self.rates.take(who, routes.rate_limits, now)
        self.rates.take(f"feedback {who}", (feedback.OF_ONE,), now)  # no client is called so
        if routes.sources:
            document, counted = feedback.checked(body_of(request), None, seal, self.counts)
            document["source"] = who
        else:
            document, counted = feedback.checked(body_of(request), who, seal, self.counts)
            if routes.keys:
                document["client"] = who  # else it is an address, which is nobody's name
        if not self.keeper.keep("feedback", document, sampling.redact):
            raise Refusal("internal_error", "Feedback cannot be written as fast as it comes: send it again.")
        if counted:
            counted.said(document.get("rating"))


def endpoints_of(routes: Routes) -> list[AnyEndpoint]:
    """Return the paths at which releases answer."""
    if routes.api == "OpenAI":
        return [*openai_api.endpoints(routes.stable.described.asked if routes.stable else None)]
    return [Predict(client_api.task_path(routes)) if routes.stable else Unserved()]


def body_of(request: Request) -> dict[str, Any]:
    """Return a request's JSON document. Raises Refusal."""
    headers = request.headers
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise Refusal("unsupported_media_type", "Send JSON, and say so: `Content-Type: application/json`.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal("unsupported_media_type", "Send the body as it is, without a Content-Encoding.")
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise Refusal("invalid_json", f"The body is no JSON document: {error}."[:300]) from None
    if not isinstance(body, dict):
        raise Refusal("invalid_json", "The body is no JSON object.")
    # A document is written anew for the engine, and what writes it goes 254 levels down.
    if request.body.count(b"{") + request.body.count(b"[") > MOST_LEVELS and (excess := _excess(body)):
        raise Refusal("invalid_request", f"The body {excess}.")
    return body


def _excess(document: Any) -> str:
    """Return what a document has too much of, if anything."""
    level, parts = [document], 0
    for _ in range(MOST_LEVELS):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        parts += len(level)
        if parts > MOST_PARTS:
            return f"has more than {MOST_PARTS} objects and arrays"
        if not level:
            return ""
    return f"is nested more than {MOST_LEVELS} levels deep"


def _not_yet() -> Refusal:
    message = "The gateway has no routes yet, or may be told newer ones: try again."
    return Refusal("nothing_served", message, headers={"retry-after": "5"})


def _unknown() -> Refusal:
    return Refusal("unknown_path", "There is nothing at this path; /openapi.json has all that is.")


def _only(request: Request, method: bytes) -> None:
    if request.method != method:
        allow = method.decode()
        raise Refusal("method_not_allowed", f"Use {allow} here.", headers={"allow": allow})
