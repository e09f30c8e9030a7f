"""What a kind that serves asks of the runtime: children that are applied and watched, and pods that are asked."""

import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.runtime.conftest import StartToys
from tests.integration.runtime.test_faults import ready
from tests.integration.runtime.test_leadership import DURATION
from tests.integration.runtime.test_loop import wait_phase
from tests.integration.runtime.toy import toy
from tests.integration.support.eventually import eventually, stays
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube


class Loader(http.server.ThreadingHTTPServer):
    """A pod's server: it says how often each word was brought, up to three times."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.brought: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Loader

    def do_PUT(self) -> None:
        assert self.headers["Authorization"] == "Bearer token"
        word = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.brought.append(word)
        body = f"{word} {min(3, self.server.brought.count(word))}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def loader() -> Iterator[Loader]:
    with Loader() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def serving_pod(kube: Kube, kubelet: FakeKubelet, name: str, address: str = "127.0.0.1") -> str:
    """Let the pod of a Toy's Deployment run at an address."""
    [pod] = eventually(lambda: kube.select("Pod", f"toy={name}"), 60, "the Deployment's pod")
    pod_name = str(pod["metadata"]["name"])
    kubelet.bind(pod_name)
    kubelet.running(pod_name)
    kubelet.condition(pod_name, "Ready", "Fine")
    kube.patch("Pod", pod_name, {"status": {"podIP": address, "podIPs": [{"ip": address}]}}, "status")
    return pod_name


def versions(kube: Kube) -> list[str]:
    return [kube.get(kind, "one-x")["metadata"]["resourceVersion"] for kind in ("ConfigMap", "NetworkPolicy")]


def told(kube: Kube, name: str, field: str) -> object:
    return kube.get("Toy", name).get("status", {}).get(field)


@pytest.mark.usefixtures("toys")
def test_what_is_applied_is_watched_and_mended(kube: Kube) -> None:
    kube.create(toy("one", serve="a", port=1))
    wait_phase(kube, "one", "Serving")
    assert told(kube, "one", "words") == {"ConfigMap": "a", "Deployment": "a"}
    assert kube.get("Secret", "one-x-a")["data"].keys() == {"a"}
    kube.patch("Toy", "one", {"spec": {"serve": "b"}})
    eventually(lambda: told(kube, "one", "words") == {"ConfigMap": "b", "Deployment": "b"})
    assert kube.get("ConfigMap", "one-x")["data"].keys() == {"b"}, "what is not wanted any more is gone"
    eventually(lambda: kube.get("NetworkPolicy", "one-x")["spec"]["podSelector"]["matchLabels"]["word"] == "b")
    for kind in ("ConfigMap", "Deployment"):
        uid = kube.get(kind, "one-x")["metadata"]["uid"]
        kube.delete(kind, "one-x")
        eventually(lambda kind=kind, uid=uid: kube.get(kind, "one-x")["metadata"]["uid"] != uid)  # type: ignore[misc]
    first = versions(kube)
    stays(lambda: versions(kube) == first, 1.0)


@pytest.mark.usefixtures("toys")
def test_a_name_that_somebody_else_has_taken_is_said_and_their_object_left_alone(kube: Kube) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "two-x"}}
    kube.create(policy | {"spec": {"podSelector": {"matchLabels": {"whose": "theirs"}}}})
    before = kube.get("NetworkPolicy", "two-x")
    kube.create(toy("two", serve="a", port=1))
    eventually(lambda: ready(kube, "two").get("reason") == "NameTaken")
    assert f"NetworkPolicy {kube.namespace}/two-x exists" in ready(kube, "two")["message"]
    assert kube.get("NetworkPolicy", "two-x") == before
    kube.delete("NetworkPolicy", "two-x")
    eventually(lambda: ready(kube, "two").get("reason") == "Fine", 60)
    assert kube.get("NetworkPolicy", "two-x")["metadata"]["annotations"]


def test_pods_are_asked_and_what_they_say_is_seen(
    toys: OperatorProcess, kube: Kube, kubelet: FakeKubelet, loader: Loader
) -> None:
    kube.create(toy("three", serve="a", port=loader.server_port))
    pod = serving_pod(kube, kubelet, "three")
    eventually(lambda: told(kube, "three", "answers") == ["200 a 3 to a"], 60)
    eventually(lambda: told(kube, "three", "ready") == 1, 60, "the Deployment counts its ready pods")
    kube.patch("Toy", "three", {"spec": {"serve": "b"}})
    eventually(lambda: told(kube, "three", "answers") == ["200 b 3 to b"], 60)
    version = kube.get("Toy", "three")["metadata"]["resourceVersion"]
    asked = len(loader.brought)
    stays(lambda: kube.get("Toy", "three")["metadata"]["resourceVersion"] == version, 2.5)
    assert 1 <= len(loader.brought) - asked <= 13, "five times a second at most, however often a plan asks"
    assert toys.metric("stagecoach_calls_total", method="PUT", path="/models", code="200") >= 6
    kubelet.ended(pod, 1)
    eventually(lambda: silent(loader), 60, "who has ended is asked nothing")


def silent(loader: Loader) -> bool:
    before = len(loader.brought)
    time.sleep(1.5)
    return len(loader.brought) == before


def test_a_former_leader_asks_nobody(start_toys: StartToys, kube: Kube, kubelet: FakeKubelet, loader: Loader) -> None:
    """StaleWriterHarmless: towards pods, too."""
    leader = start_toys(*DURATION).wait_ready().wait_leading()
    other = start_toys(*DURATION).wait_ready()
    kube.create(toy("four", serve="a", port=loader.server_port))
    serving_pod(kube, kubelet, "four")
    eventually(lambda: "a" in loader.brought, 60)
    leader.freeze()
    other.wait_leading(20)
    kube.patch("Toy", "four", {"spec": {"serve": "b"}})
    eventually(lambda: told(kube, "four", "answers") == ["200 b 3 to b"], 60)
    brought = loader.brought.count("a")
    leader.thaw()
    eventually(lambda: leader.records("leadership lost"), 60)
    stays(lambda: loader.brought.count("a") == brought, 2.0)


def test_an_operator_makes_its_key_once(start_toys: StartToys, kube: Kube) -> None:
    first, second = start_toys(*DURATION), start_toys(*DURATION)
    for each in (first, second):
        each.wait_ready()
    secret = kube.get("Secret", "stagecoach-operator-key")
    assert len([each for each in (first, second) if each.records("made the Secret")]) == 1
    first.stop()
    start_toys(*DURATION).wait_ready()
    assert kube.get("Secret", "stagecoach-operator-key") == secret


def test_a_key_that_is_none_ends_the_operator(start_toys: StartToys, kube: Kube) -> None:
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "short"}, "data": {"key": "eA=="}})
    operator = start_toys("--key-secret", "short")
    assert eventually(lambda: operator.process.poll(), 60, "it ends") == 1
    [record] = operator.records(f"Secret {kube.namespace}/short has no data.key of at least 32 bytes")
    assert record["level"] == "CRITICAL"
