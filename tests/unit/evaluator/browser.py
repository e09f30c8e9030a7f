"""A real browser without a window, told what to do by its own protocol (Chrome DevTools)."""

import asyncio
import base64
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
PROGRAM = next(filter(None, map(shutil.which, PROGRAMS)), None)
# A machine may be busy.
PATIENCE = 300.0


@dataclass
class Tab:
    """A page in the browser, and what it said and asked for since it was opened."""

    socket: aiohttp.ClientWebSocketResponse
    session: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        """Carry out a command and return what came of it."""
        number = len(self.answers) + 1000
        self.answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "sessionId": self.session, "method": method, "params": params})
        return await asyncio.wait_for(self.answers[number], PATIENCE)

    async def show(self, url: str, width: int, scheme: str, media: str = "") -> None:
        """Open a page in a window of this width, for a reader who prefers light or dark."""
        await self.do(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.do("Emulation.setDeviceMetricsOverride", **size)
        self.loaded.clear()
        self.complaints.clear()
        self.requests.clear()
        await self.do("Page.navigate", url=url)
        await asyncio.wait_for(self.loaded.wait(), PATIENCE)

    async def find(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        result = (await self.do("Runtime.evaluate", expression=expression, returnByValue=True))["result"]
        return result.get("value")

    async def picture(self) -> bytes:
        """Return the whole page as a .png file."""
        found = await self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def hear(self, message: dict[str, Any]) -> None:
        """Take in what the browser says."""
        params = message.get("params", {})
        match message.get("method"):
            case None if message["id"] in self.answers:
                self.answers[message["id"]].set_result(message.get("result", message))
            case "Page.loadEventFired":
                self.loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded" | "Audits.issueAdded":
                self.complaints.append(str(params))


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """Start a browser, and end it afterwards."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory() as profile:
        command = (PROGRAM, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"HOME": profile},
        )
        try:
            url = await asyncio.wait_for(_address(Path(profile) / "DevToolsActivePort"), PATIENCE)
            async with aiohttp.ClientSession() as client, client.ws_connect(url, max_msg_size=0) as socket:
                made = await _attach(socket)
                listener = asyncio.create_task(_listen(made))
                for domain in ("Page", "Network", "Runtime", "Log", "Audits"):
                    await made.do(f"{domain}.enable")
                yield made
                listener.cancel()
        finally:
            process.kill()
            await process.wait()


async def _address(file: Path) -> str:
    while True:
        lines = _lines(file)
        if len(lines) > 1:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(0.05)


def _lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


async def _attach(socket: aiohttp.ClientWebSocketResponse) -> Tab:
    await socket.send_json({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}})
    target = (await _answer(socket, 1))["targetId"]
    await socket.send_json(
        {"id": 2, "method": "Target.attachToTarget", "params": {"targetId": target, "flatten": True}}
    )
    return Tab(socket, (await _answer(socket, 2))["sessionId"])


async def _answer(socket: aiohttp.ClientWebSocketResponse, number: int) -> dict[str, Any]:
    while (message := await socket.receive_json()).get("id") != number:
        pass
    return dict(message["result"])


async def _listen(made: Tab) -> None:
    async for message in made.socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            made.hear(message.json())
