"""What a soak stands on: the local cluster with an audit log, simulated nodes beside the real one, two operators."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagecoach.contract import layout
from stagecoach.contract.digests import Manifest, file_entry
from tests import builders, deploy, simulation
from tests.cluster import ports, programs
from tests.cluster.errors import ClusterError
from tests.cluster.local import Local
from tests.cluster.paths import State
from tests.e2e.conftest import BASES, DATA, tiny_project
from tests.integration.support.eventually import eventually
from tests.kube import Kube
from tests.soak import audit
from tests.soak.operators import Operator

Object = dict[str, Any]

REAL, SIMULATED = "soak-real", "soak-simulated"
ACCOUNTS = ("soak-a", "soak-b")
CLAIMS = ("store", "models", "lake")
NODES = 5
# For an API server that is started, or started again.
POLICY = audit.policy(f"system:serviceaccount:{deploy.OPERATOR_NAMESPACE}:{each}" for each in ACCOUNTS)
# Simulated pods train for at least so long.
TRAIN_MILLISECONDS = 3000
ENDS_ONCE = "soak-pods-end-once"
SERVICE_FAILED = '{"outcome":"ServiceFailed","problem":{"reason":"StorageFailed","message":"the storage is away."}}'


@dataclass(frozen=True)
class Ground:
    """A cluster on which a soak may begin."""

    tools: deploy.Tools
    backend: Local
    operators: tuple[Operator, ...]
    audit_log: Path
    storage: Path  # the folder of the real runs' storage

    def kube(self, namespace: str) -> Kube:
        """Return a client of an administrator, not shared with other threads."""
        return Kube(self.tools.cluster.kubeconfig, namespace)


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Ground]:
    """Make it, with projects that are ready; at the end the cluster is as `up` leaves it."""
    tools = deploy.up()
    if tools.cluster.backend != Local.name:
        raise ClusterError("A soak freezes and restarts a control plane: it needs a cluster of its own, CLUSTER=local.")
    state = State.from_environment()
    backend = Local(state)
    images = deploy.images()
    tests_image = deploy.image("trainer-tests")
    deploy.install(tools, images)
    with contextlib.ExitStack() as stack:
        yield _made(tools, backend, state, directory, images.trainer, tests_image, stack)


def _made(
    tools: deploy.Tools,
    backend: Local,
    state: State,
    directory: Path,
    trainer_image: str,
    tests_image: str,
    stack: contextlib.ExitStack,
) -> Ground:
    operator = ("-n", deploy.OPERATOR_NAMESPACE, "deployment", deploy.RELEASE)
    # The soak's own operators are processes outside of the cluster, with the rights of the chart.
    stack.callback(tools.kubectl, "scale", *operator, "--replicas=1")
    tools.kubectl("scale", *operator, "--replicas=0")
    tools.kubectl("wait", "-n", deploy.OPERATOR_NAMESPACE, "pods", "--all", "--for=delete", "--timeout=2m")
    _clear(tools)
    stack.callback(_clear, tools)
    log = backend.restart_api_server(POLICY)
    log.write_text("")  # the server appends; what an earlier soak left is not of this one
    stack.callback(backend.restart_api_server)
    stack.callback(backend.processes.end, programs.single(state, "kwok").name)
    _start_nodes(tools, backend, state)
    operators = tuple(
        stack.enter_context(Operator(name, _kubeconfig(tools, name, directory), directory, trainer_image))
        for name in ACCOUNTS
    )
    operators[0].start().wait_leading()
    _projects(tools, tests_image)
    claim = tools.kube(REAL).get("PersistentVolumeClaim", "store")
    return Ground(tools, backend, operators, log, backend.volume(claim["spec"]["volumeName"]))


def look_into(storage: Path, runs: list[Object]) -> dict[str, str]:
    """Return what is wrong with record and artifact of each run that succeeded, by inputs digest."""
    return {
        run["status"]["inputs"]["digest"]: _wrong(storage / "desk", run)
        for run in runs
        if run.get("status", {}).get("phase") == "Succeeded"
    }


def _wrong(root: Path, run: Object) -> str:
    status = run["status"]
    try:
        record = json.loads((root / layout.record_file(status["inputs"]["digest"])).read_text())
        artifact = status["artifact"]["digest"]
        manifest = Manifest.model_validate_json((root / layout.manifest_file(artifact)).read_text())
        found = []
        for entry in manifest.files:
            with (root / layout.artifact_folder(artifact) / entry.path).open("rb") as stream:
                found.append(file_entry(entry.path, stream))
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    if record["artifact"]["digest"] != artifact:
        return f"the record names the artifact {record['artifact']['digest']}, the status {artifact}"
    digest = Manifest.of(found).digest
    return "" if digest == artifact else f"the artifact's files have the digest {digest}, not {artifact}"


def _clear(tools: deploy.Tools) -> None:
    """Remove what an earlier soak left, or this one."""
    names = [f"namespace/{name}" for name in (REAL, SIMULATED)]
    nodes = [f"node/simulated-{number}" for number in range(NODES)]
    volumes = [f"persistentvolume/{SIMULATED}-{claim}" for claim in CLAIMS]
    rights = [f"clusterrolebinding/{account}" for account in ACCOUNTS]
    rules = [f"{kind}/{ENDS_ONCE}" for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy")]
    accounts = [f"{kind}/{account}" for account in ACCOUNTS for kind in ("serviceaccount", "rolebinding")]
    # Nobody ends the pods of simulated nodes once these are not simulated any more.
    tools.kubectl("delete", "pods", "--all", "-n", SIMULATED, "--force", "--grace-period=0", check=False)
    tools.kubectl("delete", *names, *nodes, *volumes, *rights, *rules, "--ignore-not-found", "--timeout=5m")
    tools.kubectl("delete", *accounts, "-n", deploy.OPERATOR_NAMESPACE, "--ignore-not-found")


def _ends_once(tools: deploy.Tools) -> None:
    """Have the API server refuse what no kubelet does: that a pod which has ended ends again, and otherwise.

    kwok does when its watch breaks while it tries a stage again: it finds the pod running, and draws it another end.
    """
    group = {"apiVersion": "admissionregistration.k8s.io/v1"}
    fields = ("phase", "?reason", "?containerStatuses")
    same = " && ".join(f"object.status.{field} == oldObject.status.{field}" for field in fields)
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/status"], "operations": ["UPDATE"]}
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "simulated", "expression": f"request.namespace == '{SIMULATED}'"}],
        "validations": [
            {
                "expression": f"!(oldObject.status.phase in ['Succeeded', 'Failed']) || ({same})",
                "message": "the pod has ended",
            }
        ],
    }
    metadata = {"metadata": {"name": ENDS_ONCE}}
    binding = {"policyName": ENDS_ONCE, "validationActions": ["Deny"]}
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        tools.kubectl("apply", "-f", "-", stdin=json.dumps(group | metadata | {"kind": kind, "spec": spec}))


def _start_nodes(tools: deploy.Tools, backend: Local, state: State) -> None:
    _ends_once(tools)
    directory = tools.cluster.kubeconfig.parent
    nodes = simulation.Nodes(directory, tools.cluster.kubeconfig, _stages(), only_marked=True)
    nodes.start(Kube(tools.cluster.kubeconfig), state, backend.processes, ports.free(1)[0], backend.inside(), NODES)


def _stages() -> list[Object]:
    """Return what simulated pods do: most go well; the rest fails in ways that are tried again, or not."""
    running: list[Object] = [simulation.HERE, simulation.RUNNING, simulation.TRAINS]
    after = {
        "delay": {"durationMilliseconds": TRAIN_MILLISECONDS, "jitterDurationMilliseconds": 3 * TRAIN_MILLISECONDS}
    }
    evicted = 'phase: Failed\nreason: Evicted\nmessage: "The node was low on resource: memory."\n'
    started, resolve, train = simulation.stages(TRAIN_MILLISECONDS)
    train["spec"] |= after | {"weight": 85}
    return [
        started,
        resolve,
        train,
        simulation.stage("refused", running, simulation.ended(SERVICE_FAILED, 69, "Error"), weight=6, **after),
        simulation.stage("killed", running, simulation.ended("", 137, "OOMKilled"), weight=2, **after),
        simulation.stage("silent", running, simulation.ended("", 1, "Error"), weight=3, **after),
        simulation.stage("evicted", running, evicted, weight=4, **after),
        *simulation.leaving(),
    ]


def _kubeconfig(tools: deploy.Tools, account: str, directory: Path) -> Path:
    """Write the credentials of an account that has the rights of the chart, and no others."""
    kube = tools.kube(deploy.OPERATOR_NAMESPACE)
    group = "rbac.authorization.k8s.io"
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    subject = {"kind": "ServiceAccount", "name": account, "namespace": deploy.OPERATOR_NAMESPACE}
    for kind, role_kind, role in (
        ("ClusterRoleBinding", "ClusterRole", deploy.RELEASE),
        ("RoleBinding", "Role", f"{deploy.RELEASE}-lease"),
    ):
        reference = {"apiGroup": group, "kind": role_kind, "name": role}
        binding = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": account}}
        kube.apply(binding | {"roleRef": reference, "subjects": [subject]})
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}}
    token = kube.request("POST", kube.path("ServiceAccount", account, "token"), asked)["status"]["token"]
    document = json.loads(tools.cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = directory / f"{account}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    return path


def _projects(tools: deploy.Tools, tests_image: str) -> None:
    for name in (REAL, SIMULATED):
        deploy.make_namespace(tools, name)
    real, simulated = tools.kube(REAL), tools.kube(SIMULATED)
    simulation.bind_claims(simulated, CLAIMS)
    simulated.apply(builders.project(namespace=SIMULATED, pods=simulation.pods()))
    for claim in ("models", "store"):
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": claim}
        real.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    models = {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
    mount = {"name": "models", "mountPath": "/models"}
    copy = {"image": tests_image, "command": ["cp", "-r", f"{BASES}/.", "/models"], "volumeMounts": [mount]}
    real.create(deploy.restricted_job("bases", copy, [models]))
    deploy.await_job(tools, REAL, "bases", seconds=300)
    real.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "desk"}, "data": DATA})
    real.apply(tiny_project(REAL))
    for kube in (real, simulated):
        eventually(lambda kube=kube: _phase(kube) == "Ready", 300, f"the project of {kube.namespace} is ready", 1.0)  # type: ignore[misc]


def _phase(kube: Kube) -> str:
    return str(kube.get("TransformerProject", "desk").get("status", {}).get("phase", ""))
