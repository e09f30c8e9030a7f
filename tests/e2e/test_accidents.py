"""Real runs while the operator is killed, and pods that go."""

import itertools
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stagecoach.build.labels import OWNER_NAME
from tests import builders, deploy
from tests.e2e.conftest import LATE, POLL_SECONDS, SMALL, SOON, Desk
from tests.integration.support.eventually import eventually

pytestmark = pytest.mark.long

RUNS, MORE = 10, 3
KILLS = 8
OPERATOR = "app.kubernetes.io/component=operator"


def leader(tools: deploy.Tools) -> str:
    """Return the operator's pod that leads, or nothing when the last one that did is gone."""
    kube = tools.kube(deploy.OPERATOR_NAMESPACE)
    holder = kube.get("Lease", deploy.RELEASE)["spec"].get("holderIdentity", "").partition("_")[0]
    return holder if any(pod["metadata"]["name"] == holder for pod in kube.select("Pod", OPERATOR)) else ""


def kill_operator(tools: deploy.Tools) -> None:
    """Kill the operator's pod without a warning."""
    pods = ("-n", deploy.OPERATOR_NAMESPACE, "-l", OPERATOR)
    # The one before it may still be going.
    tools.kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--ignore-not-found")


@contextmanager
def watched(desk: Desk, plural: str, folder: Path) -> Iterator[Callable[[], dict[str, list[str]]]]:
    """Write down all of the operator's Jobs, or pods, from now on, also one that is gone a moment later.

    Yields what returns their names by owner: a name is there twice when two had it after each other.
    """
    told = folder / plural
    label = OWNER_NAME.replace(".", r"\.")
    line = f"jsonpath={{.metadata.labels.{label}}} {{.metadata.name}} {{.metadata.uid}}" + r'{"\n"}'
    which = ("-n", desk.namespace, "-l", "app.kubernetes.io/managed-by=stagecoach")
    command = [str(desk.tools.cluster.kubectl), "get", plural, *which, "--watch", "-o", line]
    with told.open("w") as output:
        kubectl = subprocess.Popen(command, stdout=output, env=desk.tools.environment())

    def seen() -> dict[str, list[str]]:
        assert kubectl.poll() is None, f"kubectl has not watched {plural} to the end"
        complete, _, _partial = told.read_text().rpartition("\n")
        found: dict[str, list[str]] = {}
        for owner, name, _uid in sorted({tuple(line.split()) for line in complete.splitlines()}):
            found.setdefault(owner, []).append(name)
        return found

    try:
        # Once it has told of what resolved the project, it misses nothing.
        eventually(seen, SOON, f"kubectl watches {plural}", every=POLL_SECONDS)
        yield seen
    finally:
        kubectl.terminate()
        kubectl.wait()


def unfinished(desk: Desk, names: list[str]) -> list[str]:
    """Return the runs that have not ended, as far as an operator has noticed."""
    phases = {name: desk.object("ftr", name).get("status", {}).get("phase") for name in names}
    return [name for name, phase in phases.items() if phase not in ("Succeeded", "Failed")]


def test_no_run_is_lost_or_doubled_while_the_operator_is_killed(office: Desk, tmp_path: Path) -> None:
    # Other seeds are other inputs: as many trainings and artifacts as runs.
    specs = ({"resources": SMALL, "hyperparameters": {"epochs": 1, "seed": seed}} for seed in itertools.count())
    names: list[str] = []

    def create(number: int) -> None:
        for spec in itertools.islice(specs, number):
            names.append(f"run-{len(names)}")
            office.apply(builders.run(names[-1], office.namespace, **spec))

    chance = random.Random(20260102)  # noqa: S311 - it draws moments, not secrets
    with watched(office, "jobs", tmp_path) as jobs, watched(office, "pods", tmp_path) as pods:
        create(RUNS)
        kills = 0
        while kills < KILLS:
            eventually(lambda: leader(office.tools), SOON, "an operator leads", every=POLL_SECONDS)
            if not unfinished(office, names):
                create(MORE)
            time.sleep(chance.uniform(0, 6))  # the moment of the kill is what is drawn
            if unfinished(office, names):  # else it would show nothing
                kill_operator(office.tools)
                kills += 1
        runs = [office.awaits("ftr", name, "Succeeded", "Failed", seconds=LATE) for name in names]
        made, ran = jobs(), pods()
    for name, run in zip(names, runs, strict=True):
        assert run["status"]["phase"] == "Succeeded", office.ready("ftr", name)
        attempts = run["status"]["attempts"]
        assert {attempt["outcome"] for attempt in attempts} == {"Succeeded"}, (
            "the operator's death is no failure of a run"
        )
        assert len(trainings(office, name)) == 1
        assert made[name] == sorted(attempt["job"] for attempt in attempts), "one Job for one attempt"
        assert len(ran[name]) == len(attempts)
    assert len({run["status"]["artifact"]["digest"] for run in runs}) == len(names)


def test_a_pod_that_is_evicted_is_another_attempt(office: Desk) -> None:
    run = builders.run(namespace=office.namespace, resources=SMALL, hyperparameters={"maxSteps": 100_000})
    office.apply(run)
    office.awaits("ftr", "first", "Running")
    # Before the first step there is nothing to save, and the pod is only lost.
    eventually(lambda: step(office) > 0, SOON, "it trains", every=POLL_SECONDS)
    [pod] = [pod["metadata"]["name"] for pod in _pods(office, "first") if pod["status"]["phase"] == "Running"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    office.kube.request("POST", office.kube.path("Pod", pod, "eviction"), eviction)
    eventually(lambda: len(trainings(office, "first")) == 2, SOON, "a second attempt", every=POLL_SECONDS)
    lost = trainings(office, "first")[0]
    assert (lost["outcome"], lost["counted"]) == ("Preempted", False)
    assert "Eviction API" in lost["message"], "the API server's own word for it, by DisruptionTarget"

    def goes_on() -> bool:
        progress = office.object("ftr", "first")["status"].get("progress", {})
        return bool(progress.get("step", 0) >= progress.get("checkpoint", 1) >= lost["checkpoint"])

    eventually(goes_on, SOON, "the second attempt goes on from the checkpoint", every=POLL_SECONDS)

    office.tools.kubectl("delete", "ftr", "first", "-n", office.namespace)
    eventually(lambda: not _pods(office, "first"), SOON, "deleting the run stops its pods", every=POLL_SECONDS)


def trainings(office: Desk, name: str) -> list[builders.Object]:
    """Return a run's attempts, but for the look into a storage that other tests have filled."""
    attempts = office.object("ftr", name)["status"]["attempts"]
    return [attempt for attempt in attempts if attempt["intent"] == "Train"]


def step(office: Desk) -> int:
    """Return how far the run is, as its status tells."""
    return int(office.object("ftr", "first")["status"].get("progress", {}).get("step", 0))


def _pods(office: Desk, name: str) -> list[builders.Object]:
    return office.kube.select("Pod", f"stagecoach.dev/name={name}")


def test_the_time_of_a_run_is_bounded(office: Desk) -> None:
    steps = {"maxSteps": 100_000, "seed": 100}
    office.apply(builders.run("bounded", office.namespace, resources=SMALL, hyperparameters=steps, maxDuration="25s"))
    assert "maxDuration" in office.awaits_reason("ftr", "bounded", "DeadlineExceeded")
    assert [item["outcome"] for item in trainings(office, "bounded")] == ["DeadlineExceeded"]
