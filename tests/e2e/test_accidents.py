"""Real runs while the operator is killed, and pods that go."""

import random
import time

from tests import builders, deploy
from tests.e2e.conftest import POLL_SECONDS, SMALL, Desk
from tests.integration.support.eventually import eventually

RUNS = 10
KILLS = 8


def kill_operator(tools: deploy.Tools) -> None:
    """Kill the operator's pod without a warning."""
    tools.kubectl(
        "delete",
        "pod",
        "-n",
        deploy.OPERATOR_NAMESPACE,
        "-l",
        "app.kubernetes.io/name=stagecoach",
        "--grace-period=0",
        "--force",
        "--ignore-not-found",  # the one before it may still be going
    )


def test_no_run_is_lost_or_doubled_while_the_operator_is_killed(office: Desk) -> None:
    names = [f"run-{number}" for number in range(RUNS)]
    # Other seeds are other inputs: ten trainings and ten artifacts.
    seeds = ({"hyperparameters": {"epochs": 1, "seed": number}} for number in range(RUNS))
    office.apply(
        *(
            builders.run(name, office.namespace, resources=SMALL, **seed)
            for name, seed in zip(names, seeds, strict=True)
        )
    )
    chance = random.Random(20260102)  # noqa: S311 - it draws moments, not secrets
    for _ in range(KILLS):
        time.sleep(chance.uniform(1, 12))  # the moment of the kill is what is drawn
        kill_operator(office.tools)
    artifacts = set()
    for name in names:
        run = office.awaits("ftr", name, "Succeeded", "Failed", seconds=600)
        assert run["status"]["phase"] == "Succeeded", office.ready("ftr", name)
        assert len(run["status"]["attempts"]) == 1, "the operator's death is no failure of a run"
        artifacts.add(run["status"]["artifact"]["digest"])
    assert len(artifacts) == RUNS
    jobs = [job["metadata"]["labels"]["stagecoach.dev/name"] for job in office.jobs()]
    assert [jobs.count(name) for name in names] == [1] * RUNS, "one Job for one attempt"
    assert [len(_pods(office, name)) for name in names] == [1] * RUNS


def test_a_pod_that_is_deleted_is_another_attempt(office: Desk) -> None:
    run = builders.run(namespace=office.namespace, resources=SMALL, hyperparameters={"maxSteps": 100_000})
    office.apply(run)
    office.awaits("ftr", "first", "Running")
    # Before the first step there is nothing to save, and the pod is only lost.
    eventually(lambda: step(office) > 0, 300, "it trains", every=POLL_SECONDS)
    office.tools.kubectl("delete", "pod", "-n", office.namespace, "-l", "stagecoach.dev/name=first", "--wait=false")
    eventually(lambda: len(trainings(office, "first")) == 2, 300, "a second attempt", every=POLL_SECONDS)
    lost = trainings(office, "first")[0]
    assert (lost["outcome"], lost["counted"]) == ("Preempted", False)

    def goes_on() -> bool:
        progress = office.object("ftr", "first")["status"].get("progress", {})
        return bool(progress.get("step", 0) >= progress.get("checkpoint", 1) >= lost["checkpoint"])

    eventually(goes_on, 300, "the second attempt goes on from the checkpoint", every=POLL_SECONDS)

    office.tools.kubectl("delete", "ftr", "first", "-n", office.namespace)
    eventually(lambda: not _pods(office, "first"), 300, "deleting the run stops its pods", every=POLL_SECONDS)


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
