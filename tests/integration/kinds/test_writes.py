"""What the operator writes for a run that goes well, by the API server's audit log."""

from collections import Counter
from collections.abc import Iterator

from tests import builders
from tests.cluster import ControlPlane
from tests.integration.kinds.test_runs import TRAINED, Desk, desk
from tests.integration.support.eventually import eventually

__all__ = ["desk"]

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
        15,
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


def test_a_run_goes_well_in_three_status_writes(desk: Desk, control_plane: ControlPlane) -> None:
    desk.make_ready_project()
    desk.kube.create(builders.run(namespace=desk.kube.namespace))
    pod = desk.kubelet.pod_of(desk.job_of("FineTuneRun", "first"))
    desk.kubelet.bind(pod)
    desk.kubelet.running(pod)
    desk.awaits("FineTuneRun", "first", "Running")
    desk.kubelet.succeeded(pod, TRAINED)
    run = desk.awaits("FineTuneRun", "first", "Succeeded")
    assert run["status"]["artifact"]["digest"] == builders.digest("7")
    assert "finalizers" not in run["metadata"]
    assert writes(desk, control_plane, 1)["patch finetuneruns/status"] == 3
