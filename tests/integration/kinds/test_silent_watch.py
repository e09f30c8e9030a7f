"""A leader decides on lists that are younger than its lead: what it was not told before does not mislead it."""

from pathlib import Path

from tests import builders
from tests.integration.conftest import StartOperator
from tests.integration.runtime.test_leadership import DURATION
from tests.integration.support.desk import TRAINED, Desk
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.integration.support.proxy import HoldingProxy
from tests.kube import Kube

# A stream that is open and brings nothing, as when what stands between has forgotten the connection.
WATCHES = r"GET \S+/(jobs|pods)\?\S*watch=1"


def reconciled(operator: OperatorProcess) -> float:
    return operator.metric("stagecoach_reconcile_seconds_count", kind="FineTuneRun")


def test_a_new_leader_that_was_told_nothing_of_a_job_does_not_take_it_for_deleted(
    start_operator: StartOperator, kube: Kube, kubelet: FakeKubelet, tmp_path: Path
) -> None:
    desk = Desk(kube, kubelet)
    leader = start_operator(*DURATION).wait_ready().wait_leading()
    desk.make_ready_project()
    with HoldingProxy(kube.kubeconfig) as proxy:
        proxy.hold(WATCHES)
        other = start_operator(*DURATION, kubeconfig=proxy.kubeconfig(tmp_path / "proxy.kubeconfig")).wait_ready()
        kube.create(builders.run(namespace=kube.namespace))
        pod = kubelet.pod_of(desk.job_of("FineTuneRun", "first"))
        kubelet.bind(pod)
        kubelet.running(pod)
        attempts = desk.awaits("FineTuneRun", "first", "Running")["status"]["attempts"]
        leader.freeze()
        other.wait_leading(30)
        eventually(lambda: other.metric("stagecoach_synced") == 1 and reconciled(other) >= 1, 60, "it has decided")
        assert kube.get("FineTuneRun", "first")["status"]["attempts"] == attempts
        kubelet.succeeded(pod, TRAINED)
        other.stop()  # and the one that slept leads again, with streams that are long cut
        leader.thaw()
        status = desk.awaits("FineTuneRun", "first", "Succeeded", 30)["status"]
    assert [item["outcome"] for item in status["attempts"]] == ["Succeeded"]
