"""What a soak stands on: the local cluster with an audit log, simulated nodes, two operators, and what serves."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests import builders, deploy, simulation
from tests.cluster import ports, programs
from tests.cluster.errors import ClusterError
from tests.cluster.local import Local
from tests.cluster.paths import State
from tests.e2e.conftest import BASES, DATA, SMALL, tiny_project
from tests.integration.support.eventually import eventually
from tests.kube import Kube
from tests.soak import audit
from tests.soak.operators import Operator
from tests.soak.served import SERVED, Served, serve
from tests.soak.stages import stages

Object = dict[str, Any]

REAL, SIMULATED = "soak-real", "soak-simulated"
ACCOUNTS = ("soak-a", "soak-b")
CLAIMS = ("store", "models", "lake")
NODES = 5
# Nothing real is to fail by the storage's refusals, however many there are.
RETRIES = 5
# Shorter than what clocks are set wrong by.
MAX_DURATION = "30m"
ACCOUNT = f"system:serviceaccount:{deploy.OPERATOR_NAMESPACE}:"
# For an API server that is started, or started again.
POLICY = audit.policy(f"{ACCOUNT}{each}" for each in ACCOUNTS)
ENDS_ONCE = "soak-pods-end-once"


# Rows that nothing was trained on.
TEST = {
    "test.csv": "text,label\n"
    + "".join(f"has parcel {number} been sent,delivery\nbill {number} is too high,billing\n" for number in range(10))
}
TEST_SET = {"name": "test", "uri": "configmap://desk/test.csv", "split": "Test"}


@dataclass(frozen=True)
class Ground:
    """A cluster on which a soak may begin."""

    tools: deploy.Tools
    backend: Local
    operators: tuple[Operator, ...]
    audit_log: Path
    storages: Mapping[str, Path]  # the folders with what was really trained, by namespace
    served: Served

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
    images = deploy.all_images()
    tests_image = deploy.image("trainer-tests")
    deploy.install(tools, images)
    with contextlib.ExitStack() as stack:
        yield _made(tools, backend, state, directory, images, tests_image, stack)


def _made(
    tools: deploy.Tools,
    backend: Local,
    state: State,
    directory: Path,
    images: deploy.Images,
    tests_image: str,
    stack: contextlib.ExitStack,
) -> Ground:
    operator = ("-n", deploy.OPERATOR_NAMESPACE, "deployment", deploy.RELEASE)
    pods = ("-n", deploy.OPERATOR_NAMESPACE, "pods", "-l", "app.kubernetes.io/component=operator")
    # The soak's own operators are processes outside of the cluster, with the rights of the chart.
    stack.callback(tools.kubectl, "scale", *operator, "--replicas=1")
    tools.kubectl("scale", *operator, "--replicas=0")
    tools.kubectl("wait", *pods, "--for=delete", "--timeout=2m")
    _clear(tools)
    stack.callback(_clear, tools)
    stack.callback(_let_write(tools))
    log = backend.restart_api_server(POLICY)
    log.write_text("")  # the server appends; what an earlier soak left is not of this one
    stack.callback(backend.restart_api_server)
    stack.callback(backend.processes.end, programs.single(state, "kwok").name)
    _start_nodes(tools, backend, state)
    operators = tuple(
        stack.enter_context(Operator(name, _kubeconfig(tools, name, directory), directory, images)) for name in ACCOUNTS
    )
    operators[0].start().wait_leading()
    _projects(tools, tests_image)
    served = serve(tools, tests_image)
    claims = {name: tools.kube(name).get("PersistentVolumeClaim", "store") for name in (REAL, SERVED)}
    storages = {name: backend.volume(claim["spec"]["volumeName"]) for name, claim in claims.items()}
    return Ground(tools, backend, operators, log, storages, served)


def _clear(tools: deploy.Tools) -> None:
    """Remove what an earlier soak left, or this one."""
    names = [f"namespace/{name}" for name in (REAL, SIMULATED, SERVED)]
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


def _let_write(tools: deploy.Tools) -> Callable[[], object]:
    """Let the soak's operators write what the chart's alone may; return what puts that right again."""
    name = f"validatingadmissionpolicy/{deploy.RELEASE}-evaluations.{deploy.OPERATOR_NAMESPACE}"
    rules = json.loads(tools.kubectl("get", name, "-o", "json"))["spec"]["validations"]
    ours = f"request.userInfo.username in {[f'{ACCOUNT}{each}' for each in ACCOUNTS]}"
    theirs = f"request.userInfo.username == '{ACCOUNT}{deploy.RELEASE}'"
    if not all(theirs in rule["expression"] for rule in rules):
        raise ClusterError(f"{name} does not name the chart's account in the way that a soak knows: {rules}")

    def put(validations: list[Object]) -> None:
        tools.kubectl("patch", name, "--type=merge", "-p", json.dumps({"spec": {"validations": validations}}))

    put([rule | {"expression": rule["expression"].replace(theirs, ours)} for rule in rules])
    return partial(put, rules)


def _start_nodes(tools: deploy.Tools, backend: Local, state: State) -> None:
    _ends_once(tools)
    directory = tools.cluster.kubeconfig.parent
    nodes = simulation.Nodes(directory, tools.cluster.kubeconfig, stages(), only_marked=True)
    nodes.start(Kube(tools.cluster.kubeconfig), state, backend.processes, ports.free(1)[0], backend.inside(), NODES)


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
    for name in (REAL, SIMULATED, SERVED):
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
    real.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "desk"}, "data": DATA | TEST})
    real.apply(tiny_project(REAL, data={"sets": [*builders.project_spec()["data"]["sets"][:2], TEST_SET]}))
    for kube in (real, simulated):
        eventually(lambda kube=kube: _phase(kube) == "Ready", 300, f"the project of {kube.namespace} is ready", 1.0)  # type: ignore[misc]
    _gates(real, simulated)


def _gates(real: Kube, simulated: Kube) -> None:
    """Make gates; the second real one asks the same as the first, so that it has each verdict from the storage."""
    limits = {"resources": SMALL, "retries": RETRIES, "maxDuration": MAX_DURATION}
    criteria = [{"name": "good", "suite": "held-out", "metric": "accuracy", "min": 0.5}]
    for name in ("first", "second"):
        real.apply(builders.gate(name, REAL, criteria=criteria, **limits))
    simulated.apply(builders.gate(namespace=SIMULATED, newest=50, maxConcurrent=8, maxDuration=MAX_DURATION))


def _phase(kube: Kube) -> str:
    return str(kube.get("TransformerProject", "desk").get("status", {}).get("phase", ""))
