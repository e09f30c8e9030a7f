"""Put the operator of this checkout on a cluster: what `make demo` and the end-to-end tests share.

As a program it builds all images.
"""

import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stagecoach.contract import mounts
from tests.cluster import Cluster, build_image, cluster_up, load_image, programs
from tests.cluster.paths import State
from tests.kube import Kube, KubeError

ROOT = Path(__file__).parents[1]
OPERATOR_NAMESPACE = "stagecoach-system"
RELEASE = "stagecoach"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
# Where our images are described, each after those that it is built on.
DOCKERFILES = {
    "operator": ROOT / "images/operator",
    "trainer": ROOT / "images/trainer",
    "evaluator": ROOT / "images/evaluator",
    "gateway": ROOT / "images/gateway",
    "prometheus": ROOT / "images/prometheus",
    "base-model": ROOT / "examples/support-desk/base-model",
    "trainer-tests": ROOT / "tests/unit/trainer",
    "evaluator-tests": ROOT / "tests/unit/evaluator",
    "engine-cpu": ROOT / "images/engine-cpu",
}

# What it asks for where there is little to watch, and little room: for some hundred series.
SMALL_PROMETHEUS = {"prometheus.resources.requests.cpu": "20m", "prometheus.resources.requests.memory": "128Mi"}

Object = dict[str, Any]


@dataclass(frozen=True)
class Tools:
    """kubectl and helm, aimed at the cluster."""

    cluster: Cluster

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, seconds: float = 600) -> str:
        """Run kubectl and return what it prints; a failure shows its own words."""
        return self._run([str(self.cluster.kubectl), *arguments], stdin, check, seconds)

    def helm(self, *arguments: str) -> str:
        """Run helm and return what it prints."""
        helm = self.cluster.kubectl.parent / "helm"
        return self._run([str(helm) if helm.exists() else "helm", *arguments], None)

    def kube(self, namespace: str) -> Kube:
        """Return a client for looking often: each start of kubectl takes a third of a second of CPU."""
        return _kube(self.cluster.kubeconfig, namespace)

    def environment(self) -> dict[str, str]:
        """Return the environment in which kubectl finds the cluster."""
        return os.environ | {"KUBECONFIG": str(self.cluster.kubeconfig)}

    def _run(self, command: Sequence[str], stdin: str | None, check: bool = True, seconds: float = 600) -> str:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, env=self.environment(), timeout=seconds
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout if check else done.stdout + done.stderr


@functools.cache
def _kube(kubeconfig: Path, namespace: str) -> Kube:
    return Kube(kubeconfig, namespace)


@dataclass(frozen=True)
class Images:
    """References by digest."""

    operator: str
    trainer: str
    evaluator: str
    # By which models may be judged, and are served: on CPUs.
    engine: str | None = None
    gateway: str | None = None
    # By which what is served is watched.
    prometheus: str | None = None


def build(name: str) -> None:
    """Build one of our images."""
    arguments = {}
    if name in ("trainer", "engine-cpu") and os.environ.get("TORCH_VERSION"):
        arguments = {"TORCH_VERSION": os.environ["TORCH_VERSION"]}
    if name.endswith("-tests"):
        place = DOCKERFILES["trainer-tests"] / "build"
        place.mkdir(exist_ok=True)
        for store in programs.OBJECT_STORES:
            shutil.copy2(programs.single(State.from_environment(), store), place / store)
    build_image(f"stagecoach/{name}", DOCKERFILES[name], context=ROOT, arguments=arguments)


def image(name: str) -> str:
    """Build one of our images, make it available to pods, and return its reference by digest."""
    build(name)
    return load_image(f"stagecoach/{name}")


def images() -> Images:
    """Do so with what the chart cannot do without."""
    return Images(operator=image("operator"), trainer=image("trainer"), evaluator=image("evaluator"))


def all_images() -> Images:
    """Do so with all that the chart knows: models can be served, too."""
    return replace(images(), engine=image("engine-cpu"), gateway=image("gateway"), prometheus=image("prometheus"))


def install(tools: Tools, images: Images) -> None:
    """Install the chart, or upgrade it to this checkout, and wait until the operator is ready."""
    make_namespace(tools, OPERATOR_NAMESPACE)
    values = SMALL_PROMETHEUS | {"prometheus.enabled": str(images.prometheus is not None).lower()}
    for place, image in (
        ("image", images.operator),
        ("trainer.image", images.trainer),
        ("evaluator.image", images.evaluator),
        ("engineCpu.image", images.engine),
        ("gateway.image", images.gateway),
        ("prometheus.image", images.prometheus),
    ):
        if image:
            values[f"{place}.repository"], values[f"{place}.digest"] = image.split("@")
    settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    chart = str(ROOT / "charts/stagecoach")
    tools.helm("upgrade", "--install", RELEASE, chart, "-n", OPERATOR_NAMESPACE, *settings, "--wait", "--timeout", "5m")


def make_namespace(tools: Tools, name: str) -> None:
    """Make a namespace in which only restricted pods may run."""
    tools.kube(name).apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})


def make_base_model(tools: Tools, namespace: str, image: str) -> None:
    """Write the example's base model into the claim `models`; a complete one is kept."""
    repository, digest = image.split("@")
    apply_example(
        tools, "base-model", namespace, [{"name": "stagecoach/base-model", "newName": repository, "digest": digest}]
    )
    tools.kubectl("wait", "-n", namespace, "--for=condition=complete", "job/base-model", "--timeout=10m")


def apply_example(tools: Tools, part: str, namespace: str, images: Sequence[Object] = ()) -> None:
    """Apply a folder of examples/support-desk (`.` is the project and the run) with these images."""
    overlay = ROOT / "examples/support-desk" / part
    rendered = tools.kubectl("kustomize", str(overlay))
    for image in images:
        rendered = rendered.replace(f"image: {image['name']}\n", f"image: {image['newName']}@{image['digest']}\n")
    tools.kubectl("apply", "--server-side", "--force-conflicts", "-n", namespace, "-f", "-", stdin=rendered)


def up() -> Tools:
    """Bring the cluster up, or find it up."""
    return Tools(cluster_up())


def restricted_job(name: str, container: Object, volumes: Sequence[Object]) -> Object:
    """Return a Job of one container that restricted namespaces admit."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    resources = {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}}
    user = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    scratch = {"name": "scratch", "mountPath": mounts.SCRATCH}
    places = [scratch, *container.get("volumeMounts", [])]
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": user,
        "containers": [
            {"name": name, "securityContext": security, "resources": resources} | container | {"volumeMounts": places}
        ],
        "volumes": [{"name": "scratch", "emptyDir": {}}, *volumes],
    }
    spec = {"backoffLimit": 0, "ttlSecondsAfterFinished": 3600, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def trainer_job(
    tools: Tools, name: str, inputs: Object, command: Object | None = None, adapted: Mapping[str, str] | None = None
) -> Object:
    """Return the example's Job `compare` for a run's inputs, as docs/compare.md has it made.

    `command` (`command` or `args`) is something else to do in its place, `adapted` what is to be called otherwise.
    """
    text = tools.kubectl("kustomize", str(ROOT / "examples/support-desk/compare"))
    for ours, theirs in (adapted or {}).items():
        text = text.replace(ours, theirs)
    for what, setting in (("image", f"compare={inputs['image']}"), ("env", f"INPUTS={inputs['digest']}")):
        text = tools.kubectl("set", what, "--local", "-f", "-", setting, "-o", "json", stdin=text)
    job: Object = json.loads(text)
    job["metadata"]["name"] = name
    container = job["spec"]["template"]["spec"]["containers"][0]
    if command:
        del container["args"]
        container |= command
    return job


def run_trainer(
    tools: Tools,
    namespace: str,
    run: str,
    name: str = "compare",
    command: Object | None = None,
    *,
    adapted: Mapping[str, str] | None = None,
    tell: Callable[[str], object] | None = None,
) -> str:
    """Compare a run that has succeeded with its base, or do something else there; tell and return what is printed."""
    inputs = tools.kube(namespace).get("FineTuneRun", run)["status"]["inputs"]
    job = trainer_job(tools, name, inputs, command, adapted)
    tools.kubectl("delete", "job", name, "-n", namespace, "--ignore-not-found", "--cascade=foreground")
    tools.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(job))
    return await_job(tools, namespace, name, tell=tell)


def await_job(
    tools: Tools, namespace: str, name: str, seconds: float = 1800, tell: Callable[[str], object] | None = None
) -> str:
    """Wait for a Job to complete, tell each line of its log as it comes, and return it; one that fails shows its log."""
    end, told = time.monotonic() + seconds, 0
    conditions: list[Object] = []
    while not conditions and time.monotonic() < end:
        time.sleep(1)
        found = tools.kube(namespace).get("Job", name).get("status", {}).get("conditions", [])
        conditions = [item for item in found if item["type"] in ("Complete", "Failed") and item["status"] == "True"]
        if tell:
            lines = _log(tools.kube(namespace), name).splitlines()
            for line in lines[told:]:
                tell(line)
            told = len(lines)
    log = _log(tools.kube(namespace), name)
    if [item["type"] for item in conditions] != ["Complete"]:
        raise RuntimeError(f"Job {name} did not complete: {log}")
    return log


def _log(kube: Kube, job: str) -> str:
    try:
        return "".join(kube.log(pod["metadata"]["name"]) for pod in kube.select("Pod", f"job-name={job}"))
    except KubeError:
        return ""  # its container is being made


if __name__ == "__main__":
    for each in DOCKERFILES:
        build(each)
