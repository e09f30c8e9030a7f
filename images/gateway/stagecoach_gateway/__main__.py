"""Start the gateway: `python -m stagecoach_gateway`."""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from stagecoach_gateway.admin import Admin
from stagecoach_gateway.current import Current, Refused
from stagecoach_gateway.gateway import Gateway
from stagecoach_gateway.http_server import Server
from stagecoach_gateway.settings import BadSettings, Settings

log = logging.getLogger("stagecoach_gateway")
# After the request to stop, others still send requests: nodes hear of it within 5 s, and some may be late.
LEAVING_SECONDS = 10.0
REFRESH_SECONDS = 1.0


async def serve(settings: Settings) -> None:
    """Serve until asked to stop, and end what was begun."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway = Gateway(settings)
    clients = Server(gateway.handle, admit=gateway.admit, refused=gateway.refused)
    admin = Admin(gateway, clients, settings.required("admin-token"))
    control = Server(admin.handle, connections=64, unchecked=0, admit=admin.admit, for_probes=True)
    gateway.engines.start()
    gateway.clients.refresh()
    gateway.sources.refresh()
    tasks = [loop.create_task(gateway.keeper.work()), loop.create_task(refresh(gateway, settings.routes))]
    port = await clients.start(settings.host, settings.port)
    admin_port = await control.start(settings.host, settings.admin_port)
    log.info("listening on %d for clients, on %d for the cluster", port, admin_port)
    await stop.wait()
    log.info("asked to stop: ending what was begun")
    clients.draining = True  # not ready any more, and every answer closes its connection
    await asyncio.sleep(min(LEAVING_SECONDS, settings.drain_seconds))
    await clients.drain(settings.drain_seconds)
    await gateway.keeper.finish()
    await control.drain(0)
    for task in tasks:
        task.cancel()


async def refresh(gateway: Gateway, routes: Path) -> None:
    """Look again and again whether files have changed: keys, and the routes that the pod has mounted."""
    seen: bytes | None = None
    while True:
        try:
            gateway.clients.refresh()
            gateway.sources.refresh()
            seen = await read(gateway.current, routes, seen)
        except Exception:
            log.exception("looking at the mounted files failed")
        await asyncio.sleep(REFRESH_SECONDS)


async def read(current: Current, path: Path, seen: bytes | None) -> bytes | None:
    """Take the mounted routes if they are others than those seen before. A refusal is logged, once."""
    try:
        content = path.read_bytes()  # noqa: ASYNC240 - a small file, once a second
    except OSError:
        return seen
    if content != seen:
        try:
            await current.take(content)
        except Refused as error:
            # A mounted ConfigMap is late: what was handed over meanwhile is newer.
            log.log(logging.INFO if error.stale else logging.ERROR, "%s is not taken: %s", path, error)
    return content


def main() -> int:
    """Run it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        settings = Settings.of_environment()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except BadSettings as error:
        log.error("%s", error)
        return 64
    return 0


if __name__ == "__main__":
    sys.exit(main())
