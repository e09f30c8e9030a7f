"""What is kept of requests to be looked at later: samples without what is private, and feedback; a file an hour."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger(__name__)
# What is not written yet; more is thrown away and counted.
MOST_WAITING = 1000
# A line, and all files together.
LINE_BYTES = 65_536
ALL_BYTES = 1 << 30

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
# Digits as people write the number of a card, in one piece or in groups.
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")


def redacted(value: Any, what: Iterable[str]) -> Any:
    """Return a document whose strings, keys included, have a word in the place of what is private."""
    if isinstance(value, str):
        for kind in what:
            value = _REDACTIONS[kind](value)
        return value
    if isinstance(value, list):
        return [redacted(item, what) for item in value]
    if isinstance(value, dict):
        return {redacted(key, what): redacted(item, what) for key, item in value.items()}
    return value


def _emails(text: str) -> str:
    return _EMAIL.sub("[email]", text)


def _cards(text: str) -> str:
    return _CARD.sub(lambda found: "[card]" if _sums_up(found[0]) else found[0], text)


def _sums_up(text: str) -> bool:
    """Whether digits are those of a card, by their check digit (Luhn)."""
    digits = [int(digit) for digit in text if digit.isdigit()]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_REDACTIONS: dict[str, Callable[[str], str]] = {"email": _emails, "card": _cards}


class Keeper:
    """Writes lines into files beside the work, in order, never faster than the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.able = folder.is_dir()  # whether there is a folder to write to
        self._waiting: asyncio.Queue[tuple[str, dict[str, Any], tuple[str, ...]]] = asyncio.Queue(MOST_WAITING)
        self.dropped = 0
        self.keep_seconds = 30 * 86_400
        self._swept = 0.0

    def keep(self, kind: str, document: dict[str, Any], redact: tuple[str, ...] = ()) -> bool:
        """Have a document written, without what is to be redacted; return whether it will be."""
        try:
            self._waiting.put_nowait((kind, document, redact))
        except asyncio.QueueFull:
            self.dropped += 1
            return False
        return True

    async def work(self) -> None:
        """Write for ever."""
        loop = asyncio.get_running_loop()
        while True:
            items = [await self._waiting.get()]
            while not self._waiting.empty():
                items.append(self._waiting.get_nowait())
            try:
                await loop.run_in_executor(None, self._write, items)
            except OSError as error:
                self.dropped += len(items)
                log.error("samples and feedback cannot be written: %s", error)
            for _ in items:
                self._waiting.task_done()

    async def finish(self) -> None:
        """Wait until all is written."""
        await self._waiting.join()

    def _write(self, items: list[tuple[str, dict[str, Any], tuple[str, ...]]]) -> None:
        now = time.time()
        if now > self._swept + 60:
            self._sweep(now)
        hour = time.strftime("%Y%m%dT%H", time.gmtime(now))
        lines: dict[str, list[bytes]] = {}
        for kind, document, redact in items:
            line = orjson.dumps(redacted(document, redact))
            if len(line) > LINE_BYTES:
                self.dropped += 1
                continue
            lines.setdefault(kind, []).append(line + b"\n")
        for kind, found in lines.items():
            with (self._folder / f"{kind}-{hour}.jsonl").open("ab") as file:
                file.write(b"".join(found))

    def _sweep(self, now: float) -> None:
        """Remove what is old, and the oldest where all of it is too much."""
        self._swept = now
        files = sorted(self._folder.glob("*-*.jsonl"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            stat = file.stat()
            if stat.st_mtime < now - self.keep_seconds or total > ALL_BYTES:
                file.unlink()
                total -= stat.st_size
