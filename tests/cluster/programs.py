"""The programs that are built from Go modules, and their short names."""

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from tests.cluster import disk, toolchain
from tests.cluster.errors import ClusterError
from tests.cluster.locking import locked
from tests.cluster.paths import SOURCES, State
from tests.cluster.progress import Step

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
_FOR_PEOPLE = ("kubectl", "helm")

# The name under which the compiler leaves the one binary of all components: its folder's module.
_ALL_COMPONENTS = "cluster"
_PACKAGES = (".", "./coredns", "./pause", "./volumes", "helm.sh/helm/v3/cmd/helm")
# What few need has a module of its own: the program's folder, and its package.
OBJECT_STORES = {
    "versitygw": ("s3", "github.com/versity/versitygw/cmd/versitygw"),
    "fake-gcs-server": ("gs", "github.com/fsouza/fake-gcs-server"),
}
_SINGLE = OBJECT_STORES | {"kwok": ("kwok", "sigs.k8s.io/kwok/cmd/kwok"), "gitops": ("gitops", ".")}
_GIBIBYTES_TO_BUILD = 8


def ensure(state: State) -> None:
    """Build everything, unless the binaries are those of these very sources."""
    if not are_built(state):
        sources = _fingerprint()
        _build(state)
        _stamp(state).write_text(sources)
    _link(state)


def find(state: State, names: Collection[str]) -> dict[str, Path]:
    """Return where components are: in KUBEBUILDER_ASSETS what that has, the rest among ours, built when needed.

    As envtest fills it, it has no controller manager.
    """
    given: dict[str, Path] = {}
    if named := os.environ.get("KUBEBUILDER_ASSETS"):
        given = {name: Path(named) / name for name in names if (Path(named) / name).exists()}
        if missing := [name for name in ("etcd", "kube-apiserver") if name not in given]:
            raise ClusterError(f"KUBEBUILDER_ASSETS={named} has no {' and no '.join(missing)}. Unset it to build them.")
    if given.keys() < set(names):
        with locked(state):
            ensure(state)
    return {name: given.get(name, state.built / name) for name in names}


def single(state: State, name: str) -> Path:
    """Build a program that has a module of its own, unless it is there, and return it."""
    folder, package = _SINGLE[name]
    sources = SOURCES.parent / folder
    files = [sources / "go.sum", *sorted(sources.glob("*.go"))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    program = state.built / f"{name}-{digest}"
    if not program.exists():
        disk.need(state.cache, 2, f"Building {name}")
        go = toolchain.ensure(state)
        state.built.mkdir(parents=True, exist_ok=True)
        part = program.with_suffix(".part")
        command: list[str | Path] = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", part, package]
        with Step(f"building {name} from source") as step:
            step.run(command, cwd=sources, env=_environment(state), describe=_describe)
        part.rename(program)
    return program


def are_built(state: State) -> bool:
    """Tell whether there are binaries of these very sources."""
    return _stamp(state).exists() and _stamp(state).read_text() == _fingerprint()


def _stamp(state: State) -> Path:
    return state.built / ".built-from"


def _build(state: State) -> None:
    disk.need(state.cache, _GIBIBYTES_TO_BUILD, "Building Kubernetes")
    go = toolchain.ensure(state)
    state.built.mkdir(parents=True, exist_ok=True)
    environment = _environment(state)
    command: list[str | Path] = [
        go,
        "build",
        "-v",
        "-trimpath",
        "-ldflags",
        _linker_flags(),
        "-o",
        f"{state.built}/",
        *_PACKAGES,
    ]
    with Step("building Kubernetes from source (about 3300 modules and packages)") as step:
        step.run(command, cwd=SOURCES, env=environment, describe=_describe)


def _describe(count: int, line: str) -> str:
    return line if line.startswith("go: downloading") else f"{count} modules downloaded and packages compiled"


def _environment(state: State) -> dict[str, str]:
    return {
        "GOCACHE": os.environ.get("GOCACHE", str(state.cache / "go" / "build")),
        "GOMODCACHE": os.environ.get("GOMODCACHE", str(state.cache / "go" / "modules")),
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def _link(state: State) -> None:
    for name in COMPONENTS:
        _symlink(state.built / name, _ALL_COMPONENTS)
    state.bin.mkdir(parents=True, exist_ok=True)
    for name in _FOR_PEOPLE:
        _symlink(state.bin / name, f"../cache/bin/{name}")


def _symlink(link: Path, target: str) -> None:
    if not (link.is_symlink() and link.readlink() == Path(target)):
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _fingerprint() -> str:
    files = sorted(path for path in SOURCES.rglob("*") if path.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(_linker_flags().encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _linker_flags() -> str:
    """Stamp the versions: clients reject a server, and charts a helm, that does not say which Kubernetes it is."""
    kubernetes, helm = _version("k8s.io/kubernetes"), _version("helm.sh/helm/v3")
    major, minor, _patch = kubernetes.removeprefix("v").split(".")
    values = {f"{package}.gitVersion": kubernetes for package in _VERSIONED}
    values |= {f"{package}.gitMajor": major for package in _VERSIONED}
    values |= {f"{package}.gitMinor": minor for package in _VERSIONED}
    values |= {f"{package}.k8sVersionMajor": major for package in _HELM_CAPABILITIES}
    values |= {f"{package}.k8sVersionMinor": minor for package in _HELM_CAPABILITIES}
    values["helm.sh/helm/v3/internal/version.version"] = helm
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


_VERSIONED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_HELM_CAPABILITIES = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")


def _version(module: str) -> str:
    found = re.search(rf"^\s+{re.escape(module)} (v\S+)", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{module} is not in go.mod")
    return found.group(1)
