"""The one node: container runtime, kubelet, service proxy, DNS, volumes and registry."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import cgroups, packages
from tests.cluster.api import Api
from tests.cluster.credentials import NODE, Credentials
from tests.cluster.network import Network
from tests.cluster.paths import State, remove_tree
from tests.cluster.processes import Processes
from tests.cluster.shell import run, succeeds

PROVISIONER = "stagecoach.dev/directories"
REGISTRY_PORT = 5000
REGISTRY = f"127.0.0.1:{REGISTRY_PORT}"
PAUSE_IMAGE = f"{REGISTRY}/pause:1"

CONTAINERD, KUBELET, PROXY = "containerd", "kubelet", "kube-proxy"
REGISTRY_PROGRAM, DNS, VOLUMES = "docker-registry", "coredns", "volumes"
COMPONENTS = (REGISTRY_PROGRAM, CONTAINERD, KUBELET, PROXY, DNS, VOLUMES)


@dataclass(frozen=True)
class Node:
    """A node's files and addresses, and the way into its namespaces."""

    state: State
    directory: Path
    network: Network
    credentials: Credentials
    processes: Processes
    inside: Sequence[str]

    @property
    def containerd_socket(self) -> Path:
        """Where the container runtime answers."""
        return self.directory / "containerd.sock"

    @property
    def in_network(self) -> Sequence[str]:
        """The command prefix for programs of this machine that talk to the node's loopback."""
        return self.inside[: self.inside.index("-n") + 1]

    @property
    def volumes(self) -> Path:
        """A directory for each PersistentVolume."""
        return self.directory / "volumes"

    def start_registry(self) -> None:
        """Start the registry; its contents survive `down`."""
        config = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.state.cache / "registry")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": f"0.0.0.0:{REGISTRY_PORT}", "secret": "of this machine only"},
        }
        path = self._write("registry.json", config)
        self._ensure([packages.path_of(REGISTRY_PROGRAM), "serve", path])
        probe = [*self.in_network, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{REGISTRY_PORT}"]
        self.processes.wait(REGISTRY_PROGRAM, lambda: succeeds(probe))

    def start_containerd(self) -> None:
        """Start the container runtime: with nothing of one that ended, the machine's restart or an accident, as it is
        not whole where the disk kept one part and lost another. The registry has the images.
        """
        if not any(process.component == CONTAINERD for process in self.processes.all()):
            remove_tree(self.directory / CONTAINERD)
        cni = self.directory / "cni"
        self._write("cni/10-pods.conflist", _cni(self.network, cni / "leases"))
        config = self.directory / "containerd.toml"
        config.write_text(_containerd(self.directory, self.containerd_socket, cni))
        self._ensure([packages.path_of(CONTAINERD), f"--config={config}"])
        self.processes.wait(CONTAINERD, lambda: succeeds(["ctr", "-a", self.containerd_socket, "version"]))

    def start_kubelet(self) -> None:
        """Start the kubelet, which registers the node."""
        cgroups.create(self.state.identity)
        config = self._write("kubelet.json", self._kubelet_configuration())
        self._ensure(
            [
                self.state.built / KUBELET,
                f"--config={config}",
                f"--kubeconfig={self.credentials.kubeconfig(KUBELET)}",
                f"--root-dir={self.directory / 'kubelet'}",
                f"--cert-dir={self.directory / 'kubelet' / 'pki'}",
                f"--hostname-override={NODE}",
                f"--node-ip={self.network.node}",
            ]
        )

    def start_proxy(self) -> None:
        """Start the proxy that makes Services work."""
        self._ensure(
            [
                self.state.built / PROXY,
                f"--kubeconfig={self.credentials.kubeconfig(PROXY)}",
                "--proxy-mode=nftables",
                f"--cluster-cidr={self.network.pods}",
                f"--hostname-override={NODE}",
                "--oom-score-adj=0",
                # Zero leaves the machine's own settings alone.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0",
                "--conntrack-tcp-timeout-close-wait=0",
            ]
        )

    def start_dns(self) -> None:
        """Start DNS for pods: the cluster's names, and a quick no to all others."""
        corefile = self.directory / "Corefile"
        corefile.write_text(
            _COREFILE.format(kubeconfig=self.credentials.kubeconfig("admin"), address=self.network.node)
        )
        self._ensure([self.state.built / DNS, f"-conf={corefile}"])

    def start_volumes(self) -> None:
        """Start the provisioner of the default StorageClass."""
        self.volumes.mkdir(exist_ok=True)
        self._ensure(
            [
                self.state.built / VOLUMES,
                f"--kubeconfig={self.credentials.kubeconfig('admin')}",
                f"--root={self.volumes}",
                f"--provisioner={PROVISIONER}",
            ]
        )

    def is_ready(self, api: Api) -> bool:
        """Tell whether the node takes pods: its last word may be from before its kubelet was killed."""
        if not api.says_ok(f"/api/v1/nodes/{NODE}/proxy/healthz"):
            return False
        node = api.get(f"/api/v1/nodes/{NODE}")
        conditions = node["status"].get("conditions", []) if node else []
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _ensure(self, argv: list[str | Path]) -> None:
        if not self.processes.find(Path(argv[0]).name):
            search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
            self.processes.start(argv, prefix=self.inside, env={"PATH": search})

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2))
        return path

    def _kubelet_configuration(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.credentials.kubelet_client_certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self.containerd_socket}",
            "podLogsDir": str(self.directory / "pod-logs"),
            "clusterDNS": [self.network.node],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.name(self.state.identity)}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": 0,
            "maxPods": 200,
            "serializeImagePulls": False,
            # A developer's disk is often nearly full; that is no reason to evict.
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
            "kubeAPIQPS": 500,
            "kubeAPIBurst": 1000,
            "eventRecordQPS": 0,
        }


def push_pause_image(node: Node, buildah: Sequence[str | Path]) -> None:
    """Make the image of the pods' pause container, and put it into the registry."""
    if (node.state.cache / "registry/docker/registry/v2/repositories/pause/_manifests/tags/1").exists():
        return
    container = run([*buildah, "from", "scratch"]).strip()
    run([*buildah, "copy", container, node.state.built / "pause", "/pause"])
    run([*buildah, "config", "--entrypoint", '["/pause"]', container])
    run([*buildah, "commit", "--rm", container, PAUSE_IMAGE])
    run([*node.in_network, *buildah, "push", "--tls-verify=false", PAUSE_IMAGE, f"docker://{PAUSE_IMAGE}"])


def storage_class() -> dict[str, Any]:
    """Describe the default StorageClass."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def _cni(network: Network, leases: Path) -> dict[str, Any]:
    # One routed cable per pod rather than a bridge: on a bridge, an answer from a Service's pod
    # may bypass the translation of its address.
    plugin = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": network.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(leases),
        },
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}


def _containerd(directory: Path, socket: Path, cni: Path) -> str:
    root = directory / "containerd"
    return _CONTAINERD.format(
        root=root / "root",
        state=root / "state",
        opt=root / "opt",
        runc_root=root / "runc",
        socket=socket,
        pause=PAUSE_IMAGE,
        plugins=packages.path_of("ptp").parent,
        cni=cni,
        snapshotter="native" if _is_overlay(directory) else "overlayfs",
        runc=packages.path_of("runc"),
    )


def _is_overlay(directory: Path) -> bool:
    """Tell whether the directory lies on an overlay, on which another cannot be stacked."""
    return run(["stat", "--file-system", "--format=%T", directory]).strip().startswith("overlay")


_CONTAINERD = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE a score cannot be lowered, and every pod would fail.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    # The registry beside it has them all.
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        Root = "{runc_root}"
        SystemdCgroup = false
"""

_COREFILE = """\
cluster.local in-addr.arpa {{
    bind {address}
    errors
    ready 127.0.0.1:8181
    kubernetes {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 1
    }}
}}
. {{
    bind {address}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
