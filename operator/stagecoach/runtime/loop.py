"""The loop: take a key, look at the memory, decide, act."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.plan import Key, Object, Plan
from stagecoach.runtime import metrics
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.errors import ApiError, Conflict, Fenced, Forbidden, LogUnread, NameTaken, NotFound, Rejected
from stagecoach.runtime.executor import Executor
from stagecoach.runtime.lease import Leadership
from stagecoach.runtime.problems import Problem, Problems, refused
from stagecoach.runtime.queue import QueueClosed, WorkQueue

logger = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0
# How soon a key is taken up again whose children were not known.
UNKNOWN_SECONDS = 1.0


class Loop:
    """Runs workers while this process leads."""

    def __init__(
        self,
        controllers: Iterable[Controller],
        settings: Settings,
        cache: Cache,
        queue: WorkQueue,
        executor: Executor,
        leadership: Leadership,
        current: Callable[[str], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._controllers = {each.kind: each for each in controllers}
        self._settings = settings
        self._cache = cache
        self._queue = queue
        self._executor = executor
        self._leadership = leadership
        self._current = current  # whether the children in a namespace are known as they are now
        self._now = now  # for reconciles; deadlines inside the runtime use the monotonic clock
        self._problems = Problems()

    def use_key(self, master_key: bytes) -> None:
        """Take the operator's own key, before the work begins."""
        self._settings = replace(self._settings, master_key=master_key)

    async def work(self) -> None:
        """Be one worker, until the queue is closed."""
        while True:
            await self._leadership.gained.wait()
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._one(key)
            finally:
                self._queue.done(key)
            # With a full queue and nothing to write there is no other point at which anything else could run.
            await asyncio.sleep(0)

    async def _one(self, key: Key) -> None:
        if not self._leadership.valid():
            self._queue.add(key)
            return
        if not self._current(key.namespace):
            self._queue.put_after(key, UNKNOWN_SECONDS)
            return  # and nothing is counted: it was not looked at
        began = time.perf_counter()
        await self._attempt(key)
        metrics.RECONCILE_SECONDS.labels(key.kind).observe(time.perf_counter() - began)

    async def _attempt(self, key: Key) -> None:
        obj = self._cache.get(key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            # Children go with their owner, by the garbage collector: nothing is left to do, with us or without.
            self._drop(key)
            return
        try:
            await self._reconcile(key, obj)
        except Fenced:
            self._queue.add(key)
        except Conflict as error:
            logger.debug("the plan is void: %s", error, extra={"key": str(key)})
            self._failed(key, "Conflict")
        except NotFound:
            # The object or its namespace went away; the watch will say so.
            self._failed(key, "NotFound")
        except (Forbidden, Rejected, NameTaken, LogUnread) as error:
            await self._blocked(key, error)
        except ApiError as error:
            self._failed(key, type(error).__name__, error.retry_after)
            logger.warning("not done, will be tried again: %s", error, extra={"key": str(key)})
        except Exception as error:  # a bug; it must not take the other objects down
            await self._bug(key, error)

    async def _reconcile(self, key: Key, obj: Object) -> None:
        now = self._now()
        plan = self._controllers[key.kind].reconcile(self._cache, obj, now, self._settings)
        problem = self._problems.shown(obj)
        try:
            await self._executor.execute(obj, plan, problem, now)
        except (Forbidden, Rejected, NameTaken):
            self._look_again(key, plan)  # at what is in nobody's way
            raise
        self._problems.clear(key)
        if problem is not None:
            self._queue.add(key)  # it is over: the next plan says what is true, and nothing is laid over that
        self._queue.forget(key)
        self._look_again(key, plan)

    def _look_again(self, key: Key, plan: Plan) -> None:
        if plan.requeue_after is not None:
            self._queue.put_after(key, max(plan.requeue_after, 0.0))

    def _failed(self, key: Key, cause: str, at_least: float = 0.0) -> None:
        metrics.RECONCILE_ERRORS.labels(key.kind, cause).inc()
        self._queue.retry(key, at_least)

    async def _blocked(self, key: Key, error: Exception) -> None:
        problem = refused(error)
        level = logging.DEBUG if self._problems.known(key, problem) else logging.WARNING
        logger.log(level, "blocked: %s", error, extra={"key": str(key), "reason": problem.reason})
        self._failed(key, problem.reason)
        await self._show(key, problem)

    async def _bug(self, key: Key, error: Exception) -> None:
        logger.exception("reconcile failed; this is a bug", extra={"key": str(key), "kind": key.kind})
        self._failed(key, "InternalError")
        message = (
            f"The operator failed on this object ({type(error).__name__}: {str(error)[:200]}). It is tried again, ever"
            " more slowly. This is a bug: please report it with the traceback in the operator's log."
        )
        await self._show(key, Problem("InternalError", message))

    async def _show(self, key: Key, problem: Problem) -> None:
        """Write the problem into the object's status, unless it stands there already."""
        obj = self._cache.get(key)
        if obj is None:
            return
        problem = self._problems.note(obj, problem)
        try:
            await self._executor.write_status(obj, None, problem, self._now())
        except (ApiError, Fenced) as error:
            logger.warning("the problem could not be shown: %s", error, extra={"key": str(key)})

    def _drop(self, key: Key) -> None:
        self._queue.forget(key)
        self._problems.clear(key)


async def resync(enqueue_all: Callable[[], None], leadership: Leadership, seconds: float = RESYNC_SECONDS) -> None:
    """Put every key on the queue now and then: a net under everything that is event-driven."""
    while True:
        await leadership.gained.wait()
        await asyncio.sleep(seconds)
        enqueue_all()
