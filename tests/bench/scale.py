"""`make bench-scale`: what many runs cost, and how fast they end, beside as many bare Jobs in the same control plane.

Runs and Jobs take turns in blocks: of each pair of blocks the ratio of the rates is taken, of all pairs the mean with a
95 % confidence interval. A block has ended when its Jobs have, those of the runs too, and the next begins when nothing
happens any more. A bare Job is the Job of a run, with the same pod, which ends alike, and as many labels; it has no
owner, and is not the operator's. Runs have `force: true`: each is one Job. Then many runs are held at work, and pods
are ended one after the other, to see how soon the status tells it; at last the operator is restarted beside all of
them, and sees a last block through with a profiler in it, which counts for nothing else.
"""

import argparse
import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stagecoach.build.labels import MANAGED_BY
from stagecoach.runtime.resources import JOBS
from tests import builders
from tests.bench import profiled, usage
from tests.bench.crowd import RUNS, Crowd
from tests.bench.report import RESTART_SECONDS, Failures, Measured, report
from tests.bench.simulated import Simulated, progress_line, simulated
from tests.integration.support.eventually import eventually
from tests.integration.support.metrics import Metrics
from tests.integration.support.operator import OperatorProcess
from tests.simulation import HOLD

Object = dict[str, Any]
Name = TypeVar("Name")

BLOCKS, SMALLEST_BLOCK = 10, 100
# One run in each of two blocks: an interval is of two ratios at least.
FEWEST = 2
# Of fewer changes a 99th percentile says little.
ACTIVE, CHANGES = 1000, 500
BARE = {"bench": "bare"}  # the label of Jobs that are not the operator's
# What the server labels the pods of a Job with.
GIVEN = [f"{domain}{name}" for domain in ("", "batch.kubernetes.io/") for name in ("controller-uid", "job-name")]
# Between two pods that end: a crowd that ends at once is what the blocks measure.
PACE = 0.1
PATIENCE = 120.0
# Between two looks at the operator's metrics: what renders them is what is measured.
LOOK = 0.5
# The operator takes ten at most, and Kubernetes gives it thirty.
STOP_SECONDS = 40.0
# The controller of Jobs lets changes gather for a second: after two of silence it has nothing left to do.
SILENCE = 2.0


class Runs:
    """Makes runs of which no two have the same inputs: they would wait for one another, and wake one another."""

    def __init__(self) -> None:
        self._seeds = itertools.count(1)

    def __call__(self, names: Iterable[str], project: str = "desk") -> list[Object]:
        return [_run(name, next(self._seeds), project) for name in names]


async def measure(running: Simulated, runs: int, found: Measured) -> None:
    """Measure everything, on a control plane on which nothing happened yet; what is found stays if the rest fails."""
    operator = await asyncio.to_thread(lambda: running.start_operator().wait_ready().wait_leading())
    async with Crowd(running.plane.kubeconfig) as crowd:
        try:
            await Bench(running, operator, crowd, found).run(runs)
        finally:
            failed = crowd.failed(RUNS.kind), crowd.failed(JOBS.kind)
            found.failures = Failures.of(crowd.runs, *failed, await crowd.owners_of_jobs())


class Bench:
    """What is measured, one after the other."""

    def __init__(self, running: Simulated, operator: OperatorProcess, crowd: Crowd, found: Measured) -> None:
        self._running = running
        self._operator = operator
        self._crowd = crowd
        self._found = found
        self._new_runs = Runs()

    async def run(self, runs: int) -> None:
        """Measure with so many runs, and as many bare Jobs."""
        await self._crowd.make_ready_project("desk")
        await self._crowd.make_ready_project("held", pods={"labels": {HOLD: "true"}})
        bare = await self._bare_job()
        await self._drain()
        blocks = min(BLOCKS, max(FEWEST, runs // SMALLEST_BLOCK))
        size = -(-runs // blocks)
        await self._blocks(bare, blocks, size)
        await self._latencies(min(ACTIVE, max(CHANGES, runs // 10)))
        await self._restart()
        await self._profile(size)

    async def _bare_job(self) -> Object:
        await self._crowd.see_through(self._new_runs(["first"]), within=PATIENCE)
        return bare_job(await self._crowd.job_of("first"))

    async def _blocks(self, bare: Object, blocks: int, size: int) -> None:
        arms, before = self._found.arms, usage.histograms(await self._metrics())
        for number in range(blocks):
            order = ["runs", "jobs"] if number % 2 == 0 else ["jobs", "runs"]
            for arm in order:
                names = [f"{arm[:-1]}-{number * size + each}" for each in range(size)]
                made = self._new_runs(names) if arm == "runs" else [_named(bare, name) for name in names]
                spent = await self._block(arm, made)
                told = f"{arm} {arms[arm].rates[-1]:.1f} per second; CPU ms of one: {_most(spent)}"
                print(f"block {number + 1} of {blocks}: {told}", file=sys.stderr, flush=True)
            self._found.histograms = usage.since(usage.histograms(await self._metrics()), before)

    async def _block(self, name: str, objects: Sequence[Object]) -> dict[str, float]:
        """Have an arm make these and see them end; return the milliseconds of CPU that each process spent on one.

        What it leaves to be done is its own in CPU, and is not timed.
        """
        arm = self._found.arms[name]
        asked, before = usage.requests(await self._metrics()), self._spent()
        began = time.monotonic()
        seconds = await self._crowd.see_through(objects, within=PATIENCE + len(objects))
        arm.rates.append(len(objects) / seconds)
        busy = sum(self._spent().values()) - sum(before.values())
        arm.cores.append(busy / 1000 / (time.monotonic() - began))
        await self._drain()
        after = self._spent()
        _add(arm.milliseconds, before, after)
        arm.ended += len(objects)
        if name == "runs":
            _add(self._found.requests, asked, usage.requests(await self._metrics()))
        self._note_memory()
        return {process: (after[process] - before[process]) / len(objects) for process in after}

    async def _drain(self) -> None:
        """Wait until nothing happens any more: what one leaves to be done must not slow down the next."""
        await self._work_done(silence=SILENCE)

    async def _work_done(self, silence: float = 0.0) -> None:
        """Wait until nothing waits for the operator, and nothing has happened for a while."""
        deadline = time.monotonic() + PATIENCE
        while self._crowd.silence < silence or await self._waiting():
            if time.monotonic() > deadline:
                print(f"not quiet after {PATIENCE:.0f} s; going on", file=sys.stderr, flush=True)
                return
            await asyncio.sleep(LOOK)

    async def _waiting(self) -> bool:
        """Tell whether anything waits for the operator."""
        return (await self._metrics()).total("stagecoach_queue_depth") > 0

    async def _metrics(self) -> Metrics:
        return await asyncio.to_thread(eventually, lambda: _told(self._operator), PATIENCE, "metrics are told", LOOK)

    def _spent(self) -> dict[str, float]:
        pids = self._running.pids() | {"operator": self._operator.process.pid, "benchmark": os.getpid()}
        return {name: usage.milliseconds(pid) for name, pid in pids.items()}

    async def _latencies(self, active: int) -> None:
        """Hold runs at work, end the pods of some, and take the time from a pod's change to its run's status."""
        first, *others = (f"held-{number}" for number in range(1 + active))
        printing = asyncio.create_task(_print_progress(self._running.log))
        try:
            await self._crowd.make(self._new_runs([first, *others], "held"))
            pods = await self._crowd.pods_at_work([first, *others], within=PATIENCE + active)
            await self._warm_up(pods[first], first)
            # Without what the others tell meanwhile, nothing would be beside.
            await self._crowd.await_progress(others[-1], within=PATIENCE + active)
            self._found.active = active
            async with asyncio.TaskGroup() as changes:
                for name in others[:CHANGES]:
                    changes.create_task(self._change(pods[name], name))
                    await asyncio.sleep(PACE)
        finally:
            printing.cancel()
        self._note_memory()
        # Those that are left would be written about after the restart.
        await asyncio.gather(*(self._crowd.end_pod(pods[name], name, PATIENCE) for name in others[CHANGES:]))
        await self._drain()

    async def _change(self, pod: Object, run: str) -> None:
        self._found.latencies.append(await self._crowd.end_pod(pod, run, within=PATIENCE))

    async def _warm_up(self, pod: Object, run: str) -> None:
        """End a first pod: with it the storage holds a record, which the project tells all of its runs, once."""
        await self._crowd.end_pod(pod, run, within=PATIENCE)
        await self._crowd.await_records("held", within=PATIENCE)
        await asyncio.sleep(SILENCE)
        await self._work_done()

    async def _restart(self) -> None:
        """Replace the operator as an upgrade does, and wait until it has looked at everything and has nothing to do."""
        self._found.objects = objects = len(self._crowd.runs)
        await asyncio.to_thread(self._operator.stop, STOP_SECONDS)
        began = time.monotonic()
        self._operator = again = self._running.start_operator(profiled.__name__)

        def idle() -> bool:
            now = again.metrics()
            looked = now.total("stagecoach_reconcile_seconds_count", kind=RUNS.kind) >= objects
            # What is put off until a new leader's lists are complete is not in the queue.
            return looked and now.total("stagecoach_synced") == 1 and now.total("stagecoach_queue_depth") == 0

        await asyncio.to_thread(eventually, idle, 10 * RESTART_SECONDS, "the operator is idle", LOOK)
        self._found.restart = time.monotonic() - began
        self._found.writes_after_restart = again.metric("stagecoach_status_writes_total")
        self._note_memory()

    async def _profile(self, size: int) -> None:
        """See more runs through, with a profiler in the operator; they count for nothing else."""
        self._operator.process.send_signal(profiled.BEGIN)
        runs = self._new_runs(f"profiled-{number}" for number in range(size))
        await self._crowd.see_through(runs, within=PATIENCE + size)
        await self._drain()
        await asyncio.to_thread(self._operator.stop, STOP_SECONDS)
        self._found.profile = profiled.tables(profiled.functions(self._running.profile), size)

    def _note_memory(self) -> None:
        most = usage.most_memory(self._operator.process.pid)
        self._found.mebibytes = max(self._found.mebibytes or 0.0, most)


def _run(name: str, seed: int, project: str) -> Object:
    settings = {"learningRate": 1.0e-3, "epochs": 1, "seed": seed}
    return builders.run(name, project=project, hyperparameters=settings, force=True)


def _named(bare: Object, name: str) -> Object:
    return bare | {"metadata": bare["metadata"] | {"name": name}}


def bare_job(job: Object) -> Object:
    """Return a Job as a run's, without a name and without whatever makes it one of the operator's."""
    spec = {name: value for name, value in job["spec"].items() if name != "selector"}
    template = spec["template"] | {"metadata": _bare(spec["template"]["metadata"])}
    metadata = _bare(job["metadata"])
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": metadata,
        "spec": spec | {"template": template},
    }


def _bare(metadata: Object) -> Object:
    """Return the annotations and as many labels, under other names; the server gives each Job's pods its own."""
    labels = {name: value for name, value in metadata["labels"].items() if name not in (*MANAGED_BY, *GIVEN)}
    renamed = {f"bare.{name}": value for name, value in labels.items()}
    return {"labels": BARE | renamed, "annotations": metadata.get("annotations") or {}}


def _told(operator: OperatorProcess) -> Metrics:
    found = operator.metrics()
    assert found.text, "the operator does not answer"
    return found


async def _print_progress(log: Path) -> None:
    step = 0
    while True:
        step += 1
        await asyncio.to_thread(log.write_text, progress_line(step))
        await asyncio.sleep(1)


def _most(spent: dict[str, float]) -> str:
    return ", ".join(f"{name} {each:.0f}" for name, each in sorted(spent.items(), key=lambda item: -item[1]))


def _add(total: dict[Name, float], before: dict[Name, float], after: dict[Name, float]) -> None:
    for name, value in after.items():
        total[name] = total.get(name, 0.0) + value - before.get(name, 0.0)


def main(options: argparse.Namespace) -> int:
    """Measure, and print a table and what was missed."""
    # So that whoever is told to stop leaves nothing behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with simulated() as running:
        found = Measured()
        try:
            asyncio.run(measure(running, options.runs, found))
        finally:  # many minutes of measuring are not lost by what fails after them
            lines, missed = report(found)
            print("\n".join([*lines, *(f"Missed: {each}." for each in missed)]), flush=True)
    return 1 if missed else 0


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="and as many bare Jobs (default: 1000)")
    options = parser.parse_args(arguments)
    if options.runs < FEWEST:
        parser.error(f"--runs is {options.runs}, and has to be {FEWEST} or more: one run in each of {FEWEST} blocks")
    return options


if __name__ == "__main__":
    sys.exit(main(options_of()))
