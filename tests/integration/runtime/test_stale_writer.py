"""StaleWriterHarmless: what a former leader had sent before it lost the lead is refused by the API server.

Its fence stops what it has not sent yet. Nothing on its side can take back what is on its way: only the precondition
that every write carries keeps that from doing harm.
"""

from pathlib import Path

import pytest

from tests.cluster import ControlPlane
from tests.integration.runtime.conftest import StartToys
from tests.integration.runtime.test_leadership import DURATION
from tests.integration.runtime.test_loop import wait_job, wait_phase
from tests.integration.runtime.toy import toy
from tests.integration.support.eventually import eventually
from tests.integration.support.proxy import HoldingProxy
from tests.kube import Kube

IN_HAND = r"PATCH \S+/toys/told/status |POST \S+/jobs |DELETE \S+/jobs/"


def uid(kube: Kube, job: str) -> str:
    return str((kube.find("Job", job) or {}).get("metadata", {}).get("uid", ""))


def decide_four_writes(kube: Kube, proxy: HoldingProxy) -> None:
    """Let the leader send a status, a new Job and two deletions, none of which arrives."""
    kube.create(toy("told", value=0))
    for name in ("gone", "back"):
        kube.create(toy(name, job="a"))
        wait_job(kube, f"{name}-a")
        wait_phase(kube, name, "Running")
    wait_phase(kube, "told", "Idle")
    proxy.hold(IN_HAND)
    kube.patch("Toy", "told", {"spec": {"value": 1}})
    kube.create(toy("made", job="a"))
    for name in ("gone", "back"):
        kube.patch("Toy", name, {"spec": {"job": "b"}})
    eventually(lambda: len(proxy.held) == 4, 60, "four writes are on their way")


def move_on(kube: Kube) -> None:
    """Let the next leader do what the former one was about to do, and more."""
    eventually(lambda: kube.get("Toy", "told")["status"]["value"] == 1, 60)
    for name in ("made-a", "gone-b", "back-b"):
        wait_job(kube, name)
    eventually(lambda: kube.find("Job", "gone-a") is None)
    kube.patch("Toy", "back", {"spec": {"job": "a"}})
    eventually(lambda: kube.find("Job", "back-b") is None)
    for name in ("made", "gone", "back"):
        wait_phase(kube, name, "Running")


def answers(control_plane: ControlPlane, proxy: HoldingProxy) -> dict[str, int]:
    """Return by method and path what the API server says that it answered to what was held."""
    codes = {each["auditID"]: each["responseStatus"]["code"] for each in control_plane.audit_events()}
    return {line.rpartition(" ")[0]: codes[number] for number, line in proxy.held.items() if number in codes}


@pytest.mark.long
def test_what_a_former_leader_had_in_hand_changes_nothing(
    control_plane: ControlPlane, start_toys: StartToys, kube: Kube, tmp_path: Path
) -> None:
    with HoldingProxy(kube.kubeconfig) as proxy:
        stale = start_toys(*DURATION, kubeconfig=proxy.kubeconfig(tmp_path / "proxy.kubeconfig"))
        stale.wait_ready().wait_leading()
        other = start_toys(*DURATION).wait_ready()
        decide_four_writes(kube, proxy)
        stale.freeze()
        other.wait_leading(30)
        move_on(kube)

        toys = {each["metadata"]["name"]: each for each in kube.select("Toy")}
        jobs = {name: uid(kube, name) for name in ("made-a", "gone-b", "back-a")}
        proxy.release()

        eventually(lambda: len(answers(control_plane, proxy)) == 4, 60, "they have arrived")
        assert answers(control_plane, proxy) == {
            f"PATCH {kube.path('Toy', 'told', 'status')}": 409,
            f"POST {kube.path('Job')}": 409,
            f"DELETE {kube.path('Job', 'gone-a')}": 404,
            f"DELETE {kube.path('Job', 'back-a')}": 409,
        }
        assert {each["metadata"]["name"]: each for each in kube.select("Toy")} == toys
        assert {name: uid(kube, name) for name in jobs} == jobs
        assert all(jobs.values())

        stale.thaw()
        eventually(lambda: stale.records("leadership lost"), 60)
        kube.patch("Toy", "told", {"spec": {"value": 2}})
        eventually(lambda: kube.get("Toy", "told")["status"]["value"] == 2)
        assert other.metric("stagecoach_leader") == 1
        assert {name: uid(kube, name) for name in jobs} == jobs


@pytest.mark.long
def test_what_a_former_leader_was_about_to_apply_changes_nothing(
    control_plane: ControlPlane, start_toys: StartToys, kube: Kube, tmp_path: Path
) -> None:
    """Neither what it would have changed, nor what it would have made."""

    def words(name: str) -> object:
        return kube.get("Toy", name).get("status", {}).get("words")

    with HoldingProxy(kube.kubeconfig) as proxy:
        stale = start_toys(*DURATION, kubeconfig=proxy.kubeconfig(tmp_path / "proxy.kubeconfig"))
        stale.wait_ready().wait_leading()
        other = start_toys(*DURATION).wait_ready()
        kube.create(toy("kept", serve="a", port=1))
        wait_phase(kube, "kept", "Serving")
        proxy.hold(r"PATCH \S+/configmaps/")
        kube.patch("Toy", "kept", {"spec": {"serve": "b"}})
        kube.create(toy("made", serve="b", port=1))
        eventually(lambda: len(proxy.held) == 2, 60, "two applies are on their way")
        stale.freeze()
        other.wait_leading(30)
        for name in ("kept", "made"):
            kube.patch("Toy", name, {"spec": {"serve": "c"}})
            eventually(lambda name=name: words(name) == {"ConfigMap": "c", "Deployment": "c"}, 60)  # type: ignore[misc]
        before = [kube.get("ConfigMap", name) for name in ("kept-x", "made-x")]
        proxy.release()
        eventually(lambda: len(answers(control_plane, proxy)) == 2, 60, "they have arrived")
        assert set(answers(control_plane, proxy).values()) == {409}
        assert [kube.get("ConfigMap", name) for name in ("kept-x", "made-x")] == before
