"""Which kind of cluster to use."""

import os
import shutil

from tests.cluster import docker
from tests.cluster.backend import Backend
from tests.cluster.current import Current
from tests.cluster.errors import ClusterError
from tests.cluster.kind import Kind
from tests.cluster.local import Local
from tests.cluster.paths import State


def select(state: State) -> Backend:
    """Obey CLUSTER; else take kind where it can run, and build a cluster where it cannot."""
    match os.environ.get("CLUSTER", ""):
        case "current":
            return Current(state)
        case "kind":
            return Kind(state)
        case "local":
            return Local(state)
        case "":
            return Kind(state) if shutil.which("kind") and docker.is_running() else Local(state)
        case other:
            raise ClusterError(f"CLUSTER={other} is none of: current, kind, local")
