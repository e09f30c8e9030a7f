"""What tests call."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import selection
from tests.cluster.controlplane import ControlPlane
from tests.cluster.paths import State


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    backend: str
    kubeconfig: Path
    kubectl: Path


def cluster_up() -> Cluster:
    """Bring the cluster up, or find it up."""
    state = State.from_environment()
    backend = selection.select(state)
    backend.up()
    own = state.bin / "kubectl"
    return Cluster(backend.name, backend.kubeconfig(), own if own.exists() else Path("kubectl"))


def cluster_down(*, purge: bool = False) -> None:
    """Take the cluster and the separate control plane down; with `purge` remove also what was built."""
    state = State.from_environment()
    separate_control_plane(state).remove()
    selection.select(state).down()
    if purge:
        state.purge()


def separate_control_plane(state: State) -> ControlPlane:
    """The control plane that `up --control-plane` leaves running."""
    return ControlPlane(state.run("control-plane"), state=state, outlives_this_process=True)


def build_image(name: str, dockerfile: Path, *, context: Path, arguments: Mapping[str, str] | None = None) -> None:
    """Build an image; `dockerfile` may be the directory that holds one."""
    found = dockerfile / "Dockerfile" if dockerfile.is_dir() else dockerfile
    selection.select(State.from_environment()).build(name, found, context, arguments or {})


def load_image(name: str) -> str:
    """Make an image available to pods; return its reference by digest."""
    return selection.select(State.from_environment()).load(name)


def image_reference(name: str) -> str:
    """The reference by digest of an image that was loaded before."""
    return selection.select(State.from_environment()).image_reference(name)
