"""What texts look like, counted beside the work: it never holds up an answer, and what is too much is left out."""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoded, Encoder
from stagecoach_gateway.counting import Counted

log = logging.getLogger(__name__)
# Longer texts are made tokens beside the loop, which has to serve others meanwhile.
LONG_TEXT = 4096
# What is looked at of all texts of a request, where no engine has said yet that they are too long.
MOST_CHARACTERS = 100_000
# Requests with long texts that wait to be counted.
MOST_WAITING = 32


class Texts:
    """Counts texts; long ones in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "texts")
        self._waiting = 0
        self.skipped = 0  # requests whose texts were not counted

    def count(self, texts: list[str], encoder: Encoder, counted: Counted) -> None:
        """Count the texts of a request, by and by."""
        loop = asyncio.get_running_loop()
        if sum(map(len, texts)) <= LONG_TEXT:
            loop.call_soon(_count, texts, encoder, counted)
            return
        if self._waiting >= MOST_WAITING:
            self.skipped += 1
            return
        self._waiting += 1
        work = loop.run_in_executor(self._thread, _profiler, texts, encoder)
        work.add_done_callback(lambda done: self._done(done, counted))

    def _done(self, work: asyncio.Future[Profiler], counted: Counted) -> None:
        self._waiting -= 1
        if error := work.exception():
            self.skipped += 1
            log.error("texts cannot be counted: %s", error)
        else:
            counted.texts(work.result())


def _count(texts: list[str], encoder: Encoder, counted: Counted) -> None:
    for encoded in _encoded(texts, encoder):
        counted.text((), encoder.tokenization.max_length, [encoded])


def _profiler(texts: list[str], encoder: Encoder) -> Profiler:
    profiler = Profiler((), encoder.tokenization.max_length)
    for encoded in _encoded(texts, encoder):
        profiler.add(encoded)
    return profiler


def _encoded(texts: list[str], encoder: Encoder) -> Iterator[Encoded]:
    left = MOST_CHARACTERS
    for text in texts:
        if left <= 0:
            return
        ids = encoder.tokenizer(text[:left], add_special_tokens=False)["input_ids"]
        yield Encoded(tuple(ids), "", truncated=len(text) > left)
        left -= len(text)
