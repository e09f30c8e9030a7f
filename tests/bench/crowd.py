"""A crowd of objects in one namespace: made many at once, and watched until they end.

With the operator's own client, which takes less of the machine than what it measures.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from stagecoach.build.labels import API_VERSION, OWNER_KIND, OWNER_NAME
from stagecoach.runtime.client import Client
from stagecoach.runtime.connection import Connection
from stagecoach.runtime.errors import AlreadyExists, ApiError, Gone, ServerError, Throttled, Unreachable
from stagecoach.runtime.resources import JOBS, PODS, Resource
from tests import builders
from tests.bench.simulated import NAMESPACE

Object = dict[str, Any]
# Kind and name; a run's Job goes by the name of its run.
Key = tuple[str, str]

RUNS = Resource(API_VERSION, "FineTuneRun", "finetuneruns")
PROJECTS = Resource(API_VERSION, "TransformerProject", "transformerprojects")
_RESOURCES = {each.kind: each for each in (RUNS, PROJECTS, JOBS)}
_ENDED_JOB = ("Complete", "Failed")
TRAINED = json.dumps(builders.artifact_report())
ENDED = ("Succeeded", "Failed")
AT_ONCE = 16
RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)
WATCH_SECONDS = 600


class Crowd:
    """Makes runs and bare Jobs, and knows when each came to its end."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._phases: dict[Key, tuple[str, float]] = {}  # the last phase, and since when
        self._last_event = time.monotonic()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._watches: list[asyncio.Task[None]] = []
        self.runs: set[str] = set()

    async def __aenter__(self) -> Self:
        configuration = Configuration()
        await config.load_kube_config(str(self._kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        self._connection = Connection(configuration)
        self._client = Client(self._connection, agent="bench", timeout=60)
        told = [(RUNS, _phase), (PROJECTS, _phase), (JOBS, _job_phase)]
        self._watches = [asyncio.create_task(self._watch(*each)) for each in told]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for each in self._watches:
            each.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._client.close()
        await self._connection.close()

    @property
    def silence(self) -> float:
        """For how many seconds nothing has happened to anything."""
        return time.monotonic() - self._last_event

    def failed(self, kind: str) -> list[str]:
        """Return the names of what ended badly; a run's Job goes by the name of its run."""
        return [name for (of, name), (phase, _) in self._phases.items() if (of, phase) == (kind, "Failed")]

    async def make_ready_project(self, name: str, **spec: Any) -> None:
        """Make a project, and wait until it is Ready."""
        await self.make([builders.project(name, **spec)])
        await self._await(lambda: self._is("TransformerProject", name, "Ready"), 60, f"project {name} is Ready")

    async def make(self, objects: Sequence[Object]) -> None:
        """Create objects, many at once."""
        self.runs |= {obj["metadata"]["name"] for obj in objects if obj["kind"] == RUNS.kind}
        await asyncio.gather(*map(self._create, objects))

    async def see_through(self, objects: Sequence[Object], within: float) -> float:
        """Create objects and wait for the end of all, and of the Jobs of runs; return the seconds that this took."""
        began = time.monotonic()
        await self.make(objects)
        keys = {key for obj in objects for key in _ends(obj)}
        missing = set(keys)

        def all_ended() -> bool:
            missing.difference_update([key for key in missing if self._phase(key) in ENDED or self._never_ends(key)])
            return not missing

        try:
            await self._await(all_ended, within, f"{len(objects)} objects have ended")
        except RuntimeError as error:
            error.add_note(f"{len(missing)} have not: {sorted(missing)[:5]}")
            raise
        return max(self._phases[key][1] for key in keys if key in self._phases) - began

    async def pods_at_work(self, runs: Sequence[str], within: float) -> dict[str, Object]:
        """Wait until these runs say that they run; return the pod of each."""
        missing = set(runs)

        def all_run() -> bool:
            missing.difference_update([name for name in missing if self._is(RUNS.kind, name, "Running")])
            return not missing

        await self._await(all_run, within, f"{len(runs)} runs are at work")
        pods = await self._client.list_all(PODS, NAMESPACE, fields="status.phase=Running")
        return {pod["metadata"]["labels"].get(OWNER_NAME, ""): pod for pod in pods}

    async def end_pod(self, pod: Object, run: str, within: float) -> float:
        """End a pod as its kubelet would; return the seconds until its run's status tells it."""
        before = pod["status"]["containerStatuses"][0]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        terminated = {"exitCode": 0, "reason": "Completed", "message": TRAINED}
        terminated |= {"startedAt": before["state"]["running"]["startedAt"], "finishedAt": now}
        ended = before | {"ready": False, "started": False, "state": {"terminated": terminated}}
        name, status = pod["metadata"]["name"], {"phase": "Succeeded", "containerStatuses": [ended]}
        began = 0.0

        async def end() -> Object:
            nonlocal began
            began = time.monotonic()
            return await self._client.patch_status(PODS, NAMESPACE, name, {"status": status})

        await self._insist(end)
        await self._await(lambda: self._is(RUNS.kind, run, "Succeeded"), within, f"{run} has succeeded")
        return self._phases[RUNS.kind, run][1] - began

    async def await_records(self, project: str, within: float) -> None:
        """Wait until a project says that its storage holds records."""
        await self._await_status(PROJECTS, project, lambda status: status.get("storage", {}).get("records"), within)

    async def await_progress(self, run: str, within: float) -> None:
        """Wait until a run tells how far it is."""
        await self._await_status(RUNS, run, lambda status: status.get("progress"), within)

    async def _await_status(
        self, resource: Resource, name: str, told: Callable[[Object], object], within: float
    ) -> None:
        deadline = time.monotonic() + within
        while not told((await self._insist(lambda: self._client.get(resource, NAMESPACE, name))).get("status", {})):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {within:.0f} s: {resource} {name} tells what is waited for")
            await asyncio.sleep(0.5)

    async def job_of(self, run: str) -> Object:
        """Return the Job of a run."""
        [job] = await self._client.list_all(JOBS, NAMESPACE, labels=f"{OWNER_NAME}={run}")
        return job

    async def owners_of_jobs(self) -> list[str]:
        """Return the names of the runs that the operator has made Jobs for, each as often as it has one."""
        pages = self._client.pages(JOBS, NAMESPACE, labels=f"{OWNER_KIND}={RUNS.kind}", metadata_only=True)
        return [job["metadata"]["labels"][OWNER_NAME] async for jobs, _ in pages for job in jobs]

    async def _create(self, obj: Object) -> None:
        async with self._slots:
            body = obj | {"metadata": obj["metadata"] | {"namespace": NAMESPACE}}
            with contextlib.suppress(AlreadyExists):  # then it was made, and the answer got lost
                await self._insist(lambda: self._client.create(_RESOURCES[obj["kind"]], NAMESPACE, body))

    async def _insist(self, request: Callable[[], Awaitable[Object]]) -> Object:
        """Repeat a request that an API server under load could not take: one refusal must not end a measurement."""
        for seconds in RETRIES:
            try:
                return await request()
            except (Throttled, ServerError, Unreachable) as error:
                print(f"again in {seconds} s: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(seconds)
        return await request()

    def _never_ends(self, key: Key) -> bool:
        # A run that failed need not have a Job.
        return key[0] == JOBS.kind and self._is(RUNS.kind, key[1], "Failed") and key not in self._phases

    def _phase(self, key: Key) -> str:
        return self._phases.get(key, ("", 0.0))[0]

    def _is(self, kind: str, name: str, phase: str) -> bool:
        return self._phase((kind, name)) == phase

    async def _watch(self, resource: Resource, phase: Callable[[Object], str]) -> None:
        since = ""
        while True:  # the server may end it at any time, and does when a definition changes
            try:
                since = since or await self._list(resource, phase)
                async for event in self._client.watch(
                    resource, NAMESPACE, since=since, seconds=WATCH_SECONDS, silence=2 * WATCH_SECONDS
                ):
                    if event["type"] == "ERROR":
                        raise Gone(f"watch {resource}: {event['object'].get('message')}")
                    since = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._last_event = time.monotonic()
                        self._note(_key(event["object"], resource), phase(event["object"]))
            except ApiError as error:
                print(f"watched again from a new list: {error}", file=sys.stderr, flush=True)
                since = ""
                await asyncio.sleep(RETRIES[0])

    async def _list(self, resource: Resource, phase: Callable[[Object], str]) -> str:
        """Take in what there is, as of now; return since when to watch."""
        since = ""
        async for objects, version in self._client.pages(resource, NAMESPACE):
            since = version
            for obj in objects:
                self._note(_key(obj, resource), phase(obj))
        return since

    def _note(self, key: Key, phase: str) -> None:
        if self._phase(key) != phase:
            self._phases[key] = phase, time.monotonic()

    async def _await(self, what: Callable[[], bool], seconds: float, words: str) -> None:
        # What is measured are the times at which the watch told it.
        deadline = time.monotonic() + seconds
        while not what():
            broken = [str(each.exception()) for each in self._watches if each.done()]
            if broken or time.monotonic() > deadline:
                raise RuntimeError(f"not within {seconds:.0f} s: {words}. {' '.join(broken)}")
            await asyncio.sleep(0.05)


def _key(obj: Object, resource: Resource) -> Key:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    return resource.kind, labels.get(OWNER_NAME, metadata["name"]) if resource is JOBS else metadata["name"]


def _ends(obj: Object) -> list[Key]:
    # A run succeeds when its pod has; its Job is behind, and a bare Job has to come as far.
    kind, name = obj["kind"], obj["metadata"]["name"]
    return [(kind, name), (JOBS.kind, name)] if kind == RUNS.kind else [(kind, name)]


def _phase(obj: Object) -> str:
    return str(obj.get("status", {}).get("phase", ""))


def _job_phase(job: Object) -> str:
    conditions = job.get("status", {}).get("conditions") or ()
    ended = [each["type"] for each in conditions if each["type"] in _ENDED_JOB and each["status"] == "True"]
    return {"Complete": "Succeeded", "Failed": "Failed"}[ended[0]] if ended else ""
