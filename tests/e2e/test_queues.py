"""Real trainings that a queue, here the test, and a person hold up: what comes of them is the same as ever."""

import pytest

from stagecoach.contract.reports import ProgressLine
from tests import builders
from tests.e2e.conftest import DATA, POLL_SECONDS, SMALL, SOON, Desk, tiny_project
from tests.integration.support.eventually import eventually

pytestmark = pytest.mark.long

# Those that are left must take longer than a pod takes to hear that it is taken away, twice.
STEPS, EVERY = 1500, 100


def release(desk: Desk, job: str, *, released: bool = True) -> None:
    """Admit a Job, or take it back, as Kueue does."""
    desk.kube.patch("Job", job, {"spec": {"suspend": not released}})


def waiting(desk: Desk, kind: str, name: str) -> str:
    """Return the Job of an object that waits for the queue, once it has no pod."""
    desk.awaits_reason(kind, name, "WaitingForQueue")
    status = desk.object(kind, name)["status"]
    job = str(status["attempts"][-1]["job"] if kind == "ftr" else status["resolution"]["job"])
    assert desk.kube.get("Job", job)["spec"]["suspend"] is True
    eventually(lambda: not pods(desk, job), SOON, f"{job} has no pod", every=POLL_SECONDS)
    return job


def pods(desk: Desk, job: str) -> list[builders.Object]:
    return desk.kube.select("Pod", f"batch.kubernetes.io/job-name={job}")


def log(desk: Desk, job: str) -> str:
    return "".join(desk.kube.log(pod["metadata"]["name"]) for pod in pods(desk, job))


def saved(desk: Desk, job: str) -> bool:
    """Whether a training tells of a checkpoint. The status tells it later."""
    told = filter(None, map(ProgressLine.parse, log(desk, job).splitlines()))
    return any((progress.checkpoint or 0) >= EVERY for progress in told)


def goes_on(desk: Desk, job: str) -> bool:
    return "going on from the checkpoint of step" in log(desk, job)


def suspend(desk: Desk, *, suspended: bool) -> None:
    desk.kube.patch("FineTuneRun", "held", {"spec": {"suspend": suspended}})


def test_a_training_that_is_held_up_comes_to_what_an_undisturbed_one_does(desk: Desk) -> None:
    desk.bases()
    desk.claim("store")
    desk.data(DATA)
    desk.apply(tiny_project(desk.namespace, pods={"queue": "night"}))
    release(desk, waiting(desk, "txp", "desk"))
    desk.awaits("txp", "desk", "Ready")
    settings = {
        "force": True,  # so that none waits for the other
        "resources": SMALL,
        "data": {"train": [{"name": "train"}]},
        "hyperparameters": {"maxSteps": STEPS, "learningRate": 1.0e-3},
        "checkpoints": {"everySteps": EVERY},
    }
    desk.apply(*(builders.run(name, desk.namespace, **settings) for name in ("held", "undisturbed")))

    job = waiting(desk, "ftr", "held")
    release(desk, job)
    desk.awaits("ftr", "held", "Running")
    eventually(lambda: saved(desk, job), SOON, "it has saved itself", every=POLL_SECONDS)
    release(desk, job, released=False)
    assert waiting(desk, "ftr", "held") == job
    status = desk.object("ftr", "held")["status"]
    assert ["end" in attempt for attempt in status["attempts"]] == [False], "the attempt stays"
    totals = status["totals"]
    assert (totals["failures"], totals["interruptions"], totals["idleInterruptions"]) == (0, 1, 0)
    assert totals["checkpoint"] >= EVERY

    release(desk, waiting(desk, "ftr", "undisturbed"))
    undisturbed = desk.awaits("ftr", "undisturbed", "Succeeded", "Failed")["status"]
    assert desk.ready("ftr", "undisturbed")["reason"] == "Trained"

    release(desk, job)
    eventually(lambda: goes_on(desk, job), SOON, "the other's end has left its checkpoint", every=POLL_SECONDS)
    suspend(desk, suspended=True)
    desk.awaits("ftr", "held", "Suspended")
    eventually(lambda: desk.kube.find("Job", job) is None, SOON, "its Job goes", every=POLL_SECONDS)
    suspend(desk, suspended=False)
    another = waiting(desk, "ftr", "held")
    assert another != job
    release(desk, another)
    held = desk.awaits("ftr", "held", "Succeeded", "Failed")["status"]
    assert desk.ready("ftr", "held")["reason"] == "Trained"
    assert goes_on(desk, another)
    assert [attempt["outcome"] for attempt in held["attempts"]] == ["Suspended", "Succeeded"]
    assert (held["totals"]["failures"], held["totals"]["interruptions"]) == (0, 1)
    assert held["inputs"]["digest"] == undisturbed["inputs"]["digest"]
    assert held["artifact"]["digest"] == undisturbed["artifact"]["digest"]
