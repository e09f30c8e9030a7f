"""What is kept of requests to be looked at later: samples without what is private, and feedback; a file an hour."""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson

from stagecoach.contract.gateway_routes import RedactionType

log = logging.getLogger(__name__)
# Of a kind, what all files together hold, of all gateways that write here: the one takes no room from the other.
MOST_BYTES = {"samples": 3 << 28, "feedback": 1 << 28}
# Of a kind, what is not written yet; more is thrown away and counted. So much of it is written at a time.
WAITING_BYTES = 8 << 20
BATCH_BYTES = 1 << 20
# A line.
LINE_BYTES = 65_536
# So often it is looked whether something is old, whoever asks meanwhile; and after so much was written.
SWEEP_SECONDS = 300.0
SWEEP_BYTES = 1 << 24
# How often a log says that something goes wrong; a metric says how often it does.
COMPLAINT_SECONDS = 60.0
# What people wrote. All else is ours: digits in a request's id are the number of no card.
WRITTEN = ("input", "output", "expected", "comment")
# How long writing may take once everything else has ended.
FINISH_SECONDS = 5.0

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}\.[^\s@]{1,63}")
# Digits as people write the number of a card, in one piece or in groups; what stands beside it may be digits, too.
_DIGITS = re.compile(r"\d(?:[\s.\-\u2013]{0,2}\d){12,}")
_CARD_DIGITS = range(13, 20)


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
    return _DIGITS.sub(lambda found: _without_cards(found[0]), text)


def _without_cards(text: str) -> str:
    """Return digits and separators with a word for whatever may be a card's number, by its check digit (Luhn)."""
    places = [place for place, character in enumerate(text) if character.isdecimal()]
    digits = [int(text[place]) for place in places]
    # Sums of all digits before each, of which those at even places count twice, and those at odd places.
    sums = [
        list(accumulate((_twice(digit) if n % 2 == odd else digit for n, digit in enumerate(digits)), initial=0))
        for odd in (0, 1)
    ]
    parts, written, covered = [], 0, 0
    for first in range(len(digits)):
        ends = [first + number for number in _CARD_DIGITS if first + number <= len(digits)]
        end = max((end for end in ends if (sums[end % 2][end] - sums[end % 2][first]) % 10 == 0), default=0)
        if end <= covered:
            continue
        if first >= covered:
            parts += [text[written : places[first]], "[card]"]
        written, covered = places[end - 1] + 1, end
    return "".join((*parts, text[written:]))


def _twice(digit: int) -> int:
    return digit * 2 - 9 * (digit > 4)


_REDACTIONS: dict[str, Callable[[str], str]] = {RedactionType.EMAIL: _emails, RedactionType.CARD: _cards}


_Item = tuple[str, bytes, tuple[str, ...]]


class Keeper:
    """Writes lines into files beside the work, in order, never faster than the disk.

    Others of the same deployment write into the same folder: each into files of its own, for where it is a network's
    nobody's lines are kept apart. What is old is removed by whoever comes first.
    """

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder = folder
        self._writer = writer
        self.able = folder.is_dir()  # whether there is a folder to write to
        self._waiting: asyncio.Queue[_Item] = asyncio.Queue()
        self._waiting_bytes = dict.fromkeys(MOST_BYTES, 0)
        self._thread = ThreadPoolExecutor(1, "keeping")
        self.dropped = 0
        self.keep_seconds: float | None = None  # nobody has said it yet
        self._swept = float("-inf")
        self._unswept = 0  # bytes written since then
        self._complained = float("-inf")

    def keep(self, kind: str, document: dict[str, Any], redact: tuple[str, ...] = ()) -> bool:
        """Have a document written, without what is to be redacted; return whether it will be."""
        try:
            content = orjson.dumps(document)
            if len(content) <= min(LINE_BYTES, WAITING_BYTES - self._waiting_bytes[kind]):
                self._waiting_bytes[kind] += len(content)
                self._waiting.put_nowait((kind, content, redact))
                return True
        except orjson.JSONEncodeError:
            pass
        self.dropped += 1
        return False

    async def work(self) -> None:
        """Write for ever, and remove what is old."""
        loop = asyncio.get_running_loop()
        while True:
            items = await self._next()
            try:
                if items:
                    self.dropped += await loop.run_in_executor(self._thread, self._write, items)
            except Exception as error:  # whatever it is: what comes next is written all the same
                self.dropped += len(items)
                self._complain("samples and feedback cannot be written: %s", error)
            finally:
                for kind, content, _ in items:
                    self._waiting_bytes[kind] -= len(content)
                    self._waiting.task_done()
            due = loop.time() >= self._swept + SWEEP_SECONDS or self._unswept >= SWEEP_BYTES
            if self.able and self.keep_seconds is not None and due:
                self._swept, self._unswept = loop.time(), 0
                try:
                    await loop.run_in_executor(self._thread, self._sweep, time.time() - self.keep_seconds)
                except Exception as error:  # likewise
                    self._complain("samples and feedback that are old cannot be removed: %s", error)

    async def _next(self) -> list[_Item]:
        """Wait for something to write, but not for longer than something may be old."""
        items: list[_Item] = []
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                items.append(await self._waiting.get())
        except TimeoutError:
            return items
        size = len(items[0][1])
        while size < BATCH_BYTES and not self._waiting.empty():
            items.append(self._waiting.get_nowait())
            size += len(items[-1][1])
        return items

    async def finish(self) -> None:
        """Wait until all is written, but not for ever."""
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            log.error("samples and feedback were not all written in %g s", FINISH_SECONDS)

    def _write(self, items: list[_Item]) -> int:
        """Write documents; return how many were not."""
        hour = time.strftime("%Y%m%dT%H", time.gmtime())
        lost, lines = 0, dict[str, list[bytes]]()
        for kind, content, redact in items:
            try:
                document = orjson.loads(content)
                said = {part: redacted(document[part], redact) for part in WRITTEN if part in document}
                line = orjson.dumps(document | said)
            except Exception as error:  # one document keeps no other from being written
                lost += 1
                self._complain("a document of %s cannot be redacted: %s", kind, type(error).__name__)
                continue
            lines.setdefault(kind, []).append(line + b"\n")
        for kind, found in lines.items():
            content = b"".join(found)
            try:
                _append(self._folder / f"{kind}-{hour}-{self._writer}.jsonl", content)
            except OSError as error:  # such as a disk that is full
                lost += len(found)
                self._complain("%s cannot be written: %s", kind, error)
            else:
                self._unswept += len(content)
        return lost

    def _complain(self, message: str, *values: object) -> None:
        """Say in the log what goes wrong, but not each time."""
        if time.monotonic() - self._complained >= COMPLAINT_SECONDS:
            self._complained = time.monotonic()
            log.error(message, *values)

    def _sweep(self, before: float) -> None:
        """Remove what was last written before that, and of a kind the oldest where all of it is too much."""
        for kind, most in MOST_BYTES.items():
            found = []
            for file in self._folder.glob(f"{kind}-*.jsonl"):
                with suppress(FileNotFoundError):  # another gateway was faster
                    stat = file.stat()
                    found.append((stat.st_mtime, stat.st_size, file))
            total = sum(size for _, size, _ in found)
            for written, size, file in sorted(found):
                if written < before or total > most:
                    file.unlink(missing_ok=True)
                    total -= size


def _append(path: Path, content: bytes) -> None:
    """Write lines at the end of a file, apart from one that a disk without room, or a sudden end, has broken off."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                content = b"\n" + content
        file.write(content)
