"""What the operator writes for a run that goes well, by the API server's audit log."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests import builders
from tests.cluster import ControlPlane
from tests.integration.kinds.test_runs import desk
from tests.integration.support.desk import ADOPTED, DONE, TRAINED, Desk
from tests.integration.support.eventually import eventually

__all__ = ["desk"]

NOTHING_FOUND = json.dumps({"outcome": "Done"})
HAS_RECORDS = json.dumps({"outcome": "Done", "resolution": builders.resolution(records=True)})
RUN, PROJECT = "patch finetuneruns/status", "patch transformerprojects/status"
JOB, EVENT = "create jobs", "create events"
MARKER = "marker"


def writes(desk: Desk, control_plane: ControlPlane, number: int) -> Counter[str]:
    """Count what the operator has asked to change in the test's namespace, by verb and resource; but for the markers.

    The log tells of a request a moment after its answer, and more may be about to come. So a run without a project is
    created, of which the operator hears after all that was before; when the last that it tells of that is in the log,
    the rest is.
    """
    marker = f"{MARKER}-{number}"
    desk.kube.create(builders.run(marker, desk.kube.namespace, project="nobodys"))
    eventually(
        lambda: any(what == "create events" and name.startswith(marker) for what, name in asked(desk, control_plane)),
        60,
        f"the event of {marker} is in the audit log",
    )
    return Counter(what for what, name in asked(desk, control_plane) if not name.startswith(MARKER))


def asked(desk: Desk, control_plane: ControlPlane) -> Iterator[tuple[str, str]]:
    """Yield verb and resource, and the object's name, of each request to change something, also of those refused."""
    for event in control_plane.audit_events():
        about = event.get("objectRef", {})
        if about.get("namespace") == desk.kube.namespace and event["userAgent"].startswith("stagecoach-operator"):
            resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            yield f"{event['verb']} {resource}", about.get("name", "")


@pytest.mark.parametrize(
    ("resolved", "reports", "expected"),
    [
        # The first record of a storage: the project is told that there is something to look for from now on.
        (DONE, [TRAINED], {RUN: 3, JOB: 1, EVENT: 2, PROJECT: 1}),
        (HAS_RECORDS, [NOTHING_FOUND, TRAINED], {RUN: 4, JOB: 2, EVENT: 2}),
        (HAS_RECORDS, [ADOPTED], {RUN: 2, JOB: 1, EVENT: 2}),
    ],
    ids=["first", "looked-up", "adopted"],
)
def test_what_is_written_for_a_run_that_goes_well(
    desk: Desk, control_plane: ControlPlane, resolved: str, reports: list[str], expected: dict[str, int]
) -> None:
    """The table of docs/benchmarks.md."""
    desk.make_ready_project(resolved)
    before = writes(desk, control_plane, 1)
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    for number, report in enumerate(reports, 1):
        pod = desk.kubelet.pod_of(desk.job_of("FineTuneRun", "first", number))
        desk.kubelet.bind(pod)
        desk.kubelet.running(pod)
        if report == TRAINED:
            desk.awaits("FineTuneRun", "first", "Running")
        desk.kubelet.succeeded(pod, report)
    run = desk.awaits("FineTuneRun", "first", "Succeeded")
    assert run["status"]["artifact"]["digest"] == builders.digest("7")
    assert "finalizers" not in run["metadata"]
    assert writes(desk, control_plane, 2) - before == Counter(expected)
