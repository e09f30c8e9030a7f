"""Loaders and gateways on loopback addresses: what answers the operator where there are no nodes.

They are those of the unit tests, behind a socket. Each pod has an address of its own, since the ports are the same.
"""

import base64
import http.server
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from stagecoach.build.labels import COMPONENT, ENGINE, ENGINE_NAME
from stagecoach.contract import loading
from stagecoach.contract.loading import Serve, State
from stagecoach.contract.times import timestamp
from stagecoach.kinds.view import Answer
from tests.builders import Object
from tests.integration.support.kubelet import FakeKubelet
from tests.kube import Kube, KubeError
from tests.unit.kinds.deployments import GatewayPod, Loader, tokenizers

ADMIN_PORT = 9090
# Pods of a node that is missing are collected within two minutes, in the middle of a test on a busy machine: these have
# one. Nobody says that it is well, so a controller manager has to believe it for long.
NODE = "of-players"
BELIEVES_NODES = "--node-monitor-grace-period=24h"
# What is deleted is there for so long.
LEAVING_SECONDS = 30.0


class Players:
    """Lets the pods of a deployment run, and answers for them."""

    def __init__(self, kube: Kube, kubelet: FakeKubelet) -> None:
        self._kube, self._kubelet = kube, kubelet
        # So that tests beside this one have others.
        self._net, self._block = random.randrange(2, 250), random.randrange(2, 250)  # noqa: S311
        self._numbers = itertools.count(1)
        self._servers: dict[str, _Server] = {}
        self._over = threading.Event()
        self.outcome = State.ANSWERS  # of what is loaded next
        self.loaders: dict[str, Loader] = {}  # by the pod's uid
        self.doors: dict[str, GatewayPod] = {}
        self.pods: dict[str, Object] = {}
        self._ready: set[str] = set()
        self._leaving: dict[str, float] = {}  # since when, by uid

    @contextmanager
    def playing(self) -> Iterator["Players"]:
        """Play until the test is over."""
        self._have_node()
        thread = threading.Thread(target=self._play)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
            for server in self._servers.values():
                server.end()
            for pod in self._kube.select("Pod", COMPONENT):
                self._remove(pod)

    def of_engine(self, name: str) -> list[Loader]:
        """Return the loaders of an engine's pods that are there."""
        names = {uid: pod["metadata"]["labels"].get(ENGINE_NAME) for uid, pod in self.pods.items()}
        return [loader for uid, loader in self.loaders.items() if names.get(uid) == name]

    def _play(self) -> None:
        while not self._over.wait(0.2):
            try:
                self._look()
            except KubeError:
                continue  # a pod went meanwhile

    def _look(self) -> None:
        found = {pod["metadata"]["uid"]: pod for pod in self._kube.select("Pod", COMPONENT)}
        self.pods = {uid: pod for uid, pod in found.items() if "deletionTimestamp" not in pod["metadata"]}
        for uid in found.keys() - self.pods.keys():
            if time.monotonic() - self._leaving.setdefault(uid, time.monotonic()) > LEAVING_SECONDS:
                self._remove(found[uid])
        for uid, pod in self.pods.items():
            if uid not in self._servers:
                self._start(uid, pod)
            loader, door = self.loaders.get(uid), self.doors.get(uid)
            if loader is not None and loader.asked:
                loader.turn(self.outcome)
            ready = loader.ready if loader else bool(door and door.confirmed)
            if ready and uid not in self._ready:
                self._ready.add(uid)
                self._kubelet.condition(pod["metadata"]["name"], "Ready", "Answers")

    def _start(self, uid: str, pod: Object) -> None:
        address = f"127.{self._net}.{self._block}.{next(self._numbers)}"
        name = pod["metadata"]["name"]
        if pod["metadata"]["labels"][COMPONENT] == ENGINE:
            [told] = [
                each["value"]
                for each in pod["spec"]["initContainers"][0]["env"]
                if each["name"] == loading.ENVIRONMENT_VARIABLE
            ]
            self.loaders[uid] = loader = Loader(Serve.model_validate_json(told.replace("$$", "$")))
            self._servers[uid] = _Server(address, loading.PORT, self._token(pod, "loader-token"), loader.answer)
        else:
            owner = pod["metadata"]["labels"]["stagecoach.dev/uid"]
            key = self._token(pod, "routes-key").encode()
            self.doors[uid] = door = GatewayPod(key, _now(), tokenizers(pod["spec"]), deployment=owner)
            self._servers[uid] = _Server(address, ADMIN_PORT, self._token(pod, "admin-token"), door.answer)
        self._kubelet.bind(name, NODE)
        self._kubelet.running(name)
        self._kube.patch("Pod", name, {"status": {"podIP": address, "podIPs": [{"ip": address}]}}, "status")

    def _have_node(self) -> None:
        with suppress(KubeError):  # another test has made it
            self._kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        now = timestamp(_now())
        ready = {"type": "Ready", "status": "True", "reason": "Played", "message": ""}
        ready |= {"lastHeartbeatTime": now, "lastTransitionTime": now}
        self._kube.patch("Node", NODE, {"status": {"conditions": [ready]}}, "status")

    def _remove(self, pod: Object) -> None:
        """Be done with a pod, as the kubelet would."""
        with suppress(KubeError):  # it is gone
            self._kube.request("DELETE", self._kube.path("Pod", pod["metadata"]["name"]), {"gracePeriodSeconds": 0})

    def _token(self, pod: Object, name: str) -> str:
        """Return a key as the pod would read it."""
        [volume] = [each for each in pod["spec"]["volumes"] if each["name"] == "keys"]
        secret = self._kube.get("Secret", volume["secret"]["secretName"])
        return base64.b64decode(secret["data"][name]).decode()


class _Server:
    """One pod's."""

    def __init__(
        self, address: str, port: int, token: str, answer: Callable[[str, str, bytes, datetime], Answer]
    ) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._say(self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self) -> None:
                self._say(b"")

            def _say(self, body: bytes) -> None:
                known = self.headers["Authorization"] == f"Bearer {token}"
                found = answer(self.command, self.path, body, _now()) if known else Answer(401, b"no", _now(), body)
                self.send_response(found.status)
                self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((address, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _now() -> datetime:
    return datetime.now(UTC)
