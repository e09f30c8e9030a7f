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


def test_no_run_is_lost_or_doubled_while_the_operator_is_killed(desk: Desk) -> None:
    desk.tiny_project()
    names = [f"run-{number}" for number in range(RUNS)]
    # Other seeds are other inputs: ten trainings and ten artifacts.
    seeds = ({"hyperparameters": {"epochs": 1, "seed": number}} for number in range(RUNS))
    desk.apply(
        *(builders.run(name, desk.namespace, resources=SMALL, **seed) for name, seed in zip(names, seeds, strict=True))
    )
    chance = random.Random(20260102)  # noqa: S311 - it draws moments, not secrets
    for _ in range(KILLS):
        time.sleep(chance.uniform(1, 12))  # the moment of the kill is what is drawn
        kill_operator(desk.tools)
    artifacts = set()
    for name in names:
        run = desk.awaits("ftr", name, "Succeeded", "Failed", seconds=600)
        assert run["status"]["phase"] == "Succeeded", desk.ready("ftr", name)
        assert len(run["status"]["attempts"]) == 1, "the operator's death is no failure of a run"
        artifacts.add(run["status"]["artifact"]["digest"])
    assert len(artifacts) == RUNS
    jobs = [job for job in desk.jobs() if job["metadata"]["labels"]["stagecoach.dev/kind"] == "FineTuneRun"]
    assert len(jobs) == RUNS, "one Job for one attempt"
    pods = desk.tools.get("pods", "-n", desk.namespace, "-l", "stagecoach.dev/kind=FineTuneRun")["items"]
    assert len(pods) == RUNS


def test_a_pod_that_is_deleted_is_another_attempt(desk: Desk) -> None:
    desk.tiny_project()
    run = builders.run(namespace=desk.namespace, resources=SMALL, hyperparameters={"maxSteps": 100_000})
    desk.apply(run)
    desk.awaits("ftr", "first", "Running")
    # Before the first step there is nothing to save, and the pod is only lost.
    eventually(lambda: step(desk) > 0, 180, "it trains", every=POLL_SECONDS)
    desk.tools.kubectl("delete", "pod", "-n", desk.namespace, "-l", "stagecoach.dev/name=first", "--wait=false")
    eventually(
        lambda: len(desk.object("ftr", "first")["status"]["attempts"]) == 2, 120, "a second attempt", every=POLL_SECONDS
    )
    attempts = desk.object("ftr", "first")["status"]["attempts"]
    assert (attempts[0]["outcome"], attempts[0]["counted"]) == ("Preempted", False)

    def goes_on() -> bool:
        progress = desk.object("ftr", "first")["status"].get("progress", {})
        return bool(progress.get("step", 0) >= progress.get("checkpoint", 1) >= attempts[0]["checkpoint"])

    eventually(goes_on, 120, "the second attempt goes on from the checkpoint", every=POLL_SECONDS)

    desk.tools.kubectl("delete", "ftr", "first", "-n", desk.namespace)
    eventually(lambda: not _pods(desk, "first"), 120, "deleting the run stops its pods", every=POLL_SECONDS)


def step(desk: Desk) -> int:
    """Return how far the run is, as its status tells."""
    return int(desk.object("ftr", "first")["status"].get("progress", {}).get("step", 0))


def _pods(desk: Desk, name: str) -> list[builders.Object]:
    return list(desk.tools.get("pods", "-n", desk.namespace, "-l", f"stagecoach.dev/name={name}")["items"])


def test_the_time_of_a_run_is_bounded(desk: Desk) -> None:
    desk.tiny_project()
    steps = {"maxSteps": 100_000}
    desk.apply(builders.run(namespace=desk.namespace, resources=SMALL, hyperparameters=steps, maxDuration="25s"))
    assert "maxDuration" in desk.awaits_reason("ftr", "first", "DeadlineExceeded")
    assert [item["outcome"] for item in desk.object("ftr", "first")["status"]["attempts"]] == ["DeadlineExceeded"]
