"""Questions to pods of ours, over HTTP: asked beside the work, so that a pod that hangs holds up no object."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import aiohttp

from stagecoach.kinds.plan import Call, Key
from stagecoach.kinds.view import Answer
from stagecoach.runtime import metrics
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.cache import Cache, owner_key
from stagecoach.runtime.errors import Fenced
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.lease import Leadership

logger = logging.getLogger(__name__)

# At a time: of all, and of one namespace, whose pods may all be silent.
CONCURRENCY, SHARE = 64, 8
# Of that share, questions that come after all others: with silent pods they leave the others most of it.
LATER_SHARE = 2
TIMEOUT = 5.0
CONNECT_TIMEOUT = 2.0
LONGEST_ANSWER = 1024 * 1024
# The same is asked again no sooner. What is counted changes all the time, and every change is looked at: without a rest
# each answer would bring the next question.
REST = 0.2
# Who lets us wait is asked ever more rarely; who is not up yet refuses at once, and is asked again as soon.
SILENT_FIRST, SILENT_LONGEST = 1.0, 15.0

Topic = tuple[str, str, str]  # a pod's uid, method and path: of several questions the last one counts


class NoAnswer(Exception):
    """A pod could not be asked, or what it said is none."""


class Silent(NoAnswer):
    """A pod did not answer in time."""


class Calls:
    """Asks what plans ask for, the newest of each topic, and one at a time of it, while this process leads."""

    def __init__(
        self,
        cache: Cache,
        intake: Intake,
        leadership: Leadership,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._intake = intake
        self._leadership = leadership
        self._now = now
        self._clock = clock
        self._session = aiohttp.ClientSession(
            # A connection that is kept may be closed by the pod at the moment it is used: that would look like an end.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT, connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )
        self._waiting: dict[Topic, tuple[Key, Call]] = {}  # with the object that asks
        self._asking: dict[Topic, tuple[Key, Call]] = {}
        self._begun: dict[Topic, tuple[float, Call]] = {}  # when each was last asked, for as long as that counts
        self._silent: dict[str, tuple[float, Backoff]] = {}  # until when pods are not asked that were, by their uids
        self._again: set[Topic] = set()  # asked once more: a pod that is busy for a moment has not failed
        self._changed = asyncio.Event()

    def ask(self, key: Key, call: Call) -> None:
        """Ask soon, for the object of this key; nobody waits for it."""
        topic = call.pod_uid, call.method, call.path
        if self._asking.get(topic) == (key, call):
            self._waiting.pop(topic, None)  # what is being asked is what is wanted again
            return
        self._waiting[topic] = key, call
        self._changed.set()

    async def run(self) -> None:
        """Ask what waits, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                pause = self._begin(tasks)
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                self._changed.clear()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _begin(self, tasks: asyncio.TaskGroup) -> float | None:
        """Begin with what is due, what may come later last, else the longest waiting first.

        Return in how many seconds more will be.
        """
        now = self._clock()
        self._begun = {topic: each for topic, each in self._begun.items() if now - each[0] < REST}
        self._silent = {uid: each for uid, each in self._silent.items() if now - each[0] < SILENT_LONGEST}
        busy = Counter(key.namespace for key, _ in self._asking.values())
        later = Counter(key.namespace for key, call in self._asking.values() if call.later)
        pauses: list[float] = []
        for topic, (key, call) in sorted(self._waiting.items(), key=lambda waits: waits[1][1].later):
            if len(self._asking) >= CONCURRENCY:
                return None  # the end of one of them is heard of
            if topic in self._asking or busy[key.namespace] >= SHARE:
                continue
            if call.later and later[key.namespace] >= LATER_SHARE:
                continue
            if (pause := self._due(topic, call) - now) > 0:
                pauses.append(pause)
                continue
            del self._waiting[topic]
            self._asking[topic] = key, call
            busy[key.namespace] += 1
            later[key.namespace] += call.later
            self._begun[topic] = now, call
            tasks.create_task(self._one(topic, key, call))
        return min(pauses, default=None)

    def _due(self, topic: Topic, call: Call) -> float:
        """Return when this may be asked."""
        silent, _ = self._silent.get(call.pod_uid, (0.0, None))
        since, last = self._begun.get(topic, (0.0, None))
        return max(silent, since + REST if last == call else 0.0)

    async def _one(self, topic: Topic, key: Key, call: Call) -> None:
        try:
            answer = await self._answer(key, call)
            if answer is not None:
                self._intake.answer(key, call, answer)
        except Exception:  # a bug; it must not take the other objects down
            logger.exception("a question failed; this is a bug", extra={"key": str(key), "path": call.path})
        finally:
            del self._asking[topic]
            self._changed.set()

    async def _answer(self, key: Key, call: Call) -> Answer | None:
        """Return what the pod says, or that it says nothing; None when it is not to be asked, or is asked once more."""
        topic = call.pod_uid, call.method, call.path
        again = topic in self._again
        self._again.discard(topic)
        if not self._is_there(key, call):
            return None
        try:
            status, body = await self._send(call)
        except Fenced:
            return None
        except NoAnswer as error:
            status, body = 0, str(error).encode()
            silent = isinstance(error, Silent)
            self._heard(call, silent=silent)
            if silent and not again:
                self._again.add(topic)
                self._waiting.setdefault(topic, (key, call))
                return None
        else:
            self._heard(call, silent=False)
        metrics.CALLS.labels(call.method, call.path, status or "none").inc()
        return Answer(status, body, self._now(), call.body)

    def _heard(self, call: Call, *, silent: bool) -> None:
        if silent:
            _, backoff = self._silent.get(call.pod_uid, (0.0, Backoff(SILENT_FIRST, SILENT_LONGEST)))
            self._silent[call.pod_uid] = self._clock() + backoff.next(), backoff
        else:
            self._silent.pop(call.pod_uid, None)

    def _is_there(self, key: Key, call: Call) -> bool:
        """Whether the object's pod still has this address.

        Once it has ended another may have it, who must not see the token. Nor may a pod of another namespace or object.
        """
        pod = self._cache.pod(call.pod_uid)
        if pod is None or owner_key(pod) != key:
            return False
        status = pod["status"]
        return status.get("podIP") == call.address and status.get("phase") not in ("Succeeded", "Failed")

    async def _send(self, call: Call) -> tuple[int, bytes]:
        host = f"[{call.address}]" if ":" in call.address else call.address
        url = f"http://{host}:{call.port}{call.path}"
        headers = {"Authorization": f"Bearer {call.token}"}
        if call.body:
            headers["Content-Type"] = "application/json"
        self._leadership.check()
        try:
            async with self._session.request(
                call.method, url, data=call.body or None, headers=headers, allow_redirects=False
            ) as response:
                return response.status, await _read(response.content)
        except TimeoutError as error:
            raise Silent(f"{url} did not answer in {TIMEOUT:g} seconds") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(f"{url} did not answer: {error or type(error).__name__}") from error


async def _read(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > LONGEST_ANSWER:
            raise NoAnswer(f"the answer is longer than {LONGEST_ANSWER} bytes")
    return bytes(body)
