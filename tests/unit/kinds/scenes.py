"""Every state that our objects come to, each by what leads there: what others make of it is asked of all of them."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from tests import builders
from tests.unit.kinds import test_finetunerun as runs
from tests.unit.kinds import test_finetunerun_imports as imports
from tests.unit.kinds import test_transformerproject as projects
from tests.unit.kinds.test_finetunerun_twins import siblings
from tests.unit.kinds.world import World

Scene = Callable[[], World]

WRONG = {"outcome": "BadInput", "problem": {"reason": "UnknownColumn", "message": "It is wrong."}}
NOT_FINITE = {"outcome": "Failed", "problem": {"reason": "LossNotFinite", "message": "The loss is nan."}}
LATER = {"outcome": "Splendid"}
NO_NODE = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available."}]}
TOO_MANY_LABELS = {"values": ["€" * 120 + str(number) for number in range(500)]}
UNUSUAL = builders.resolution() | {"findings": [{"code": "Leakage", "message": "Rows of test are in train."}]}


def waits(reason: str, message: str = "no such host") -> builders.Object:
    """Return what a pod's status has while its container waits."""
    return {"containerStatuses": [{"name": "trainer", "state": {"waiting": {"reason": reason, "message": message}}}]}


def made(here: World, **pod_status: Any) -> World:
    """Let the Job's pods be made, and their status say this."""
    here.reconcile()
    here.reconcile()
    here.start_pods()
    for pod in here.pod_objects.values():
        pod["status"] |= pod_status
    here.reconcile()
    return here


def ended(
    report: builders.Object | None, code: int = 70, reason: str = "Error", times: int = 1, here: World | None = None
) -> World:
    """Let so many attempts of a run end alike."""
    here = here or runs.world()
    for _ in range(times):
        runs.start(here)
        here.end_pods(report, code, reason)
        here.reconcile()
        here.wait(400)
    return here


def evicted(**pod_status: Any) -> World:
    here = runs.world()
    runs.start(here)
    for pod in here.pod_objects.values():
        pod["status"] |= {"phase": "Failed"} | pod_status
    here.reconcile()
    return here


def unread(here: World, **spec: Any) -> World:
    """Let the spec be what this operator does not know, from a later version's definitions."""
    here.stored = copy.deepcopy(here.stored)
    here.stored["metadata"]["generation"] += 1
    here.stored["spec"] |= spec
    here.history.append(copy.deepcopy(here.stored))
    here.reconcile()
    return here


def rewritten(here: World, **status: Any) -> World:
    """Let a later version of the operator have written this."""
    here.stored = copy.deepcopy(here.stored)
    here.stored["status"] |= status
    here.history[-1] = copy.deepcopy(here.stored)
    here.reconcile()
    return here


def blocked(run: builders.Object, project: builders.Object | None) -> World:
    here = runs.world(run, project)
    here.project = project
    here.reconcile()
    return here


def running(run: builders.Object | None = None) -> World:
    here = runs.world(run)
    runs.start(here)
    return here


def leaving() -> World:
    here = running()
    here.tell_pods_to_go()
    here.reconcile()
    return here


def queued() -> World:
    project = builders.ready_project()
    project["spec"]["pods"] = {"queue": "gpu"}
    return made(runs.world(project=project))


def second() -> World:
    elder, younger, _ = siblings()
    elder.reconcile()
    return made(younger)


def refused() -> World:
    here = runs.world()
    here.reconcile()
    here.reconcile()
    [job] = here.job_objects.values()
    here.warnings[job["metadata"]["uid"]] = "exceeded quota: gpus"
    here.reconcile()
    return here


def without_a_pod(here: World) -> World:
    for _ in range(2):
        here.reconcile()
    here.wait(700)
    here.reconcile()
    return here


def not_starting() -> World:
    here = made(runs.world())
    for pod in here.pod_objects.values():
        here.warnings[pod["metadata"]["uid"]] = 'configmap "desk" not found'
    here.reconcile()
    return here


def image_away() -> World:
    here = made(runs.world(), **waits("ImagePullBackOff"))
    here.wait(700)
    here.reconcile()
    return here


def not_shared() -> World:
    here = runs.world(builders.run(resources={"nodes": 2}))
    here.modes = ("ReadWriteOnce",)
    for _ in range(4):
        here.reconcile()
    return here


def suspended(here: World) -> World:
    here.set_spec(suspend=True)
    here.reconcile()
    return here


def adopted() -> World:
    here = runs.world(project=builders.ready_project(records=True))
    return ended(builders.artifact_report(adopted=True), 0, "Completed", here=here)


def changed() -> World:
    here = ended(runs.SERVICE_FAILED)
    here.reconcile()
    here.project = copy.deepcopy(builders.ready_project())
    here.project["spec"]["tokenization"]["maxLength"] = 64
    here.reconcile()
    return here


def touched(here: World) -> World:
    """Let somebody edit, after the end, what may be edited."""
    here.set_spec(suspend=True)
    here.reconcile()
    return here


def resolving(**pod_status: Any) -> World:
    return made(projects.world(), **pod_status)


def resolved(report: builders.Object | None = None, code: int = 0, **spec: Any) -> World:
    here = projects.world(**spec)
    projects.resolve(here, report, code)
    return here


def accepted() -> World:
    here = resolved({"outcome": "Done", "resolution": UNUSUAL})
    accepted = [{"finding": "Leakage", "reason": "Greetings.", "by": "jo@example.com"}]
    here.set_spec(accepted=accepted)
    here.reconcile()
    return here


def out_of_memory() -> World:
    here = resolving()
    here.end_pods(None, 137, "OOMKilled")
    here.reconcile()
    return here


def too_large() -> World:
    here = projects.world(problem=builders.project_spec()["problem"] | {"labels": TOO_MANY_LABELS})
    here.reconcile()
    here.reconcile()
    return here


# By the reason that `Ready` gives in the end, and what else tells the scene apart.
RUNS: Mapping[str, Scene] = {
    **{f"{row[0]} {number}": lambda row=row: blocked(row[1], row[2]) for number, row in enumerate(runs.BLOCKED)},  # type: ignore[misc]
    "Starting": lambda: made(runs.world()),
    "Starting with a lookup": lambda: made(runs.world(project=builders.ready_project(records=True))),
    "SameInputs": second,
    "StorageNotShared": not_shared,
    "WaitingForQueue": queued,
    "Unschedulable": lambda: made(runs.world(), **NO_NODE),
    "ImagePullFailed": lambda: made(runs.world(), **waits("ImagePullBackOff")),
    "PodRefused": refused,
    "PodMissing": lambda: without_a_pod(runs.world()),
    "PodNotStarting": not_starting,
    "Running": running,
    "Running an import": lambda: running(imports.importing(**imports.TRAINED_ON)),
    "Stopping": leaving,
    "Retrying a service": lambda: ended(runs.SERVICE_FAILED),
    "Retrying a service that is away": lambda: ended(runs.SERVICE_AWAY),
    "Retrying a program": lambda: ended(None, 1),
    "Retrying a preemption": lambda: ended({"outcome": "Preempted", "checkpoint": 7}, 75),
    "Retrying a lost pod": lambda: ended(runs.LOST),
    "Retrying an image": image_away,
    "Retrying a full disk": lambda: evicted(reason="Evicted", message="ephemeral local storage exceeds 1Gi"),
    "ReportUnknown": lambda: ended(LATER, 0, "Completed"),
    "Suspended from the start": lambda: suspended(runs.world()),
    "Suspended while it ran": lambda: suspended(running()),
    "Trained": lambda: ended(builders.artifact_report(), 0, "Completed"),
    "Trained and touched": lambda: touched(ended(builders.artifact_report(), 0, "Completed")),
    "Adopted": adopted,
    "Imported": lambda: ended(
        imports.report(), 0, "Completed", here=runs.world(imports.importing(**imports.TRAINED_ON))
    ),
    "UnknownColumn": lambda: ended(WRONG, 64),
    "UnknownColumn and touched": lambda: touched(ended(WRONG, 64)),
    "OutOfMemory": lambda: ended(None, 137, "OOMKilled"),
    "BadImage": lambda: made(runs.world(), **waits("InvalidImageName")),
    "DeadlineExceeded": lambda: evicted(reason="DeadlineExceeded"),
    "LossNotFinite": lambda: ended(NOT_FINITE),
    "ArtifactMissing": lambda: ended({"outcome": "Done"}, 0, "Completed"),
    "ProjectChanged": changed,
    "NoProgress": lambda: ended(runs.LOST, times=3),
    "StorageAway for the last time": lambda: ended(runs.SERVICE_FAILED, times=3),
    "ProgramFailed for the last time": lambda: ended(None, 1, times=3),
    "InvalidSpec": lambda: unread(runs.world(), method={"type": "Distillation"}),
    "InvalidSpec while it ran": lambda: unread(running(), method={"type": "Distillation"}),
    "StatusUnknown": lambda: rewritten(running(), inputs="in another form"),
}
PROJECTS: Mapping[str, Scene] = {
    "Resolving": resolving,
    "Unschedulable": lambda: resolving(**NO_NODE),
    "ImagePullFailed": lambda: resolving(**waits("ImagePullBackOff")),
    "StorageAway": lambda: resolved(runs.SERVICE_FAILED, 69),
    "Resolved": resolved,
    "Resolved with what was found and accepted": accepted,
    "Leakage": lambda: resolved({"outcome": "Done", "resolution": UNUSUAL}),
    "UnknownColumn": lambda: resolved(WRONG, 64),
    "OutOfMemory": out_of_memory,
    "ReportUnknown": lambda: resolved(LATER),
    "BadImage": lambda: resolving(**waits("InvalidImageName")),
    "SpecTooLarge": too_large,
    "InvalidSpec": lambda: unread(resolved(), later=True),
    "StatusUnknown": lambda: rewritten(resolved(), datasets="in another form"),
}
