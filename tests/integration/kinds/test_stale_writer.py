"""StaleWriterHarmless, of runs: what a former leader had sent for them arrives when another leader has gone on.

How the runtime answers to that is tested with toys; here is that what a run writes is such that nothing comes of it.
"""

from pathlib import Path

from tests import builders
from tests.cluster import ControlPlane
from tests.integration.conftest import StartOperator
from tests.integration.runtime.test_leadership import DURATION
from tests.integration.support.desk import TRAINED, Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.proxy import HoldingProxy
from tests.kube import Kube

IN_HAND = r"PATCH \S+/finetuneruns/told/status |POST \S+/jobs "


def run(desk: Desk, name: str, seed: int) -> None:
    """Create a run whose inputs no other run has."""
    hyperparameters = {"learningRate": 1.0e-3, "epochs": 1, "seed": seed}
    desk.kube.create(builders.run(name, namespace=desk.kube.namespace, hyperparameters=hyperparameters))


def decide_three_writes(desk: Desk, proxy: HoldingProxy) -> None:
    """Let the leader send the status of a run, and the Jobs of two others, none of which arrives."""
    run(desk, "told", 1)
    pod = desk.kubelet.pod_of(desk.job_of("FineTuneRun", "told"))
    desk.kubelet.bind(pod)
    proxy.hold(IN_HAND)
    desk.kubelet.running(pod)
    await_held(proxy, 1)
    for number, name in ((2, "made"), (3, "undone")):
        run(desk, name, number)
        await_held(proxy, number)


def await_held(proxy: HoldingProxy, number: int) -> None:
    eventually(lambda: len(proxy.held) == number, 60, f"{number} writes are on their way")


def train(desk: Desk, name: str) -> None:
    pod = desk.kubelet.pod_of(desk.job_of("FineTuneRun", name))
    desk.kubelet.succeeded(pod, TRAINED)
    desk.awaits("FineTuneRun", name, "Succeeded")


def move_on(desk: Desk) -> None:
    """Let the next leader do what the former one was about to do, and more: of one run it deletes the Job again."""
    job = desk.job_of("FineTuneRun", "undone")
    desk.kubelet.pod_of(job)
    desk.kube.patch("FineTuneRun", "undone", {"spec": {"suspend": True}})
    desk.awaits("FineTuneRun", "undone", "Suspended")
    eventually(lambda: desk.kube.find("Job", job) is None, 60, "its Job is deleted")
    train(desk, "told")
    train(desk, "made")


def answers(control_plane: ControlPlane, proxy: HoldingProxy) -> list[int | None]:
    """Return what the API server says that it answered to what was held."""
    codes = {each["auditID"]: each["responseStatus"]["code"] for each in control_plane.audit_events()}
    return [codes.get(number) for number in proxy.held]


def test_what_a_former_leader_had_in_hand_changes_no_run(
    control_plane: ControlPlane, start_operator: StartOperator, kube: Kube, kubelet: FakeKubelet, tmp_path: Path
) -> None:
    desk = Desk(kube, kubelet)
    with HoldingProxy(kube.kubeconfig) as proxy:
        stale = start_operator(*DURATION, kubeconfig=proxy.kubeconfig(tmp_path / "proxy.kubeconfig"))
        stale.wait_ready().wait_leading()
        other = start_operator(*DURATION).wait_ready()
        desk.make_ready_project()
        decide_three_writes(desk, proxy)
        stale.freeze()
        other.wait_leading(30)
        move_on(desk)

        runs = {each["metadata"]["name"]: each for each in kube.select("FineTuneRun")}
        jobs = {each["metadata"]["name"]: each["metadata"]["uid"] for each in kube.select("Job")}
        proxy.release()

        eventually(lambda: all(answers(control_plane, proxy)), 60, "they have arrived")
        # The name of the last one is free: it is made, and deleted at sight, for its attempt has ended.
        assert answers(control_plane, proxy) == [409, 409, 201]
        late = desk.job_of("FineTuneRun", "undone")
        eventually(lambda: kube.find("Job", late) is None, 60, "the late Job is deleted")
        assert {each["metadata"]["name"]: each for each in kube.select("FineTuneRun")} == runs
        assert {each["metadata"]["name"]: each["metadata"]["uid"] for each in kube.select("Job")} == jobs

        stale.thaw()
        eventually(lambda: stale.records("leadership lost"), 60)
        assert {each["metadata"]["name"]: each for each in kube.select("FineTuneRun")} == runs
