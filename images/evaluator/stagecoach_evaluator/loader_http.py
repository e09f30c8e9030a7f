"""What the loader answers over HTTP: to the operator, which shows a token, and to the kubelet."""

import asyncio
import hmac
from collections.abc import Callable

from aiohttp import web
from pydantic import ValidationError

from stagecoach.contract import loading
from stagecoach.contract.loading import Wanted
from stagecoach_evaluator.engine import Away, Refused
from stagecoach_evaluator.loader_serving import NotServed, Serving
from stagecoach_evaluator.programs import ONE_VERSION

BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0


def application(serving: Serving, token: Callable[[], bytes]) -> web.Application:
    """Return what answers. Nothing of it waits for work; how much there is, the engine is asked in a thread."""

    async def health(_: web.Request) -> web.Response:
        why = serving.unready()
        return web.Response(status=503 if why else 200, text=why)

    async def tell(request: web.Request) -> web.Response:
        _check(request, token())
        return web.Response(text=serving.loaded.line(), content_type="application/json")

    async def want(request: web.Request) -> web.Response:
        _check(request, token())
        try:
            async with asyncio.timeout(BODY_SECONDS):
                content = await request.read()
            serving.want(Wanted.model_validate_json(content))
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the body took too long to arrive: send it at once") from None
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "document"
            text = f"this is not understood: {where}: {first['msg']}. {ONE_VERSION}"
            raise web.HTTPBadRequest(text=text) from None
        except NotServed:
            text = "this engine serves no adapters: say maxAdapters in its document, and name no whole model there."
            raise web.HTTPUnprocessableEntity(text=text) from None
        return await tell(request)

    async def load(request: web.Request) -> web.Response:
        _check(request, token())
        try:
            found = await asyncio.to_thread(serving.load)
        except (Away, Refused) as error:
            raise web.HTTPServiceUnavailable(text=f"the engine gave no answer: {error}") from None
        return web.Response(text=found.line(), content_type="application/json")

    found = web.Application(client_max_size=BODY_BYTES)
    found.add_routes(
        [
            web.get(loading.HEALTH_PATH, health),
            web.get(loading.PATH, tell),
            web.put(loading.PATH, want),
            web.get(loading.LOAD_PATH, load),
        ]
    )
    return found


def _check(request: web.Request, token: bytes) -> None:
    """Let nobody else in."""
    shown = request.headers.get("Authorization", "").encode(errors="replace")
    if not hmac.compare_digest(shown, b"Bearer " + token):
        raise web.HTTPUnauthorized(text="show the loader's token: Authorization: Bearer <token>")
