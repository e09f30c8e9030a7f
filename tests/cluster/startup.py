"""Starting a control plane's components in order, each once."""

from collections.abc import Sequence

from tests.cluster import components
from tests.cluster.api import Api
from tests.cluster.components import Settings
from tests.cluster.processes import Processes


def start(settings: Settings, processes: Processes, *, prefix: Sequence[str] = ()) -> Api:
    """Start what does not run, and wait until the API server is ready."""
    start_etcd(settings, processes, prefix)
    api = start_apiserver(settings, processes, prefix)
    start_controllers(settings, processes, prefix)
    return api


def start_etcd(settings: Settings, processes: Processes, prefix: Sequence[str] = ()) -> None:
    """Start etcd; the API server waits for it by itself."""
    if not processes.find("etcd"):
        processes.start(components.etcd(settings), prefix=prefix)


def start_apiserver(settings: Settings, processes: Processes, prefix: Sequence[str] = ()) -> Api:
    """Start the API server and wait until it is ready."""
    if not processes.find("kube-apiserver"):
        processes.start(components.apiserver(settings), prefix=prefix)
    certificate = settings.credentials.server_certificate
    processes.wait("kube-apiserver", lambda: certificate.exists() and certificate.stat().st_size > 0)
    settings.credentials.write_kubeconfigs(settings.addresses.server)
    api = Api(settings.credentials.kubeconfig("admin"))
    processes.wait("kube-apiserver", api.is_ready)
    return api


def start_controllers(settings: Settings, processes: Processes, prefix: Sequence[str] = ()) -> None:
    """Start the controller manager and the scheduler, where there are such programs."""
    programs = settings.programs
    if programs.controller_manager and not processes.find("kube-controller-manager"):
        processes.start(components.controller_manager(settings, programs.controller_manager), prefix=prefix)
    if programs.scheduler and not processes.find("kube-scheduler"):
        processes.start(components.scheduler(settings, programs.scheduler), prefix=prefix)
