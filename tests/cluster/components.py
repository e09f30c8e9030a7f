"""Command lines of the control plane's components."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.cluster.credentials import Credentials

# The defaults hold a busy controller back long before the machine does.
_CLIENT_RATES = ("--kube-api-qps=1000", "--kube-api-burst=2000")
_NO_SERVER = "--secure-port=0"


@dataclass(frozen=True)
class Programs:
    """Where each component's binary is; None when there is none."""

    etcd: Path
    apiserver: Path
    controller_manager: Path | None
    scheduler: Path | None = None


@dataclass(frozen=True)
class Addresses:
    """Where the components listen."""

    etcd: int
    etcd_peer: int
    api: int
    host: str = "127.0.0.1"
    services: str = "10.96.0.0/16"

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.host}:{self.api}"


@dataclass(frozen=True)
class Audit:
    """What the API server writes down about requests."""

    policy: Path
    log: Path
    LOG: ClassVar = "audit.log"

    @classmethod
    def of(cls, directory: Path, policy: dict[str, Any]) -> "Audit":
        """Write a policy, given by its rules, into the directory that gets the log."""
        file = directory / "audit-policy.json"
        file.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", **policy}))
        return cls(file, directory / cls.LOG)


@dataclass(frozen=True)
class Settings:
    """Everything that the command lines depend on."""

    directory: Path
    credentials: Credentials
    addresses: Addresses
    programs: Programs
    audit: Audit | None = None
    apiserver_arguments: tuple[str, ...] = field(default=())
    controller_manager_arguments: tuple[str, ...] = field(default=())


def etcd(settings: Settings) -> list[str | Path]:
    """Without fsync: a test's data need not survive a power cut."""
    client = f"http://127.0.0.1:{settings.addresses.etcd}"
    peer = f"http://127.0.0.1:{settings.addresses.etcd_peer}"
    return [
        settings.programs.etcd,
        f"--data-dir={settings.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        f"--quota-backend-bytes={4 * 1024**3}",
        "--log-level=warn",
    ]


def apiserver(settings: Settings) -> list[str | Path]:
    """The API server."""
    addresses, credentials = settings.addresses, settings.credentials
    return [
        settings.programs.apiserver,
        f"--etcd-servers=http://127.0.0.1:{addresses.etcd}",
        f"--bind-address={addresses.host}",
        f"--advertise-address={addresses.host}",
        f"--secure-port={addresses.api}",
        f"--cert-dir={credentials.server_certificate.parent}",
        f"--service-cluster-ip-range={addresses.services}",
        f"--token-auth-file={credentials.tokens}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={credentials.service_accounts_key}",
        f"--service-account-signing-key-file={credentials.service_accounts_key}",
        f"--kubelet-client-certificate={credentials.kubelet_client_certificate}",
        f"--kubelet-client-key={credentials.kubelet_client_key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--max-requests-inflight=1500",
        "--max-mutating-requests-inflight=1000",
        *_without_loopback_endpoints(addresses),
        *_audit(settings.audit),
        *settings.apiserver_arguments,
    ]


def _without_loopback_endpoints(addresses: Addresses) -> list[str]:
    # An Endpoints object may not hold a loopback address; there are no pods to use it either.
    return ["--endpoint-reconciler-type=none"] if addresses.host.startswith("127.") else []


def _audit(audit: Audit | None) -> list[str]:
    if audit is None:
        return []
    return [
        f"--audit-policy-file={audit.policy}",
        f"--audit-log-path={audit.log}",
        "--audit-log-mode=blocking",
        # In megabytes. By default another file is begun at 100.
        "--audit-log-maxsize=8192",
    ]


def controller_manager(settings: Settings, program: Path) -> list[str | Path]:
    """Garbage collection, Jobs, service accounts and the rest."""
    return [
        program,
        f"--kubeconfig={settings.credentials.kubeconfig('kube-controller-manager')}",
        f"--root-ca-file={settings.credentials.server_certificate}",
        f"--service-account-private-key-file={settings.credentials.service_accounts_key}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--concurrent-job-syncs=50",
        _NO_SERVER,
        *_CLIENT_RATES,
        *settings.controller_manager_arguments,
    ]


def scheduler(settings: Settings, program: Path) -> list[str | Path]:
    """The scheduler."""
    kubeconfig = settings.credentials.kubeconfig("kube-scheduler")
    return [program, f"--kubeconfig={kubeconfig}", "--leader-elect=false", _NO_SERVER, *_CLIENT_RATES]
