"""A single-node Kubernetes on this machine, from Go modules and Debian packages alone."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.cluster import (
    cgroups,
    credentials,
    disk,
    namespaces,
    network,
    packages,
    programs,
    references,
    startup,
    sysctls,
)
from tests.cluster import node as nodes
from tests.cluster.api import Api
from tests.cluster.buildah import Buildah
from tests.cluster.components import Addresses, Audit, Programs, Settings
from tests.cluster.errors import ClusterError
from tests.cluster.locking import locked
from tests.cluster.network import Network
from tests.cluster.node import Node
from tests.cluster.paths import State, remove_tree
from tests.cluster.processes import Processes, end_orphans
from tests.cluster.progress import Step

_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_GIBIBYTES_TO_RUN = 2


class Local:
    """The backend that needs neither docker nor a cluster, but root."""

    name = "local"

    def __init__(self, state: State) -> None:
        self._state = state
        self._directory = state.run("cluster")
        self._processes = Processes(self._directory)
        self._credentials = credentials.Credentials(self._directory / "credentials")
        self._buildah = Buildah(state)

    def up(self) -> None:
        """Build what is missing, start what does not run, wait until the node takes pods."""
        packages.need_root("a local cluster")
        self._state.check_usable_by_a_node()
        if programs.are_built(self._state) and self.is_healthy():
            return
        with locked(self._state):
            end_orphans()
            packages.ensure(packages.FOR_A_NODE)
            programs.ensure(self._state)
            disk.need(self._state.root, _GIBIBYTES_TO_RUN, "A local cluster")
            with Step("starting the cluster") as step:
                self._start(step)

    def is_healthy(self) -> bool:
        """Tell whether every component runs, the API answers and the node is ready."""
        running = {process.command for process in self._processes.all()}
        if not running.issuperset((namespaces.HOLDER, *_CONTROL_PLANE, *nodes.COMPONENTS)):
            return False
        api = Api(self.kubeconfig())
        return api.is_ready() and self._node(()).is_ready(api)

    def down(self) -> None:
        """End everything and remove what it left."""
        packages.need_root("removing a local cluster")
        with locked(self._state):
            self._processes.end_all()
            cgroups.remove(self._state.identity)
            network.disconnect(self._state.identity)
            sysctls.restore(self._directory / "sysctls.json")
            remove_tree(self._directory)

    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self._directory / "kubeconfig"

    def build(self, name: str, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
        """Build an image with buildah."""
        packages.need_root("building images")
        self._buildah.build(name, dockerfile, context, arguments)

    def load(self, name: str) -> str:
        """Push an image to the node's registry."""
        with locked(self._state):
            in_network = self._node(self.inside()).in_network
            reference = self._buildah.push(name, nodes.REGISTRY, prefix=in_network, insecure=True)
            return references.remember(self._state, name, reference)

    def image_reference(self, name: str) -> str:
        """The reference by digest of an image that was loaded."""
        return references.recall(self._state, name)

    @property
    def processes(self) -> Processes:
        """The components' processes."""
        return self._processes

    def inside(self) -> list[str]:
        """Return the command prefix that runs a program as one of the node's."""
        holder = self._processes.find(namespaces.HOLDER)
        if holder is None:
            raise ClusterError("The cluster does not run. Start it first: python -m tests.cluster up")
        return namespaces.enter(holder.pid)

    def restart_api_server(self, audit_policy: dict[str, Any] | None = None) -> Path:
        """End the API server and start it again, with an audit log if there is a policy; return where the log is."""
        self.end_api_server()
        return self.start_api_server(audit_policy)

    def end_api_server(self) -> None:
        """End the API server alone."""
        # Watches hold its end up for a minute; what else was asked for is answered, and in the audit log, before that.
        self._processes.end("kube-apiserver", within=10)

    def start_api_server(self, audit_policy: dict[str, Any] | None = None) -> Path:
        """Start the API server, with an audit log if there is a policy; return where the log is."""
        audit = Audit.of(self._directory, audit_policy) if audit_policy else None
        startup.start_apiserver(replace(self._settings(), audit=audit), self._processes, self.inside())
        return self._directory / Audit.LOG

    def volume(self, name: str) -> Path:
        """Return the folder of a PersistentVolume of the default StorageClass."""
        return self._node(()).volumes / name

    def status(self) -> dict[str, str]:
        """Facts for people."""
        running = {
            process.component: process for process in self._processes.all() if process.component == process.command
        }
        facts = {"health": "healthy" if self.is_healthy() else "not healthy" if running else "down"}
        if running:
            addresses = self._network()
            facts |= {
                "API server": f"https://{addresses.node}:6443",
                "this machine, from pods": addresses.host,
                "registry, from the node": nodes.REGISTRY,
                "registry, from this machine": f"{addresses.node}:{nodes.REGISTRY_PORT}",
                "logs": str(self._directory / "logs"),
            }
        expected = (*_CONTROL_PLANE, *nodes.COMPONENTS)
        facts |= {name: f"pid {running[name].pid}" if name in running else "does not run" for name in expected}
        return facts

    def _start(self, step: Step) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        sysctls.remember(self._directory / "sysctls.json")
        self._credentials.create()
        step.detail = "namespaces"
        pause = self._state.built / namespaces.HOLDER
        inside = namespaces.ensure(self._processes, pause, self._state.identity, self._network())
        node = self._node(inside)
        node.start_registry()
        node.start_containerd()
        step.detail = "control plane"
        startup.start_etcd(self._settings(), self._processes, inside)
        nodes.push_pause_image(node, self._buildah.command)
        api = startup.start(self._settings(), self._processes, prefix=inside)
        step.detail = "node"
        self._start_node(node)
        self._processes.wait(nodes.KUBELET, lambda: node.is_ready(api))
        self._prepare(api)

    def _start_node(self, node: Node) -> None:
        node.start_kubelet()
        node.start_proxy()
        node.start_dns()
        node.start_volumes()
        shutil.copy(self._credentials.kubeconfig("admin"), self.kubeconfig())

    def _prepare(self, api: Api) -> None:
        storage = nodes.storage_class()
        api.apply(f"/apis/storage.k8s.io/v1/storageclasses/{storage['metadata']['name']}", storage)
        # Pods cannot be made before their service account is.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._processes.wait("kube-controller-manager", lambda: api.get(account) is not None)

    def _node(self, inside: tuple[str, ...] | list[str]) -> Node:
        return Node(self._state, self._directory, self._network(), self._credentials, self._processes, inside)

    def _network(self) -> Network:
        """The addresses: chosen at the first start, then kept, as certificates and objects name them."""
        file = self._directory / "network.json"
        if not file.exists():
            chosen = network.choose(self._state.identity)
            file.write_text(json.dumps({"number": chosen.number}))
        return Network(**json.loads(file.read_text()))

    def _settings(self) -> Settings:
        addresses = self._network()
        built = self._state.built
        return Settings(
            directory=self._directory,
            credentials=self._credentials,
            addresses=Addresses(etcd=2379, etcd_peer=2380, api=6443, host=addresses.node, services=addresses.services),
            programs=Programs(*(built / component for component in _CONTROL_PLANE)),
            # One that is elected ends while the API server is away. This one does not, and would take the node for lost
            # when that is back, with all pods on it.
            controller_manager_arguments=("--node-monitor-grace-period=1h",),
        )
