"""A way to the API server on which requests can be held back: sent by an operator, and not delivered."""

import asyncio
import base64
import json
import re
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4


class HoldingProxy:
    """Passes on what clients send in plain HTTP, by TLS; while it holds, requests that match stay with it.

    A held request gets a number as its Audit-ID, by which the API server's audit log tells what became of it.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._config: dict[str, Any] = json.loads(kubeconfig.read_text())
        cluster = self._config["clusters"][0]["cluster"]
        self._server = urlsplit(cluster["server"])
        authority = base64.b64decode(cluster.pop("certificate-authority-data")).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self.held: dict[str, str] = {}  # request lines by Audit-ID
        self._name = uuid4().hex[:8]  # several proxies write into one audit log
        self._pattern = ""
        self._connections: set[asyncio.StreamWriter] = set()
        self._connecting: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig whose way leads through here."""
        self._config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{self._port}"
        path.write_text(json.dumps(self._config))
        return path

    def hold(self, pattern: str) -> None:
        """From now on keep requests whose first line matches, such as `PATCH .*/status`."""
        self._pattern = pattern

    def cut(self) -> None:
        """Break all connections, as the network between a node and the API server may."""
        self._loop.call_soon_threadsafe(self._cut)

    def release(self) -> None:
        """Deliver what was held, and hold nothing more."""
        self._pattern = ""
        self._loop.call_soon_threadsafe(self._open.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def _cut(self) -> None:
        for each in self._connections:
            each.transport.abort()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._listening.set()
        async with server:
            await self._stop.wait()
            # Whatever is cut off while it begins would outlive the loop: a server closed in the middle of accepting
            # does not close what it accepted. So accept nothing more, let begin what has been accepted, then cut.
            self._loop.remove_reader(server.sockets[0].fileno())
            await asyncio.sleep(0.05)
            while self._connecting or self._connections:
                self._cut()  # a TLS connection that is only closed waits for the other side's farewell
                self._open.set()
                await asyncio.sleep(0.01)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._server.hostname, self._server.port
        if self._stop.is_set():
            writer.transport.abort()
            return
        self._connecting.add(writer)
        try:
            answers, requests = await asyncio.open_connection(host, port, ssl=self._tls, ssl_handshake_timeout=10)
        except OSError:
            writer.transport.abort()
            return
        finally:
            self._connecting.discard(writer)
        self._connections |= {writer, requests}
        try:
            await asyncio.gather(self._pass_on(reader, requests, may_hold=True), self._pass_on(answers, writer))
            with suppress(OSError):
                await writer.wait_closed()  # it has been told all
        finally:
            requests.transport.abort()  # closed, it would wait for the other side's farewell, and outlive the loop
            self._connections -= {writer, requests}

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, may_hold: bool = False
    ) -> None:
        with suppress(OSError):
            try:
                while data := await source.read(65536):
                    target.write(await self._kept(data) if may_hold else data)
                    await target.drain()
            finally:
                target.close()

    async def _kept(self, data: bytes) -> bytes:
        # A client sends its next request after the answer to the last one, so a request begins where a read does.
        line, end, rest = data.partition(b"\r\n")
        if not self._pattern or not re.match(self._pattern, line.decode(errors="replace")):
            return data
        number = f"held-{self._name}-{len(self.held) + 1}"
        self.held[number] = line.decode()
        await self._open.wait()
        return line + end + f"Audit-ID: {number}\r\n".encode() + rest
