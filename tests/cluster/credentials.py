"""Keys, tokens and kubeconfigs of a throw-away control plane."""

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.shell import run

NODE = "node"
_USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}


@dataclass(frozen=True)
class Credentials:
    """Files below one directory, made once."""

    directory: Path

    @property
    def tokens(self) -> Path:
        """The API server's static tokens."""
        return self.directory / "tokens.csv"

    @property
    def service_accounts_key(self) -> Path:
        """Signs and verifies service account tokens."""
        return self.directory / "service-accounts.key"

    @property
    def kubelet_client_key(self) -> Path:
        """With its certificate, the API server's identity towards the kubelet."""
        return self.directory / "kubelet-client.key"

    @property
    def kubelet_client_certificate(self) -> Path:
        """Signed by itself, so it is its own authority in the kubelet's eyes."""
        return self.directory / "kubelet-client.crt"

    @property
    def server_certificate(self) -> Path:
        """Made by the API server at its first start; its chain ends in its own authority."""
        return self.directory / "serving" / "apiserver.crt"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of a component, or of `admin`."""
        return self.directory / f"{user}.kubeconfig"

    def token(self, user: str) -> str:
        """The bearer token of a component, or of `admin`."""
        rows = (line.split(",") for line in self.tokens.read_text().splitlines())
        return next(token for token, _user, name, *_groups in rows if name == user)

    def create(self) -> None:
        """Make what is missing."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if not self.kubelet_client_certificate.exists():
            run(["openssl", "genrsa", "-out", self.service_accounts_key, "2048"])
            run([*_SELF_SIGNED, "-keyout", self.kubelet_client_key, "-out", self.kubelet_client_certificate])
        if not self.tokens.exists():
            rows = [f'{secrets.token_hex(16)},{user},{name},"{group}"' for name, (user, group) in _USERS.items()]
            self.tokens.write_text("\n".join(rows) + "\n")

    def write_kubeconfigs(self, server: str) -> None:
        """Write one kubeconfig for each user, now that the server's certificate exists."""
        authority = self.server_certificate.read_text()
        for user in _USERS:
            path = self.kubeconfig(user)
            path.touch(mode=0o600)
            path.write_text(json.dumps(kubeconfig(server, authority, self.token(user)), indent=2) + "\n")


_SELF_SIGNED = (
    *(
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-days",
        "3650",
    ),
    *("-subj", "/O=system:masters/CN=kube-apiserver-kubelet-client", "-addext", "extendedKeyUsage=clientAuth"),
)


def kubeconfig(server: str, authority: str, token: str) -> dict[str, object]:
    """Describe one cluster and one user. JSON is YAML, and needs no library to be written."""
    data = base64.b64encode(authority.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stagecoach", "cluster": {"server": server, "certificate-authority-data": data}}],
        "users": [{"name": "stagecoach", "user": {"token": token}}],
        "contexts": [{"name": "stagecoach", "context": {"cluster": "stagecoach", "user": "stagecoach"}}],
        "current-context": "stagecoach",
    }
