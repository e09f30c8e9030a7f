"""The operator as a process: its parts, put together, started, and stopped in the order that loses nothing."""

import asyncio
import gc
import itertools
import logging
import signal
from collections.abc import Sequence

from stagecoach.kinds.controller import API_VERSION, Controller
from stagecoach.runtime import keys, metrics
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.calls import Calls
from stagecoach.runtime.children import ChildWatch
from stagecoach.runtime.client import Client
from stagecoach.runtime.connection import Connection
from stagecoach.runtime.errors import ApiError, NotFound
from stagecoach.runtime.executor import Executor
from stagecoach.runtime.handlers import OwnWatch
from stagecoach.runtime.health import HealthServer
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.lease import Elector, Leadership, Timing
from stagecoach.runtime.loop import Loop, resync
from stagecoach.runtime.options import Options
from stagecoach.runtime.pollers import Poller, ProgressFact, WarningFact
from stagecoach.runtime.queue import WorkQueue
from stagecoach.runtime.recorder import Recorder
from stagecoach.runtime.resources import WATCHED, Resources
from stagecoach.runtime.tasks import Tasks
from stagecoach.runtime.version import VERSION

logger = logging.getLogger(__name__)

# Parts of the ten seconds in which a stop is over; Kubernetes gives thirty.
WORKERS_STOP = 5.0
EVENTS_STOP = 1.0
REST_STOP = 3.0
# A lease request must not wait behind others, nor longer than there is time to try again.
LEASE_TIMEOUT = 5.0
# The default collects the oldest generation, and with it every cached object, far too often: 100 ms each at 10,000.
GC_THRESHOLDS = (20_000, 50, 100)
SIGNALS = (signal.SIGTERM, signal.SIGINT)
NO_KINDS = (
    "waiting for the custom resource definitions of %s: apply crds/ of this version, or set crds.install in the chart"
)


class Operator:
    """One process of the operator."""

    def __init__(self, options: Options, controllers: Sequence[Controller], connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._stop = asyncio.Event()
        self._synced = asyncio.Event()
        self._gained = asyncio.Event()
        self._tasks = Tasks()
        resources = Resources(controllers)
        self._own = resources.own
        self._cache = cache = Cache(controllers)
        self._queue = WorkQueue(on_wait=metrics.QUEUE_WAIT.observe)
        self._intake = intake = Intake(cache, controllers, self._queue.add)
        self._leadership = leadership = Leadership()
        # Three sets of connections: reads and watches, fenced writes, and the lease, which waits for neither.
        self._reader = Client(connection)
        self._writer = Client(connection, fence=leadership.check)
        self._lessor = Client(connection, agent="lease", concurrency=2, timeout=LEASE_TIMEOUT)
        self._elector = self._make_elector()
        self._children = [
            ChildWatch(self._reader, resource, namespace, cache, intake)
            for resource, namespace in itertools.product(WATCHED, options.namespaces or (None,))
        ]
        self._watch = OwnWatch(connection, self._reader, self._own.values(), options.namespaces, cache, intake)
        self._recorder = Recorder(self._writer, options.identity)
        self._calls = Calls(cache, intake, leadership, connection.clock.now)
        executor = Executor(self._writer, resources, intake, self._recorder, self._calls)
        self._loop = Loop(
            controllers,
            options.settings,
            cache,
            self._queue,
            executor,
            leadership,
            self._current,
            connection.clock.now,
        )
        self._health = HealthServer(cache, self._children, self._synced.is_set)
        metrics.QUEUE_DEPTH.set_function(lambda: self._queue.depth)
        metrics.SYNCED.set_function(
            lambda: self._synced.is_set() and all(each.synced.is_set() for each in self._children)
        )

    def _current(self, namespace: str) -> bool:
        return all(each.synced.is_set() for each in self._children if each.covers(namespace))

    async def run(self) -> int:
        """Run until a signal (0) or until a part fails (1)."""
        gc.set_threshold(*GC_THRESHOLDS)
        self._take_signals()
        await self._health.start(self._options.metrics_address, self._options.metrics_port)
        self._start()
        logger.info(
            "started: reading all objects first",
            extra={"version": VERSION, "namespaces": self._options.namespaces or "all"},
        )
        ended = asyncio.create_task(self._tasks.any_ended(), name="any ended")
        stopped = asyncio.create_task(self._stop.wait(), name="stop signal")
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        failed = not self._stop.is_set()
        if failed:
            await asyncio.sleep(0)  # let what failed at the same moment be reported too
            self._tasks.report()
        else:
            logger.info("stopping, as asked to by a signal")
        ended.cancel()
        stopped.cancel()
        await self._shut_down()
        return int(failed)

    def _start(self) -> None:
        start = self._tasks.start
        for watch in self._children:
            start(f"watch {watch.name}", watch.run())
        for fact in (ProgressFact(self._reader, self._cache), WarningFact(self._reader, self._cache)):
            start(f"poll {fact.name}", Poller(fact, self._cache, self._intake, self._leadership).run())
        for number in range(self._options.workers):
            start(f"worker {number}", self._loop.work())
        start("resync", resync(self._intake.everything, self._leadership))
        start("events", self._recorder.run())
        start("calls", self._calls.run())
        start("elector", self._lead())
        start("haste", self._hasten())
        start("exactness", self._watch.keep_exact())
        start("kopf", self._watch_own())

    async def _watch_own(self) -> None:
        await self._kinds_installed()
        await self._watch.run(spawned=self._take_signals)  # kopf had taken the signals for itself

    async def _kinds_installed(self) -> None:
        """Wait for the custom resource definitions; kopf would not notice when they come later."""
        backoff = Backoff(first=0.5, longest=10.0)
        told: list[str] = []
        while True:
            patience = 0.0
            try:
                missing = await self._missing()
            except ApiError as error:
                patience = error.retry_after
                logger.warning("waiting for the API server to say which kinds it serves: %s", error)
            else:
                if not missing:
                    return
                if missing != told:
                    logger.error(NO_KINDS, ", ".join(missing), extra={"missing": missing})
                told = missing
            await asyncio.sleep(backoff.next(patience))

    async def _missing(self) -> list[str]:
        wanted = {each.plural for each in self._own.values()}
        try:
            return sorted(wanted - await self._reader.served_plurals(API_VERSION))
        except NotFound:
            return sorted(wanted)

    async def _lead(self) -> None:
        try:
            self._loop.use_key(
                await keys.master_key(self._reader, self._options.lease_namespace, self._options.key_secret)
            )
        except keys.BadKey as error:
            logger.critical("%s", error)
            return  # and with this task the process ends
        # Whoever has not seen everything must not keep the lease from those who have.
        for synced in (*(each.synced for each in self._children), self._watch.synced):
            await synced.wait()
        self._synced.set()
        logger.info("synced: all objects are read, asking for the Lease", extra={"objects": len(self._cache.keys())})
        await self._elector.run()

    def _begin(self) -> None:
        """Take everything up, on what the former leader left: on lists that begin when this process leads."""
        for watch in self._children:
            watch.renew()
        self._intake.everything()
        self._gained.set()

    async def _hasten(self) -> None:
        """Work at once on what waits for the lists of a new leader, when they are complete."""
        while True:
            await self._gained.wait()
            self._gained.clear()
            for watch in self._children:
                await watch.synced.wait()
            self._intake.everything()

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for each in SIGNALS:
            loop.add_signal_handler(each, self._stop.set)

    async def _shut_down(self) -> None:
        self._queue.close()
        # Without the lease the workers wait for it, and not for the queue.
        if not (self._leadership.valid() and await self._tasks.wait("worker", WORKERS_STOP)):
            await self._tasks.cancel("worker")
        await self._tasks.cancel("calls")
        await self._tasks.cancel("events")
        await self._recorder.stop(EVENTS_STOP)
        await self._tasks.cancel("elector")
        await self._elector.release()
        await self._health.stop()
        try:
            async with asyncio.timeout(REST_STOP):
                await self._tasks.cancel()
        except TimeoutError:
            logger.warning("some tasks did not end in time")
        for client in (self._reader, self._writer, self._lessor, self._calls):
            await client.close()
        await self._connection.close()
        logger.info("stopped")

    def _make_elector(self) -> Elector:
        options = self._options
        return Elector(
            self._lessor,
            self._leadership,
            namespace=options.lease_namespace,
            name=options.lease_name,
            identity=options.identity,
            on_gained=self._begin,
            timing=Timing.of(options.lease_duration),
        )
