"""A Kubernetes cluster on whatever machine the tests run on."""

from tests.cluster.controlplane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.usage import Cluster, build_image, cluster_down, cluster_up, image_reference, load_image

__all__ = [
    "Cluster",
    "ClusterError",
    "ControlPlane",
    "build_image",
    "cluster_down",
    "cluster_up",
    "image_reference",
    "load_image",
]
