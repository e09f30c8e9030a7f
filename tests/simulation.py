"""Nodes that only say what kubelets would: pods run for a moment, and end with the Report of a program (by kwok).

Nothing runs, and nothing outside of the loopback interface is dialled: pods get no address, nodes have the loopback's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import builders
from tests.cluster import programs
from tests.cluster.paths import State
from tests.cluster.processes import Processes
from tests.integration.support.eventually import eventually
from tests.kube import Kube

Object = dict[str, Any]

# A pod with this label runs until somebody else ends it.
HOLD = "bench/hold"
# In a Report: a digest of the pod's own. Each training makes another artifact, and each evaluation another record.
OWN_DIGEST = "sha256:{{ sha256sum $root.metadata.uid }}"
RESOLVED = json.dumps({"outcome": "Done", "resolution": builders.resolution()})
TERMINATED = json.dumps({"outcome": "Terminated", "problem": {"reason": "Terminated", "message": "it was asked to."}})
HERE = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
PENDING = {"key": ".status.phase", "operator": "In", "values": ["Pending"]}
RUNNING = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
GOES_ON = {"key": f'.metadata.labels["{HOLD}"]', "operator": "DoesNotExist"}
OF_KIND = {"key": '.metadata.labels["stagecoach.dev/kind"]', "operator": "In"}
RESOLVES = OF_KIND | {"values": ["TransformerProject"]}
TRAINS = OF_KIND | {"values": ["FineTuneRun"]}
JUDGES = OF_KIND | {"values": ["Evaluation"]}
# kwok's mark of the nodes that are its own, where it is told to leave others alone.
MARK = {"kwok.x-k8s.io/node": "fake"}

_RUNS = """
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
_ENDS = """
{{ $now := Now }}
{{ $root := . }}
phase: %(phase)s
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
      exitCode: %(code)d
      reason: %(reason)s
      startedAt: {{ $origin.state.running.startedAt | Quote }}
      finishedAt: {{ $now | Quote }}
      message: %(message)s
{{ end }}
"""


def stage(name: str, expressions: Sequence[Object], template: str, **more: Any) -> Object:
    """Return a stage of kwok's: pods that meet all expressions get this status."""
    patches = [{"subresource": "status", "root": "status", "template": template}]
    return _stage(name, expressions, {"patches": patches}, **more)


def _stage(name: str, expressions: Sequence[Object], following: Object, **more: Any) -> Object:
    selector = {"matchExpressions": list(expressions)}
    spec = {"resourceRef": {"apiGroup": "v1", "kind": "Pod"}, "selector": selector, "next": following, **more}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def ended(report: str, code: int = 0, reason: str = "Completed") -> str:
    """Return the status of a pod that ended with this code and termination message."""
    phase = "Failed" if code else "Succeeded"
    return _ENDS % {"phase": phase, "code": code, "reason": reason, "message": json.dumps(report)}


def trained() -> str:
    """Return the Report of a training, of an artifact of its own."""
    report = builders.artifact_report()
    return json.dumps(report | {"artifact": report["artifact"] | {"digest": OWN_DIGEST}})


def judged(verdict: str) -> str:
    """Return the Report of an evaluation that came to this verdict, with a record of its own."""
    return json.dumps(builders.evaluation_report(verdict, record=OWN_DIGEST))


def stages(milliseconds: int) -> list[Object]:
    """Return what pods of projects and runs do where nothing goes wrong: resolve at once, train for this time."""
    delay = {"durationMilliseconds": milliseconds}
    return [
        stage("run", [HERE, PENDING], _RUNS),
        stage("resolve", [HERE, RUNNING, RESOLVES], ended(RESOLVED)),
        stage("train", [HERE, RUNNING, GOES_ON, TRAINS], ended(trained()), delay=delay),
    ]


def leaving() -> list[Object]:
    """Return the stages in which a deleted pod goes: it is told to stop, ends, and is let go of.

    Its finalizer is not the kubelet's: a pod without it is gone before the Job controller has counted it, and a Job
    whose pod nobody counted may never get another.
    """
    gone = HERE | {"operator": "Exists"}
    over = RUNNING | {"values": ["Failed", "Succeeded"]}
    return [
        stage("stop", [gone, RUNNING], ended(TERMINATED, 70, "Error")),
        stage("never", [gone, PENDING], "phase: Failed\n"),
        _stage("leave", [gone, over], {"delete": True}),
    ]


@dataclass(frozen=True)
class Nodes:
    """Simulated nodes of a cluster, to be started once."""

    directory: Path  # for kwok's files; has credentials/kubelet-client.{crt,key}
    kubeconfig: Path
    stages: Sequence[Object]
    log: Path | None = None  # what the pods print
    only_marked: bool = False  # whether there are others, that are real

    def start(
        self, kube: Kube, state: State, processes: Processes, port: int, prefix: Sequence[str], count: int
    ) -> None:
        """Start kwok with its server at a port of the loopback, make so many nodes, and wait until they are ready."""
        config = self.directory / "kwok.yaml"
        documents = [_options(), *self.stages, *([_logs(self.log)] if self.log else [])]
        config.write_text("\n---\n".join(map(json.dumps, documents)))
        mark = "--manage-nodes-with-annotation-selector=" + ",".join(f"{key}={value}" for key, value in MARK.items())
        credentials = self.directory / "credentials"
        processes.start(
            [
                programs.single(state, "kwok"),
                f"--kubeconfig={self.kubeconfig}",
                f"--config={config}",
                *(["--manage-all-nodes=false", mark] if self.only_marked else ["--manage-all-nodes=true"]),
                "--node-lease-duration-seconds=40",
                "--node-ip=127.0.0.1",
                f"--node-port={port}",
                f"--server-address=127.0.0.1:{port}",
                f"--tls-cert-file={credentials / 'kubelet-client.crt'}",
                f"--tls-private-key-file={credentials / 'kubelet-client.key'}",
            ],
            prefix=prefix,
        )
        names = [f"simulated-{number}" for number in range(count)]
        for name in names:
            kube.request("POST", "/api/v1/nodes", _node(name, taken=self.only_marked))
        eventually(lambda: set(names) <= _ready_nodes(kube), 60, "the simulated nodes are ready")


def _node(name: str, *, taken: bool) -> Object:
    metadata: Object = {"name": name, "labels": {"kubernetes.io/hostname": name} | MARK, "annotations": MARK}
    # Beside real nodes: what is not meant for these must not be placed on them.
    taints = [{"key": key, "value": value, "effect": "NoSchedule"} for key, value in MARK.items()]
    spec = {"taints": taints} if taken else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}


def pods() -> Object:
    """Return the `pods` of a project whose pods are meant for simulated nodes beside real ones."""
    tolerations = [{"key": key, "value": value, "effect": "NoSchedule"} for key, value in MARK.items()]
    return {"nodeSelector": MARK, "tolerations": tolerations}


def bind_claims(kube: Kube, names: Sequence[str]) -> None:
    """Make claims in the client's namespace that are bound to volumes which do not exist."""
    for name in names:
        volume = f"{kube.namespace}-{name}"
        kube.request("POST", "/api/v1/persistentvolumes", _volume(volume, kube.namespace, name))
        kube.create(_claim(name, volume))
    eventually(lambda: _all_bound(kube), 60, "the claims are bound")


def unbind_claims(kube: Kube, names: Sequence[str]) -> None:
    """Remove the volumes of `bind_claims`; the claims go with their namespace."""
    for name in names:
        kube.request("DELETE", f"/api/v1/persistentvolumes/{kube.namespace}-{name}")


def _options() -> Object:
    # The default takes up four pods at once, and is slower than the scheduler.
    options = {"podPlayStageParallelism": 32}
    return {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration", "options": options}


def _logs(file: Path) -> Object:
    logs = [{"containers": ["trainer"], "logsFile": str(file)}]
    metadata = {"name": "progress"}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": metadata, "spec": {"logs": logs}}


def _volume(name: str, namespace: str, claim: str) -> Object:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": f"/nowhere/{name}"},
        "claimRef": {"namespace": namespace, "name": claim},
        "storageClassName": "",
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def _claim(name: str, volume: str) -> Object:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteMany"], "resources": resources, "volumeName": volume, "storageClassName": ""}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def _all_bound(kube: Kube) -> bool:
    return all(each["status"].get("phase") == "Bound" for each in kube.select("PersistentVolumeClaim"))


def _ready_nodes(kube: Kube) -> set[str]:
    nodes = kube.request("GET", "/api/v1/nodes")["items"]
    return {
        node["metadata"]["name"]
        for node in nodes
        for each in node.get("status", {}).get("conditions") or ()
        if each["type"] == "Ready" and each["status"] == "True"
    }
