"""A control plane whose nodes only say what kubelets would: pods run for a moment, and end with the trainer's Report.

Nothing runs, and nothing outside of the loopback interface is dialled: pods get no address, the nodes have that of this
machine itself.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests import builders
from tests.cluster import credentials, ports, processes, programs
from tests.cluster.controlplane import ControlPlane
from tests.cluster.locking import locked
from tests.cluster.paths import State, remove_tree
from tests.integration.support.eventually import eventually
from tests.integration.support.operator import ROOT, OperatorProcess
from tests.kube import Kube

Object = dict[str, Any]

NAMESPACE = "bench"
ACCOUNT = "operator"
NODES = 10
RUN_MILLISECONDS = 500
# A pod with this label runs until somebody else ends it.
HOLD = "bench/hold"
RESOLVED = json.dumps({"outcome": "Done", "resolution": builders.resolution()})
TRAINED = json.dumps(builders.artifact_report())

_RUNNING = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state:
    running:
      startedAt: {{ $now | Quote }}
{{ end }}
"""
_ENDED = """
{{ $now := Now }}
{{ $root := . }}
phase: Succeeded
conditions:
- {type: Ready, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range $index, $item := .spec.containers }}
{{ $origin := index $root.status.containerStatuses $index }}
- name: {{ $item.name | Quote }}
  image: {{ $item.image | Quote }}
  imageID: {{ $item.image | Quote }}
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $origin.state.running.startedAt | Quote }}
      finishedAt: {{ $now | Quote }}
      message: %s
{{ end }}
"""


class Simulated:
    """A running control plane with simulated nodes, and the operators that were started for it."""

    def __init__(self, plane: ControlPlane, state: State) -> None:
        self.plane = plane
        self.directory = plane.directory
        self.log = self.directory / "progress.log"
        self._state = state
        self._processes = processes.Processes(plane.directory, owner=processes.this_process())
        self._operators: list[OperatorProcess] = []

    def prepare(self) -> None:
        """Install the kinds, start the nodes, and make what runs refer to."""
        kube = Kube(self.plane.kubeconfig)
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            applied = kube.apply(yaml.safe_load(path.read_text()))
            _await_condition(kube, "CustomResourceDefinition", applied["metadata"]["name"], "Established")
        self._start_nodes(kube)
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        here = kube.within(NAMESPACE)
        eventually(lambda: here.find("ServiceAccount", "default"), 30, "pods can be made")
        for claim in ("store", "models", "lake"):
            kube.request("POST", "/api/v1/persistentvolumes", _volume(claim))
            here.create(_claim(claim))
        eventually(lambda: _all_bound(here), 60, "the claims are bound")

    def start_operator(self) -> OperatorProcess:
        """Start an operator as a pod's, with a service account: the API server queues administrators' requests never."""
        kubeconfig = self.directory / "operator.kubeconfig"
        if not kubeconfig.exists():
            certificate = self.directory / "credentials" / "serving" / "apiserver.crt"
            token = _token(Kube(self.plane.kubeconfig, NAMESPACE))
            kubeconfig.touch(mode=0o600)
            kubeconfig.write_text(json.dumps(credentials.kubeconfig(self.plane.server, certificate.read_text(), token)))
        arguments = ("--namespace", NAMESPACE, "--lease-namespace", NAMESPACE, "--log-level", "INFO")
        log = self.directory / "logs" / f"operator-{len(self._operators)}.log"
        operator = OperatorProcess(kubeconfig, log, arguments)
        self._operators.append(operator)
        return operator

    def end(self) -> None:
        """End the operators; the control plane ends the rest."""
        for each in self._operators:
            each.end()

    def pids(self) -> dict[str, int]:
        """Return the processes of the control plane and of its nodes, by their names."""
        found = {each.component: each.pid for each in self._processes.all()}
        return {"kwok" if name.startswith("kwok") else name: pid for name, pid in found.items()}

    def _start_nodes(self, kube: Kube) -> None:
        program = programs.single(self._state, "kwok")
        config = self.directory / "kwok.yaml"
        config.write_text("\n---\n".join(map(json.dumps, [_options(), *_stages(), _logs(self.log)])))
        self.log.touch()
        [port] = ports.free(1)
        self._processes.start(
            [
                program,
                f"--kubeconfig={self.plane.kubeconfig}",
                f"--config={config}",
                "--manage-all-nodes=true",
                "--node-lease-duration-seconds=40",
                "--node-ip=127.0.0.1",
                f"--node-port={port}",
                f"--server-address=127.0.0.1:{port}",
                f"--tls-cert-file={self.directory / 'credentials' / 'kubelet-client.crt'}",
                f"--tls-private-key-file={self.directory / 'credentials' / 'kubelet-client.key'}",
            ]
        )
        for number in range(NODES):
            metadata = {"name": f"node-{number}", "labels": {"kubernetes.io/hostname": f"node-{number}"}}
            kube.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        eventually(lambda: len(_ready_nodes(kube)) == NODES, 60, "the simulated nodes are ready")


@contextlib.contextmanager
def simulated() -> Iterator[Simulated]:
    """Start all of it; at the end nothing of it is left, neither a process nor a file."""
    state = State.from_environment()
    directory = state.run("scale")
    with locked(state, "-scale"):
        remove_tree(directory)  # of one that was killed
        with contextlib.ExitStack() as stack:
            stack.callback(remove_tree, directory)
            running = Simulated(stack.enter_context(ControlPlane(directory, state=state, scheduler=True)), state)
            stack.callback(running.end)
            running.prepare()
            yield running


def _options() -> Object:
    # The default takes up four pods at once, and is slower than the scheduler.
    options = {"podPlayStageParallelism": 32}
    return {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration", "options": options}


def _stages() -> list[Object]:
    here = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    waits = {"key": ".status.phase", "operator": "In", "values": ["Pending"]}
    runs = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
    goes_on = {"key": f'.metadata.labels["{HOLD}"]', "operator": "DoesNotExist"}
    kind = {"key": '.metadata.labels["stagecoach.dev/kind"]', "values": ["TransformerProject"]}
    delay = {"durationMilliseconds": RUN_MILLISECONDS}
    return [
        _stage("run", [here, waits], _RUNNING),
        _stage("resolve", [here, runs, kind | {"operator": "In"}], _ended(RESOLVED)),
        _stage("train", [here, runs, goes_on, kind | {"operator": "NotIn"}], _ended(TRAINED), delay=delay),
    ]


def _stage(name: str, expressions: list[Object], template: str, **more: Object) -> Object:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": expressions},
            "next": {"patches": [{"subresource": "status", "root": "status", "template": template}]},
            **more,
        },
    }


def _ended(report: str) -> str:
    return _ENDED % json.dumps(report)


def _logs(file: Path) -> Object:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "progress"},
        "spec": {"logs": [{"containers": ["trainer"], "logsFile": str(file)}]},
    }


def _volume(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "hostPath": {"path": f"/nowhere/{name}"},
            "claimRef": {"namespace": NAMESPACE, "name": name},
            "storageClassName": "",
        },
    }


def _claim(name: str) -> Object:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteMany"], "resources": resources, "volumeName": name, "storageClassName": ""}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def _all_bound(kube: Kube) -> bool:
    return all(each["status"].get("phase") == "Bound" for each in kube.select("PersistentVolumeClaim"))


def _ready_nodes(kube: Kube) -> list[Object]:
    nodes = kube.request("GET", "/api/v1/nodes")["items"]
    return [each for each in nodes if _holds(each, "Ready")]


def _await_condition(kube: Kube, kind: str, name: str, condition: str) -> None:
    eventually(lambda: _holds(kube.get(kind, name), condition), 15, f"{kind} {name} is {condition}")


def _holds(obj: Object, condition: str) -> bool:
    conditions = obj.get("status", {}).get("conditions") or ()
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


def _token(kube: Kube) -> str:
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}})
    kube.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
        }
    )
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}}
    answer = kube.request("POST", kube.path("ServiceAccount", ACCOUNT, "token"), asked)
    return str(answer["status"]["token"])


def progress_line(step: int, steps: int = 10_000) -> str:
    """Return what a trainer prints, and a poller reads."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    progress = {"step": step, "steps": steps, "percent": 100 * step // steps, "loss": 1.0 / (1 + step), "at": now}
    return json.dumps({"progress": progress}) + "\n"
