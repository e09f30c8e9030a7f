"""A control plane without nodes, for tests that need a real API server and nothing that runs pods."""

import json
import shutil
import signal
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cluster import disk, packages, ports, processes, programs, startup
from tests.cluster.api import Api
from tests.cluster.components import Addresses, Audit, Programs, Settings
from tests.cluster.credentials import Credentials
from tests.cluster.errors import ClusterError
from tests.cluster.paths import State

APISERVER = "kube-apiserver"
ETCD = "etcd"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
_ATTEMPTS = 3


class ControlPlane:
    """etcd, an API server and a controller manager below one directory, on free loopback ports.

    As a context manager it starts on entry, and on exit everything that it started has ended; were
    this process killed in between, the next control plane cleans up after it. Needs no root.
    """

    def __init__(
        self,
        directory: Path,
        *,
        state: State | None = None,
        controllers: bool = True,
        scheduler: bool = False,
        audit_policy: dict[str, Any] | None = None,
        apiserver_arguments: tuple[str, ...] = (),
        controller_manager_arguments: tuple[str, ...] = (),
        outlives_this_process: bool = False,
    ) -> None:
        self.directory = directory.resolve()
        self._state = state or State.from_environment()
        self._controllers = controllers
        self._scheduler = scheduler
        self._audit_policy = audit_policy
        self._apiserver_arguments = apiserver_arguments
        self._controller_manager_arguments = controller_manager_arguments
        owner = "" if outlives_this_process else processes.this_process()
        self._processes = processes.Processes(self.directory, owner=owner)
        self._credentials = Credentials(self.directory / "credentials")

    def __enter__(self) -> "ControlPlane":
        self.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.down()

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self._credentials.kubeconfig("admin")

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._remembered_addresses().server

    @property
    def audit_log(self) -> Path:
        """One JSON event a line, when an audit policy was given."""
        return self.directory / Audit.LOG

    def up(self) -> None:
        """Start what does not run yet; return when the API server is ready."""
        processes.end_orphans()
        disk.need(self.directory, 0.5, "A control plane")
        found = self._programs()
        self._credentials.create()
        for attempt in range(_ATTEMPTS):
            try:
                startup.start(self._settings(found), self._processes)
                return
            except ClusterError:
                if attempt == _ATTEMPTS - 1 or not self._lost_a_port():
                    self._processes.end_all()
                    raise
                self._processes.end_all()
                self._addresses_file.unlink()

    def down(self) -> None:
        """End every process; the directory stays, for its logs."""
        self._processes.end_all()

    def remove(self) -> None:
        """End every process and remove the directory."""
        self.down()
        shutil.rmtree(self.directory, ignore_errors=True)

    def is_healthy(self) -> bool:
        """Tell whether everything runs and the API server is ready."""
        started = [each for each in (ETCD, APISERVER, CONTROLLER_MANAGER) if self.log(each).exists()]
        running = APISERVER in started and all(map(self._processes.find, started))
        return running and self.kubeconfig.exists() and Api(self.kubeconfig).is_ready()

    def kill(self, component: str = APISERVER) -> None:
        """End a component without a warning; its data stays."""
        self._processes.end(component, signal.SIGKILL)

    def stop(self, component: str = APISERVER, *, within: float = 5) -> None:
        """Ask a component to end; an API server with open connections would take a minute, so insist after a while."""
        self._processes.end(component, signal.SIGTERM, within=within)

    def pause(self, component: str = APISERVER) -> None:
        """Freeze a component: connections stay open and nothing answers."""
        self._signal(component, signal.SIGSTOP)

    def resume(self, component: str = APISERVER) -> None:
        """Let a paused component go on."""
        self._signal(component, signal.SIGCONT)

    def start(self) -> None:
        """Start whatever was stopped or killed, on the same ports and data."""
        startup.start(self._settings(self._programs()), self._processes)

    def restart(self, component: str = APISERVER) -> None:
        """Kill a component and start it again."""
        self.kill(component)
        self.start()

    def log(self, component: str = APISERVER) -> Path:
        """The file with a component's output."""
        return self._processes.log(component)

    def audit_events(self) -> list[dict[str, Any]]:
        """Everything that the API server has written down so far."""
        if not self.audit_log.exists():
            return []
        complete, _, _partial = self.audit_log.read_text().rpartition("\n")
        return [json.loads(line) for line in complete.splitlines()]

    def _signal(self, component: str, number: signal.Signals) -> None:
        process = self._processes.find(component)
        if process is None:
            raise ClusterError(f"{component} does not run")
        process.signal(number)

    def _programs(self) -> Programs:
        packages.ensure(packages.FOR_A_CONTROL_PLANE)
        asked = {CONTROLLER_MANAGER: self._controllers, SCHEDULER: self._scheduler}
        found = programs.find(self._state, [ETCD, APISERVER, *(name for name, wanted in asked.items() if wanted)])
        return Programs(found[ETCD], found[APISERVER], found.get(CONTROLLER_MANAGER), found.get(SCHEDULER))

    def _settings(self, found: Programs) -> Settings:
        return Settings(
            directory=self.directory,
            credentials=self._credentials,
            addresses=self._addresses(),
            programs=found,
            audit=Audit.of(self.directory, self._audit_policy) if self._audit_policy else None,
            apiserver_arguments=self._apiserver_arguments,
            controller_manager_arguments=self._controller_manager_arguments,
        )

    @property
    def _addresses_file(self) -> Path:
        return self.directory / "addresses.json"

    def _addresses(self) -> Addresses:
        if self._addresses_file.exists():
            remembered = self._remembered_addresses()
            if self._processes.all() or all(map(ports.is_free, _ports(remembered))):
                return remembered
        etcd, peer, api = ports.free(3)
        chosen = Addresses(etcd=etcd, etcd_peer=peer, api=api)
        self._addresses_file.write_text(json.dumps(asdict(chosen)))
        return chosen

    def _remembered_addresses(self) -> Addresses:
        return Addresses(**json.loads(self._addresses_file.read_text()))

    def _lost_a_port(self) -> bool:
        """Somebody may take a port between its choice and its use."""
        logs = (self.log(component) for component in (ETCD, APISERVER))
        return any("address already in use" in log.read_text(errors="replace") for log in logs if log.exists())


def _ports(addresses: Addresses) -> tuple[int, int, int]:
    return addresses.etcd, addresses.etcd_peer, addresses.api
