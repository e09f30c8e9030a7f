"""A control plane whose nodes are simulated, and the operators on it."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import yaml

from tests import simulation
from tests.bench import profiled
from tests.cluster import credentials, ports, processes
from tests.cluster.controlplane import ControlPlane
from tests.cluster.locking import locked
from tests.cluster.paths import State, remove_tree
from tests.integration.support.eventually import eventually
from tests.integration.support.operator import OPERATOR_MODULE, ROOT, OperatorProcess
from tests.kube import Kube

Object = dict[str, Any]

NAMESPACE = "bench"
ACCOUNT = "operator"
NODES = 10
RUN_MILLISECONDS = 500
CLAIMS = ("store", "models", "lake")
# By default Kubernetes deletes pods that have ended, from 12,500 on: while others are measured.
KEEPS_PODS = "--terminated-pod-gc-threshold=0"
# Whoever is too slow to read its watch is cut off, and reads all pods again: the more there are, the longer it takes.
# Kubelets have machines of their own; from some 9,000 pods on this does not save them (docs/benchmarks.md).
PROMPT = ("nice", "-n", "-10")


class Simulated:
    """A running control plane with simulated nodes, and the operators that were started for it."""

    def __init__(self, plane: ControlPlane, state: State) -> None:
        self.plane = plane
        self.directory = plane.directory
        self.log = self.directory / "progress.log"
        self.profile = self.directory / "operator.profile"
        self._state = state
        self._processes = processes.Processes(plane.directory, owner=processes.this_process())
        self._operators: list[OperatorProcess] = []

    def prepare(self) -> None:
        """Install the kinds, start the nodes, and make what runs refer to."""
        kube = Kube(self.plane.kubeconfig)
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            applied = kube.apply(yaml.safe_load(path.read_text()))
            _await_condition(kube, "CustomResourceDefinition", applied["metadata"]["name"], "Established")
        self.log.touch()
        nodes = simulation.Nodes(self.directory, self.plane.kubeconfig, simulation.stages(RUN_MILLISECONDS), self.log)
        nodes.start(kube, self._state, self._processes, ports.free(1)[0], PROMPT, NODES)
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        here = kube.within(NAMESPACE)
        eventually(lambda: here.find("ServiceAccount", "default"), 30, "pods can be made")
        simulation.bind_claims(here, CLAIMS)

    def start_operator(self, module: str = OPERATOR_MODULE) -> OperatorProcess:
        """Start an operator as a pod's, with a service account: the API server queues administrators' requests never."""
        kubeconfig = self.directory / "operator.kubeconfig"
        if not kubeconfig.exists():
            certificate = self.directory / "credentials" / "serving" / "apiserver.crt"
            token = _token(Kube(self.plane.kubeconfig, NAMESPACE))
            kubeconfig.touch(mode=0o600)
            kubeconfig.write_text(json.dumps(credentials.kubeconfig(self.plane.server, certificate.read_text(), token)))
        arguments = ("--namespace", NAMESPACE, "--lease-namespace", NAMESPACE, "--log-level", "INFO")
        log = self.directory / "logs" / f"operator-{len(self._operators)}.log"
        operator = OperatorProcess(kubeconfig, log, arguments, module, {profiled.FILE: str(self.profile)})
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


@contextlib.contextmanager
def simulated() -> Iterator[Simulated]:
    """Start all of it; at the end nothing of it is left, neither a process nor a file."""
    state = State.from_environment()
    directory = state.run("scale")
    with locked(state, "-scale"):
        remove_tree(directory)  # of one that was killed
        with contextlib.ExitStack() as stack:
            stack.callback(remove_tree, directory)
            plane = ControlPlane(directory, state=state, scheduler=True, controller_manager_arguments=(KEEPS_PODS,))
            running = Simulated(stack.enter_context(plane), state)
            stack.callback(running.end)
            running.prepare()
            yield running


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
    """Return what a trainer prints, and a poller reads, as a container runtime writes it to its log."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    progress = {"step": step, "steps": steps, "percent": 100 * step // steps, "loss": 1.0 / (1 + step), "at": now}
    return f"{now} stdout F {json.dumps({'progress': progress})}\n"
